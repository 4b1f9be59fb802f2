//! The built-in profiles, and a profile in the making with the origin of each value.
//!
//! `production` is the table of `fields`; the others differ from it where [`OVERRIDES`] says so. The commented
//! files in `profiles/` say the same to people, and a test compares the two.

use std::borrow::Cow;

use super::fields::{Basis, FIELDS, Value, find};
use super::problem::Place;
use super::{
    Arrivals, Assumption, Burst, Disk, Host, Job, Kubernetes, Loaded, Pipeline, Profile, Runner, Scope, Slo,
    Target, write,
};

/// The names, production first because it is what files extend unless they say otherwise.
const NAMES: &[&str] = &["proof-of-technology", "production", "kubernetes"];

/// A value of a built-in profile that is not that of the table.
struct Override {
    profile: &'static str,
    section: &'static str,
    key: &'static str,
    value: fn() -> Value,
    basis: Basis,
    source: &'static str,
}

fn text(text: &'static str) -> Value {
    Value::Text(Cow::Borrowed(text))
}

const POT: &str = "proof-of-technology";
const EKS: &str = "kubernetes";

/// Where the built-in profiles differ from production.
static OVERRIDES: &[Override] = &[
    Override {
        profile: POT,
        section: "profile",
        key: "name",
        value: || text(POT),
        basis: Basis::Assumed,
        source: "",
    },
    Override {
        profile: POT,
        section: "profile",
        key: "description",
        value: || {
            text("A few people try the platform: two workshops a day, hardly any schedules, nobody cleans up")
        },
        basis: Basis::Assumed,
        source: "",
    },
    Override {
        profile: POT,
        section: "arrivals",
        key: "pipelines_per_weekday",
        value: || Value::Number(20.0),
        basis: Basis::Assumed,
        source: "a handful of people",
    },
    Override {
        profile: POT,
        section: "arrivals",
        key: "scheduled_share",
        value: || Value::Number(0.1),
        basis: Basis::Assumed,
        source: "a trial has few schedules",
    },
    Override {
        profile: POT,
        section: "arrivals",
        key: "bursts",
        value: || {
            Value::Bursts(vec![
                Burst {
                    hour: 10,
                    pipelines: 4,
                    window_s: 300.0,
                },
                Burst {
                    hour: 14,
                    pipelines: 4,
                    window_s: 300.0,
                },
            ])
        },
        basis: Basis::Assumed,
        source: "two workshops a day, four people start within five minutes",
    },
    Override {
        profile: POT,
        section: "disk",
        key: "unattended_days",
        value: || Value::Number(45.0),
        basis: Basis::Assumed,
        source: "nobody owns clean-up in a trial; 36 to 58 days lead to the documented 300 GiB",
    },
    Override {
        profile: POT,
        section: "slo",
        key: "wait_s",
        value: || Value::Number(60.0),
        basis: Basis::Assumed,
        source: "a trial may wait a minute",
    },
    Override {
        profile: EKS,
        section: "profile",
        key: "name",
        value: || text(EKS),
        basis: Basis::Assumed,
        source: "",
    },
    Override {
        profile: EKS,
        section: "profile",
        key: "description",
        value: || text("Daily work on a managed node group in two zones, which grows at peaks"),
        basis: Basis::Assumed,
        source: "",
    },
    Override {
        profile: EKS,
        section: "profile",
        key: "target",
        value: || text("eks"),
        basis: Basis::Vendor,
        source: super::fields::COMPARISON,
    },
    Override {
        profile: EKS,
        section: "arrivals",
        key: "pipelines_per_weekday",
        value: || Value::Number(100.0),
        basis: Basis::Assumed,
        source: "example load; 20 to 500 lead to the same node type, only the largest number of nodes grows",
    },
    Override {
        profile: EKS,
        section: "disk",
        key: "unattended_days",
        value: || Value::Number(40.0),
        basis: Basis::Assumed,
        source: "nodes are replaced with their image; 30 to 49 days lead to the documented 300 GiB",
    },
    Override {
        profile: POT,
        section: "host",
        key: "minimum_vcpus",
        value: || Value::Integer(2),
        basis: Basis::Vendor,
        source: super::fields::INSTALLATION,
    },
    Override {
        profile: POT,
        section: "host",
        key: "minimum_memory_gib",
        value: || Value::Number(8.0),
        basis: Basis::Vendor,
        source: super::fields::INSTALLATION,
    },
    Override {
        profile: EKS,
        section: "host",
        key: "minimum_vcpus",
        value: || Value::Integer(2),
        basis: Basis::Vendor,
        source: super::fields::COMPARISON,
    },
    Override {
        profile: EKS,
        section: "host",
        key: "minimum_memory_gib",
        value: || Value::Number(4.0),
        basis: Basis::Vendor,
        source: super::fields::COMPARISON,
    },
];

