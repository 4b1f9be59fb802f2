//! What a node gives to pods, and how many job pods fit.

use crate::domain::catalog::InstanceType;
use crate::domain::profile::Profile;

/// Hard eviction threshold of the kubelet, MiB (EKS default `memory.available<100Mi`).
const EVICTION_MIB: f64 = 100.0;

/// Allocatable resources of a node and the job pods they hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allocatable {
    /// Thousandths of a CPU that pods may request.
    pub cpu_m: f64,
    /// MiB that pods may request.
    pub memory_mib: f64,
    /// MiB left for job pods.
    pub job_memory_mib: f64,
    /// Thousandths of a CPU left for job pods.
    pub job_cpu_m: f64,
    /// Job pods by CPU alone, fractional.
    pub by_cpu: f64,
    /// Job pods by memory alone, fractional.
    pub by_memory: f64,
    /// Job pods that fit.
    pub job_pods: u32,
}

/// Returns what a node of the type gives to pods.
///
/// Memory: MemTotal less `255 + 11 maxPods` MiB and the eviction threshold (the EKS node's bootstrap formula).
/// CPU: less 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the others.
pub fn allocatable(profile: &Profile, instance: &InstanceType) -> Allocatable {
    let cluster = &profile.kubernetes;
    let total = f64::from(instance.memory_mib) * profile.host.memtotal_share;
    let reserved = 255.0 + 11.0 * f64::from(instance.max_pods) + EVICTION_MIB;
    let memory_mib = (total - reserved).max(0.0);
    let cores = f64::from(instance.vcpus);
    let share = |from: f64, to: f64| (cores.min(to) - from).max(0.0) * 1000.0;
    let cpu_m = cores * 1000.0
        - 0.06 * share(0.0, 1.0)
        - 0.01 * share(1.0, 2.0)
        - 0.005 * share(2.0, 4.0)
        - 0.0025 * share(4.0, f64::INFINITY);
    let job_memory_mib = (memory_mib - cluster.system_memory_mib).max(0.0);
    let job_cpu_m = (cpu_m - cluster.system_cpu_m).max(0.0);
    let by = |has: f64, needs: f64| if needs > 0.0 { has / needs } else { f64::INFINITY };
    let by_cpu = by(job_cpu_m, cluster.cpu_request_m);
    let by_memory = by(job_memory_mib, cluster.memory_request_mib);
    let places = f64::from(instance.max_pods.saturating_sub(cluster.system_pods));
    let job_pods = by_cpu.min(by_memory).min(places).floor() as u32;
    Allocatable {
        cpu_m,
        memory_mib,
        job_memory_mib,
        job_cpu_m,
        by_cpu,
        by_memory,
        job_pods,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::Catalog;
    use crate::domain::testing::production;

    #[test]
    fn nodes_hold_the_pods_of_the_reference() {
        let catalog = Catalog::embedded("us-east-1").expect("known");
        let mut profile = production();
        for (name, cpu, memory, pods) in [
            ("c6i.large", 1930.0, 3168.0, 6),
            ("c6i.xlarge", 3920.0, 6691.0, 13),
            ("c6i.2xlarge", 7910.0, 14375.0, 30),
            ("m6i.large", 1930.0, 7010.0, 6),
        ] {
            let instance = catalog.types.iter().find(|row| row.name == name).expect(name);
            let node = allocatable(&profile, instance);
            assert!((node.cpu_m - cpu).abs() < 1.0, "{name} {node:?}");
            assert!((node.memory_mib - memory).abs() < 2.0, "{name} {node:?}");
            assert_eq!(node.job_pods, pods, "{name}");
        }
        // The vendor's Fargate example asks for a whole CPU: one job at a time on a c6i.large.
        profile.kubernetes.cpu_request_m = 1000.0;
        let large = catalog
            .types
            .iter()
            .find(|row| row.name == "c6i.large")
            .expect("there");
        assert_eq!(allocatable(&profile, large).job_pods, 1);
    }
}
