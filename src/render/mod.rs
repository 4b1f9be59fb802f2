//! Values to text: the only room that knows comfy-table, indicatif, colours and the width of a terminal.

pub mod calibration;
pub mod deployment;
pub mod doctor;
pub mod document;
pub mod log;
pub mod markdown;
pub mod page;
pub mod plan;
pub mod progress;
pub mod simulation;
pub mod spinner;
pub mod style;
pub mod text;
mod wrap;
