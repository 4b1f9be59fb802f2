//! Which column of an export holds what: names are compared without case and punctuation, order does not matter.

use std::fmt::{self, Write as _};

/// What a column means to the calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Identifier of the pipeline.
    Pipeline,
    /// Name of the stage.
    Stage,
    /// Status of the job.
    Status,
    /// When the job was created.
    Created,
    /// When the runner started it.
    Started,
    /// When it ended.
    Finished,
    /// Its run time in seconds.
    Duration,
    /// Seconds it was pending.
    Queued,
    /// Identifier of the job.
    Id,
    /// Name of the job.
    Name,
    /// Identifier of the runner.
    Runner,
    /// Tags of the job.
    Tags,
    /// What started the pipeline.
    Source,
    /// Why it failed.
    FailureReason,
    /// Whether a later attempt replaced it.
    Retried,
}

/// Every column with its documented name first and the other spellings, all reduced to letters and digits.
///
/// GitLab's REST API nests (`pipeline.id`, `runner.id`), GraphQL uses camel case, webhooks a prefix.
const SPELLINGS: &[(Column, &str, &[&str])] = &[
    (
        Column::Pipeline,
        "pipeline_id",
        &["pipelineid", "pipeline", "cipipelineid", "buildpipelineid"],
    ),
    (
        Column::Stage,
        "stage",
        &["stage", "stagename", "buildstage", "jobstage"],
    ),
    (
        Column::Status,
        "status",
        &["status", "state", "buildstatus", "jobstatus"],
    ),
    (
        Column::Created,
        "created_at",
        &["createdat", "created", "buildcreatedat", "jobcreatedat"],
    ),
    (
        Column::Started,
        "started_at",
        &["startedat", "started", "buildstartedat", "jobstartedat"],
    ),
    (
        Column::Finished,
        "finished_at",
        &["finishedat", "finished", "buildfinishedat", "jobfinishedat"],
    ),
    (
        Column::Duration,
        "duration",
        &[
            "duration",
            "durations",
            "durationseconds",
            "durationsec",
            "buildduration",
            "jobduration",
        ],
    ),
    (
        Column::Queued,
        "queued_duration",
        &[
            "queuedduration",
            "queueddurations",
            "queueddurationseconds",
            "queueduration",
            "queued",
            "queuedseconds",
            "buildqueuedduration",
        ],
    ),
    (Column::Id, "id", &["id", "jobid", "buildid"]),
    (Column::Name, "name", &["name", "jobname", "buildname"]),
    (Column::Runner, "runner_id", &["runnerid", "runner"]),
    (Column::Tags, "tag_list", &["taglist", "tags"]),
    (
        Column::Source,
        "source",
        &["pipelinesource", "source", "pipelinetrigger"],
    ),
    (
        Column::FailureReason,
        "failure_reason",
        &["failurereason", "buildfailurereason"],
    ),
    (Column::Retried, "retried", &["retried", "isretried"]),
];

/// How many columns there are.
pub const COLUMNS: usize = SPELLINGS.len();

impl Column {
    /// Returns the name as the documentation has it.
    pub fn name(self) -> &'static str {
        SPELLINGS[self as usize].1
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where each column is in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    places: [Option<usize>; COLUMNS],
}

/// A header that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Columns without which nothing can be said.
    #[error("{}", missing_message(.missing, .found))]
    Missing {
        /// The columns, each with the nearest name found.
        missing: Vec<(Column, Option<String>)>,
        /// All names found.
        found: Vec<String>,
    },
    /// Two columns of one name.
    #[error("two columns hold `{column}`: column {first} and column {second}")]
    Twice {
        /// Their meaning.
        column: Column,
        /// Place of the first, counted from 1.
        first: usize,
        /// Place of the second.
        second: usize,
    },
}

fn missing_message(missing: &[(Column, Option<String>)], found: &[String]) -> String {
    let mut text = String::new();
    for (column, nearest) in missing {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str("no column `");
        text.push_str(column.name());
        text.push('`');
        if let Some(nearest) = nearest {
            text.push_str(" (nearest: `");
            text.push_str(nearest);
            text.push_str("`)");
        }
    }
    text.push_str("; found: ");
    let shown: Vec<String> = found.iter().take(30).map(|name| format!("`{name}`")).collect();
    text.push_str(&shown.join(", "));
    if found.len() > 30 {
        let _ = write!(text, " and {} more", found.len() - 30);
    }
    text
}

