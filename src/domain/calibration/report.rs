//! The answer of `calibrate` as a value: `dataops-infra/calibration/v1`.

use serde::Serialize;

use super::check::Check;
use super::columns::Column;
use super::estimate::{Calibration, Estimate, Notice, Unknown};
use super::rows::{Effect, Reading, Reason};
use crate::domain::profile::{self, fields::FIELDS, fields::SECTIONS};

/// Name and version of the document.
pub const SCHEMA: &str = "dataops-infra/calibration/v1";

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Inputs {
    /// Name of the file, `-` for standard input.
    pub file: String,
    /// Zone of the hours of the day, and of times that state none.
    pub timezone: String,
    /// `--runner`.
    pub runner: Option<String>,
    /// `--tag`.
    pub tag: Option<String>,
    /// `--timeout` in seconds.
    pub timeout_s: Option<f64>,
    /// `--concurrency`.
    pub concurrency: Option<u32>,
    /// Profile that fills the gaps.
    pub base: String,
    /// Seed of the check.
    pub seed: u64,
}

/// Why rows were not used, or not in full.
#[derive(Clone, Debug, Serialize)]
pub struct Unused {
    /// Stable name of the reason.
    pub reason: Reason,
    /// The reason in words.
    pub text: &'static str,
    /// Whether the whole row was dropped.
    pub effect: Effect,
    /// Number of rows.
    pub rows: u64,
    /// The first lines of the file, at most three.
    pub lines: Vec<u64>,
}

/// What the file held.
#[derive(Clone, Debug, Serialize)]
pub struct Rows {
    /// Rows read, the header not counted.
    pub read: u64,
    /// Rows used as jobs.
    pub used: u64,
    /// Run times used.
    pub measured: u64,
    /// Pipelines.
    pub pipelines: u64,
    /// Runners named.
    pub runners: u64,
    /// Days between the first and the last pipeline.
    pub days: f64,
    /// Character between cells.
    pub delimiter: char,
    /// Columns that are not there.
    pub absent_columns: Vec<&'static str>,
    /// Rows dropped or used in part, by reason. A row may have several reasons.
    pub unused: Vec<Unused>,
}

/// The whole answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Name and version of this program.
    pub generated_by: String,
    /// What was asked for.
    pub inputs: Inputs,
    /// What the file held.
    pub rows: Rows,
    /// What was found.
    pub estimates: Vec<Estimate>,
    /// What was not.
    pub unknown: Vec<Unknown>,
    /// The proof.
    pub check: Check,
    /// Pipelines an hour for the 168 hours of the week from Monday 00:00, shrunk towards the shape of the day.
    pub hour_of_week: Vec<f64>,
    /// The new profile, every key.
    pub profile: serde_json::Value,
    /// Where the profile was written.
    pub written_to: Option<String>,
    /// What to know about it.
    pub notices: Vec<Notice>,
}

impl Report {
    /// Puts the parts together.
    pub fn new(reading: &Reading, calibration: &Calibration, check: Check, inputs: Inputs) -> Self {
        let unused = reading.tallies.iter().map(|(reason, tally)| Unused {
            reason: *reason,
            text: reason.text(),
            effect: reason.effect(),
            rows: tally.rows,
            lines: tally.lines.clone(),
        });
        Self {
            schema: SCHEMA,
            generated_by: concat!("dataops-infra ", env!("CARGO_PKG_VERSION")).to_owned(),
            inputs,
            rows: Rows {
                read: reading.rows,
                used: reading.jobs.len() as u64,
                measured: reading.jobs.iter().filter(|job| job.is_measured()).count() as u64,
                pipelines: u64::from(reading.pipelines),
                runners: reading.runners.len() as u64,
                days: (calibration.days * 100.0).round() / 100.0,
                delimiter: reading.delimiter,
                absent_columns: reading.columns.absent().into_iter().map(Column::name).collect(),
                unused: unused.collect(),
            },
            estimates: calibration.estimates.clone(),
            unknown: calibration.unknown.clone(),
            check,
            hour_of_week: calibration
                .hour_of_week
                .iter()
                .map(|rate| (rate * 1000.0).round() / 1000.0)
                .collect(),
            profile: document(&calibration.profile),
            written_to: None,
            notices: calibration.notices.clone(),
        }
    }
}

fn document(profile: &profile::Profile) -> serde_json::Value {
    let sections = SECTIONS.iter().map(|section| {
        let fields = FIELDS.iter().filter(|field| field.section == section.name);
        let keys = fields.map(|field| (field.key.to_owned(), profile::json(field, profile)));
        (section.name.to_owned(), serde_json::Value::Object(keys.collect()))
    });
    serde_json::Value::Object(sections.collect())
}
