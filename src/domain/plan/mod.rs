//! The plan: the answer and the steps as one document with nothing left to decide.
//!
//! `document` turns a recommendation into the values that every format prints; `alarms` and `conflicts` are the
//! knowledge in it, `wording` its sentences.

pub mod alarms;
pub mod conflicts;
pub mod document;
pub mod simulation;
pub mod steps;
pub mod wording;
