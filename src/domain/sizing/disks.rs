//! The disk of each host by the number of hosts: fewer jobs leave less behind on each.

use std::sync::OnceLock;

use super::evaluate::jobs_per_week;
use super::search::{MOST_HOSTS, Question};
use crate::domain::disk::{DiskFill, DiskLoad};
use crate::domain::profile::Disk;

/// Sizes in GiB, worked out when they are first asked for.
#[derive(Clone, Debug)]
pub struct DiskSizes {
    disk: Disk,
    jobs_per_day: f64,
    concurrency: u32,
    seed: u64,
    sizes: Vec<OnceLock<Option<u32>>>,
}

impl DiskSizes {
    /// Prepares the sizes for hosts (or nodes) that run so many jobs at once.
    pub fn new(question: &Question<'_>, concurrency: u32) -> Self {
        let most = MOST_HOSTS.max(question.profile.slo.min_nodes) as usize;
        Self {
            disk: question.profile.disk.clone(),
            jobs_per_day: jobs_per_week(question.profile) / 7.0,
            concurrency,
            seed: question.seed,
            sizes: (0..=most).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Returns the GiB of each of so many hosts; none when no volume is large enough.
    pub fn gib(&self, hosts: u32) -> Option<u32> {
        let index = (hosts as usize).min(self.sizes.len() - 1);
        *self.sizes[index].get_or_init(|| DiskFill::smallest_for(&self.disk, self.load(hosts), self.seed, 1))
    }

    /// Returns what fills the disk of each of so many hosts.
    pub fn load(&self, hosts: u32) -> DiskLoad {
        DiskLoad {
            jobs_per_day: self.jobs_per_day / f64::from(hosts.max(1)),
            concurrency: self.concurrency,
        }
    }
}
