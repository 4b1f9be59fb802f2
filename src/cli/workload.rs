//! `dataops-infra workload`, and how every command that takes `--workload` finds it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};

use clap::Subcommand;
use serde_json::{Map, json};

use super::outcome::{Answer, Context, Ending, Exit, Failure, generated_by};
use crate::domain::profile::fields::{FIELDS, Kind, SECTIONS};
use crate::domain::profile::{self, Assumption, Basis, Loaded, MAX_BYTES, ProfileErrors};
use crate::render::page::{Page, Table};

const EXAMPLES: &str = "\
Examples:
  dataops-infra workload list
  dataops-infra workload show production
  dataops-infra workload show production --yaml > team.yaml
  dataops-infra workload check team.yaml
  dataops-infra workload schema > workload.schema.json

A file of your own needs only the keys that you know better:

  extends: production
  arrivals:
    pipelines_per_weekday: 60

Keys that a file leaves out have the value of the profile it extends, or of
production.";

const SCHEMA_HELP: &str = "\
Write the schema beside your profiles:
  dataops-infra workload schema > workload.schema.json

and name it in the first line of a profile, for editors with the YAML language server:
  # yaml-language-server: $schema=workload.schema.json

They then complete keys, explain them and underline what is out of range.";

const SHOW_EXAMPLES: &str = "\
Examples:
  dataops-infra workload show kubernetes
  dataops-infra workload show team.yaml --output json
  dataops-infra workload show production --yaml > team.yaml";

