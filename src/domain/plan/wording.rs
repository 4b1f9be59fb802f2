//! Reasons and figures in words, the same in tables and in JSON.

use crate::domain::simulation::statistics::Estimate;
use crate::domain::sizing::search::Reason;

/// Returns a share as a percentage with its interval, such as `3.2 ± 0.5 %`.
pub fn percent(share: Estimate) -> String {
    format!("{:.1} ± {:.1} %", share.mean * 100.0, share.half_width * 100.0)
}

/// Returns a ratio with its interval.
pub fn ratio(value: Estimate) -> String {
    format!("{:.3} ± {:.3}", value.mean, value.half_width)
}

/// Returns seconds in the unit a person would use.
pub fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{value:.2} s")
    } else if value < 90.0 {
        format!("{value:.1} s")
    } else if value < 5400.0 {
        format!("{:.1} min", value / 60.0)
    } else {
        format!("{:.1} h", value / 3600.0)
    }
}

/// Returns a whole number of things with its noun, in the plural unless it is one.
pub fn counted(number: u32, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// Returns the reason in one sentence without a full stop.
pub fn reason(reason: &Reason, wait_s: f64) -> String {
    match reason {
        Reason::NoPrice => "no price in the catalog for this region".to_owned(),
        Reason::TooSmall => "below 2 vCPU and 4 GiB, the smallest host that the vendor names".to_owned(),
        Reason::NoThreadSpeed => {
            "no thread speed known; set host.thread_speeds in the workload to consider it".to_owned()
        }
        Reason::BelowMinimum { vcpus, memory_gib } => {
            format!("below the installation page's minimum of {vcpus} vCPU and {memory_gib} GiB")
        }
        Reason::NoRoomForOneJob { needs_mib, has_mib } => format!(
            "memory does not hold one job: it needs {needs_mib:.0} MiB, {:.0} MiB are left for jobs",
            has_mib.max(0.0)
        ),
        Reason::SlowThread { floor, limit } => format!(
            "its threads are too slow: {floor:.3} times the ideal pipeline time before any contention, limit {limit:.2}"
        ),
        Reason::TooFewSlots { slots, busy_hour } => format!(
            "{} for {busy_hour:.1} jobs at once in the busy hour",
            counted(*slots, "slot")
        ),
        Reason::Late {
            slots,
            late,
            limit,
            capped,
        } => format!(
            "{} of jobs wait longer than {wait_s:.0} s (limit {:.1} %) with {}{}",
            percent(*late),
            limit * 100.0,
            counted(*slots, "slot"),
            if *capped { ", the most it holds" } else { "" }
        ),
        Reason::Slow {
            slots,
            slowdown,
            limit,
        } => format!(
            "pipelines take {} times the ideal (limit {limit:.2}) with {}",
            ratio(*slowdown),
            counted(*slots, "slot")
        ),
        Reason::Borderline {
            slots,
            late,
            slowdown,
        } => format!(
            "too close to call with {}: {} late, slowdown {}",
            counted(*slots, "slot"),
            percent(*late),
            ratio(*slowdown)
        ),
        Reason::Dearer => "meets the objectives and costs more".to_owned(),
        Reason::TiedOnCost => {
            "meets the objectives at the same cost; later in the order of preference".to_owned()
        }
    }
}
