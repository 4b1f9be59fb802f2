//! The scripts of a host, run for real in a folder instead of `/`, with programs around them that play along.
//!
//! What plays Docker, curl and the package manager writes down every argument it gets: no secret may be among them, and
//! none in the log or in a report.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dataops_infra::domain::host_script::{
    Docker, HostScript, PULL_POLICIES, Packages, Proxy, SecretRef, drain, user_data,
};
use serde_json::Value;

use super::bench::skip;

/// Tokens are put together here, so that none stands in the source.
fn new_token() -> String {
    ["gl", "rt-", "plantedplantedplanted01"].concat()
}
const OLD_TOKEN: &str = "plantedregistrationtoken";
const PASSWORD: &str = "planted'pass word";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

fn host() -> HostScript<'static> {
    HostScript {
        deployment: "acme",
        generation: "0123456789abcdef",
        region: "eu-west-1",
        report_parameter: "/dataops-infra/acme/host",
        token: SecretRef::Parameter("/dataops-infra/acme/token".to_owned()),
        registry: Some(SecretRef::Secret("hub".to_owned())),
        platform_url: "https://app.example/",
        agent_name: "acme",
        tag: "it's $(acme)",
        runner_image: "dataopslive/dataops-runner",
        channel: Some("latest"),
        default_job_image: "dataopslive/dataops-utils-runner:latest",
        concurrent: 6,
        check_interval: 1,
        pull_policies: PULL_POLICIES,
        metrics_port: Some(9252),
        docker: Docker::default(),
        log_group: "/dataops-infra/acme",
    }
}

/// Returns the interpreter that plays the host's Python, or says why the test is skipped.
fn python() -> Option<String> {
    let asked = Command::new("python3")
        .args(["-c", "import sys, tomllib; print(sys.executable)"])
        .output();
    match asked {
        Ok(output) if output.status.success() => {
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        _ => {
            skip("there is no Python 3.11 or later as python3");
            None
        }
    }
}

/// Plays what the host has around the script. `$FAKE` is its memory.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "curl",
        r#"case $* in *'--config -'*) cat >>"$FAKE/config" ;; esac
while [ $# -gt 0 ]; do
    case $1 in
    -o) out=$2 ;;
    --data-raw) body=$2 ;;
    esac
    all="$all $1"
    shift
done
case $all in
*api/token) echo imds-planted ;;
*security-credentials/) echo role ;;
*security-credentials/role)
    printf '{"AccessKeyId":"key-planted","SecretAccessKey":"secret-planted","Token":"session-planted"}' ;;
*instance-id) echo i-0123456789abcdef0 ;;
*GetParameter*) [ ! -e "$FAKE/no-token" ] || { echo '{"__type":"AccessDeniedException"}'; exit 22; }
    cat "$FAKE/token.json" ;;
*GetSecretValue*) cat "$FAKE/login.json" ;;
*PutParameter*) printf '%s\n' "$body" >>"$FAKE/reports" ;;
*) [ -z "$out" ] || { mkdir -p "${out%/*}"; echo x >"$out"; } ;;
esac"#,
    ),
    (
        "docker",
        r#"config=
for word; do
    case $word in
    *:/etc/gitlab-runner) config=${word%:*}/config.toml ;;
    esac
done
case $* in
*inspect*-next) exit 1 ;;
info) [ -e "$FAKE/installed" ] ;;
login*) cat >"$FAKE/password"
    [ ! -e "$FAKE/bad-login" ] || { echo "denied: $(cat "$FAKE/password")"; exit 1; } ;;
'container inspect'*) [ -e "$FAKE/container" ] ;;
*' register '*)
    token=${CI_SERVER_TOKEN:-$REGISTRATION_TOKEN}
    echo "registering with $token"
    [ ! -e "$FAKE/refused" ] || { echo "PANIC: 410 for $token"; exit 1; }
    [ -n "$CI_SERVER_TOKEN" ] || token=glrtr-of-planted-runner
    cat "$FAKE/config.toml" >"$config"
    printf '[[runners]]\n  name = "acme"\n  url = "https://app.example"\n  id = 12\n  token = "%s"\n' "$token" >>"$config"
    printf '  token_expires_at = 0001-01-01T00:00:00Z\n  executor = "docker"\n  [runners.cache]\n' >>"$config"
    printf '  [runners.docker]\n    image = "x"\n    volumes = ["/cache"]\n' >>"$config" ;;
