//! `dataops-infra calibrate`: opens the export, reads, estimates, checks, writes the profile.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::outcome::{Answer, Context, Ending, Exit, Failure};
use crate::domain::calibration::check::{Verdict, check};
use crate::domain::calibration::estimate::{Calibration, EstimateOptions, estimate};
use crate::domain::calibration::report::{Inputs, Report};
use crate::domain::calibration::rows::{ReadError, ReadOptions, Reading, read};
use crate::domain::profile;
use crate::render::calibration::page;
use crate::render::spinner::Spinner;

const EXAMPLES: &str = "\
Examples:
  dataops-infra calibrate jobs.csv
  dataops-infra calibrate jobs.csv --timezone Europe/London --out team.yaml
  dataops-infra calibrate jobs.csv --runner 42 --concurrency 8 --output json
  zcat jobs.csv.gz | dataops-infra calibrate - --out - > team.yaml

Columns, in any order and with any other columns between them:
  pipeline_id, stage, status, created_at, started_at, finished_at, duration, queued_duration
  useful: id, name, runner_id, tag_list, source (of the pipeline), failure_reason, retried

Export from GitLab's jobs API, at least two weeks (GITLAB_URL, PROJECT and GITLAB_TOKEN are
yours; the token goes through standard input, never into the arguments):
  for page in $(seq 1 500); do
    printf 'header = \"PRIVATE-TOKEN: %s\"\\n' \"$GITLAB_TOKEN\" | curl --silent --fail --config - \\
      \"$GITLAB_URL/api/v4/projects/$PROJECT/jobs?include_retried=true&per_page=100&page=$page\"
  done | jq -rs 'add
    | [\"id\",\"pipeline_id\",\"stage\",\"name\",\"status\",\"created_at\",\"started_at\",\"finished_at\",
       \"duration\",\"queued_duration\",\"runner_id\",\"tag_list\",\"failure_reason\"],
      (.[] | [.id, .pipeline.id, .stage, .name, .status, .created_at, .started_at, .finished_at,
       .duration, .queued_duration, .runner.id, (.tag_list | join(\" \")), .failure_reason])
    | @csv' > jobs.csv

Exit codes: 0 the profile reproduces the measured waits; 2 the file is no job
export; 3 --out exists; 4 the check rejects the profile (off by more than a
factor of 2); 5 it could not be checked.";

/// Arguments of `calibrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CalibrateArgs {
    /// Job export as CSV, or `-` for standard input.
    #[arg(value_name = "JOBS.csv")]
    pub jobs: PathBuf,
    /// Time zone of the hours of the day, and of times that state none, such as Europe/London.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub timezone: TimeZone,
    /// Time limit of jobs, such as 3600, 90m or 1h; else estimated.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub timeout: Option<f64>,
    /// Use only the jobs of this runner (its id in the export).
    #[arg(long, value_name = "ID")]
    pub runner: Option<String>,
    /// Use only jobs with this tag.
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Slots that the jobs ran on; else the most that ran at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: Option<u32>,
    /// Name of the new profile; else that of the file.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Built-in profile that fills what the export does not tell.
    #[arg(long, value_name = "NAME", default_value = "production",
          value_parser = clap::builder::PossibleValuesParser::new(profile::builtin_names()))]
    pub base: String,
    /// Write the profile to this file, or with `-` nothing but the profile to stdout.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace an existing file, and write a profile that the check rejects.
    #[arg(long)]
    pub force: bool,
    /// Seed of the check.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| "expected a name of the IANA database, such as Europe/London or UTC".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let factor = match unit {
        "h" => 3600.0,
        "m" => 60.0,
        _ => 1.0,
    };
    match number.parse::<f64>() {
        Ok(number) if (1.0..=2_592_000.0).contains(&(number * factor)) => Ok(number * factor),
        _ => Err("expected a time from 1s to 30 days, such as 3600, 90m or 1h".to_owned()),
    }
}

/// Runs the command.
pub fn run(args: &CalibrateArgs, context: &Context) -> Ending {
    match calibrate(args, context) {
        Ok(ending) => ending,
        Err(failure) => Ending::Failed(failure),
    }
}

fn calibrate(args: &CalibrateArgs, context: &Context) -> Result<Ending, Failure> {
    let to_stdout = args.out.as_deref() == Some(Path::new("-"));
    let target = args.out.as_deref().filter(|_| !to_stdout);
    if let Some(target) = target
        && !args.force
        && target.symlink_metadata().is_ok()
    {
        return Err(exists(target));
    }
    let (reading, calibration) = estimates(args, context)?;
    let checked = check(&calibration, args.seed);
    let (verdict, reason) = (checked.verdict, checked.reason.clone());
    let exit = match verdict {
        Verdict::Agrees => Exit::Done,
        Verdict::Rejected => Exit::Findings,
        Verdict::Unchecked => Exit::Unknown,
    };
    let inputs = Inputs {
        file: args.jobs.display().to_string(),
        timezone: args.timezone.iana_name().unwrap_or("UTC").to_owned(),
        runner: args.runner.clone(),
        tag: args.tag.clone(),
        timeout_s: args.timeout,
        concurrency: args.concurrency,
        base: args.base.clone(),
        seed: args.seed,
    };
    let mut report = Report::new(&reading, &calibration, checked, inputs);
    let write = verdict != Verdict::Rejected || args.force;
    let yaml = yaml(&report, &calibration, &args.base);
    if to_stdout {
        if !write {
            let message = format!("the profile does not reproduce the measured waits: {reason}");
            let hint = "run without --out to see the estimates; --force writes the profile all the same";
            return Err(Failure::new(Exit::Findings, message).hint(hint));
        }
        if exit != Exit::Done {
            context.warn(format!("the profile is {}: {reason}", word(verdict)));
        }
        return Ok(Ending::Written(yaml.into_bytes(), exit));
    }
    if let Some(target) = target.filter(|_| write) {
        save(target, yaml.as_bytes(), args.force)?;
        report.written_to = Some(target.display().to_string());
    }
    let page = page(&report);
    let document = serde_json::to_value(&report)
        .map_err(|error| Failure::new(Exit::Failed, "could not write the answer as JSON").because(error))?;
    Ok(Ending::Answer(Answer { document, page, exit }))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Agrees => "checked",
        Verdict::Rejected => "rejected by its check",
        Verdict::Unchecked => "not checked",
    }
}

