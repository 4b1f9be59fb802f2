//! The one table of profile keys: range, unit, default, where the default comes from, and what the key means.
//!
//! Parsing, range checks, `workload show`, the JSON Schema, the YAML writer and the printed assumptions all
//! read this table. The values of the built-in profiles that differ from it are in `builtin`.

use std::borrow::Cow;

use super::{Burst, Profile, Scope, Target};

/// Where a value comes from, strongest evidence first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The user's own file says so.
    User,
    /// Stated on the vendor's pages.
    Vendor,
    /// Measured by us.
    Measured,
    /// Arithmetic on the vendor's figures.
    Derived,
    /// Chosen so that the model reproduces the vendor's figures.
    Fitted,
    /// Read in public source code or on a public page.
    Source,
    /// General knowledge, not checked against a source.
    Recalled,
    /// A choice of ours: check it against your own data first.
    Assumed,
}

impl Basis {
    /// Returns the word that is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Vendor => "vendor",
            Self::Measured => "measured",
            Self::Derived => "derived",
            Self::Fitted => "fitted",
            Self::Source => "source",
            Self::Recalled => "recalled",
            Self::Assumed => "assumed",
        }
    }
}

/// An interval of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Smallest number.
    pub min: f64,
    /// Largest number.
    pub max: f64,
    /// Whether `min` itself is outside.
    pub above_min: bool,
}

impl Range {
    /// Returns whether `number` is inside; NaN never is.
    pub fn contains(&self, number: f64) -> bool {
        number <= self.max
            && if self.above_min {
                number > self.min
            } else {
                number >= self.min
            }
    }
}

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A finite number.
    Number(Range),
    /// A whole number, both ends included.
    Integer(u32, u32),
    /// A whole number that divides 60.
    DivisorOf60,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One line of text with at most this many characters.
    Text(usize),
    /// An instance family such as `c5`.
    Family,
    /// 24 relative weights, not all zero.
    Weights,
    /// A list of bursts.
    Bursts,
    /// Speeds by instance family.
    Speeds(Range),
    /// A Kubernetes quantity of CPU; the range and the value are in thousandths.
    Cpu(Range),
    /// A Kubernetes quantity of memory; the range and the value are in MiB.
    Memory(Range),
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// For `Number`, `Cpu` (thousandths of a CPU) and `Memory` (MiB).
    Number(f64),
    /// For `Integer` and `DivisorOf60`.
    Integer(u32),
    /// For `Choice`, `Text` and `Family`.
    Text(Cow<'static, str>),
    /// For `Weights`.
    Weights([f64; 24]),
    /// For `Bursts`.
    Bursts(Vec<Burst>),
    /// For `Speeds`.
    Speeds(Vec<(String, f64)>),
}

/// A key of the profile.
#[derive(Debug)]
pub struct Field {
    /// Name of the section.
    pub section: &'static str,
    /// Name within the section.
    pub key: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Unit of the value, empty for bare shares, counts of nothing and words.
    pub unit: &'static str,
    /// Value when nobody says otherwise: that of the production profile.
    pub default: Value,
    /// Where the default comes from.
    pub basis: Basis,
    /// The page or the reasoning behind the default.
    pub source: &'static str,
    /// What the key means, in one sentence.
    pub doc: &'static str,
    pub(super) get: fn(&Profile) -> Value,
    pub(super) set: fn(&mut Profile, Value),
}

impl Field {
    /// Returns the full name, such as `job.rss_median_mib`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// Returns the value in a profile.
    pub fn value(&self, profile: &Profile) -> Value {
        (self.get)(profile)
    }
}

/// A section of the profile.
#[derive(Debug)]
pub struct Section {
    /// Name in the file.
    pub name: &'static str,
    /// What it is about, in one sentence.
    pub doc: &'static str,
}