/// Returns the names of the built-in profiles.
pub fn builtin_names() -> &'static [&'static str] {
    NAMES
}

/// Returns a built-in profile.
pub fn builtin(name: &str) -> Option<Loaded> {
    Draft::builtin(name).map(Draft::into_loaded)
}

/// Returns the commented file of a built-in profile, to read and to start one's own from.
pub fn builtin_yaml(name: &str) -> Option<&'static str> {
    match name {
        POT => Some(include_str!("../../../profiles/proof-of-technology.yaml")),
        "production" => Some(include_str!("../../../profiles/production.yaml")),
        EKS => Some(include_str!("../../../profiles/kubernetes.yaml")),
        _ => None,
    }
}

/// Where a value of a draft comes from.
#[derive(Clone, Debug)]
struct Origin {
    basis: Basis,
    source: Cow<'static, str>,
    /// Where the user's file says so, if it does.
    place: Place,
}

/// A profile in the making.
pub(super) struct Draft {
    pub(super) profile: Profile,
    origins: Vec<Origin>,
    file: String,
}

impl Default for Draft {
    /// Returns the production profile.
    fn default() -> Self {
        let mut profile = blank();
        let mut origins = Vec::with_capacity(FIELDS.len());
        for field in FIELDS {
            (field.set)(&mut profile, field.default.clone());
            origins.push(Origin {
                basis: field.basis,
                source: Cow::Borrowed(field.source),
                place: Place::default(),
            });
        }
        Self {
            profile,
            origins,
            file: String::new(),
        }
    }
}

impl Draft {
    /// Returns a built-in profile.
    pub(super) fn builtin(name: &str) -> Option<Self> {
        if !NAMES.contains(&name) {
            return None;
        }
        let mut draft = Self::default();
        for over in OVERRIDES.iter().filter(|over| over.profile == name) {
            if let Some((index, field)) = find(over.section, over.key) {
                (field.set)(&mut draft.profile, (over.value)());
                draft.origins[index] = Origin {
                    basis: over.basis,
                    source: Cow::Borrowed(over.source),
                    place: Place::default(),
                };
            }
        }
        Some(draft)
    }

    /// Starts the part of a user's file: its own name, and a description that says what it is based on.
    pub(super) fn rename(&mut self, file: &str, stem: &str) {
        self.profile.description = format!("based on {}", self.profile.name);
        stem.clone_into(&mut self.profile.name);
        file.clone_into(&mut self.file);
        // The places of a file that is extended mean nothing in this one.
        for origin in &mut self.origins {
            origin.place = Place::default();
        }
    }

    /// Sets the value of a field as the user's file says it.
    pub(super) fn set(&mut self, index: usize, value: Value, place: Place) {
        (FIELDS[index].set)(&mut self.profile, value);
        self.origins[index] = Origin {
            basis: Basis::User,
            source: Cow::Owned(format!("{}:{}", self.file, place.line)),
            place,
        };
    }

    /// Returns where the user's file sets a key; the file as a whole when it does not.
    pub(super) fn place(&self, section: &str, key: &str) -> Place {
        find(section, key).map_or_else(Place::default, |(index, _)| self.origins[index].place)
    }

    /// Returns the profile with its assumptions in the order of the table.
    pub(super) fn into_loaded(self) -> Loaded {
        let assumptions = FIELDS
            .iter()
            .zip(self.origins)
            // A name and a description are no assumptions about the workload.
            .filter(|(field, _)| field.section != "profile" || field.key == "target")
            .map(|(field, origin)| Assumption {
                key: field.path(),
                value: write::shown(field, &self.profile),
                unit: field.unit.to_owned(),
                basis: origin.basis,
                source: origin.source.into_owned(),
            })
            .collect();
        Loaded {
            profile: self.profile,
            assumptions,
        }
    }
}

