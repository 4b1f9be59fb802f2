//! Wires the rooms together: arguments in, one document or one error out. Named by nobody but `main`.

pub mod args;
pub mod calibrate;
pub mod catalog;
pub mod explain;
pub mod export;
pub mod outcome;
pub mod plan;
pub mod simulate;
pub mod workload;
