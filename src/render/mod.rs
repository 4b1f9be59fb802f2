//! Values to text: the only room that knows comfy-table, indicatif, colours and the width of a terminal.

pub mod document;
pub mod log;
pub mod markdown;
pub mod page;
pub mod style;
pub mod text;
mod wrap;
