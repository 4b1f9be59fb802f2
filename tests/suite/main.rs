//! Tests of the program as a whole. One binary with a module for each subject, because each binary links the SDKs anew.

mod bench;
#[cfg(feature = "aws")]
mod bench_proof;
#[cfg(feature = "aws")]
mod booted;
mod calibration;
mod catalog_data;
#[cfg(feature = "aws")]
mod catalog_refresh;
mod cli;
#[cfg(feature = "aws")]
mod cluster;
#[cfg(feature = "aws")]
mod deploy;
mod doctor;
#[cfg(feature = "aws")]
mod eks_aws;
mod export;
mod export_eks;
mod fakes;
mod golden;
mod host_lints;
mod host_script;
mod host_timers;
mod iam;
mod layering;
mod lifecycle;
mod readme;
mod tree;
