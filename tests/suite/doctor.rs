//! `doctor --on-host` with stand-ins for what a host has, and the program that gathers the facts.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dataops_infra::domain::deployment::spec::SecretRef;
use dataops_infra::domain::doctor::code::Code;
use dataops_infra::domain::host_script::{Docker, HostScript, PULL_POLICIES, user_data};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bench::{program, root, skip};
use super::tree::files;

const GENERATION: &str = "0123456789abcdef";

/// What must not leave the host.
const PLANTED: &str = "plantedplantedplanted01";

/// Stand-ins; `$FAKE` is their memory.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "docker",
        r#"[ ! -e "$FAKE/docker-hangs" ] || sleep 60
state() { [ -e "$FAKE/stopped" ] && echo "$1" || echo "$2"; }
case $* in
version*) echo '{"Client":{},"Server":{"Version":"29.1.0","ApiVersion":"1.52","MinAPIVersion":"1.44"}}' ;;
'inspect --type container acme')
    [ ! -e "$FAKE/gone" ] || { echo "Error: No such container: acme" >&2; exit 1; }
    printf '[{"State":{"Running":%s,"Status":"%s","ExitCode":0,"StartedAt":"2026-01-01T00:00:00.5Z"},' "$(state false true)" "$(state exited running)"
    printf '"RestartCount":0,"HostConfig":{"RestartPolicy":{"Name":"always"}},"Config":{"Image":"dataopslive/dataops-runner:latest"},"Image":"sha256:aa"}]\n' ;;
'image inspect'*) echo '[{"Id":"sha256:aa","Created":"0001-01-01T00:00:00Z"}]' ;;
'run --rm'*verify) printf '%s\n' "$*" >>"$FAKE/ran"; echo "Verifying runner... is valid" ;;
'logs '*) cat "$FAKE/logs" 2>/dev/null || echo "Checking for jobs...nothing" ;;
'start '*acme*) rm -f "$FAKE/stopped" ;;
esac"#,
    ),
    (
        "systemctl",
        r"case $* in
show*) printf 'LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nResult=success\n' ;;
esac",
    ),
    (
        "cloud-init",
        "printf 'status: done\\ndetail: DataSourceEc2Local\\n'",
    ),
    ("timedatectl", "echo NTPSynchronized=yes"),
];

/// A host in a folder.
struct Host {
    home: TempDir,
    python: PathBuf,
}

/// Returns the interpreter that plays the host's Python, or says why the test is skipped.
fn python() -> Option<PathBuf> {
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    match asked {
        Ok(output) if output.status.success() => {
            Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
        }
        _ => {
            skip("there is no python3");
            None
        }
    }
}

/// Starts something that answers every question as a platform or a registry would, with the time.
fn web() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(
                b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    url
}

fn token() -> String {
    ["glrt", "-", PLANTED].concat()
}

