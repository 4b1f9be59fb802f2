//! Adapters to AWS: an SDK answer becomes one of our values at once, and nothing is decided here.
//!
//! `observe` reads what there is of deployments, with one file per kind for how an answer is read; `deployed` is the
//! engine's port: it makes the calls of operations, one file per kind.

pub mod alarm;
pub mod alarm_test;
pub mod catalog;
pub mod clients;
pub mod command;
pub mod dashboard;
pub mod deployed;
pub mod doctor;
pub mod eks;
pub mod error;
pub mod instance;
pub mod logs;
pub mod metric;
pub mod observe;
pub mod parameter;
pub mod preflight;
pub mod role;
pub mod security_group;
pub mod session;
pub mod tags;
pub mod topic;