impl Columns {
    /// Finds the columns in a header.
    ///
    /// Pipeline, stage, status and `started_at` must be there, one of `finished_at` and `duration`, and one of
    /// `created_at` and `queued_duration`; what else is missing is said in the answer.
    pub fn find(header: &[String]) -> Result<Self, HeaderError> {
        let reduced: Vec<String> = header.iter().map(|name| reduce(name)).collect();
        let mut places = [None; COLUMNS];
        for (column, _, spellings) in SPELLINGS {
            // The better spelling wins: `pipeline.id` over a `pipeline` column that holds something else.
            for spelling in *spellings {
                let mut hits = reduced.iter().enumerate().filter(|(_, name)| name == spelling);
                let Some((first, _)) = hits.next() else { continue };
                if let Some((second, _)) = hits.next() {
                    return Err(HeaderError::Twice {
                        column: *column,
                        first: first + 1,
                        second: second + 1,
                    });
                }
                places[*column as usize] = Some(first);
                break;
            }
        }
        let columns = Self { places };
        let has = |column: Column| columns.place(column).is_some();
        let mut missing = Vec::new();
        for column in [Column::Pipeline, Column::Stage, Column::Status, Column::Started] {
            if !has(column) {
                missing.push(column);
            }
        }
        for (column, instead) in [
            (Column::Duration, Column::Finished),
            (Column::Created, Column::Queued),
        ] {
            if !has(column) && !has(instead) {
                missing.push(column);
            }
        }
        if missing.is_empty() {
            return Ok(columns);
        }
        let found: Vec<String> = header.iter().map(|name| shorten(name)).collect();
        let missing = missing
            .into_iter()
            .map(|column| (column, nearest(column, header)))
            .collect();
        Err(HeaderError::Missing { missing, found })
    }

    /// Returns where the column is.
    pub fn place(&self, column: Column) -> Option<usize> {
        self.places[column as usize]
    }

    /// Returns the columns that are absent, in the documented order.
    pub fn absent(&self) -> Vec<Column> {
        SPELLINGS
            .iter()
            .map(|(column, _, _)| *column)
            .filter(|column| self.place(*column).is_none())
            .collect()
    }
}

fn reduce(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .take(64)
        .collect()
}

fn shorten(name: &str) -> String {
    let mut short: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    if name.chars().count() > 40 {
        short.push('…');
    }
    short
}

fn nearest(column: Column, header: &[String]) -> Option<String> {
    let wanted = reduce(column.name());
    header
        .iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &reduce(name)), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| shorten(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn names_are_found_in_any_order_case_and_dialect() {
        let text =
            "Duration,web_url,pipeline.id,Pipeline,stage.name,STATUS,startedAt,queued duration,runner.id";
        let columns = Columns::find(&header(text)).unwrap();
        assert_eq!(columns.place(Column::Duration), Some(0));
        assert_eq!(columns.place(Column::Pipeline), Some(2));
        assert_eq!(columns.place(Column::Queued), Some(7));
        assert_eq!(columns.place(Column::Runner), Some(8));
        assert_eq!(
            columns.absent(),
            [
                Column::Created,
                Column::Finished,
                Column::Id,
                Column::Name,
                Column::Tags,
                Column::Source,
                Column::FailureReason,
                Column::Retried
            ]
        );
    }

    #[test]
    fn a_missing_column_is_named_with_the_nearest_one() {
        let error =
            Columns::find(&header("pipelin_id,stage,status,created_at,start_at,duration")).unwrap_err();
        insta::assert_snapshot!(error, @"no column `pipeline_id` (nearest: `pipelin_id`); no column `started_at` (nearest: `start_at`); found: `pipelin_id`, `stage`, `status`, `created_at`, `start_at`, `duration`");
    }

    #[test]
    fn a_column_that_is_there_twice_is_refused() {
        let text = "pipeline_id,stage,status,created_at,started_at,duration,Duration";
        let error = Columns::find(&header(text)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "two columns hold `duration`: column 6 and column 7"
        );
    }

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (place, (column, ..)) in SPELLINGS.iter().enumerate() {
            assert_eq!(*column as usize, place);
        }
    }
}