*' verify') [ ! -e "$FAKE/dead" ] || { echo "ERROR: $(cat "$FAKE/token.json") is removed"; exit 1; }
    echo 'Verifying runner... is valid' ;;
'run -d'*) touch "$FAKE/container" ;;
*unregister*) [ ! -e "$FAKE/refused" ] || { echo 'ERROR: "forbidden"'; exit 1; }
    echo 'concurrent = 6' >"$config" ;;
*State.Running*RestartCount*) echo 'true 0' ;;
*State.Running*) [ -e "$FAKE/container" ] && echo true ;;
*.Image*) [ -e "$FAKE/container" ] && echo sha256:1 ;;
wait*) [ ! -e "$FAKE/busy" ] || sleep 9 ;;
esac"#,
    ),
    (
        "apt-get",
        r#"case $* in *' install '*) [ ! -e "$FAKE/no-packages" ] || exit 100; touch "$FAKE/installed" ;; esac"#,
    ),
    (
        "dpkg",
        r#"case $* in --print*) echo amd64 ;; -i*) mkdir -p "$CTL"; printf '#!/bin/sh\nexit 0\n' >"$CTL/amazon-cloudwatch-agent-ctl"; chmod 755 "$CTL/amazon-cloudwatch-agent-ctl"; [ ! -e "$FAKE/no-agent" ] ;; esac"#,
    ),
    ("systemctl", ""),
    ("update-ca-certificates", ""),
    ("usermod", ""),
    ("id", "exit 1"),
    ("sleep", ""),
];

/// A folder that plays the disk of a host.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new(token: &str) -> Option<Self> {
        let python = python()?;
        let disk = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        for folder in [
            "fake",
            "bin",
            "disk/etc/apt/sources.list.d",
            "disk/etc/apt/apt.conf.d",
            "disk/etc/systemd/system",
        ] {
            fs::create_dir_all(disk.at(folder)).expect("a folder");
        }
        disk.write("disk/etc/os-release", "ID=ubuntu\nVERSION_CODENAME=noble\n");
        disk.write(
            "fake/token.json",
            &serde_json::json!({ "Parameter": { "Value": token } }).to_string(),
        );
        let login = serde_json::json!({ "username": "reader", "password": PASSWORD }).to_string();
        disk.write(
            "fake/login.json",
            &serde_json::json!({ "SecretString": login }).to_string(),
        );
        disk.write(
            "fake/config.toml",
            "concurrent = 1\ncheck_interval = 0\n\n[session_server]\n  session_timeout = 1800\n\n",
        );
        for (name, body) in PROGRAMS {
            disk.program(
                name,
                &format!("printf '%s\\n' \"{name} $*\" >>\"$FAKE/argv\"\n{body}"),
            );
        }
        disk.program("python3", &format!("exec '{python}' \"$@\""));
        Some(disk)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).expect("written");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default()
    }

    fn program(&self, name: &str, body: &str) {
        let path = format!("bin/{name}");
        self.write(&path, &format!("#!/bin/bash\n{body}\n"));
        fs::set_permissions(self.at(&path), fs::Permissions::from_mode(0o755)).expect("set");
    }

    /// Runs a script with its root here, as cloud-init would: without home and terminal.
    fn run(&self, script: &str) -> Output {
        let root = self.at("disk");
        assert_eq!(script.matches("ROOT=''\n").count(), 1);
        let script = script.replace("ROOT=''\n", &format!("ROOT='{}'\n", root.display()));
        self.write("script", &script);
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.at("bin").display());
        let shell = script.lines().next().expect("a line").trim_start_matches("#!");
        Command::new(shell)
            .arg(self.at("script"))
            .env_clear()
            .env("PATH", path)
            .env("FAKE", self.at("fake"))
            .env("CTL", root.join("opt/aws/amazon-cloudwatch-agent/bin"))
            .output()
            .expect("bash runs")
    }

    fn boot(&self, host: &HostScript) -> Output {
        self.run(&user_data(host).expect("rendered"))
    }

    /// Returns the reports, each as the value of the parameter.
    fn reports(&self) -> Vec<Value> {
        let bodies = self.read("fake/reports");
        let body = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
        let value = |body: Value| {
            let value = body["Value"].as_str().expect("a text").to_owned();
            assert!(value.len() <= 2048, "a report of {} bytes", value.len());
            serde_json::from_str(&value).expect("JSON")
        };
        bodies.lines().map(body).map(value).collect()
    }

    fn stages(&self) -> Vec<String> {
        let stage = |report: &Value| report["stage"].as_str().unwrap_or_default().to_owned();
        self.reports().iter().map(stage).collect()
    }

    fn last(&self) -> Value {
        self.reports().pop().unwrap_or_default()
    }

    fn count(&self, call: &str) -> usize {
        self.read("fake/argv")
            .lines()
            .filter(|line| line.contains(call))
            .count()
    }

    fn registrations(&self) -> usize {
        let argv = self.read("fake/argv");
        let tried = |line: &&str| line.starts_with("docker run") && line.contains(" register ");
        argv.lines().filter(tried).count()
    }

    /// Fails if a secret is in an argument, in the log, in a report, or on the disk where it need not be.
    fn no_secret_is_seen(&self, output: &Output) {
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let places = [
            ("argv", self.read("fake/argv")),
            ("log", self.read("disk/var/log/dataops-infra.log")),
            ("reports", self.read("fake/reports")),
            ("console", String::from_utf8_lossy(&said).into_owned()),
            ("env", self.read("disk/var/lib/dataops-infra/env")),
            ("script", self.read("script")),
        ];
        for (place, text) in places {
            let seen = text.lines().find(|line| line.contains("planted"));
            assert_eq!(seen, None, "a secret in {place}");
        }
        assert!(!self.at("disk/run/dataops-infra").exists(), "helpers are removed");
    }

    fn mode(&self, path: &str) -> u32 {
        let meta = fs::metadata(self.at(path)).expect(path);
        meta.permissions().mode() & 0o777
    }

    /// Returns a file of TOML as JSON, read by Python's own reader.
    fn toml(&self, path: &str) -> Value {
        let program = "import json, sys, tomllib; print(json.dumps(tomllib.load(open(sys.argv[1], 'rb')), default=str))";
        let output = Command::new("python3")
            .args(["-c", program])
            .arg(self.at(path))
            .output()
            .expect("Python runs");
        serde_json::from_slice(&output.stdout).expect("TOML")
    }
}

