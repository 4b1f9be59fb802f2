//! The plan: the answer and the steps as one document with nothing left to decide.
//!
//! `document` turns a recommendation into the values that every format prints, with the parts `alternatives`, `cost`,
//! `prediction`, `notices` and `steps`; `alarms` and `conflicts` are the knowledge in it, `wording` its sentences;
//! `simulation` is the document of `simulate`.

pub mod alarms;
pub mod alternatives;
pub mod conflicts;
pub mod cost;
pub mod document;
pub mod notices;
pub mod prediction;
pub mod simulation;
pub mod steps;
pub mod wording;
