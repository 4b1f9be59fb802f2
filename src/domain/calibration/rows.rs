//! A job export, row by row: bytes in, compact jobs and a tally of everything that could not be used out.
//!
//! What a row *means* (which column, which status, which attempt) is decided here; what follows from all rows
//! together is in `estimate`.

use std::cell::Cell as Counter;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{self, Read};
use std::rc::Rc;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::columns::{Column, Columns, HeaderError};
use super::times::{self, Cell, Millis, Zone};

/// An instant that is not known.
pub const NEVER: Millis = Millis::MIN;
/// A name that is not known.
pub const UNNAMED: u32 = u32::MAX;

/// Rows that are kept at most; beyond them the export should be cut into windows.
pub const MAX_ROWS: usize = 20_000_000;
/// Bytes that one record may have: an unclosed quotation mark must not swallow the file.
const MAX_RECORD: u64 = 1 << 20;
/// Seconds beyond which a job is a mistake of the clock: thirty days.
const MAX_DURATION_S: f64 = 30.0 * 86_400.0;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Success.
    Success,
    /// Failure, time-outs among them.
    Failed,
    /// Cancelled: its run time is cut short.
    Cancelled,
    /// Not yet: pending, running, created.
    Open,
    /// A status we do not know, or none.
    Unclear,
}

/// One attempt of one job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Number of the pipeline in order of appearance.
    pub pipeline: u32,
    /// Number of the stage name, [`UNNAMED`] when the cell is empty.
    pub stage: u32,
    /// Number of the job name, [`UNNAMED`] when there is none.
    pub name: u32,
    /// Number of the runner, [`UNNAMED`] when there is none.
    pub runner: u32,
    /// Creation, or [`NEVER`].
    pub created: Millis,
    /// Start, or [`NEVER`].
    pub started: Millis,
    /// End, or [`NEVER`].
    pub finished: Millis,
    /// Run time in seconds, NaN when it cannot be told.
    pub duration_s: f32,
    /// Pending time in seconds, NaN when it cannot be told.
    pub queued_s: f32,
    /// How it ended.
    pub ended: Ended,
    /// Whether a schedule started its pipeline, where the export says.
    pub scheduled: Option<bool>,
    /// Whether the platform stopped it at its time limit.
    pub timed_out: bool,
    /// Whether the export says that a later attempt replaced this one.
    pub retried: bool,
}

impl Job {
    /// Returns when the job became ready to run: its start less its pending time.
    ///
    /// `created_at` is no substitute: later stages are created together with the pipeline.
    pub fn ready(&self) -> Option<Millis> {
        (self.started != NEVER).then(|| {
            let queued = if self.queued_s.is_nan() {
                0.0
            } else {
                self.queued_s
            };
            self.started - (f64::from(queued) * 1000.0).round() as Millis
        })
    }

    /// Returns whether its run time is a draw from the distribution of durations.
    pub fn is_measured(&self) -> bool {
        matches!(self.ended, Ended::Success | Ended::Failed) && !self.duration_s.is_nan()
    }
}

/// Why a row, or a cell of it, was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Without a pipeline it belongs nowhere.
    NoPipeline,
    /// The same job id again.
    Duplicate,
    /// Another runner's, with `--runner`.
    OtherRunner,
    /// Without the tag, with `--tag`.
    OtherTag,
    /// Skipped: it never ran.
    Skipped,
    /// Manual: nobody started it.
    Manual,
    /// Cancelled: counts as a job, its run time is cut short.
    Cancelled,
    /// Pending, running or created: its pipeline is not finished.
    Unfinished,
    /// A status that is not GitLab's.
    UnknownStatus,
    /// A time stamp that cannot be read, or lies before 2008 or after 2099.
    UnreadableTime,
    /// A number that cannot be read: NaN, infinite, text.
    UnreadableNumber,
    /// It succeeded or failed, and has no start.
    NeverStarted,
    /// A run time below zero.
    NegativeDuration,
    /// A pending time below zero.
    NegativeQueue,
    /// It ended before it began.
    FinishBeforeStart,
    /// A run time of more than thirty days.
    Endless,
    /// Neither a run time nor an end.
    NoDuration,
    /// No stage.
    NoStage,
    /// Fewer cells than the header has.
    ShortRecord,
}

