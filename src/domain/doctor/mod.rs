//! `doctor`: facts of machine, account, deployment, host, runner and alarms to named checks.
//!
//! `code` is the one table of checks, `check` what a check says, `board` collects the answers and knows which are missing.
//! `machine`, `account`, `deployment`, `host`, `runner`, `alarm` and `cluster` turn facts into checks; `facts` is what a host says of
//! itself (`templates/host/facts.py`), `fix` what can be mended at once. Nothing is read here: `aws::doctor` does that.

pub mod account;
pub mod alarm;
pub mod board;
pub mod check;
pub mod cluster;
pub mod code;
pub mod deployment;
pub mod facts;
pub mod fix;
pub mod host;
pub mod machine;
pub mod runner;
pub mod scene;

#[cfg(test)]
mod tests;
