//! The same answer for people who apply it by other means.

pub mod cloudformation;
pub mod iam;
