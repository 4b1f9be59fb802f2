//! Example values for tests of this room.

use super::profile::{Profile, builtin};

/// Returns the production profile.
pub fn production() -> Profile {
    builtin("production").expect("built in").profile
}