impl Reason {
    /// Returns what was done with such rows.
    pub fn effect(self) -> Effect {
        match self {
            Self::NoPipeline
            | Self::Duplicate
            | Self::OtherRunner
            | Self::OtherTag
            | Self::Skipped
            | Self::Manual
            | Self::Unfinished => Effect::Dropped,
            Self::Cancelled
            | Self::UnknownStatus
            | Self::UnreadableTime
            | Self::UnreadableNumber
            | Self::NeverStarted
            | Self::NegativeDuration
            | Self::NegativeQueue
            | Self::FinishBeforeStart
            | Self::Endless
            | Self::NoDuration
            | Self::NoStage
            | Self::ShortRecord => Effect::Partial,
        }
    }

    /// Returns a line about it.
    pub fn text(self) -> &'static str {
        match self {
            Self::NoPipeline => "no pipeline id",
            Self::Duplicate => "job id seen before",
            Self::OtherRunner => "another runner",
            Self::OtherTag => "without the tag",
            Self::Skipped => "skipped",
            Self::Manual => "manual, not started",
            Self::Cancelled => "cancelled: counts as a job, run time not used",
            Self::Unfinished => "not finished: its pipeline is left out of the counts",
            Self::UnknownStatus => "unknown status: counts as a job, run time not used",
            Self::UnreadableTime => "unreadable or impossible time stamp",
            Self::UnreadableNumber => "unreadable number",
            Self::NeverStarted => "ended without a start",
            Self::NegativeDuration => "negative duration",
            Self::NegativeQueue => "negative queued duration",
            Self::FinishBeforeStart => "finished before it started",
            Self::Endless => "longer than 30 days",
            Self::NoDuration => "no duration and no end",
            Self::NoStage => "no stage",
            Self::ShortRecord => "fewer cells than the header",
        }
    }
}

/// How far a row was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Not at all.
    Dropped,
    /// As a job of its pipeline; the cells that cannot be believed are left out.
    Partial,
}

/// How often a reason came up, and where first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// The first lines of the file, at most three.
    pub lines: Vec<u64>,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Zone of time stamps that state none.
    pub zone: TimeZone,
    /// Keep only jobs of this runner.
    pub runner: Option<String>,
    /// Keep only jobs with this tag.
    pub tag: Option<String>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
            runner: None,
            tag: None,
        }
    }
}

/// Everything an export says.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Attempts of jobs, in the order of the file.
    pub jobs: Vec<Job>,
    /// Number of pipelines that [`Job::pipeline`] counts.
    pub pipelines: u32,
    /// For each pipeline, whether it has a job that is not finished yet.
    pub open: Vec<bool>,
    /// Names of the runners that [`Job::runner`] counts.
    pub runners: Vec<String>,
    /// Rows of the file, without the header.
    pub rows: u64,
    /// What could not be used, by reason.
    pub tallies: BTreeMap<Reason, Tally>,
    /// Where the columns were.
    pub columns: Columns,
    /// The character between cells.
    pub delimiter: char,
    /// Time stamps without an offset, read in the zone asked for.
    pub naive_times: u64,
    /// Time stamps with an offset other than zero.
    pub offset_times: u64,
    /// Rows whose duration disagrees with start and end by more than 2 s and 5 %.
    pub contradictions: Tally,
}

