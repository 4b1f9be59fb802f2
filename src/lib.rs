//! Takes a team from "this is our workload" to a healthy, monitored DataOps Runner on AWS, and away again.
//!
//! Rooms and who may name whom: `domain` names nobody; `engine` and `platform` name `domain`; `aws` and `render` name
//! `domain` and `engine`; `cli` wires the rest together and is named by nobody but `main`.

#[cfg(feature = "aws")]
pub mod aws;
pub mod cli;
pub mod domain;
pub mod engine;
#[cfg(feature = "aws")]
pub mod platform;
pub mod render;
