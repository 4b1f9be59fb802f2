//! Whole program against real counterparts: one binary, a module for each part, because each binary links the SDKs anew.

mod bench;
mod catalog_data;
#[cfg(feature = "aws")]
mod catalog_refresh;