/// A file that cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading failed.
    #[error("reading failed")]
    Io {
        /// Line of the file.
        line: u64,
        /// The cause.
        source: io::Error,
    },
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Something other than CSV.
    #[error("this is not CSV: {0}")]
    NotCsv(&'static str),
    /// The header does not fit.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// A record without an end.
    #[error("a record longer than 1 MiB; is a quotation mark left open?")]
    LongRecord {
        /// Line on which it starts.
        line: u64,
    },
    /// Too much.
    #[error("more than {MAX_ROWS} usable rows: cut the export into shorter windows")]
    TooMany,
    /// `--runner` or `--tag` without their column.
    #[error("no column `{0}` to filter by")]
    NoFilterColumn(Column),
    /// A header and nothing usable after it.
    #[error("{}", nothing_message(*.rows, .tallies))]
    NothingUsable {
        /// Rows read.
        rows: u64,
        /// What was wrong with them.
        tallies: BTreeMap<Reason, Tally>,
    },
}

impl ReadError {
    /// Returns the line of the file that it is about.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Io { line, .. } | Self::LongRecord { line } => Some(*line),
            Self::Header(_) | Self::NoFilterColumn(_) => Some(1),
            Self::Empty | Self::NotCsv(_) | Self::TooMany | Self::NothingUsable { .. } => None,
        }
    }
}

fn nothing_message(rows: u64, tallies: &BTreeMap<Reason, Tally>) -> String {
    if rows == 0 {
        return "a header and no rows".to_owned();
    }
    let mut text = format!("none of the {rows} rows holds a finished job");
    for (reason, tally) in tallies {
        let first = tally.lines.first().copied().unwrap_or_default();
        let _ = write!(
            text,
            "\n  {} x {} (first: line {first})",
            tally.rows,
            reason.text()
        );
    }
    text
}

/// Numbers names in order of appearance; names that are plain numbers take the short way.
#[derive(Default)]
struct Names {
    numbers: HashMap<u64, u32>,
    words: HashMap<Box<[u8]>, u32>,
}

impl Names {
    /// Returns the number of a name and whether it is new.
    fn number(&mut self, name: &[u8]) -> (u32, bool) {
        let next = (self.numbers.len() + self.words.len()) as u32;
        let plain =
            !name.is_empty() && name.len() <= 18 && name[0] != b'0' && name.iter().all(u8::is_ascii_digit);
        if plain {
            let value = name
                .iter()
                .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            let number = *self.numbers.entry(value).or_insert(next);
            return (number, number == next);
        }
        if let Some(number) = self.words.get(name) {
            return (*number, false);
        }
        self.words.insert(name.into(), next);
        (next, true)
    }
}

/// Counts the bytes handed out since the last record, so that an open quotation mark ends the reading.
struct Guard<R> {
    inner: R,
    since: Rc<Counter<u64>>,
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since.get() > MAX_RECORD {
            return Err(io::Error::other(LongRecord));
        }
        let got = self.inner.read(buffer)?;
        self.since.set(self.since.get() + got as u64);
        Ok(got)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the record is too long")]
struct LongRecord;

/// Reads an export. `progress` is told the number of rows now and then.
pub fn read(
    mut input: impl Read,
    options: &ReadOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Reading, ReadError> {
    let head = head(&mut input).map_err(|source| ReadError::Io { line: 1, source })?;
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head).to_vec();
    sniff(&head)?;
    let delimiter = delimiter(&head);
    let since = Rc::new(Counter::new(0));
    let guard = Guard {
        inner: head.as_slice().chain(input),
        since: Rc::clone(&since),
    };
    let mut csv = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .has_headers(false)
        .buffer_capacity(1 << 16)
        .from_reader(guard);
    let mut record = csv::ByteRecord::new();
    let failed = |error: csv::Error, line: u64| match error.into_kind() {
        csv::ErrorKind::Io(source) => match source.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(LongRecord) => ReadError::LongRecord { line },
            None => ReadError::Io { line, source },
        },
        _ => ReadError::NotCsv("the reader found no records"),
    };
    if !csv
        .read_byte_record(&mut record)
        .map_err(|error| failed(error, 1))?
    {
        return Err(ReadError::Empty);
    }
    let header: Vec<String> = record
        .iter()
        .map(|cell| String::from_utf8_lossy(cell).trim().to_owned())
        .collect();
    let columns = Columns::find(&header)?;
    for (asked, column) in [(&options.runner, Column::Runner), (&options.tag, Column::Tags)] {
        if asked.is_some() && columns.place(column).is_none() {
            return Err(ReadError::NoFilterColumn(column));
        }
    }
    let mut reader = Reader::new(columns, header.len(), delimiter, options);
    loop {
        since.set(0);
        let line = csv.position().line();
        if !csv
            .read_byte_record(&mut record)
            .map_err(|error| failed(error, line))?
        {
            break;
        }
        let line = record.position().map_or(line, csv::Position::line);
        reader.row(&record, line);
        if reader.reading.jobs.len() > MAX_ROWS {
            return Err(ReadError::TooMany);
        }
        if reader.reading.rows.is_multiple_of(50_000) {
            progress(reader.reading.rows);
        }
    }
    let reading = reader.finish();
    if reading.jobs.iter().any(Job::is_measured) {
        Ok(reading)
    } else {
        Err(ReadError::NothingUsable {
            rows: reading.rows,
            tallies: reading.tallies,
        })
    }
}

