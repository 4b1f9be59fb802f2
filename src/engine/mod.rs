//! Runs steps through a port: order, retries, waits, fallbacks and Ctrl-C. Prints nothing; tells events.
//!
//! `port` is what a cloud must be able to do, `run` takes the steps of a deployment, `attempt` gets one step done.

pub mod attempt;
pub mod event;
pub mod port;
pub mod run;
