//! Calls to the API server of a cluster and runs of the user's `helm`, turned into values of domain at once.
//!
//! `login` signs in, `client` calls, `object` applies, reads and removes one object, `read` reads all of a deployment, `release` reads
//! what Helm keeps, `helm` runs it, `pods` says what pods do and why not, `scale` stops and starts the runner, `teardown` is what goes
//! before a deployment goes, `kubeconfig` writes the file for other programs.

pub mod client;
pub mod helm;
pub mod kubeconfig;
pub mod login;
pub mod object;
pub mod pods;
pub mod read;
pub mod release;
pub mod scale;
pub mod teardown;