const CONFIG: &str = "disk/srv/dataops-runner-acme/config/config.toml";

fn log(disk: &Disk) -> String {
    disk.read("disk/var/log/dataops-infra.log")
}

#[test]
fn a_host_goes_online() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    let output = disk.boot(&host());
    assert!(output.status.success(), "{}", log(&disk));
    assert_eq!(disk.stages(), ["boot", "docker", "registered", "online"]);
    let last = disk.last();
    assert_eq!(last["runner_id"], 12);
    assert_eq!(last["generation"], "0123456789abcdef");
    assert_eq!(last["instance"], "i-0123456789abcdef0");
    assert_eq!(last["detail"], "");
    disk.no_secret_is_seen(&output);
    assert!(disk.at("disk/var/lib/dataops-infra/bootstrapped").exists());
    assert_eq!(disk.read("fake/password"), PASSWORD);
    assert!(
        disk.read("fake/config")
            .contains("x-amz-security-token: session-planted")
    );

    let config = disk.toml(CONFIG);
    assert_eq!(config["concurrent"], 6);
    assert_eq!(config["listen_address"], ":9252");
    assert_eq!(config["session_server"]["session_timeout"], 1800);
    let runner = &config["runners"][0];
    assert_eq!(runner["limit"], 6);
    assert_eq!(runner["token_expires_at"], "0001-01-01 00:00:00+00:00");
    assert_eq!(runner["docker"]["image"], "x");
    assert_eq!(runner["docker"]["volumes"][2], "/secrets:/secrets:ro");
    assert_eq!(runner["docker"]["pull_policy"][1], "if-not-present");
    for private in [
        CONFIG,
        "disk/var/log/dataops-infra.log",
        "disk/secrets/vault.salt",
        "disk/secrets/vault.yml",
    ] {
        assert_eq!(disk.mode(private), 0o600, "{private}");
    }
    assert_eq!(disk.read("disk/secrets/vault.yml"), "{}\n");
    assert_eq!(disk.read("disk/secrets/vault.salt").len(), 64);
    assert_eq!(disk.count(" --tag-list"), 0, "a new token takes no tags");
    assert_eq!(disk.count("-p 127.0.0.1:9252:9252"), 1);
}