/// Returns a profile in which every value still has to be set; a test looks for what the table forgets.
fn blank() -> Profile {
    const N: f64 = f64::NAN;
    Profile {
        name: String::new(),
        description: String::new(),
        target: Target::Ec2,
        arrivals: Arrivals {
            pipelines_per_weekday: N,
            weekend_factor: N,
            scheduled_share: N,
            scheduled_weekend_factor: N,
            schedule_grid_minutes: u32::MAX,
            schedule_jitter_s: N,
            hours_interactive: [N; 24],
            hours_scheduled: [N; 24],
            bursts: Vec::new(),
        },
        pipeline: Pipeline {
            jobs_mean: N,
            jobs_cv: N,
            stage_width: N,
            stage_gap_s: N,
        },
        job: Job {
            duration_p90_s: N,
            duration_sigma: N,
            duration_icc: N,
            timeout_s: N,
            cpu_fixed_s: N,
            cpu_per_s: N,
            rss_median_mib: N,
            rss_sigma: N,
        },
        runner: Runner {
            concurrent: u32::MAX,
            check_interval_s: N,
            pickup_delay_s: N,
        },
        host: Host {
            memtotal_share: N,
            overhead_mib: N,
            memory_headroom: N,
            smt_yield: N,
            minimum_vcpus: 0,
            minimum_memory_gib: N,
            reference_thread: String::new(),
            thread_speeds: Vec::new(),
        },
        disk: Disk {
            base_gib: N,
            images: N,
            image_gib: N,
            image_shared: N,
            rebuild_days: N,
            release_wave_days: N,
            leftover_mib_per_job: N,
            projects: N,
            cache_gib_per_slot: N,
            cache_fill_days: N,
            journal_gib_per_day: N,
            journal_cap_gib: N,
            unattended_days: N,
        },
        slo: Slo {
            wait_s: N,
            wait_quantile: N,
            pipeline_slowdown: N,
            scope: Scope::AllHours,
            min_nodes: u32::MAX,
        },
        kubernetes: Kubernetes {
            cpu_request_m: N,
            memory_request_mib: N,
            system_cpu_m: N,
            system_memory_mib: N,
            system_pods: u32::MAX,
            scan_s: N,
            node_ready_s: N,
            idle_s: N,
            pod_start_s: N,
            first_pod_s: N,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_value_of_a_profile() {
        for name in NAMES {
            let profile = builtin(name).unwrap().profile;
            let shown = format!("{profile:?}");
            assert!(!shown.contains("NaN") && !shown.contains("4294967295"), "{shown}");
            assert_eq!(profile.name, *name);
        }
    }

    #[test]
    fn every_override_names_a_field_and_a_value_of_its_kind() {
        for over in OVERRIDES {
            let (_, field) = find(over.section, over.key).unwrap();
            let profile = builtin(over.profile).unwrap().profile;
            assert_eq!(field.value(&profile), (over.value)(), "{}", field.path());
            assert_ne!(field.default, (over.value)(), "{}", field.path());
        }
    }

    #[test]
    fn the_built_in_profiles_are_those_of_the_model() {
        let production = builtin("production").unwrap().profile;
        assert_eq!(production.target, Target::Ec2);
        assert_eq!(production.arrivals.pipelines_per_weekday, 180.0);
        assert_eq!(production.host.reference_thread, "c5");
        assert_eq!(production.slo.scope, Scope::AllHours);
        assert_eq!(production.kubernetes.cpu_request_m, 250.0);
        let trial = builtin("proof-of-technology").unwrap();
        assert_eq!(trial.profile.arrivals.bursts.len(), 2);
        assert_eq!(trial.profile.slo.wait_s, 60.0);
        let eks = builtin("kubernetes").unwrap().profile;
        assert_eq!((eks.target, eks.slo.min_nodes), (Target::Eks, 2));
        assert_eq!(eks.disk.unattended_days, 40.0);
        assert!(builtin("Production").is_none());
    }
}
