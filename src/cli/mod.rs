//! Wires the rooms together: arguments in, one document or one error out. Named by nobody but `main`.

pub mod alarms;
pub mod args;
pub mod calibrate;
pub mod catalog;
pub mod completions;
pub mod deployment;
pub mod doctor;
pub mod down;
pub mod eks_token;
pub mod explain;
pub mod export;
pub mod kubeconfig;
pub mod man;
pub mod outcome;
pub mod plan;
pub mod question;
pub mod resize;
pub mod rotate_token;
mod run;
pub mod runner;
pub mod simulate;
pub mod status;
pub mod up;
pub mod upgrade;
pub mod workload;

pub use run::run;
