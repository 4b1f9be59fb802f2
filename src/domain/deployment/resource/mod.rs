//! One file per kind: what we want of it, and what differs.

pub mod alarm;
pub mod dashboard;
pub mod instance;
pub mod role;
