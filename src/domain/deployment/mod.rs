//! A deployment: its names, what it shall be, what there is of it, and the steps between.
//!
//! `name` and `owner` say what is ours, `spec` and `record` what is wanted, `observed` what there is; `resource` compares, kind by
//! kind; `up` and `down` turn the difference into steps, each with one `operation`.

pub mod change;
pub mod down;
pub mod drained;
pub mod eks;
pub mod metric;
pub mod name;
pub mod observed;
pub mod operation;
pub mod owner;
pub mod preflight;
pub mod record;
pub mod report;
pub mod resource;
pub mod secret;
pub mod spec;
pub mod step;
pub mod up;
pub mod user_data;