const CHECK_EXAMPLES: &str = "\
Examples:
  dataops-infra workload check team.yaml
  dataops-infra workload check profiles/*.yaml --output json
  generate-profile | dataops-infra workload check -

Ends with exit code 2 when a file is wrong; each line names file, line, column
and key.";

/// Arguments of `workload`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, subcommand_value_name = "COMMAND")]
pub struct WorkloadArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: WorkloadCommand,
}

/// What to do with workload profiles.
#[derive(Debug, Subcommand)]
pub enum WorkloadCommand {
    /// List the built-in profiles.
    List,
    /// Show every value of a profile, with its unit and where it comes from.
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// A built-in profile, a YAML file, or - for standard input.
        #[arg(value_name = "NAME|FILE")]
        workload: String,
        /// Print a YAML file to start from: the commented source of a built-in profile, or all values of a file.
        #[arg(long)]
        yaml: bool,
    },
    /// Check files, and report everything that is wrong with them.
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// YAML files, or - for standard input.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<String>,
    },
    /// Print the JSON Schema of profiles, for editors.
    #[command(after_help = SCHEMA_HELP)]
    Schema,
}

/// Runs the command.
pub fn run(args: &WorkloadArgs, _context: &Context) -> Ending {
    match &args.command {
        WorkloadCommand::List => Ending::Answer(list()),
        WorkloadCommand::Show {
            workload,
            yaml: false,
        } => match load(workload) {
            Ok(loaded) => Ending::Answer(show(&loaded)),
            Err(failure) => Ending::Failed(failure),
        },
        WorkloadCommand::Show { workload, yaml: true } => match source(workload) {
            Ok(yaml) => Ending::Raw(yaml.into_bytes()),
            Err(failure) => Ending::Failed(failure),
        },
        WorkloadCommand::Check { files } => Ending::Answer(check(files)),
        // A document for editors, not about us: JSON whatever `--output` says.
        WorkloadCommand::Schema => Ending::Raw(format!("{:#}\n", profile::json_schema()).into_bytes()),
    }
}

/// Returns the profile that `--workload` names: a built-in one, a file, or `-` for standard input.
///
/// # Errors
///
/// The name is neither, the file cannot be read, or it is no profile; always with exit code 2.
pub fn load(workload: &str) -> Result<Loaded, Failure> {
    if let Some(loaded) = profile::builtin(workload) {
        return Ok(loaded);
    }
    let bytes = read(workload).map_err(|error| not_found(workload, &error))?;
    parse(workload, &bytes).map_err(|errors| wrong(&errors))
}

/// Returns the profile that `--workload` names with some of its keys (`section.key`) set to other values.
///
/// The values go through the same checks as a file that extends the profile and sets them.
///
/// # Errors
///
/// As [`load`]; problems of an override name `command line` as their file.
pub fn load_with(workload: &str, overrides: &[(String, String)]) -> Result<Loaded, Failure> {
    if overrides.is_empty() {
        return load(workload);
    }
    // Standard input can be read once only.
    let stdin = match workload {
        "-" => Some(read("-").map_err(|error| not_found(workload, &error))?),
        _ => None,
    };
    let base = match &stdin {
        Some(bytes) => parse("-", bytes).map_err(|errors| wrong(&errors))?,
        None => load(workload)?,
    };
    let extends = match profile::builtin(workload) {
        Some(_) => workload.to_owned(),
        None if stdin.is_some() => "./stdin.yaml".to_owned(),
        None if workload.contains('/') => workload.to_owned(),
        None => format!("./{workload}"),
    };
    let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    sections
        .entry("profile")
        .or_default()
        .push(format!("name: {}", quoted(&base.profile.name)));
    for (key, value) in overrides {
        let Some((section, name)) = key.split_once('.') else {
            return Err(Failure::new(
                Exit::BadInput,
                format!("`{key}` names no section: expected SECTION.KEY, such as slo.wait_s"),
            )
            .hint("dataops-infra workload show production lists every key"));
        };
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain(section) || !plain(name) || value.is_empty() || value.chars().any(char::is_control) {
            return Err(Failure::new(
                Exit::BadInput,
                format!("--set {key}={value}: expected SECTION.KEY=VALUE on one line"),
            ));
        }
        sections
            .entry(section)
            .or_default()
            .push(format!("{name}: {value}"));
    }
    let mut text = format!("extends: {}\n", quoted(&extends));
    for (section, lines) in sections {
        text.push_str(&format!("{section}:\n"));
        for line in lines {
            text.push_str(&format!("  {line}\n"));
        }
    }
    profile::parse(&text, OVERRIDES, &mut |path| match &stdin {
        Some(bytes) if path.ends_with("stdin.yaml") => {
            String::from_utf8(bytes.clone()).map_err(|_| "not UTF-8 text".to_owned())
        }
        _ => read_text(path),
    })
    .map_err(|errors| wrong(&errors))
}

/// The file that messages about overrides name.
const OVERRIDES: &str = "command line";

/// Returns a text as a YAML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn wrong(errors: &ProfileErrors) -> Failure {
    let count = errors.problems.len();
    let problems = if count == 1 { "problem" } else { "problems" };
    Failure::new(
        Exit::BadInput,
        format!("{count} {problems} in workload {}\n{errors}", errors.file),
    )
    .hint("dataops-infra workload show production --yaml explains every key")
}

fn read_text(path: &str) -> Result<String, String> {
    let bytes = read(path).map_err(|error| reason(&error))?;
    if bytes.len() > MAX_BYTES {
        return Err(format!("larger than {} KiB", MAX_BYTES / 1024));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())
}

fn parse(file: &str, bytes: &[u8]) -> Result<Loaded, ProfileErrors> {
    let name = if file == "-" { "stdin" } else { file };
    profile::parse_bytes(bytes, name, &mut read_text)
}

/// Reads a file or standard input; at most one byte more than a profile may have.
fn read(file: &str) -> io::Result<Vec<u8>> {
    let limit = MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    if file == "-" {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        if fs::metadata(file)?.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Returns why a file cannot be read, without the number of the system's error.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

/// Returns the failure for a workload that could not be read.
fn not_found(workload: &str, error: &io::Error) -> Failure {
    let names = profile::builtin_names();
    let looks_like_a_name = !workload.contains(['/', '.']) && workload != "-";
    if error.kind() == ErrorKind::NotFound && looks_like_a_name {
        let message = format!(
            "there is no workload '{workload}': expected {} or a YAML file",
            names.join(", ")
        );
        let failure = Failure::new(Exit::BadInput, message);
        return match profile::nearest(&workload.to_lowercase(), names.iter().copied())
            .or_else(|| abbreviation(workload))
        {
            Some(near) => failure.hint(format!("did you mean '{near}'?")),
            None => failure.hint("dataops-infra workload list"),
        };
    }
    Failure::new(
        Exit::BadInput,
        format!("cannot read workload {workload}: {}", reason(error)),
    )
    .hint("dataops-infra workload list")
}

/// Returns the built-in profile behind a usual abbreviation.
fn abbreviation(workload: &str) -> Option<&'static str> {
    match workload.to_lowercase().as_str() {
        "pot" | "poc" | "trial" => Some("proof-of-technology"),
        "k8s" | "eks" => Some("kubernetes"),
        "prod" | "ec2" => Some("production"),
        _ => None,
    }
}

fn list() -> Answer {
    let mut table = Table::new(&["name", "target", ">pipelines/weekday", "description"]);
    let mut workloads = Vec::new();
    for loaded in profile::builtin_names()
        .iter()
        .filter_map(|name| profile::builtin(name))
    {
        let profile = loaded.profile;
        let load = profile.arrivals.pipelines_per_weekday;
        table.row([
            profile.name.clone(),
            target(&profile).to_owned(),
            load.to_string(),
            profile.description.clone(),
        ]);
        workloads.push(json!({
            "name": profile.name,
            "target": profile.target,
            "pipelines_per_weekday": load,
            "description": profile.description,
        }));
    }
    let mut page = Page::new();
    page.table(table)
        .text("All values of one, and where they come from: dataops-infra workload show NAME");
    Answer {
        document: json!({
            "schema": "dataops-infra/workload-list/v1",
            "generated_by": generated_by(),
            "workloads": workloads,
        }),
        page,
        exit: Exit::Done,
    }
}

fn target(profile: &profile::Profile) -> &'static str {
    match profile.target {
        profile::Target::Ec2 => "ec2",
        profile::Target::Eks => "eks",
    }
}

fn show(loaded: &Loaded) -> Answer {
    let profile = &loaded.profile;
    let mut page = Page::new();
    page.heading(&profile.name)
        .text(&profile.description)
        .pairs([("target", target(profile))]);
    let mut values = Map::new();
    for section in SECTIONS {
        let fields = || FIELDS.iter().filter(|field| field.section == section.name);
        let mut table = Table::new(&["key", ">value", "unit", "basis", "source"]);
        let mut weights = Vec::new();
        let mut object = Map::new();
        for field in fields() {
            object.insert(field.key.to_owned(), profile::json(field, profile));
            let Some(assumption) = loaded.assumptions.iter().find(|a| a.key == field.path()) else {
                continue;
            };
            let value = if field.kind == Kind::Weights {
                weights.push((field.key, assumption.value.clone()));
                "below"
            } else {
                &assumption.value
            };
            let unit = match field.kind {
                // A quantity carries its unit.
                Kind::Cpu(_) | Kind::Memory(_) => "",
                _ => field.unit,
            };
            table.row([
                field.key,
                value,
                unit,
                assumption.basis.word(),
                &assumption.source,
            ]);
        }
        values.insert(section.name.to_owned(), object.into());
        if section.name == "profile" {
            continue;
        }
        page.heading(section.name).text(section.doc).table(table);
        for (key, weights) in weights {
            page.verbatim(hours(key, &weights));
        }
    }
    page.heading("Where the values come from")
        .text(tally(&loaded.assumptions));
    Answer {
        document: json!({
            "schema": "dataops-infra/workload/v1",
            "generated_by": generated_by(),
            "name": profile.name,
            "description": profile.description,
            "target": profile.target,
            "values": values,
            "assumptions": loaded.assumptions,
        }),
        page,
        exit: Exit::Done,
    }
}

/// Returns 24 weights in two rows below their hours.
fn hours(key: &str, weights: &str) -> Vec<String> {
    let weights: Vec<&str> = weights.split(' ').collect();
    let mut lines = vec![key.to_owned()];
    for half in [0, 12] {
        let cells = || weights.iter().enumerate().skip(half).take(12);
        let width = |weight: &str| weight.len().max(4);
        let heads: Vec<String> = cells()
            .map(|(hour, weight)| format!("{:>1$}", format!("{hour:02}h"), width(weight)))
            .collect();
        let values: Vec<String> = cells()
            .map(|(_, weight)| format!("{weight:>0$}", width(weight)))
            .collect();
        lines.extend([heads.join(" "), values.join(" ")]);
    }
    lines
}

/// Counts the values by basis.
fn tally(assumptions: &[Assumption]) -> String {
    let bases = [
        (Basis::User, "from your file"),
        (Basis::Vendor, "stated by the vendor"),
        (Basis::Measured, "measured"),
        (Basis::Derived, "derived from the vendor's figures"),
        (Basis::Fitted, "fitted to the vendor's figures"),
        (Basis::Source, "from public sources"),
        (Basis::Recalled, "recalled"),
        (Basis::Assumed, "assumed"),
    ];
    let counts = bases.iter().filter_map(|(basis, words)| {
        let count = assumptions
            .iter()
            .filter(|assumption| assumption.basis == *basis)
            .count();
        (count > 0).then(|| format!("{count} {words}"))
    });
    format!(
        "{}. Replace assumed values first; dataops-infra calibrate JOBS.csv measures arrivals, pipelines and durations.",
        counts.collect::<Vec<_>>().join(", ")
    )
}

/// Returns a YAML file to start from.
fn source(workload: &str) -> Result<String, Failure> {
    if let Some(yaml) = profile::builtin_yaml(workload) {
        return Ok(yaml.to_owned());
    }
    let loaded = load(workload)?;
    Ok(profile::to_yaml_with(&loaded.profile, &|key| {
        let field = FIELDS.iter().find(|field| field.path() == key)?;
        let assumption = loaded
            .assumptions
            .iter()
            .find(|assumption| assumption.key == key)?;
        let basis = assumption.basis.word();
        Some(format!("{}\n[{basis}] {}", field.doc, assumption.source))
    }))
}

fn check(files: &[String]) -> Answer {
    let mut lines = Vec::new();
    let mut results = Vec::new();
    let mut bad = 0;
    for file in files {
        let result = match (read(file), profile::builtin(file)) {
            (Ok(bytes), _) => parse(file, &bytes),
            (Err(_), Some(loaded)) => Ok(loaded),
            (Err(error), None) => Err(ProfileErrors {
                file: file.clone(),
                problems: vec![profile::Problem {
                    file: file.clone(),
                    line: 0,
                    column: 0,
                    key: String::new(),
                    message: format!("cannot be read: {}", reason(&error)),
                    expected: None,
                    suggestion: None,
                }],
            }),
        };
        match result {
            Ok(loaded) => {
                lines.push(format!(
                    "{file}: ok ({}, {})",
                    loaded.profile.name,
                    target(&loaded.profile)
                ));
                results.push(json!({
                    "file": file, "ok": true, "name": loaded.profile.name, "target": loaded.profile.target,
                    "problems": [],
                }));
            }
            Err(errors) => {
                bad += 1;
                lines.extend(errors.problems.iter().map(ToString::to_string));
                results.push(json!({ "file": file, "ok": false, "problems": errors.problems }));
            }
        }
    }
    let mut page = Page::new();
    page.verbatim(lines);
    Answer {
        document: json!({
            "schema": "dataops-infra/workload-check/v1",
            "generated_by": generated_by(),
            "files": results,
            "summary": { "checked": files.len(), "wrong": bad },
        }),
        page,
        exit: if bad == 0 { Exit::Done } else { Exit::BadInput },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::style::Style;
    use crate::render::text;

    fn page(answer: &Answer) -> String {
        text::render(&answer.page, Style::default())
    }

    #[test]
    fn a_name_that_is_nearly_one_is_put_right() {
        let failure = load("prodution").unwrap_err();
        assert_eq!(
            failure.to_string(),
            "there is no workload 'prodution': expected proof-of-technology, production, kubernetes or a YAML file"
        );
        assert_eq!(failure.hint.as_deref(), Some("did you mean 'production'?"));
        assert_eq!(failure.exit, Exit::BadInput);
        assert_eq!(
            load("k8s").unwrap_err().hint.as_deref(),
            Some("did you mean 'kubernetes'?")
        );
        assert_eq!(
            load("nothing").unwrap_err().hint.as_deref(),
            Some("dataops-infra workload list")
        );
    }

    #[test]
    fn files_that_cannot_be_read_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(
            load(path).unwrap_err().to_string(),
            format!("cannot read workload {path}: it is a folder")
        );
        let gone = format!("{path}/gone.yaml");
        assert_eq!(
            load(&gone).unwrap_err().to_string(),
            format!("cannot read workload {gone}: there is no such file")
        );
        #[cfg(target_os = "linux")]
        assert!(
            load("/dev/zero")
                .unwrap_err()
                .to_string()
                .contains("is larger than 1024 KiB")
        );
    }

    #[test]
    fn a_wrong_file_fails_with_all_its_problems() {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("good.yaml").to_str().unwrap().to_owned();
        let wrong = folder.path().join("wrong.yaml").to_str().unwrap().to_owned();
        fs::write(&good, "extends: kubernetes\nkubernetes: {cpu_request: 1}\n").unwrap();
        fs::write(&wrong, "slo:\n  wait_s: -1\n  colour: red\n").unwrap();
        let failure = load(&wrong).unwrap_err();
        assert_eq!(failure.exit, Exit::BadInput);
        assert!(failure.message.starts_with(&format!(
            "2 problems in workload {wrong}\n{wrong}:2:11: slo.wait_s:"
        )));
        let loaded = load(&good).unwrap();
        assert_eq!(
            (
                loaded.profile.name.as_str(),
                loaded.profile.kubernetes.cpu_request_m
            ),
            ("good", 1000.0)
        );

        let answer = check(&[good.clone(), wrong.clone(), "production".to_owned()]);
        assert_eq!(answer.exit, Exit::BadInput);
        assert_eq!(answer.document["summary"], json!({ "checked": 3, "wrong": 1 }));
        assert_eq!(answer.document["files"][1]["problems"][0]["line"], 2);
        let shown = page(&answer).replace(folder.path().to_str().unwrap(), "DIR");
        insta::assert_snapshot!(shown, @r#"
        DIR/good.yaml: ok (good, eks)
        DIR/wrong.yaml:2:11: slo.wait_s: `-1` is out of range; expected a number, 0 to 86400 s
        DIR/wrong.yaml:3:3: slo.colour: unknown key; expected wait_s, wait_quantile, pipeline_slowdown, scope, min_nodes
        production: ok (production, ec2)
        "#);
        assert_eq!(check(&[good]).exit, Exit::Done);
        assert_eq!(check(&["gone.yaml".to_owned()]).exit, Exit::BadInput);
    }

    #[test]
    fn a_page_shows_every_value_of_the_document() {
        let answer = show(&load("proof-of-technology").unwrap());
        let shown = page(&answer);
        for assumption in answer.document["assumptions"].as_array().unwrap() {
            let (section, key) = assumption["key"].as_str().unwrap().split_once('.').unwrap();
            assert!(shown.contains(key), "{key}");
            assert!(
                !answer.document["values"][section][key].is_null(),
                "{section}.{key}"
            );
        }
        assert_eq!(answer.document["values"]["job"]["duration_p90_s"], 240);
        assert_eq!(answer.document["values"]["kubernetes"]["memory_request"], "448Mi");
    }

    #[test]
    fn yaml_of_a_file_parses_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.yaml").to_str().unwrap().to_owned();
        fs::write(&file, "extends: proof-of-technology\njob: {timeout_s: 61}\n").unwrap();
        let yaml = source(&file).unwrap();
        assert!(yaml.contains("[user] "), "{yaml}");
        assert_eq!(
            parse("x.yaml", yaml.as_bytes()).unwrap().profile,
            load(&file).unwrap().profile
        );
        assert!(source("kubernetes").unwrap().starts_with("# kubernetes: "));
    }
}