/// The sections in the order of the file.
pub static SECTIONS: &[Section] = &[
    Section {
        name: "profile",
        doc: "Name and target of the workload.",
    },
    Section {
        name: "arrivals",
        doc: "How pipelines arrive over the week; a week starts on Monday 00:00 local time.",
    },
    Section {
        name: "pipeline",
        doc: "What a pipeline is made of.",
    },
    Section {
        name: "job",
        doc: "What a job needs: time, CPU, memory.",
    },
    Section {
        name: "runner",
        doc: "How the runner asks for work.",
    },
    Section {
        name: "host",
        doc: "What a host gives to jobs.",
    },
    Section {
        name: "disk",
        doc: "What fills the disk, and for how long nobody cleans up.",
    },
    Section {
        name: "slo",
        doc: "What the workload may suffer.",
    },
    Section {
        name: "kubernetes",
        doc: "Requests of a job pod and the behaviour of the cluster (EKS only).",
    },
];

/// Returns the field of a section and a key.
pub fn find(section: &str, key: &str) -> Option<(usize, &'static Field)> {
    FIELDS
        .iter()
        .enumerate()
        .find(|(_, field)| field.section == section && field.key == key)
}

/// The vendor's article that compares AWS services for runners.
pub const COMPARISON: &str =
    "https://docs.dataops.live/docs/administration/comparing-aws-services-for-hosting-dataops-runners/";
/// The vendor's instructions for installing a runner.
pub const INSTALLATION: &str = "https://docs.dataops.live/docs/environment-management/runner-installation/";

const fn within(min: f64, max: f64) -> Range {
    Range {
        min,
        max,
        above_min: false,
    }
}

const fn above(min: f64, max: f64) -> Range {
    Range {
        min,
        max,
        above_min: true,
    }
}

/// A field; `$key` in the file, `$place` in `Profile`, `$variant` of `Value`.
macro_rules! field {
    ($section:ident.$key:ident @ $place:ident, $variant:ident($default:expr), $kind:expr, $unit:literal, $basis:ident, $source:expr, $doc:literal) => {
        Field {
            section: stringify!($section),
            key: stringify!($key),
            kind: $kind,
            unit: $unit,
            default: Value::$variant($default),
            basis: Basis::$basis,
            source: $source,
            doc: $doc,
            get: |profile| Value::$variant(profile.$section.$place.clone()),
            set: |profile, value| {
                if let Value::$variant(value) = value {
                    profile.$section.$place = value;
                }
            },
        }
    };
}

/// A number whose key and field have the same name.
macro_rules! number {
    ($section:ident.$key:ident = $default:expr, $range:expr, $unit:literal, $basis:ident, $source:expr, $doc:literal) => {
        field!($section.$key @ $key, Number($default), Kind::Number($range), $unit, $basis, $source, $doc)
    };
}

/// A whole number whose key and field have the same name.
macro_rules! integer {
    ($section:ident.$key:ident = $default:expr, $min:literal..=$max:literal, $unit:literal, $basis:ident, $source:expr, $doc:literal) => {
        field!($section.$key @ $key, Integer($default), Kind::Integer($min, $max), $unit, $basis, $source, $doc)
    };
}

const TARGETS: &[&str] = &["ec2", "eks"];
const SCOPES: &[&str] = &["all-hours", "worst-hour"];

const fn text(word: &'static str) -> Value {
    Value::Text(Cow::Borrowed(word))
}

