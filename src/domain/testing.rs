//! Example values for tests of this room.

use super::profile::*;

/// Returns the production profile.
pub fn production() -> Profile {
    Profile {
        name: "production".into(),
        description: String::new(),
        target: Target::Ec2,
        arrivals: Arrivals {
            pipelines_per_weekday: 180.0,
            weekend_factor: 0.15,
            scheduled_share: 0.5,
            scheduled_weekend_factor: 1.0,
            schedule_grid_minutes: 60,
            schedule_jitter_s: 60.0,
            hours_interactive: [
                0.15, 0.1, 0.1, 0.1, 0.1, 0.15, 0.3, 0.6, 1.2, 2.0, 2.4, 2.3, 1.7, 2.0, 2.4, 2.3, 2.0, 1.3,
                0.7, 0.5, 0.4, 0.3, 0.25, 0.2,
            ],
            hours_scheduled: [
                1., 3., 3., 3., 3., 3., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1.,
                1.,
            ],
            bursts: vec![],
        },
        pipeline: Pipeline {
            jobs_mean: 7.308,
            jobs_cv: 0.8,
            stage_width: 1.25,
            stage_gap_s: 2.0,
        },
        job: Job {
            duration_p90_s: 240.0,
            duration_sigma: 1.2,
            duration_icc: 0.2,
            timeout_s: 3600.0,
            cpu_fixed_s: 10.0,
            cpu_per_s: 0.1,
            rss_median_mib: 300.0,
            rss_sigma: 0.42,
        },
        runner: Runner {
            concurrent: 8,
            check_interval_s: 1.0,
            pickup_delay_s: 0.0,
        },
        host: Host {
            memtotal_share: 0.938,
            overhead_mib: 700.0,
            memory_headroom: 0.15,
            smt_yield: 1.3,
            reference_thread: "c5".into(),
            thread_speeds: vec![],
        },
        disk: Disk {
            base_gib: 8.0,
            images: 12.0,
            image_gib: 2.2,
            image_shared: 0.45,
            rebuild_days: 7.0,
            release_wave_days: 30.0,
            leftover_mib_per_job: 2.5,
            projects: 10.0,
            cache_gib_per_slot: 0.15,
            cache_fill_days: 21.0,
            journal_gib_per_day: 0.1,
            journal_cap_gib: 4.0,
            unattended_days: 28.0,
        },
        slo: Slo {
            wait_s: 30.0,
            wait_quantile: 0.95,
            pipeline_slowdown: 1.1,
            scope: Scope::AllHours,
            min_nodes: 2,
        },
        kubernetes: Kubernetes {
            cpu_request_m: 250.0,
            memory_request_mib: 448.0,
            system_cpu_m: 300.0,
            system_memory_mib: 450.0,
            system_pods: 6,
            scan_s: 10.0,
            node_ready_s: 75.0,
            idle_s: 600.0,
            pod_start_s: 6.0,
            first_pod_s: 25.0,
        },
    }
}
