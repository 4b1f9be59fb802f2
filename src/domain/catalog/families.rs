//! What holds for whole families: thread speed, burstable baseline, and which the vendor names.

use crate::domain::profile::Target;

const SPEEDS: &str = include_str!("thread_speeds.csv");
const BASELINES: &str = include_str!("burstable.csv");

/// How fast one busy thread of a family is.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ThreadSpeed {
    /// In threads of c5: 1.15 does in one second what c5 does in 1.15.
    pub value: f64,
    /// `assumed`, or `sibling` if taken over from a family with the same processor.
    pub basis: &'static str,
}

/// Returns the speed of a family's threads; none if nobody has measured or assumed one.
pub fn thread_speed(family: &str) -> Option<ThreadSpeed> {
    rows(SPEEDS).find_map(|[name, value, basis, _]| {
        (name == family).then(|| ThreadSpeed {
            value: value.parse().unwrap_or(1.0),
            basis,
        })
    })
}

/// Returns the share of each thread that a burstable type can use for ever; none for other types.
pub fn burstable_baseline(instance_type: &str) -> Option<f64> {
    let (family, size) = instance_type.split_once('.')?;
    rows(BASELINES).find_map(|[of_family, of_size, percent, _]| {
        (of_family == family && of_size == size)
            .then(|| percent.parse::<f64>().ok())
            .flatten()
            .map(|percent| percent / 100.0)
    })
}

/// Returns whether the catalog lists a family: c, m, r or t of generation 3 and later.
///
/// The generation flag of AWS does not count: c5, m5, r5, m6i and r6i are "not current" there. Architecture, hypervisor,
/// memory and accelerators are questions for each type; `tools/catalog/generate.py` asks the same ones.
pub fn is_listed_family(family: &str) -> bool {
    let Some(rest) = family.strip_prefix(['c', 'm', 'r', 't']) else {
        return false;
    };
    let letters = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let generation = rest[..rest.len() - letters.len()].parse::<u32>();
    generation.is_ok_and(|generation| generation >= 3)
        && letters
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// Smallest memory of a listed type, MiB: the runner's own agent does not fit into less.
pub const SMALLEST_MEMORY_MIB: i64 = 1024;

/// Returns the pods that a node can address with the VPC CNI without prefix delegation.
///
/// Each interface keeps one of its addresses, two pods use the node's own; EKS caps managed node groups at 110 below
/// 30 vCPUs and at 250 from there on.
pub fn max_pods(interfaces: u32, addresses_each: u32, vcpus: u32) -> u32 {
    let cap = if vcpus < 30 { 110 } else { 250 };
    interfaces
        .saturating_mul(addresses_each.saturating_sub(1))
        .saturating_add(2)
        .min(cap)
}

/// A family that the vendor names for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct QualifiedFamily {
    /// Such as `c5`.
    pub family: &'static str,
    /// Whether it may be chosen; older advice is only shown.
    pub current_advice: bool,
    /// What the page says, in our words.
    pub says: &'static str,
    /// Address of the page.
    pub source: &'static str,
}

const COMPARISON: &str =
    "https://docs.dataops.live/docs/administration/comparing-aws-services-for-hosting-dataops-runners/";
const PREREQUISITES: &str = "https://docs.dataops.live/docs/administration/docker-runner/prerequisites/";

const EC2: &[QualifiedFamily] = &[
    QualifiedFamily {
        family: "c5",
        current_advice: true,
        says: "c5.large for a proof of technology and c5.xlarge for production, with 300 GiB",
        source: COMPARISON,
    },
    QualifiedFamily {
        family: "t3a",
        current_advice: false,
        says: "guides to t3a.large for a proof of concept and t3a.xlarge for production",
        source: PREREQUISITES,
    },
];

const EKS: &[QualifiedFamily] = &[QualifiedFamily {
    family: "c6i",
    current_advice: true,
    says: "nodes of at least c6i.large, with 300 GiB gp3",
    source: COMPARISON,
}];

/// Returns the families that the vendor names for a target, what may be chosen first.
///
/// A cheaper type of another family is shown as such, never chosen silently.
pub fn qualified_families(target: Target) -> &'static [QualifiedFamily] {
    match target {
        Target::Ec2 => EC2,
        Target::Eks => EKS,
    }
}

/// Returns the four columns of each row below the header; what has fewer is skipped, and a test keeps it from shipping.
fn rows(table: &'static str) -> impl Iterator<Item = [&'static str; 4]> {
    table.lines().skip(1).filter_map(|line| {
        let mut cells = line.splitn(4, ',');
        Some([cells.next()?, cells.next()?, cells.next()?, cells.next()?])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_data_files_is_read() {
        assert_eq!(rows(SPEEDS).count(), SPEEDS.lines().count() - 1);
        assert_eq!(rows(BASELINES).count(), BASELINES.lines().count() - 1);
        for [family, speed, basis, note] in rows(SPEEDS) {
            let value: f64 = speed.parse().expect("a number");
            assert!((0.3..3.0).contains(&value), "{family}");
            assert!(["assumed", "sibling"].contains(&basis), "{family}");
            if basis == "sibling" {
                let sibling = note.rsplit(' ').next().expect("a family");
                assert_eq!(thread_speed(sibling).map(|s| s.value), Some(value), "{family}");
            }
        }
        for [family, size, percent, source] in rows(BASELINES) {
            assert!(
                (1..=100).contains(&percent.parse::<u32>().expect("whole percent")),
                "{family}.{size}"
            );
            assert!(source.starts_with("https://"));
        }
    }

    #[test]
    fn speeds_and_baselines_are_those_of_the_reference() {
        let of = |family| thread_speed(family).map(|speed| (speed.value, speed.basis));
        assert_eq!(of("c5"), Some((1.0, "assumed")));
        assert_eq!(of("t3a"), Some((0.72, "assumed")));
        assert_eq!(of("c6id"), Some((1.15, "sibling")));
        assert_eq!(of("c8i"), None);
        assert_eq!(burstable_baseline("t3a.xlarge"), Some(0.4));
        assert_eq!(burstable_baseline("t3.large"), Some(0.3));
        assert_eq!(burstable_baseline("c5.large"), None);
        assert_eq!(burstable_baseline("t3"), None);
    }

    #[test]
    fn families_and_pods_follow_the_rules_of_the_generator() {
        for listed in ["c5", "c7i-flex", "t3a", "m8azn", "r10id"] {
            assert!(is_listed_family(listed), "{listed}");
        }
        for other in [
            "", "c", "t2", "c1", "g5", "u-6tb1", "hpc7a", "mac2", "x2gd", "c5.large", "trn1", "cx5",
        ] {
            assert!(!is_listed_family(other), "{other}");
        }
        assert_eq!(max_pods(3, 10, 2), 29);
        assert_eq!(max_pods(4, 15, 4), 58);
        assert_eq!(max_pods(8, 30, 16), 110);
        assert_eq!(max_pods(8, 30, 32), 234);
        assert_eq!(max_pods(u32::MAX, u32::MAX, 96), 250);
        assert_eq!(max_pods(0, 0, 2), 2);
    }

    #[test]
    fn the_vendor_names_c5_for_ec2_and_c6i_for_eks() {
        let current = |target| {
            qualified_families(target)
                .iter()
                .filter(|family| family.current_advice)
                .map(|family| family.family)
                .collect::<Vec<_>>()
        };
        assert_eq!(current(Target::Ec2), ["c5"]);
        assert_eq!(current(Target::Eks), ["c6i"]);
    }
}
