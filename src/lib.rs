//! Takes a team from "this is our workload" to a healthy, monitored DataOps Runner on AWS, and away again.
//!
//! Rooms and who may name whom: `domain` names nobody; `engine` and `platform` name `domain`; `render` and `kubernetes` name
//! `domain` and `engine`, `aws` names them and `kubernetes`; `cli` wires the rest together and is named by nobody but `main`.

#[cfg(feature = "aws")]
pub mod aws;
pub mod cli;
pub mod domain;
pub mod engine;
#[cfg(feature = "aws")]
pub mod kubernetes;
#[cfg(feature = "aws")]
pub mod platform;
pub mod render;