/// Reads the first bytes, enough to tell what kind of file it is.
fn head(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1 << 14);
    input.take(1 << 14).read_to_end(&mut head)?;
    Ok(head)
}

/// Refuses what is certainly no CSV, and says what it looks like.
fn sniff(head: &[u8]) -> Result<(), ReadError> {
    let first = head.trim_ascii_start();
    if first.is_empty() {
        return Err(ReadError::Empty);
    }
    let kinds: [(&[u8], &str); 6] = [
        (
            b"\x1f\x8b",
            "it is compressed with gzip; unpack it first (`zcat FILE | dataops-infra calibrate -`)",
        ),
        (
            b"PK\x03\x04",
            "it is a ZIP archive or a spreadsheet; save it as CSV",
        ),
        (b"\xff\xfe", "it is UTF-16; save it as UTF-8"),
        (b"\xfe\xff", "it is UTF-16; save it as UTF-8"),
        (
            b"[",
            "it is JSON; `--help` shows how to turn the API's answer into CSV with jq",
        ),
        (
            b"{",
            "it is JSON; `--help` shows how to turn the API's answer into CSV with jq",
        ),
    ];
    for (magic, text) in kinds {
        if first.starts_with(magic) {
            return Err(ReadError::NotCsv(text));
        }
    }
    if head.contains(&0) {
        return Err(ReadError::NotCsv("it holds NUL bytes"));
    }
    Ok(())
}

/// Returns the most frequent candidate of the header line outside quotation marks; a comma when there is none.
fn delimiter(head: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [0usize; 4];
    for byte in head
        .iter()
        .skip_while(|b| b.is_ascii_whitespace() && **b != b'\t')
    {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if quoted => {}
            b',' => counts[0] += 1,
            b';' => counts[1] += 1,
            b'\t' => counts[2] += 1,
            b'|' => counts[3] += 1,
            _ => {}
        }
    }
    let best = (0..4).rev().max_by_key(|at| counts[*at]).unwrap_or(0);
    b",;\t|"[best]
}

struct Reader<'a> {
    options: &'a ReadOptions,
    width: usize,
    reading: Reading,
    pipelines: Names,
    stages: Names,
    names: Names,
    runners: Names,
    ids: Names,
}

impl<'a> Reader<'a> {
    fn new(columns: Columns, width: usize, delimiter: u8, options: &'a ReadOptions) -> Self {
        Self {
            options,
            width,
            reading: Reading {
                jobs: Vec::new(),
                pipelines: 0,
                open: Vec::new(),
                runners: Vec::new(),
                rows: 0,
                tallies: BTreeMap::new(),
                columns,
                delimiter: char::from(delimiter),
                naive_times: 0,
                offset_times: 0,
                contradictions: Tally::default(),
            },
            pipelines: Names::default(),
            stages: Names::default(),
            names: Names::default(),
            runners: Names::default(),
            ids: Names::default(),
        }
    }