fn estimates(args: &CalibrateArgs, context: &Context) -> Result<(Reading, Calibration), Failure> {
    let spinner = Spinner::start(context.progress, "reading jobs");
    let options = ReadOptions {
        zone: args.timezone.clone(),
        runner: args.runner.clone(),
        tag: args.tag.clone(),
    };
    let shown = args.jobs.display().to_string();
    let input = open(&args.jobs)?;
    let reading = read(input, &options, &mut |rows| {
        spinner.say(format!("reading {shown}: {rows} rows"));
    })
    .map_err(|error| refuse(error, args))?;
    spinner.say("estimating, and replaying the queue");
    let stem = args
        .jobs
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let name = args.name.clone().or(stem.filter(|stem| stem != "-"));
    let name: String = name
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(100)
        .collect();
    let options = EstimateOptions {
        zone: args.timezone.clone(),
        timeout_s: args.timeout,
        concurrency: args.concurrency,
        name: if name.is_empty() {
            "calibrated".to_owned()
        } else {
            name
        },
        base: args.base.clone(),
    };
    let base = profile::builtin(&args.base)
        .ok_or_else(|| Failure::new(Exit::BadInput, format!("no built-in profile `{}`", args.base)))?
        .profile;
    let calibration = estimate(&reading, &base, &options);
    Ok((reading, calibration))
}

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let refused = |cause: io::Error| {
        Failure::new(Exit::BadInput, format!("could not read {}", path.display())).because(cause)
    };
    let file = File::open(path).map_err(refused)?;
    if file.metadata().is_ok_and(|about| about.is_dir()) {
        return Err(Failure::new(
            Exit::BadInput,
            format!("{} is a directory", path.display()),
        ));
    }
    Ok(Box::new(file))
}

/// Says what is wrong with the file, with its line where there is one.
fn refuse(error: ReadError, args: &CalibrateArgs) -> Failure {
    let file = args.jobs.display();
    let place = error
        .line()
        .map_or_else(|| file.to_string(), |line| format!("{file}:{line}"));
    let message = format!("{place}: {error}");
    let failure = match error {
        ReadError::Io { source, .. } => Failure::new(Exit::BadInput, message).because(source),
        ReadError::NothingUsable { .. } if args.runner.is_some() || args.tag.is_some() => {
            return Failure::new(Exit::BadInput, message).hint("check --runner and --tag against the export");
        }
        _ => Failure::new(Exit::BadInput, message),
    };
    failure.hint("dataops-infra calibrate --help shows the columns and how to export them")
}

/// Returns the profile as a commented file.
fn yaml(report: &Report, calibration: &Calibration, base: &str) -> String {
    let rows = &report.rows;
    let keys = profile::to_yaml_with(&calibration.profile, &|key| calibration.comment(key, base));
    format!(
        "# Calibrated by {} from {} jobs of {} pipelines in {:.1} days.\n\
         # Check: {} ({}).\n\
         # What the job history does not tell is that of the profile {base}; each key says so.\n\n{keys}",
        report.generated_by,
        rows.used,
        rows.pipelines,
        rows.days,
        word(report.check.verdict),
        report.check.reason
    )
}

fn exists(target: &Path) -> Failure {
    Failure::new(Exit::Refused, format!("{} exists", target.display()))
        .hint("name another file with --out, or replace this one with --force")
}

/// Writes beside the target and renames, so that nobody ever reads half a profile.
fn save(target: &Path, bytes: &[u8], replace: bool) -> Result<(), Failure> {
    let failed = |cause: io::Error| {
        Failure::new(
            Exit::Failed,
            format!("could not write {}; nothing is left behind", target.display()),
        )
        .because(cause)
    };
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".dataops-infra-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // A profile is no secret: what the umask leaves.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    if replace {
        file.persist(target).map_err(|error| failed(error.error))?;
    } else {
        file.persist_noclobber(target)
            .map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => exists(target),
                _ => failed(error.error),
            })?;
    }
    Ok(())
}
