//! A deployment on EKS: the cluster, its nodes and what stands in it.
//!
//! `spec` is what is wanted besides what every deployment has and `choose` decides it, `name` the names, `observed` what there is,
//! `operation` what a step does, on AWS or in the cluster. `identity` says what roles may do, `addons` how add-ons are set, `objects`
//! what stands in the cluster before the chart, `values` what the chart is installed with, `secret` what secrets there hold,
//! `autoscaler` what Cluster Autoscaler is made of; `preflight` says what must hold before, `upgrade` what may follow a version, `health` what EKS's own findings mean.

pub mod addons;
pub mod autoscaler;
pub mod choose;
pub mod health;
pub mod identity;
pub mod name;
pub mod nodes;
pub mod objects;
pub mod observed;
pub mod operation;
pub mod preflight;
pub mod secret;
pub mod spec;
pub mod upgrade;
pub mod values;