    fn finish(mut self) -> Reading {
        self.reading.jobs.shrink_to_fit();
        self.reading.pipelines = self.reading.open.len() as u32;
        self.reading
    }

    fn count(&mut self, reason: Reason, line: u64) {
        add(self.reading.tallies.entry(reason).or_default(), line);
    }

    fn row(&mut self, record: &csv::ByteRecord, line: u64) {
        if record.len() == 1 && record[0].trim_ascii().is_empty() {
            return;
        }
        self.reading.rows += 1;
        if record.len() < self.width {
            self.count(Reason::ShortRecord, line);
        }
        let columns = self.reading.columns.clone();
        let cell = |column: Column| -> &[u8] {
            let cell = columns
                .place(column)
                .and_then(|place| record.get(place))
                .unwrap_or_default();
            cell.trim_ascii()
        };
        if let Some(wanted) = &self.options.runner
            && cell(Column::Runner) != wanted.as_bytes()
        {
            return self.count(Reason::OtherRunner, line);
        }
        if let Some(wanted) = &self.options.tag
            && !has_tag(cell(Column::Tags), wanted.as_bytes())
        {
            return self.count(Reason::OtherTag, line);
        }
        let id = cell(Column::Id);
        if !times::is_nothing(id) && !self.ids.number(id).1 {
            return self.count(Reason::Duplicate, line);
        }
        let pipeline = cell(Column::Pipeline);
        if times::is_nothing(pipeline) {
            return self.count(Reason::NoPipeline, line);
        }
        let status = cell(Column::Status);
        let ended = match status_of(status) {
            Status::Ended(ended) => ended,
            Status::Skipped => return self.count(Reason::Skipped, line),
            Status::Manual => return self.count(Reason::Manual, line),
        };
        let (pipeline, new) = self.pipelines.number(pipeline);
        if new {
            self.reading.open.push(false);
        }
        if ended == Ended::Open {
            self.reading.open[pipeline as usize] = true;
            return self.count(Reason::Unfinished, line);
        }
        let mut job = Job {
            pipeline,
            stage: UNNAMED,
            name: UNNAMED,
            runner: UNNAMED,
            created: NEVER,
            started: NEVER,
            finished: NEVER,
            duration_s: f32::NAN,
            queued_s: f32::NAN,
            ended,
            scheduled: None,
            timed_out: false,
            retried: false,
        };
        if ended == Ended::Unclear {
            self.count(Reason::UnknownStatus, line);
        }
        let stage = cell(Column::Stage);
        if times::is_nothing(stage) {
            self.count(Reason::NoStage, line);
        } else {
            job.stage = self.stages.number(stage).0;
        }
        let name = cell(Column::Name);
        if !times::is_nothing(name) {
            job.name = self.names.number(name).0;
        }
        let runner = cell(Column::Runner);
        if !times::is_nothing(runner) {
            let (number, new) = self.runners.number(runner);
            job.runner = number;
            if new {
                let shown: String = String::from_utf8_lossy(runner).chars().take(64).collect();
                self.reading.runners.push(shown);
            }
        }
        let source = cell(Column::Source);
        if !times::is_nothing(source) {
            let scheduled = [b"schedule".as_slice(), b"scheduled", b"schedules"];
            job.scheduled = Some(scheduled.iter().any(|word| source.eq_ignore_ascii_case(word)));
        }
        job.timed_out = cell(Column::FailureReason).eq_ignore_ascii_case(b"job_execution_timeout");
        job.retried = [b"true".as_slice(), b"t", b"1", b"yes"]
            .iter()
            .any(|word| cell(Column::Retried).eq_ignore_ascii_case(word));
        self.times(&mut job, line, &cell);
        if ended == Ended::Cancelled {
            self.count(Reason::Cancelled, line);
        }
        self.reading.jobs.push(job);
    }