#[test]
fn a_second_run_changes_nothing() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    disk.boot(&host());
    let salt = disk.read("disk/secrets/vault.salt");
    let config = disk.read(CONFIG);
    let output = disk.boot(&host());
    assert!(output.status.success(), "{}", log(&disk));
    assert_eq!(disk.read("disk/secrets/vault.salt"), salt);
    assert_eq!(disk.read(CONFIG), config);
    assert_eq!(disk.registrations(), 1);
    assert_eq!(disk.count("docker run -d"), 1);
    assert_eq!(disk.count("systemctl restart"), 0);
    disk.no_secret_is_seen(&output);
}

#[test]
fn an_old_token_brings_its_tags() {
    let Some(disk) = Disk::new(OLD_TOKEN) else { return };
    let output = disk.boot(&host());
    assert!(output.status.success(), "{}", log(&disk));
    assert_eq!(
        disk.count("--tag-list=it's $(acme) --run-untagged=false --locked=false"),
        1
    );
    assert_eq!(disk.count("-e REGISTRATION_TOKEN"), 1);
    disk.no_secret_is_seen(&output);
}

#[test]
fn a_failure_names_its_stage_and_masks_its_log() {
    // What goes wrong, the token, the stage that is not reached, and the registrations tried: with an old token each may
    // have made a runner, and a refusal is believed.
    let cases = [
        ("no-packages", OLD_TOKEN, "docker", 0),
        ("no-token", OLD_TOKEN, "registered", 0),
        ("bad-login", OLD_TOKEN, "registered", 0),
        ("refused", OLD_TOKEN, "registered", 1),
        ("refused", &new_token(), "registered", 1),
        ("dead", OLD_TOKEN, "online", 1),
    ];
    for (fault, token, stage, registrations) in cases {
        let Some(disk) = Disk::new(token) else { return };
        disk.write(&format!("fake/{fault}"), "");
        let output = disk.boot(&host());
        assert!(!output.status.success(), "{fault}");
        let last = disk.last();
        assert_eq!(last["stage"], "failed", "{fault}: {}", log(&disk));
        assert_eq!(last["failed_stage"], stage, "{fault}");
        assert_ne!(last["detail"], "", "{fault}");
        assert_eq!(disk.registrations(), registrations, "{fault}");
        assert!(
            !disk.at("disk/var/lib/dataops-infra/bootstrapped").exists(),
            "{fault}"
        );
        disk.no_secret_is_seen(&output);
        fs::remove_file(disk.at(&format!("fake/{fault}"))).expect("removed");
        assert!(
            disk.boot(&host()).status.success(),
            "{fault} is mended by running again: {}",
            log(&disk)
        );
        assert_eq!(disk.last()["stage"], "online", "{fault}");
    }
}

#[test]
fn without_metrics_a_host_still_goes_online() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    disk.write("fake/no-agent", "");
    assert!(disk.boot(&host()).status.success(), "{}", log(&disk));
    let last = disk.last();
    assert_eq!(last["stage"], "online");
    assert!(
        last["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("CloudWatch agent")),
        "{last}"
    );
}

#[test]
fn a_closed_network_has_its_ways() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    let closed = HostScript {
        docker: Docker {
            packages: Packages::Distribution {
                mirror: Some("https://mirror.example/ubuntu"),
            },
            proxy: Some(Proxy {
                url: "http://proxy.example:3128",
                exceptions: &[".internal"],
            }),
            ca_certificate: Some(CERTIFICATE),
            registry_mirrors: &["https://hub.example"],
            ..Docker::default()
        },
        ..host()
    };
    disk.write("disk/etc/apt/sources.list.d/ubuntu.sources", "");
    assert!(disk.boot(&closed).status.success(), "{}", log(&disk));
    let list = disk.read("disk/etc/apt/sources.list.d/dataops-infra.list");
    assert!(
        list.contains("deb https://mirror.example/ubuntu noble-security main universe\n"),
        "{list}"
    );
    assert!(!disk.at("disk/etc/apt/sources.list.d/ubuntu.sources").exists());
    let ca = disk.read("disk/usr/local/share/ca-certificates/dataops-infra.crt");
    assert_eq!(ca, CERTIFICATE);
    assert_eq!(
        disk.read("disk/srv/dataops-runner-acme/config/certs/ca.crt"),
        CERTIFICATE
    );
    assert_eq!(disk.count("update-ca-certificates"), 1);
    let environment = disk.toml(CONFIG)["runners"][0]["environment"].to_string();
    assert!(
        environment.contains("NO_PROXY=localhost,127.0.0.1,169.254.169.254,.internal"),
        "{environment}"
    );
    let daemon: Value = serde_json::from_str(&disk.read("disk/etc/docker/daemon.json")).expect("JSON");
    assert_eq!(daemon["proxies"]["https-proxy"], "http://proxy.example:3128");
}

