//! Lints over everything a host is told: the user data of each pair of settings, and the programs and units inside it.
//!
//! The files are collected first and each tool is called once, because starting one takes longer than reading a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dataops_infra::domain::host_script::{
    Docker, HostScript, MOST_BYTES, PULL_POLICIES, Packages, Proxy, SecretRef, packed, user_data,
};

use super::bench::{python_program, root, skip};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
/// How many values each setting has.
const LEVELS: [usize; 9] = [4, 2, 2, 2, 3, 3, 2, 2, 2];

/// Returns rows of settings in which every pair of values of any two settings stands once at least.
fn pairs() -> Vec<[usize; LEVELS.len()]> {
    let all = LEVELS.iter().product();
    let rows: Vec<[usize; LEVELS.len()]> = (0..all)
        .map(|mut number: usize| {
            LEVELS.map(|levels| {
                let value = number % levels;
                number /= levels;
                value
            })
        })
        .collect();
    let pairs_of = |row: &[usize; LEVELS.len()]| {
        let mut pairs = Vec::new();
        for one in 0..LEVELS.len() {
            for other in 0..one {
                pairs.push((one, row[one], other, row[other]));
            }
        }
        pairs
    };
    let mut open: std::collections::BTreeSet<_> = rows.iter().flat_map(pairs_of).collect();
    let mut chosen = Vec::new();
    while !open.is_empty() {
        let new =
            |row: &&[usize; LEVELS.len()]| pairs_of(row).iter().filter(|pair| open.contains(*pair)).count();
        let best = rows.iter().max_by_key(new).expect("a row");
        for pair in pairs_of(best) {
            open.remove(&pair);
        }
        chosen.push(*best);
    }
    chosen
}

/// Renders the user data of a row.
fn rendered(row: [usize; LEVELS.len()]) -> String {
    let [
        packages,
        token,
        login,
        proxy,
        channel,
        mirrors,
        ca,
        metrics,
        region,
    ] = row;
    let mirror = "https://mirror.example/packages/";
    let secret =
        || SecretRef::Secret("arn:aws:secretsmanager:eu-central-1:123456789012:secret:hub-AbCdEf".to_owned());
    user_data(&HostScript {
        deployment: "acme",
        generation: "0123456789abcdef",
        region: ["eu-west-1", "cn-north-1"][region],
        report_parameter: "/dataops-infra/acme/host",
        token: [
            SecretRef::Parameter("/dataops-infra/acme/token".to_owned()),
            secret(),
        ][token]
            .clone(),
        registry: [None, Some(secret())][login].clone(),
        platform_url: "https://app.example/",
        agent_name: "acme.1_x-2",
        tag: "it's $(acme) `x` \"y\" \\ z",
        runner_image: [
            "dataopslive/dataops-runner",
            "registry.example:5000/a/b",
            "a/b:v17",
        ][channel],
        channel: [Some("latest"), Some("latest-next"), None][channel],
        default_job_image: "dataopslive/dataops-utils-runner:latest",
        concurrent: 6,
        check_interval: 1,
        pull_policies: PULL_POLICIES,
        metrics_port: [None, Some(9252)][metrics],
        docker: Docker {
            packages: [
                Packages::Docker { mirror: None },
                Packages::Docker { mirror: Some(mirror) },
                Packages::Distribution { mirror: None },
                Packages::Distribution { mirror: Some(mirror) },
            ][packages],
            registry_mirrors: [
                &[][..],
                &["https://hub.example"],
                &["https://a.example", "http://b.example:5000"],
            ][mirrors],
            proxy: [
                None,
                Some(Proxy {
                    url: "http://proxy.example:3128",
                    exceptions: &[".internal", "10.0.0.0/8"],
                }),
            ][proxy],
            ca_certificate: [None, Some(CERTIFICATE)][ca],
            ..Docker::default()
        },
        log_group: "/dataops-infra/acme",
    })
    .unwrap_or_else(|error| panic!("{row:?}: {error}"))
}

fn everything() -> String {
    rendered([1, 1, 1, 1, 1, 2, 1, 1, 0])
}

/// Returns the files that a script writes from its text, by the last part of their names. What the shell fills in there is
/// filled in with where it would be.
fn files_inside(script: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        let Some((before, after)) = line.split_once("<<") else {
            continue;
        };
        let word: String = after
            .trim_start_matches('\'')
            .chars()
            .take_while(char::is_ascii_uppercase)
            .collect();
        let quoted: Vec<&str> = before.split('"').collect();
        if word.is_empty() || quoted.len() < 3 {
            continue;
        }
        let text: Vec<&str> = lines.by_ref().take_while(|line| **line != word).collect();
        let name = quoted[1].rsplit(['/', '$']).next().unwrap_or_default();
        // `$unit` and `$unit-disk-guard` are names that the script has put together.
        let name = name.replace("unit", "dataops-infra");
        files.insert(name, text.join("\n") + "\n");
    }
    files
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Calls a tool with files; nothing where it is missing, and says so.
fn tool(program: &str, arguments: &[&str], files: &[PathBuf]) -> Option<Output> {
    let output = Command::new(program).args(arguments).args(files).output();
    if output.is_err() {
        skip(&format!("there is no {program}"));
    }
    output.ok()
}