    /// Fills in the times and the run time, as far as they can be believed.
    fn times<'r>(&mut self, job: &mut Job, line: u64, cell: &dyn Fn(Column) -> &'r [u8]) {
        let mut unreadable = false;
        for (column, place) in [
            (Column::Created, &mut job.created),
            (Column::Started, &mut job.started),
            (Column::Finished, &mut job.finished),
        ] {
            match times::instant(cell(column), &self.options.zone) {
                Cell::Value((at, how)) => {
                    *place = at;
                    self.reading.naive_times += u64::from(how == Zone::Assumed);
                    self.reading.offset_times += u64::from(how == Zone::Offset);
                }
                Cell::Empty => {}
                Cell::Unreadable => unreadable = true,
            }
        }
        if unreadable {
            self.count(Reason::UnreadableTime, line);
        }
        let decimal_comma = self.reading.delimiter != ',';
        let ran = matches!(job.ended, Ended::Success | Ended::Failed);
        let mut number = |column: Column| match times::seconds(cell(column), decimal_comma) {
            Cell::Value(value) => Some(value),
            Cell::Empty => None,
            Cell::Unreadable => {
                add(
                    self.reading.tallies.entry(Reason::UnreadableNumber).or_default(),
                    line,
                );
                None
            }
        };
        let stated = number(Column::Duration);
        match number(Column::Queued) {
            Some(queued) if queued < 0.0 => self.count(Reason::NegativeQueue, line),
            Some(queued) => job.queued_s = queued as f32,
            None => {}
        }
        let between = (job.started != NEVER && job.finished != NEVER)
            .then(|| (job.finished - job.started) as f64 / 1000.0);
        if between.is_some_and(|seconds| seconds < 0.0) {
            self.count(Reason::FinishBeforeStart, line);
            (job.started, job.finished) = (NEVER, NEVER);
            job.queued_s = f32::NAN;
            return;
        }
        if ran && job.started == NEVER && !unreadable {
            self.count(Reason::NeverStarted, line);
        }
        let duration = match (stated, between) {
            (Some(stated), _) if stated < 0.0 => return self.count(Reason::NegativeDuration, line),
            (Some(stated), Some(between)) => {
                if (stated - between).abs() > 2.0 && (stated - between).abs() > 0.05 * between {
                    add(&mut self.reading.contradictions, line);
                }
                stated
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => {
                if ran {
                    self.count(Reason::NoDuration, line);
                }
                return;
            }
        };
        if duration > MAX_DURATION_S {
            return self.count(Reason::Endless, line);
        }
        job.duration_s = duration as f32;
        if job.finished == NEVER && job.started != NEVER {
            job.finished = job.started + (duration * 1000.0).round() as Millis;
        }
    }
}

fn add(tally: &mut Tally, line: u64) {
    tally.rows += 1;
    if tally.lines.len() < 3 {
        tally.lines.push(line);
    }
}

enum Status {
    Ended(Ended),
    Skipped,
    Manual,
}

/// Reads a status of GitLab's REST or GraphQL interface, in any case.
fn status_of(cell: &[u8]) -> Status {
    let is = |words: &[&str]| {
        words
            .iter()
            .any(|word| cell.eq_ignore_ascii_case(word.as_bytes()))
    };
    if is(&["success", "passed", "succeeded"]) {
        Status::Ended(Ended::Success)
    } else if is(&["failed", "failure"]) {
        Status::Ended(Ended::Failed)
    } else if is(&["canceled", "cancelled", "canceling"]) {
        Status::Ended(Ended::Cancelled)
    } else if is(&["skipped"]) {
        Status::Skipped
    } else if is(&["manual", "scheduled"]) {
        // A job that is `scheduled` waits for `when: delayed`, as a manual one waits for a person.
        Status::Manual
    } else if is(&[
        "running",
        "pending",
        "created",
        "preparing",
        "waiting_for_resource",
        "waiting_for_callback",
    ]) {
        Status::Ended(Ended::Open)
    } else {
        Status::Ended(Ended::Unclear)
    }
}

