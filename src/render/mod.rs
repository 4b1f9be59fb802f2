//! Values to text: the only room that knows comfy-table, indicatif, colours and the width of a terminal.

pub mod page;
