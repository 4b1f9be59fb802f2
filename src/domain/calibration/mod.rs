//! A profile from real job history: an export in, estimates with standard errors and a check against the measured
//! waits out (`sizing.md`, section 1.3 of the reference).
//!
//! `rows` reads the file, `estimate` turns jobs into numbers (`arrivals`, `layout`, `lognormal`, `variance` hold
//! one estimator each), `check` replays the result and compares it with what was measured.

pub mod arrivals;
pub mod check;
pub mod columns;
pub mod estimate;
pub mod layout;
pub mod lognormal;
pub mod report;
pub mod rows;
pub mod synthetic;
pub mod times;
pub mod variance;
pub mod waits;
