//! The program as a user meets it: exit codes, streams, pipes.

use std::io::Read as _;
use std::process::{Command, Output, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dataops-infra"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes UTF-8")
}

const SERVICES: &[&str] = &["ecs", "fargate", "app-runner", "batch", "lambda", "beanstalk"];

#[test]
fn refused_services_are_explained_on_stdout_and_refused_on_stderr() {
    for service in SERVICES {
        let up = run(&[
            "up",
            service,
            "--name",
            "london",
            "--instance-type=c5.xlarge",
            "-x",
            "--yes",
        ]);
        assert_eq!(up.status.code(), Some(3), "{service}");
        assert!(text(&up.stderr).starts_with("error: "), "{service}");
        let explain = run(&["explain", service]);
        assert_eq!(explain.status.code(), Some(0), "{service}");
        assert_eq!(up.stdout, explain.stdout, "{service}");
        assert!(explain.stderr.is_empty(), "{service}");
    }
}

#[test]
fn options_of_up_that_are_known_still_count() {
    let up = run(&[
        "up",
        "ecs",
        "--name",
        "x",
        "--output",
        "json",
        "--log-format=json",
        "--yes",
    ]);
    let document: serde_json::Value = serde_json::from_slice(&up.stdout).expect("JSON on stdout");
    assert_eq!(document["schema"], "dataops-infra/explanation/v1");
    let error: serde_json::Value = serde_json::from_slice(&up.stderr).expect("one JSON object on stderr");
    assert_eq!(error["exit_code"], 3);
    assert_eq!(error["level"], "error");
}

#[test]
fn a_wrong_value_of_a_known_option_is_still_wrong() {
    assert_eq!(run(&["up", "ecs", "--output", "xml"]).status.code(), Some(2));
    assert_eq!(run(&["up", "--name", "x"]).status.code(), Some(2));
    assert_eq!(run(&["explain", "ecs", "--name", "x"]).status.code(), Some(2));
}

#[test]
fn every_format_says_the_same() {
    for service in SERVICES.iter().chain(&["ec2", "eks"]) {
        let json = run(&["explain", service, "--output", "json"]);
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
        let yaml = run(&["explain", service, "--output", "yaml"]);
        let yaml: serde_json::Value = serde_yaml::from_str(text(&yaml.stdout)).expect("YAML");
        assert_eq!(json, yaml, "{service}");
        let table = run(&["explain", service]);
        let markdown = run(&["explain", service, "--output", "markdown"]);
        for reason in json["reasons"].as_array().expect("reasons") {
            for source in reason["sources"].as_array().expect("sources") {
                let source = source.as_str().expect("an address");
                assert!(text(&table.stdout).contains(source), "{service}: {source}");
                assert!(text(&markdown.stdout).contains(source), "{service}: {source}");
            }
        }
    }
}

#[test]
fn pages_fit_the_columns() {
    for columns in ["40", "60", "80", "120"] {
        for service in SERVICES {
            let output = program(&["explain", service])
                .env("COLUMNS", columns)
                .output()
                .expect("it starts");
            let width: usize = columns.parse().expect("a number");
            for line in text(&output.stdout).lines() {
                let kept = line.contains("https://") || line.starts_with("  dataops-infra ");
                assert!(kept || line.chars().count() <= width, "{columns}: {line}");
            }
        }
    }
}

#[test]
fn a_pipe_gets_no_escape_codes() {
    for arguments in [&["explain", "fargate"][..], &["--help"], &["nonsense"]] {
        let output = program(arguments)
            .env("TERM", "xterm-256color")
            .output()
            .expect("it starts");
        assert!(
            !output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    for arguments in [
        &["explain", "fargate"][..],
        &["explain", "fargate", "--output", "json"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let mut child = program(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // The pipe is closed before anything is read, as `| head -0` would.
        drop(child.stdout.take());
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .expect("stderr")
            .read_to_string(&mut stderr)
            .expect("UTF-8");
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{arguments:?}: {stderr}");
        assert_eq!(stderr, "", "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let full = std::fs::File::create("/dev/full").expect("Linux has /dev/full");
    let output = program(&["explain", "ecs"])
        .stdout(full)
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: could not write the answer to stdout"));
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("explain"), "{shell}");
    }
    assert_eq!(run(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let main = run(&["man"]);
    assert!(text(&main.stdout).contains(".TH dataops-infra 1"));
    assert!(text(&main.stdout).contains(".SH EXAMPLES\n.nf\n"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = folder.path().join("man1");
    let output = run(&["man", "--dir", pages.to_str().expect("UTF-8")]);
    assert!(output.status.success() && output.stdout.is_empty());
    for page in [
        "dataops-infra.1",
        "dataops-infra-explain.1",
        "dataops-infra-export-iam-policy.1",
    ] {
        assert!(pages.join(page).is_file(), "{page}");
    }
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let output = run(&["man", "--dir", file.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("caused by: "));
}
