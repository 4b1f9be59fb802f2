//! The same answer for people who apply it by other means.

pub mod cloudformation;
pub mod eksctl;
pub mod iam;
pub mod manifests;
