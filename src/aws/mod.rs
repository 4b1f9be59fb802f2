//! Adapters to AWS: an SDK answer becomes one of our values at once, and nothing is decided here.

pub mod catalog;
pub mod error;
pub mod session;