/// All keys, in the order of the file.
pub static FIELDS: &[Field] = &[
    Field {
        section: "profile",
        key: "name",
        kind: Kind::Text(100),
        unit: "",
        default: text("production"),
        basis: Basis::Assumed,
        source: "the name of the file",
        doc: "Name shown in the answer; without it, the name of the file.",
        get: |profile| Value::Text(profile.name.clone().into()),
        set: |profile, value| {
            if let Value::Text(name) = value {
                profile.name = name.into_owned();
            }
        },
    },
    Field {
        section: "profile",
        key: "description",
        kind: Kind::Text(500),
        unit: "",
        default: text(
            "A team's daily work: people in office hours, schedules around the clock, nightly loads from 01 to 05 h",
        ),
        basis: Basis::Assumed,
        source: "",
        doc: "One line about the workload.",
        get: |profile| Value::Text(profile.description.clone().into()),
        set: |profile, value| {
            if let Value::Text(description) = value {
                profile.description = description.into_owned();
            }
        },
    },
    Field {
        section: "profile",
        key: "target",
        kind: Kind::Choice(TARGETS),
        unit: "",
        default: text("ec2"),
        basis: Basis::Vendor,
        source: COMPARISON,
        doc: "Where the runner lives when the command line names no --target: ec2 (Docker hosts) or eks (a node group).",
        get: |profile| {
            text(match profile.target {
                Target::Ec2 => "ec2",
                Target::Eks => "eks",
            })
        },
        set: |profile, value| {
            profile.target = if value == text("eks") {
                Target::Eks
            } else {
                Target::Ec2
            };
        },
    },
    number!(
        arrivals.pipelines_per_weekday = 180.0,
        within(0.0, 1e9),
        "pipelines/weekday",
        Assumed,
        "example load that leads to the documented c5.xlarge; about 7 times the mean customer of June 2024",
        "Mean number of pipelines on a weekday, bursts not counted."
    ),
    number!(
        arrivals.weekend_factor = 0.15,
        within(0.0, 100.0),
        "",
        Assumed,
        "office work: few people at weekends",
        "Interactive pipelines of a weekend day relative to a weekday."
    ),
    number!(
        arrivals.scheduled_share = 0.5,
        within(0.0, 1.0),
        "",
        Assumed,
        "half by schedule, half by people; count pipelines with source = schedule in your own project",
        "Share of a weekday's pipelines that a schedule starts."
    ),
    number!(
        arrivals.scheduled_weekend_factor = 1.0,
        within(0.0, 100.0),
        "",
        Assumed,
        "schedules do not know weekends",
        "Scheduled pipelines of a weekend day relative to a weekday."
    ),
    field!(arrivals.schedule_grid_minutes @ schedule_grid_minutes, Integer(60), Kind::DivisorOf60, "min", Assumed,
        "most schedules are written for minute 0",
        "Schedules fire at multiples of this many minutes; divides 60."),
    number!(
        arrivals.schedule_jitter_s = 60.0,
        within(0.0, 3600.0),
        "s",
        Assumed,
        "the platform starts due schedules within about a minute",
        "Scheduled pipelines start up to this many seconds after the grid point, uniformly."
    ),
    field!(arrivals.hours_interactive @ hours_interactive,
        Weights([0.15, 0.1, 0.1, 0.1, 0.1, 0.15, 0.3, 0.6, 1.2, 2.0, 2.4, 2.3,
            1.7, 2.0, 2.4, 2.3, 2.0, 1.3, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2]),
        Kind::Weights, "", Assumed, "office hours with a dip at noon",
        "Relative weights of the 24 hours, local time, for interactive pipelines."),
    field!(arrivals.hours_scheduled @ hours_scheduled,
        Weights([1.0, 3.0, 3.0, 3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,
            1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        Kind::Weights, "", Assumed, "nightly loads from 01 to 05 h",
        "Relative weights of the 24 hours, local time, for scheduled pipelines."),
    field!(arrivals.bursts @ bursts, Bursts(Vec::new()), Kind::Bursts, "", Assumed,
        "no gatherings in production",
        "Pipelines that start together on every weekday, such as a workshop: hour, pipelines, window_s."),
    number!(
        pipeline.jobs_mean = 7.308,
        within(1.0, 10_000.0),
        "jobs",
        Derived,
        COMPARISON,
        "Mean number of jobs in a pipeline (1.9 million jobs / 260 thousand pipelines in June 2024)."
    ),
    number!(
        pipeline.jobs_cv = 0.8,
        within(0.0, 5.0),
        "",
        Assumed,
        "gives a median of 6 and a 95th percentile of 19 jobs",
        "Coefficient of variation of the number of jobs in a pipeline."
    ),
    number!(
        pipeline.stage_width = 1.25,
        within(1.0, 1000.0),
        "jobs",
        Fitted,
        "makes 75 % of the pipelines end within the published 15 minutes",
        "Mean number of jobs in a stage, which run at the same time."
    ),
    number!(
        pipeline.stage_gap_s = 2.0,
        within(0.0, 3600.0),
        "s",
        Assumed,
        "the platform looks at the finished stage before it offers the next one",
        "Seconds from the end of a stage until the jobs of the next one are pending."
    ),
    number!(
        job.duration_p90_s = 240.0,
        within(0.1, 864_000.0),
        "s",
        Vendor,
        COMPARISON,
        "90th percentile of job durations: nine jobs in ten end within this time on the reference thread."
    ),
    number!(
        job.duration_sigma = 1.2,
        within(0.0, 3.0),
        "",
        Fitted,
        "weakly identified: 1.0 to 1.4 fit the published figures as well",
        "Standard deviation of the log of the duration (lognormal)."
    ),
    number!(
        job.duration_icc = 0.2,
        within(0.0, 1.0),
        "",
        Fitted,
        "weakly identified: above 0.45 the published pipeline times are out of reach",
        "Share of the log-variance that jobs of one pipeline have in common."
    ),
    number!(
        job.timeout_s = 3600.0,
        within(1.0, 2_592_000.0),
        "s",
        Recalled,
        "the default of a project; cuts 0.02 % of the jobs",
        "Longest possible duration of a job; longer ones are cut."
    ),
    number!(
        job.cpu_fixed_s = 10.0,
        within(0.0, 86_400.0),
        "CPU s",
        Assumed,
        "measured dbt 1.8 start-up: 4 to 26 CPU seconds by project size and cache",
        "CPU seconds every job needs at start: interpreter, parsing, clone, artifacts."
    ),
    number!(
        job.cpu_per_s = 0.1,
        within(0.0, 1.0),
        "CPU s/s",
        Assumed,
        "jobs mostly wait for the warehouse; measure cgroup cpu.stat to replace it",
        "CPU seconds for each second of duration, on top of cpu_fixed_s."
    ),
    number!(
        job.rss_median_mib = 300.0,
        within(1.0, 1_048_576.0),
        "MiB",
        Assumed,
        "measured dbt 1.8: 123 to 224 MiB, with room for larger projects",
        "Median of the resident memory of a job (lognormal)."
    ),
    number!(
        job.rss_sigma = 0.42,
        within(0.0, 3.0),
        "",
        Assumed,
        "puts the 95th percentile at 600 MiB",
        "Standard deviation of the log of resident memory."
    ),
    integer!(
        runner.concurrent = 8,
        1..=10_000,
        "jobs",
        Vendor,
        INSTALLATION,
        "The documented number of jobs at a time; a reference for the report, the answer brings its own."
    ),
    number!(
        runner.check_interval_s = 1.0,
        within(0.0, 60.0),
        "s",
        Vendor,
        INSTALLATION,
        "Seconds between two questions for work when idle."
    ),
    number!(
        runner.pickup_delay_s = 0.0,
        within(0.0, 600.0),
        "s",
        Assumed,
        "no delay by long polling; set it if jobs are picked up late on an idle host",
        "Fixed extra seconds before a job is picked up."
    ),
    number!(
        host.memtotal_share = 0.938,
        within(0.5, 1.0),
        "",
        Source,
        "an m5.large reports 7867456 KiB of its 8 GiB",
        "Share of the nominal memory that the kernel reports as MemTotal."
    ),
    number!(
        host.overhead_mib = 700.0,
        within(0.0, 65_536.0),
        "MiB",
        Assumed,
        "system, container engine, runner, monitoring agent",
        "Memory used by everything that is no job."
    ),
    number!(
        host.memory_headroom = 0.15,
        within(0.0, 0.9),
        "",
        Assumed,
        "leaves the page cache enough for images and clones",
        "Share of MemTotal left free of jobs for the page cache."
    ),
    number!(
        host.smt_yield = 1.3,
        within(1.0, 2.0),
        "",
        Assumed,
        "1.0 to 2.0 does not change the recommended type",
        "Work of the two threads of a core when both are busy, relative to one."
    ),
    Field {
        section: "host",
        key: "reference_thread",
        kind: Kind::Family,
        unit: "",
        default: text("c5"),
        basis: Basis::Assumed,
        source: "the vendor says that hosts were mixed; c5 is the family it names",
        doc: "Instance family on whose threads the durations were measured.",
        get: |profile| Value::Text(profile.host.reference_thread.clone().into()),
        set: |profile, value| {
            if let Value::Text(family) = value {
                profile.host.reference_thread = family.into_owned();
            }
        },
    },
    integer!(
        host.minimum_vcpus = 4,
        1..=448,
        "vCPU",
        Vendor,
        INSTALLATION,
        "Threads that the vendor's installation page asks for; binding only with --strict-minimums."
    ),
    number!(
        host.minimum_memory_gib = 16.0,
        within(0.5, 24_576.0),
        "GiB",
        Vendor,
        INSTALLATION,
        "Memory that the vendor's installation page asks for; binding only with --strict-minimums."
    ),
    field!(host.thread_speeds @ thread_speeds, Speeds(Vec::new()), Kind::Speeds(within(0.05, 20.0)), "c5 threads", Assumed,
        "those of the catalog",
        "Thread speeds by instance family, in c5 threads, that replace those of the catalog."),
    number!(
        disk.base_gib = 8.0,
        within(0.0, 10_000.0),
        "GiB",
        Assumed,
        "Ubuntu, container engine, agent",
        "Space of the system and the engine."
    ),
    number!(
        disk.images = 12.0,
        within(0.0, 100_000.0),
        "images",
        Assumed,
        "distinct orchestrators in a project; count yours with docker image ls",
        "Distinct job images in use."
    ),
    number!(
        disk.image_gib = 2.2,
        within(0.0, 1000.0),
        "GiB",
        Assumed,
        "typical of Python and Java toolchains",
        "Unpacked size of an image."
    ),
    number!(
        disk.image_shared = 0.45,
        within(0.0, 1.0),
        "",
        Assumed,
        "one base system below most images",
        "Share of an image that is in base layers common to all."
    ),
    number!(
        disk.rebuild_days = 7.0,
        within(0.01, 36_500.0),
        "days",
        Assumed,
        "weekly security rebuilds",
        "Mean days until a tag points at a new digest; the old layers stay."
    ),
    number!(
        disk.release_wave_days = 30.0,
        within(0.01, 36_500.0),
        "days",
        Assumed,
        "monthly platform releases",
        "Mean days between releases that replace all images at once."
    ),
    number!(
        disk.leftover_mib_per_job = 2.5,
        within(0.0, 1_048_576.0),
        "MiB/job",
        Assumed,
        "agent_cache, failed clean-ups, dangling volumes",
        "Space that each job leaves behind."
    ),
    number!(
        disk.projects = 10.0,
        within(0.0, 1e6),
        "projects",
        Assumed,
        "a mid-sized team",
        "Projects with a cache volume for each slot."
    ),
    number!(
        disk.cache_gib_per_slot = 0.15,
        within(0.0, 1000.0),
        "GiB",
        Assumed,
        "a clone and the packages of a dbt project",
        "Size of a full cache volume, one for each project and slot."
    ),
    number!(
        disk.cache_fill_days = 21.0,
        within(0.01, 36_500.0),
        "days",
        Assumed,
        "a volume is written only when its project meets its slot",
        "Days in which a cache volume fills to 63 %."
    ),
    number!(
        disk.journal_gib_per_day = 0.1,
        within(0.0, 1000.0),
        "GiB/day",
        Assumed,
        "system and container logs",
        "Growth of the journal, up to journal_cap_gib."
    ),
    number!(
        disk.journal_cap_gib = 4.0,
        within(0.0, 100_000.0),
        "GiB",
        Recalled,
        "the default cap of systemd-journald",
        "Size at which the journal stops growing."
    ),
    number!(
        disk.unattended_days = 28.0,
        within(1.0, 3650.0),
        "days",
        Assumed,
        "four weeks without clean-up; 19 to 29 days lead to the documented 300 GiB",
        "Days that the disk must last without any clean-up before it is 80 % full."
    ),
    number!(
        slo.wait_s = 30.0,
        within(0.0, 86_400.0),
        "s",
        Assumed,
        "a person who started a pipeline still looks at it",
        "Wait in the queue that only a share 1 - wait_quantile of the jobs may exceed."
    ),
    number!(
        slo.wait_quantile = 0.95,
        within(0.5, 0.9999),
        "",
        Assumed,
        "one job in twenty may be late",
        "Share of the jobs that must wait no longer than wait_s."
    ),
    number!(
        slo.pipeline_slowdown = 1.1,
        above(1.0, 100.0),
        "",
        Assumed,
        "ten per cent longer is hardly noticed",
        "Mean pipeline time relative to unlimited slots on the reference thread."
    ),
    Field {
        section: "slo",
        key: "scope",
        kind: Kind::Choice(SCOPES),
        unit: "",
        default: text("all-hours"),
        basis: Basis::Assumed,
        source: "nobody waits for the nightly load; worst-hour asks for 10 to 12 slots instead of 8 in production",
        doc: "Hours over which the wait is judged: all-hours, or worst-hour (each hour of the weekday on its own).",
        get: |profile| {
            text(match profile.slo.scope {
                Scope::AllHours => "all-hours",
                Scope::WorstHour => "worst-hour",
            })
        },
        set: |profile, value| {
            profile.slo.scope = if value == text("worst-hour") {
                Scope::WorstHour
            } else {
                Scope::AllHours
            };
        },
    },
    integer!(
        slo.min_nodes = 2,
        1..=1000,
        "nodes",
        Assumed,
        "two availability zones",
        "Smallest node group (EKS only)."
    ),
    field!(kubernetes.cpu_request @ cpu_request_m, Number(250.0), Kind::Cpu(within(1.0, 192_000.0)), "CPU", Assumed,
        "a job uses 0.19 CPU on average; the vendor's Fargate example asks for 1",
        "CPU request of a job pod, build and helper together, such as 250m; it decides the node size."),
    field!(kubernetes.memory_request @ memory_request_mib, Number(448.0), Kind::Memory(within(4.0, 25_165_824.0)), "memory", Assumed,
        "a job's mean resident memory and a helper",
        "Memory request of a job pod, build and helper together, such as 448Mi."),
    field!(kubernetes.system_cpu @ system_cpu_m, Number(300.0), Kind::Cpu(within(0.0, 192_000.0)), "CPU", Assumed,
        "network, proxy, DNS, storage and monitoring pods",
        "CPU requests of system pods and agents on a node."),
    field!(kubernetes.system_memory @ system_memory_mib, Number(450.0), Kind::Memory(within(0.0, 25_165_824.0)), "memory", Assumed,
        "network, proxy, DNS, storage and monitoring pods",
        "Memory requests of system pods and agents on a node."),
    integer!(
        kubernetes.system_pods = 6,
        0..=500,
        "pods",
        Assumed,
        "network, proxy, DNS, storage and monitoring pods",
        "System pods on a node."
    ),
    number!(
        kubernetes.scan_s = 10.0,
        within(0.1, 3600.0),
        "s",
        Assumed,
        "the cluster autoscaler's usual interval",
        "Seconds between two looks of the node autoscaler."
    ),
    number!(
        kubernetes.node_ready_s = 75.0,
        within(0.0, 7200.0),
        "s",
        Assumed,
        "a managed node with an Amazon Linux image",
        "Seconds from the request for a node until it is ready."
    ),
    number!(
        kubernetes.idle_s = 600.0,
        within(0.0, 604_800.0),
        "s",
        Assumed,
        "the cluster autoscaler's usual delay",
        "Seconds that an empty node stays before it is removed."
    ),
    number!(
        kubernetes.pod_start_s = 6.0,
        within(0.0, 3600.0),
        "s",
        Assumed,
        "schedule, mount, start two containers",
        "Seconds to start a job pod."
    ),
    number!(
        kubernetes.first_pod_s = 25.0,
        within(0.0, 3600.0),
        "s",
        Assumed,
        "a 2.2 GiB image takes about 18 s to write at 125 MB/s",
        "Extra seconds for the first pod on a new node, which pulls the image."
    ),
];