impl Host {
    fn new() -> Option<Self> {
        let python = python()?;
        let home = tempfile::tempdir().expect("a folder");
        let host = Self { home, python };
        let url = web();
        let script = HostScript {
            deployment: "acme",
            generation: GENERATION,
            region: "eu-west-1",
            report_parameter: "/dataops-infra/acme/host",
            token: SecretRef::Parameter("/dataops-infra/acme/token".to_owned()),
            registry: None,
            platform_url: &url,
            agent_name: "acme",
            tag: "it's $(acme)",
            runner_image: "dataopslive/dataops-runner",
            channel: Some("latest"),
            default_job_image: "dataopslive/dataops-utils-runner",
            concurrent: 6,
            check_interval: 1,
            pull_policies: PULL_POLICIES,
            metrics_port: Some(9252),
            docker: Docker::default(),
            log_group: "/dataops-infra/acme",
        };
        let script = user_data(&script).expect("a script");
        host.put("var/lib/cloud/instance/scripts/part-001", &script);
        host.put(
            "var/lib/dataops-infra/bootstrapped",
            &format!("2026-01-01T00:00:00Z {GENERATION}\n"),
        );
        host.put("var/lib/dataops-infra/lock", "");
        host.put("var/lib/dataops-infra/env", "");
        host.put(
            "var/lib/dataops-infra/health.json",
            r#"{"healthy":true,"at":"2026-01-01T00:00:00Z","why":"","freed_bytes":7}"#,
        );
        host.put("var/log/dataops-infra.log", "stage boot\nstage online\n");
        host.put(
            "etc/docker/daemon.json",
            &json!({ "registry-mirrors": [url] }).to_string(),
        );
        host.put(
            "opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl",
            "",
        );
        host.put("opt/aws/amazon-cloudwatch-agent/etc/dataops-infra.json", "{}");
        host.put(
            "proc/meminfo",
            "MemTotal: 8000000 kB\nMemFree: 1 kB\nMemAvailable: 6000000 kB\n",
        );
        host.put("proc/vmstat", "oom_kill 0\n");
        host.put("proc/uptime", "90000.12 1.0\n");
        host.config(&format!(
            "concurrent = 6\ncheck_interval = 1\nlisten_address = \":9252\"\n\n[session_server]\n  session_timeout = 1800\n\n\
             [[runners]]\n  name = \"acme\"\n  url = \"{url}\"\n  id = 12\n  token = \"{}\"\n  \
             token_expires_at = 0001-01-01T00:00:00Z\n  executor = \"docker\"\n  limit = 6\n  [runners.cache]\n  \
             [runners.docker]\n    image = \"x\"\n    privileged = false\n    volumes = [\n      \
             \"/app:/local_config:rw\",\n      \"/agent_cache:/agent_cache:rw\", \"/secrets:/secrets:ro\",\n    ]\n    \
             pull_policy = [\"always\", \"if-not-present\"]\n",
            token()
        ));
        for (name, script) in PROGRAMS {
            let path = host.put(&format!("fake/bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(path, mode).expect("may be run");
        }
        Some(host)
    }

    fn put(&self, path: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn config(&self, text: &str) -> PathBuf {
        let path = self.put("srv/dataops-runner-acme/config/config.toml", text);
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("may be closed");
        path
    }

    fn path(&self) -> String {
        let here = self.python.parent().expect("a folder").display().to_string();
        format!("{}/fake/bin:{here}:/usr/bin:/bin", self.home.path().display())
    }

    /// Runs `doctor --on-host`; the disk of the machine that tests run on is nobody's business.
    fn doctor(&self, args: &[&str]) -> (i32, Value, String) {
        let codes: Vec<&str> = Code::ALL
            .iter()
            .map(|code| code.word())
            .filter(|word| !word.starts_with("HOST-DISK-SPACE") && !word.starts_with("HOST-DISK-INODES"))
            .collect();
        let mut command = program(self.home.path());
        command
            .args([
                "doctor",
                "--on-host",
                "--output",
                "json",
                "--check",
                &codes.join(","),
            ])
            .arg("--root")
            .arg(self.home.path())
            .args(args)
            .env("PATH", self.path())
            .env("FAKE", self.home.path().join("fake"));
        let output = command.output().expect("starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !text.contains(PLANTED) && !said.contains(PLANTED),
            "a secret is told: {text}"
        );
        let code = output.status.code().unwrap_or(-1);
        (code, serde_json::from_str(&text).unwrap_or_default(), said)
    }
}

fn says(document: &Value, code: &str, status: &str, word: &str) {
    let rows = document["checks"].as_array().expect("checks");
    let check = rows
        .iter()
        .find(|check| check["code"] == code)
        .unwrap_or_else(|| panic!("no {code} in {document:#}"));
    assert_eq!(check["status"], status, "{check:#}");
    assert!(check["evidence"].to_string().contains(word), "{word}: {check:#}");
}

#[test]
fn a_host_that_is_well_is_clean_without_aws() {
    let Some(host) = Host::new() else { return };
    let (code, document, said) = host.doctor(&[]);
    assert_eq!(code, 0, "{document:#}{said}");
    for check in document["checks"].as_array().expect("checks") {
        let skipped = check["code"] == "HOST-DISK-SIZE";
        assert_eq!(
            check["status"],
            if skipped { "skipped" } else { "ok" },
            "{check:#}"
        );
        assert_eq!(check["deployment"], "acme");
    }
    let all = Code::ALL
        .iter()
        .filter(|code| ["HOST", "RUNNER"].contains(&code.area().word()));
    // Reachable is for who is elsewhere; the two of the disk are left out; leftovers of a host are two.
    assert_eq!(
        document["checks"].as_array().map(Vec::len),
        Some(all.count() - 3 + 2)
    );
    let ran = std::fs::read_to_string(host.home.path().join("fake/ran")).expect("verified");
    assert!(ran.contains("--rm --pull=never"), "{ran}");
}

#[test]
fn a_docker_that_hangs_stops_nothing_else() {
    let Some(host) = Host::new() else { return };
    host.put("fake/docker-hangs", "");
    let began = Instant::now();
    let (code, document, _) = host.doctor(&["--timeout", "2"]);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(code, 4, "{document:#}");
    says(&document, "HOST-DOCKER", "failed", "did not answer within 2 s");
    says(
        &document,
        "RUNNER-CONTAINER",
        "unknown",
        "did not answer within 2 s",
    );
    says(&document, "RUNNER-VERIFY", "unknown", "did not answer within 2 s");
    says(&document, "RUNNER-PLAN", "ok", "concurrent");
    says(&document, "HOST-EGRESS", "ok", "HTTP 302");
}

#[test]
fn faults_of_a_host_are_told() {
    let Some(host) = Host::new() else { return };
    host.put("fake/gone", "");
    host.put(
        "fake/logs",
        "WARNING: Checking for jobs... forbidden   runner=abc status=POST 403\n",
    );
    host.put(
        "var/lib/dataops-infra/bootstrapped",
        "2026-01-01T00:00:00Z fedcba9876543210\n",
    );
    let path = host.config("concurrent = 6\n[[runners]\n");
    let (code, document, _) = host.doctor(&[]);
    assert_eq!(code, 4);
    says(&document, "RUNNER-CONTAINER", "failed", "no container acme");
    says(&document, "RUNNER-CONFIG", "failed", "no valid TOML");
    says(&document, "RUNNER-PLAN", "skipped", "can be read");
    says(&document, "HOST-BOOTSTRAP", "failed", "fedcba9876543210");
    std::fs::remove_file(path).expect("removed");
    std::fs::remove_file(host.home.path().join("fake/gone")).expect("removed");
    let (_, document, _) = host.doctor(&[]);
    says(&document, "RUNNER-CONFIG", "failed", "there is no");
    says(&document, "RUNNER-POLLING", "failed", "forbidden");
    says(&document, "LEFTOVER-HOST", "failed", "no runner is registered");
    std::fs::remove_file(host.home.path().join("var/lib/cloud/instance/scripts/part-001")).expect("removed");
    let (_, document, _) = host.doctor(&[]);
    says(
        &document,
        "RUNNER-CONTAINER",
        "unknown",
        "neither plan.json nor user data",
    );
    says(&document, "HOST-MEMORY", "ok", "MiB");
    // What is written for it comes before the script.
    host.put(
        "var/lib/dataops-infra/plan.json",
        &json!({ "agent": "acme", "url": "http://127.0.0.1:9" }).to_string(),
    );
    let (_, document, _) = host.doctor(&[]);
    says(&document, "RUNNER-CONTAINER", "ok", "acme runs");
}

#[test]
fn a_stopped_runner_is_started_once_somebody_agrees() {
    let Some(host) = Host::new() else { return };
    host.put("fake/stopped", "");
    let (code, document, said) = host.doctor(&["--fix"]);
    assert_eq!(
        (code, &document),
        (3, &Value::Null),
        "nobody can be asked: {said}"
    );
    assert!(said.contains("docker start 'acme'"), "{said}");
    assert!(host.home.path().join("fake/stopped").exists());
    let (code, document, said) = host.doctor(&["--fix", "--yes"]);
    assert_eq!(code, 0, "{document:#}{said}");
    assert_eq!(document["fixes"][0]["what"], "start the runner's container");
    assert_eq!(document["fixes"][0]["done"], true);
    says(&document, "RUNNER-CONTAINER", "ok", "acme runs");
}

/// Runs a piece of Python with the program's functions, but not its work.
fn with_program(host: &Host, more: &str) -> Value {
    let text = std::fs::read_to_string(root().join("templates/host/facts.py")).expect("the program");
    let functions = text.strip_suffix("\nmain()\n").expect("ends with its work");
    let output = Command::new(&host.python)
        .args(["-c", &format!("{functions}\n{more}")])
        .output()
        .expect("starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn toml_is_read_alike_without_a_library() {
    let Some(host) = Host::new() else { return };
    let path = host
        .home
        .path()
        .join("srv/dataops-runner-acme/config/config.toml");
    let read = format!("read({:?})", path.display().to_string());
    let plain = with_program(
        &host,
        &format!("print(json.dumps(plain_toml({read}), default=str))"),
    );
    assert_eq!(
        plain["runners"][0]["docker"]["volumes"][2],
        "/secrets:/secrets:ro"
    );
    assert_eq!(plain["runners"][0]["token_expires_at"], "0001-01-01T00:00:00Z");
    let library = with_program(
        &host,
        &format!(
            "try:\n    import tomllib\nexcept ImportError:\n    tomllib = None\n\
             known = tomllib.loads({read}) if tomllib else plain_toml({read})\nprint(json.dumps(known, default=str))"
        ),
    );
    let mut library = library;
    // The one thing that is told in other words.
    library["runners"][0]["token_expires_at"] = plain["runners"][0]["token_expires_at"].clone();
    assert_eq!(plain, library);
    for bad in ["a = ", "= 1", "[[runners]", "a = [1,", "a = \"x"] {
        let more = format!(
            "try:\n    plain_toml({bad:?})\n    print('\"read\"')\nexcept ValueError:\n    print('\"refused\"')"
        );
        assert_eq!(with_program(&host, &more), "refused", "{bad}");
    }
}

#[test]
fn the_program_is_for_python_3_10() {
    // What came later: tomllib is asked for only where it is; nothing else may need more.
    let Some(host) = Host::new() else { return };
    let check = "import ast; print(json.dumps(bool(ast.parse(open(PATH).read(), feature_version=(3, 10)))))";
    let path = root().join("templates/host/facts.py").display().to_string();
    assert_eq!(
        with_program(&host, &check.replace("PATH", &format!("{path:?}"))),
        true
    );
}

#[test]
fn every_page_has_a_check_and_every_link_a_page() {
    let mut pages: Vec<String> = files(&root().join("docs/checks"))
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    pages.sort();
    let mut codes: Vec<String> = Code::ALL.iter().map(|code| format!("{code}.md")).collect();
    codes.sort();
    assert_eq!(pages, codes);
    for code in Code::ALL {
        assert!(root().join(Path::new(&code.doc())).is_file(), "{code}");
    }
}

#[test]
fn checks_can_be_looked_up() {
    let home = tempfile::tempdir().expect("a folder");
    let run = |args: &[&str]| {
        let output = program(home.path()).args(args).output().expect("starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = run(&["doctor", "--explain", "host-disk-space"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("# HOST-DISK-SPACE: the disk has room"), "{text}");
    let (code, text) = run(&["doctor", "--explain", "list"]);
    assert_eq!(code, Some(0));
    assert!(
        text.contains("ALARM-STATE") && text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let (code, text) = run(&["doctor", "--check", "HOST-DISC-SPACE"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("did you mean `HOST-DISK-SPACE`"), "{text}");
    let (code, text) = run(&["doctor", "--yes"]);
    assert_eq!(code, Some(2), "{text}");
}
