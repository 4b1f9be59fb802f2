//! Arbitrary bytes as a workload profile: no panic, bounded messages, and what is accepted survives being written.
//!
//! From the package's root, with the shipped profiles as seeds and their keys as dictionary:
//!
//! ```text
//! cargo +nightly fuzz run profile fuzz/corpus/profile profiles -- \
//!     -max_total_time=600 -max_len=20000 -timeout=5 -dict=fuzz/profile.dict
//! ```
#![no_main]

use dataops_infra::domain::profile::{parse_bytes, to_yaml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // A file that is extended holds the same bytes, so that circles and chains are tried too.
    let mut read = |_: &str| String::from_utf8(data.to_vec()).map_err(|error| error.to_string());
    match parse_bytes(data, "dir/input.yaml", &mut read) {
        Ok(loaded) => {
            let yaml = to_yaml(&loaded.profile);
            let again = parse_bytes(yaml.as_bytes(), "again.yaml", &mut |_| Err("no file".to_owned()))
                .unwrap_or_else(|errors| panic!("{errors}\n{yaml}"));
            assert_eq!(loaded.profile, again.profile, "{yaml}");
            assert!(!loaded.assumptions.iter().any(|assumption| assumption.value.contains("NaN")));
        }
        Err(errors) => {
            assert!(!errors.problems.is_empty());
            let shown = errors.to_string();
            assert!(shown.len() < 100_000, "{} bytes of messages", shown.len());
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
});
