//! Workload and catalog → the host we choose, and everything rejected with its reason.

pub mod disks;
pub mod evaluate;
pub mod interval;
pub mod pods;
pub mod recommend;
pub mod search;
pub mod study;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_threads;