/// Fails if a tool says anything at all: some warn and end well.
fn silent(output: Option<Output>) {
    if let Some(output) = output {
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        assert!(
            output.status.success() && said.is_empty(),
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
}

const BASH: &[&str] = &["-c", "for file; do bash -n \"$file\" || exit; done", "bash"];
// 1091: os-release is the host's. The others: values are JSON and Perl, which the shell is to leave alone.
const SHELLCHECK: &[&str] = &["--exclude=SC1091,SC2016,SC2089,SC2090"];

#[test]
fn the_rows_hold_every_pair() {
    let rows = pairs();
    assert!(rows.len() < 30, "{} rows", rows.len());
    assert!(rows.iter().any(|row| row[0] == 3 && row[4] == 2));
    assert!(rows.iter().any(|row| row[5] == 2 && row[8] == 1));
}

#[test]
fn every_user_data_is_a_script_that_fits() {
    let folder = Folder::new();
    let mut files = Vec::new();
    for (n, row) in pairs().into_iter().enumerate() {
        let script = rendered(row);
        let size = packed(&script).len();
        assert!(size <= MOST_BYTES, "{row:?}: {size} bytes");
        assert!(!script.contains("@@"), "{row:?} has a hole");
        files.push(folder.write(&format!("{n}.sh"), &script));
    }
    silent(tool("bash", BASH, &files));
    // What differs is at the top: two of them show what can be wrong with the whole.
    silent(tool("shellcheck", SHELLCHECK, &files[..2]));
}

#[test]
fn programs_inside_are_sound() {
    let folder = Folder::new();
    let inside = files_inside(&everything());
    // The oldest Python that each must do with: Ubuntu 22.04 has 3.10; `host.py` reads TOML, for which 3.11 brings the means.
    let pythons = [("disk-guard.py", "3.8"), ("host.py", "3.10")];
    let parse = "import ast, sys\nfor file, version in zip(sys.argv[1::2], sys.argv[2::2]):\n    \
                 ast.parse(open(file).read(), file, feature_version=tuple(map(int, version.split('.'))))";
    let mut command = Command::new("python3");
    command.args(["-I", "-W", "error::SyntaxWarning", "-c", parse]);
    for (name, version) in pythons {
        let text = inside.get(name).unwrap_or_else(|| panic!("{name} is inside"));
        command.arg(folder.write(name, text)).arg(version);
    }
    silent(command.output().ok());
    let shells: Vec<PathBuf> = inside
        .iter()
        .filter(|(_, text)| text.starts_with("#!/bin/bash"))
        .map(|(name, text)| folder.write(name, text))
        .collect();
    assert!(!shells.is_empty());
    silent(tool("bash", BASH, &shells));
    silent(tool("shellcheck", &[], &shells));
}

#[test]
fn units_inside_are_sound() {
    let folder = Folder::new();
    let inside = files_inside(&everything());
    let mut units = Vec::new();
    for (name, text) in inside {
        let kind = Path::new(&name).extension().and_then(|kind| kind.to_str());
        if matches!(kind, Some("service" | "timer")) {
            // What it starts is not on this machine, and what the shell fills in is not filled in here.
            let text = text
                .replace("$LIBRARY/bootstrap", "/bin/true")
                .replace("$FOR_GOOD", "3");
            units.push(folder.write(&name, &text));
        }
    }
    assert!(units.len() >= 4, "{units:?}");
    for unit in &units {
        let service = unit.with_extension("service");
        assert!(service.exists(), "{} has no service", unit.display());
    }
    silent(tool("systemd-analyze", &["verify"], &units));
    // That it would say something.
    let Some(output) = tool(
        "systemd-analyze",
        &["verify"],
        &[folder.write("bad.service", "[Service]\nExecStart=/bin/true\nSuchAKey=1\n")],
    ) else {
        return;
    };
    assert!(String::from_utf8_lossy(&output.stderr).contains("SuchAKey"));
}

#[test]
fn cloud_init_takes_it_for_a_script() {
    let folder = Folder::new();
    let script = everything();
    let blob = folder.path().join("user-data");
    fs::write(&blob, packed(&script)).expect("written");
    let plain = folder.write("plain", &script);
    // What cloud-init does with the bytes of the metadata service, before it runs anything.
    let program = "import sys
try:
    from cloudinit import helpers, user_data
except ImportError:
    sys.exit(77)
message = user_data.UserDataProcessor(helpers.Paths({})).process(open(sys.argv[1], 'rb').read())
parts = [part for part in message.walk() if not part.is_multipart()]
assert [part.get_content_type() for part in parts] == ['text/x-shellscript'], parts
assert parts[0].get_payload(decode=True) == open(sys.argv[2], 'rb').read()
";
    // The distribution's: cloud-init is no package of PyPI.
    let output = Command::new("/usr/bin/python3")
        .args(["-c", program])
        .args([blob, plain])
        .output();
    match output {
        Ok(output) if output.status.code() != Some(77) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        ),
        _ => skip("there is no cloud-init"),
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test must be seen to be skipped")]
fn the_agents_settings_pass_its_schema() {
    let schema = root().join("../shared/data/cloudwatch-agent-schema.json");
    if !schema.exists() {
        println!("skipped: the schema of the CloudWatch agent is not beside this tree");
        return;
    }
    let Some(python) = python_program("python") else {
        return;
    };
    let script = everything();
    let settings = script
        .lines()
        .find_map(|line| line.strip_prefix("AGENT_JSON='"))
        .and_then(|rest| rest.strip_suffix('\''))
        .expect("the settings");
    let folder = Folder::new();
    let good = folder.write("good.json", settings);
    let bad = folder.write("bad.json", &settings.replacen(":60", ":\"often\"", 1));
    let program = "import json, sys, jsonschema
schema, good, bad = (json.load(open(path)) for path in sys.argv[1:])
jsonschema.Draft4Validator.check_schema(schema)
validator = jsonschema.Draft4Validator(schema)
for error in validator.iter_errors(good):
    sys.exit(error.message)
if validator.is_valid(bad):
    sys.exit('the schema refuses nothing')
";
    let output = Command::new(python)
        .args(["-c", program])
        .args([schema, good, bad])
        .output()
        .expect("Python runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