/// Returns whether a tag is in a list, however the list is written: `a,b`, `["a", "b"]`, `a b`, `{a,b}`.
fn has_tag(list: &[u8], tag: &[u8]) -> bool {
    list.split(|byte| b" ,;|[]{}\"'\t\n".contains(byte))
        .any(|word| word == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "id,pipeline_id,stage,status,created_at,started_at,finished_at,duration,queued_duration";

    fn parse(text: &str) -> Result<Reading, ReadError> {
        read(text.as_bytes(), &ReadOptions::default(), &mut |_| {})
    }

    fn with_rows(rows: &str) -> Reading {
        parse(&format!("{HEADER}\n{rows}")).unwrap()
    }

    const GOOD: &str =
        "1,10,build,success,2024-06-03T08:00:00Z,2024-06-03T08:00:05Z,2024-06-03T08:01:05Z,60,5\n";

    #[test]
    fn a_row_becomes_a_job() {
        let reading = with_rows(GOOD);
        let job = &reading.jobs[0];
        assert_eq!((job.duration_s, job.queued_s), (60.0, 5.0));
        assert_eq!(job.ready(), Some(job.created));
        assert_eq!(job.finished - job.started, 60_000);
        assert!(reading.tallies.is_empty());
    }

    #[test]
    fn each_kind_of_dirt_is_counted_with_its_first_lines() {
        let rows = [
            "1,10,b,success,,2024-06-03T08:00:05Z,2024-06-03T08:01:05Z,60,5", // duplicate of GOOD's id
            "2,,b,success,,2024-06-03T08:00:05Z,2024-06-03T08:01:05Z,60,5",
            "3,10,b,canceled,2024-06-03T08:00:00Z,,,,",
            "4,10,b,skipped,2024-06-03T08:00:00Z,,,,",
            "5,10,b,manual,2024-06-03T08:00:00Z,,,,",
            "6,11,b,running,2024-06-03T08:00:00Z,2024-06-03T08:00:05Z,,,5",
            "7,10,b,success,2024-06-03T08:00:00Z,2024-06-03T08:00:05Z,2024-06-03T08:01:05Z,-60,5",
            "8,10,b,failed,2024-06-03T08:00:00Z,2024-06-03T08:01:05Z,2024-06-03T08:00:05Z,60,5",
            "9,10,b,success,2024-06-03T08:00:00Z,soon,2024-06-03T08:01:05Z,NaN,5",
            "10,10,b,success,2024-06-03T08:00:00Z,2024-06-03T08:00:05Z,2024-06-03T08:01:05Z,60,-5",
            "11,10,,weird,2024-06-03T08:00:00Z",
            "12,10,b,success,2024-06-03T08:00:00Z,,,,",
            "13,10,b,success,2024-06-03T08:00:00Z,2024-06-03T08:00:05Z,,9e9,1",
        ];
        let reading = with_rows(&format!("{GOOD}{}\n", rows.join("\n")));
        let mut shown = String::new();
        for (reason, tally) in &reading.tallies {
            let _ = writeln!(shown, "{reason:?} {} {:?}", tally.rows, tally.lines);
        }
        insta::assert_snapshot!(shown, @r"
        NoPipeline 1 [4]
        Duplicate 1 [3]
        Skipped 1 [6]
        Manual 1 [7]
        Cancelled 1 [5]
        Unfinished 1 [8]
        UnknownStatus 1 [13]
        UnreadableTime 1 [11]
        UnreadableNumber 2 [11, 15]
        NeverStarted 1 [14]
        NegativeDuration 1 [9]
        NegativeQueue 1 [12]
        FinishBeforeStart 1 [10]
        NoDuration 3 [11, 14, 15]
        NoStage 1 [13]
        ShortRecord 1 [13]
        ");
        assert_eq!(reading.open, [false, true]);
        assert_eq!(reading.rows, 14);
        assert_eq!(reading.jobs.iter().filter(|job| job.is_measured()).count(), 2);
    }

    #[test]
    fn delimiters_byte_order_marks_quotes_and_line_ends_are_told_apart() {
        let text = "\u{feff}\"Pipeline Id\";stage;status;created_at;started_at;finished_at;duration;queued_duration;name\r\n\
             10;b;success;2024-06-03 08:00:00 UTC;2024-06-03 08:00:05 UTC;2024-06-03 08:01:05 UTC;60,5;5,25;\"a;b\nc\"\r\n\r\n";
        let reading = parse(text).unwrap();
        assert_eq!(reading.delimiter, ';');
        assert_eq!(
            (reading.jobs[0].duration_s, reading.jobs[0].queued_s),
            (60.5, 5.25)
        );
        assert_eq!(reading.rows, 1);
        let tabs = format!("{HEADER}\n{GOOD}").replace(',', "\t");
        assert_eq!(parse(&tabs).unwrap().delimiter, '\t');
    }

    #[test]
    fn what_is_no_csv_is_refused_with_what_it_looks_like() {
        let shown = |bytes: &[u8]| {
            read(bytes, &ReadOptions::default(), &mut |_| {})
                .unwrap_err()
                .to_string()
        };
        let cases: [&[u8]; 9] = [
            b"",
            b" \n\n",
            b"\x1f\x8b\x08",
            b"PK\x03\x04zip",
            b"\x7fELF\x02\0\0",
            b"[{\"id\": 1}]",
            b"\xff\xfea\0",
            b"hello\nworld\n",
            HEADER.as_bytes(),
        ];
        let all: Vec<String> = cases.iter().map(|bytes| shown(bytes)).collect();
        insta::assert_snapshot!(all.join("\n"), @r"
        the file is empty
        the file is empty
        this is not CSV: it is compressed with gzip; unpack it first (`zcat FILE | dataops-infra calibrate -`)
        this is not CSV: it is a ZIP archive or a spreadsheet; save it as CSV
        this is not CSV: it holds NUL bytes
        this is not CSV: it is JSON; `--help` shows how to turn the API's answer into CSV with jq
        this is not CSV: it is UTF-16; save it as UTF-8
        no column `pipeline_id`; no column `stage`; no column `status`; no column `started_at`; no column `duration`; no column `created_at`; found: `hello`
        a header and no rows
        ");
    }

    #[test]
    fn an_open_quotation_mark_does_not_swallow_the_file() {
        let rows = format!("{HEADER}\n{GOOD}2,\"10,build\n{}", GOOD.repeat(60_000));
        assert!(matches!(parse(&rows), Err(ReadError::LongRecord { line: 3 })));
    }

    #[test]
    fn runners_and_tags_filter_rows() {
        let text = format!(
            "{HEADER},runner.id,tag_list\n{},7,\"[\"\"a\"\",\"\"b\"\"]\"\n{},8,a\n",
            GOOD.trim(),
            GOOD.trim().replacen('1', "2", 1)
        );
        let keep = |runner: Option<&str>, tag: Option<&str>| {
            let options = ReadOptions {
                runner: runner.map(str::to_owned),
                tag: tag.map(str::to_owned),
                ..ReadOptions::default()
            };
            read(text.as_bytes(), &options, &mut |_| {}).map_or(0, |reading| reading.jobs.len())
        };
        assert_eq!(keep(None, None), 2);
        assert_eq!(keep(Some("7"), None), 1);
        assert_eq!(keep(None, Some("a")), 2);
        assert_eq!(keep(None, Some("b")), 1);
        assert_eq!(keep(Some("8"), Some("b")), 0);
        let none = format!("{HEADER}\n{GOOD}");
        let options = ReadOptions {
            runner: Some("7".into()),
            ..ReadOptions::default()
        };
        let error = read(none.as_bytes(), &options, &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "no column `runner_id` to filter by");
    }
}
