//! The pure half: no async, files, environment, clock, randomness or AWS types.
//!
//! Workload and catalog go in, decisions come out; the seed of every simulation is an argument.
#![deny(clippy::disallowed_methods)]

pub mod agent;
pub mod alarm_test;
pub mod calibration;
pub mod call;
pub mod catalog;
pub mod contention;
pub mod deployment;
pub mod disk;
pub mod doctor;
pub mod explain;
pub mod export;
pub mod host_script;
pub mod lifecycle;
pub mod memory;
pub mod parallel;
pub mod plan;
pub mod profile;
pub mod queueing;
pub mod random;
pub mod settings;
pub mod simulation;
pub mod sizing;
#[cfg(test)]
pub mod testing;
pub mod units;
pub mod workload;
