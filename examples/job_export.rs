//! Writes a job export made from a built-in profile to stdout, for trying out and timing `calibrate`.
//!
//! `cargo run --example job_export -- production 26 1 > jobs.csv` (profile, weeks, seed; `dirty` as a fourth word).

use std::io::Write as _;

use dataops_infra::domain::calibration::synthetic::Export;
use dataops_infra::domain::profile;

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize, default: &'static str| words.get(at).map_or(default, String::as_str);
    let Some(loaded) = profile::builtin(word(0, "production")) else {
        return Err(std::io::Error::other("no such built-in profile"));
    };
    let number = |text: &str| text.parse::<u64>().map_err(std::io::Error::other);
    let mut export = Export::of(loaded.profile, number(word(2, "1"))?);
    export.weeks = u32::try_from(number(word(1, "2"))?).map_err(std::io::Error::other)?;
    if word(3, "") == "dirty" {
        export.retried = 0.8;
        export.duplicated = 0.02;
        export.broken = 0.03;
        export.blank = 0.01;
        export.shuffle = 1;
    }
    std::io::stdout().write_all(export.csv().as_bytes())
}
