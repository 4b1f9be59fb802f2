use super::*;
use crate::domain::testing;

#[test]
fn nothing() {}
