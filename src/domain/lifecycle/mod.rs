//! Work on hosts that are there: what is sent to them, what they answer, and what follows from it.
//!
//! `script` renders what Run Command sends, `said` reads the answers, `upgrade` decides what an upgrade does next.

pub mod said;
pub mod script;
pub mod upgrade;