#[test]
fn settings_reach_our_runner_only() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    let hostile = r#"# a comment
concurrent = 1

[[runners]]
  name = "another"
  url = "https://elsewhere.example"
  token = "theirs"
  description = """
[[runners]]
limit = 3
"""
  [runners.docker]
    volumes = [
      "/a:/a", # with a comment
    ]
    "a key" = { inline = [1, 2.5, true] }

"#;
    disk.write("fake/config.toml", hostile);
    assert!(disk.boot(&host()).status.success(), "{}", log(&disk));
    let config = disk.toml(CONFIG);
    let theirs = &config["runners"][0];
    assert_eq!(theirs["limit"], Value::Null);
    assert_eq!(theirs["description"], "[[runners]]\nlimit = 3\n");
    assert_eq!(theirs["docker"]["volumes"], serde_json::json!(["/a:/a"]));
    assert_eq!(
        theirs["docker"]["a key"]["inline"],
        serde_json::json!([1, 2.5, true])
    );
    assert_eq!(config["runners"][1]["limit"], 6);
}

/// Returns the last line of the drain as JSON.
fn drained(disk: &Disk) -> Value {
    let output = disk.run(&drain(1, "acme"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    serde_json::from_str(said.lines().last().unwrap_or_default()).expect("the last line is JSON")
}

#[test]
fn a_drain_ends_jobs_and_unregisters() {
    for (token, kind) in [(new_token(), "manager"), (OLD_TOKEN.to_owned(), "runner")] {
        let Some(disk) = Disk::new(&token) else { return };
        disk.boot(&host());
        let first = drained(&disk);
        assert_eq!(first["drained"], true, "{first}");
        assert_eq!(first["unregistered"], kind, "{first}");
        assert_eq!(disk.count("docker kill --signal=QUIT acme"), 1);
        assert_eq!(disk.count("docker update --restart=no acme"), 1);
        let again = drained(&disk);
        assert_eq!(
            again["unregistered"], kind,
            "a lost answer can be asked for again: {again}"
        );
        assert_eq!(disk.count("unregister --all-runners"), 1);
    }
}

#[test]
fn a_drain_says_what_it_could_not_do() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    let nothing = drained(&disk);
    assert_eq!(nothing["drained"], true, "{nothing}");
    assert_eq!(nothing["unregistered"], "no");

    disk.boot(&host());
    disk.write("fake/refused", "");
    disk.write("fake/busy", "");
    fs::remove_file(disk.at("bin/sleep")).expect("removed"); // the real one
    let busy = drained(&disk);
    assert_eq!(busy["drained"], false, "{busy}");
    assert_eq!(busy["unregistered"], "no");
    assert_eq!(disk.count("docker stop"), 0, "jobs go on");
    assert_eq!(disk.count("unregister"), 0, "and their runner stays registered");
    fs::remove_file(disk.at("fake/busy")).expect("removed");
    let refused = drained(&disk);
    assert_eq!(refused["drained"], true, "{refused}");
    assert_eq!(refused["unregistered"], "no");
    assert!(
        refused["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("forbidden")),
        "{refused}"
    );
    let output = disk.run(&drain(0, "acme"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("aborted"));
    assert_eq!(disk.count("docker stop"), 1);
}

/// Checks a script with a program, if there is one.
fn checked(program: &str, arguments: &[&str], script: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path: &Path = &folder.path().join("script");
    fs::write(path, script).expect("written");
    let Ok(output) = Command::new(program).args(arguments).arg(path).output() else {
        skip(&format!("there is no {program}"));
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_scripts_are_sound() {
    let script = user_data(&host()).expect("rendered");
    checked("bash", &["-n"], &script);
    checked("sh", &["-n"], &drain(60, "it's"));
    // 1091: os-release is the host's. The others: values are JSON, which the shell is to leave alone.
    checked("shellcheck", &["--exclude=SC1091,SC2016,SC2089,SC2090"], &script);
    checked("shellcheck", &[], &drain(60, "acme"));
}
