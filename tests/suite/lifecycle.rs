//! The scripts for hosts that are there, run for real in a folder instead of `/`, with a Docker that plays along.
//!
//! What plays Docker and curl writes down every argument it gets: no secret may be among them, and none in an answer.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use dataops_infra::domain::host_script::{Docker, HostScript, PULL_POLICIES, SecretRef, drain};
use dataops_infra::domain::lifecycle::script::{Ending, Why, Work, script};
use serde_json::{Value, json};

use super::bench::skip;

/// Tokens are put together here, so that none stands in the source.
fn new_token() -> String {
    ["gl", "rt-", "plantedplantedplanted01"].concat()
}
const OLD_TOKEN: &str = "plantedregistrationtoken";

const DOCKER: &str = include_str!("lifecycle/docker.py");

const CURL: &str = r#"case $* in *'--config -'*) cat >/dev/null ;; esac
while [ $# -gt 0 ]; do
    case $1 in --data-raw) body=$2 ;; esac
    all="$all $1"
    shift
done
case $all in
*api/token) echo imds-planted ;;
*security-credentials/) echo role ;;
*security-credentials/role)
    printf '{"AccessKeyId":"key-planted","SecretAccessKey":"secret-planted","Token":"session-planted"}' ;;
*instance-id) echo i-0123456789abcdef0 ;;
*GetParameter*) cat "$FAKE/token.json" ;;
*PutParameter*) printf '%s\n' "$body" >>"$FAKE/reports" ;;
*/metrics) [ -e "$FAKE/metrics" ] && cat "$FAKE/metrics" ;;
esac"#;

fn host(concurrent: u32, channel: &str) -> HostScript<'_> {
    HostScript {
        deployment: "acme",
        generation: "0123456789abcdef",
        region: "eu-west-1",
        report_parameter: "/dataops-infra/acme/host",
        token: SecretRef::Parameter("/dataops-infra/acme/token".to_owned()),
        registry: None,
        platform_url: "https://app.example/",
        agent_name: "acme",
        tag: "acme",
        runner_image: "dataopslive/dataops-runner",
        channel: Some(channel),
        default_job_image: "dataopslive/dataops-utils-runner:latest",
        concurrent,
        check_interval: 1,
        pull_policies: PULL_POLICIES,
        metrics_port: Some(9252),
        docker: Docker::default(),
        log_group: "/dataops-infra/acme",
    }
}

/// A host on which the bootstrap has been, with a runner of a token.
pub struct Disk {
    folder: tempfile::TempDir,
}

/// The image that the first runner has.
pub const OLD: &str = "dataopslive/dataops-runner:latest";
/// The one that it gets.
pub const NEW: &str = "dataopslive/dataops-runner:latest-next";

impl Disk {
    fn new(token: &str) -> Option<Self> {
        Self::of("acme", token)
    }

    /// Makes a host with a runner of a name.
    pub fn of(name: &str, token: &str) -> Option<Self> {
        let asked = Command::new("python3")
            .args(["-c", "import sys, tomllib; print(sys.executable)"])
            .output();
        let python = match asked {
            Ok(output) if output.status.success() => {
                String::from_utf8_lossy(&output.stdout).trim().to_owned()
            }
            _ => {
                skip("there is no Python 3.11 or later as python3");
                return None;
            }
        };
        let disk = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        for folder in ["fake", "bin", "disk/var/log", "disk/var/lib/dataops-infra"] {
            fs::create_dir_all(disk.at(folder)).expect("a folder");
        }
        let place = format!("disk/srv/dataops-runner-{name}/config");
        fs::create_dir_all(disk.at(&place).join("certs")).expect("a folder");
        disk.write("bin/docker.py", DOCKER);
        disk.program(
            "docker",
            &format!(
                "exec '{python}' -S -E '{}' \"$@\"",
                disk.at("bin/docker.py").display()
            ),
        );
        disk.program("python3", &format!("exec '{python}' \"$@\""));
        disk.program(
            "curl",
            &format!("printf '%s\\n' \"curl $*\" >>\"$FAKE/argv\"\n{CURL}"),
        );
        disk.program("sleep", "");
        disk.token(token);
        disk.write(&format!("{place}/certs/ca.crt"), "a certificate");
        disk.write("disk/var/lib/dataops-infra/image", &format!("{OLD}\n"));
        disk.write("disk/var/lib/dataops-infra/env", "");
        let config = disk.at(&place);
        let file = format!("{place}/config.toml");
        let own = if token.starts_with("gl") {
            token
        } else {
            "planted-own-first"
        };
        disk.write(
            &file,
            &format!(
                "concurrent = 6\n[[runners]]\n  name = \"{name}\"\n  url = \"https://app.example\"\n  id = 11\n  token = \
                 \"{own}\"\n  executor = \"docker\"\n  [runners.docker]\n    image = \"x\"\n"
            ),
        );
        let entry = json!({
            "token": own, "tags": name, "name": name, "at": disk.at(&file).display().to_string(),
        });
        disk.write("fake/platform.json", &json!([entry]).to_string());
        disk.write(
            "fake/images.json",
            &json!({ OLD: "sha256:old", NEW: "sha256:new" }).to_string(),
        );
        let container = json!({
            "Image": "sha256:old", "Config": {"Image": OLD}, "State": {"Running": true}, "RestartCount": 0,
            "HostConfig": {"Binds": [
                format!("{}:/etc/gitlab-runner", config.display()),
                "/var/run/docker.sock:/var/run/docker.sock",
                "/special:/special:ro",
            ]},
            "ports": ["127.0.0.1:9252:9252"], "restart": "always",
        });
        disk.write("fake/docker.json", &json!({ name: container }).to_string());
        Some(disk)
    }

    /// Gives it another token, as it is stored.
    pub fn token(&self, token: &str) {
        let value = json!({ "Parameter": { "Value": token } });
        self.write("fake/token.json", &value.to_string());
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).expect("written");
    }

    /// Returns a file's text; empty where there is none.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default()
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.read(path)).unwrap_or_default()
    }

    fn fault(&self, name: &str) {
        self.write(&format!("fake/{name}"), "");
    }

    fn heal(&self, name: &str) {
        fs::remove_file(self.at(&format!("fake/{name}"))).expect("removed");
    }

    /// Puts a program of its own in the place of one.
    pub fn program(&self, name: &str, body: &str) {
        let path = format!("bin/{name}");
        self.write(&path, &format!("#!/bin/bash\n{body}\n"));
        fs::set_permissions(self.at(&path), fs::Permissions::from_mode(0o755)).expect("set");
    }

    /// Runs a script as Run Command does.
    pub fn run(&self, script: &str) -> Output {
        assert_eq!(script.matches("ROOT=''\n").count(), 1);
        let root = self.at("disk");
        let script = script.replace("ROOT=''\n", &format!("ROOT='{}'\n", root.display()));
        self.write("script", &script);
        Command::new("sh")
            .arg(self.at("script"))
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.at("bin").display()),
            )
            .env("FAKE", self.at("fake"))
            .output()
            .expect("sh runs")
    }

    /// Does work and returns the answer; no secret may be seen anywhere. Null where the script was killed.
    fn does(&self, host: &HostScript, work: &Work) -> Value {
        let output = self.run(&script(host, work).expect("rendered"));
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        for (place, text) in [
            ("argv", self.read("fake/argv")),
            ("log", self.read("disk/var/log/dataops-infra.log")),
            ("reports", self.read("fake/reports")),
            ("stdout", stdout.clone()),
            ("stderr", stderr.clone()),
            ("script", self.read("script")),
            ("mark", self.read("disk/var/lib/dataops-infra/upgrade.json")),
        ] {
            let seen = text.lines().find(|line| line.contains("planted"));
            assert_eq!(seen, None, "a secret in {place}");
        }
        assert!(stdout.len() < 20_000);
        let said = serde_json::from_str(stdout.lines().last().unwrap_or_default()).unwrap_or_default();
        if output.status.success() {
            assert_ne!(said, Value::Null, "the last line is JSON: {stdout}{stderr}");
        }
        said
    }

    fn work(&self, work: &Work) -> Value {
        self.does(&host(6, "latest"), work)
    }

    fn next(&self, work: &Work) -> Value {
        self.does(&host(6, "latest-next"), work)
    }

    /// Returns its containers, as (name, whether it runs, image).
    pub fn containers(&self) -> Vec<(String, bool, String)> {
        let all = self.json("fake/docker.json");
        let all = all.as_object().cloned().unwrap_or_default();
        all.into_iter()
            .map(|(name, it)| {
                let image = it["Image"].as_str().unwrap_or_default().to_owned();
                (name, it["State"]["Running"] == true, image)
            })
            .collect()
    }

    /// Returns what the platform has, as (name, tags).
    pub fn registered(&self) -> Vec<(String, String)> {
        let all = self.json("fake/platform.json");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all.as_array()
            .into_iter()
            .flatten()
            .map(|entry| (text(&entry["name"]), text(&entry["tags"])))
            .collect()
    }

    /// Gives it a root on a partition of a disk of 400 GiB.
    pub fn with_partition(&self) {
        self.program(
            "findmnt",
            "case $* in *MAJ*) echo 259:1 ;; *) echo /dev/nvme0n1p1 ext4 ;; esac",
        );
        self.program(
            "lsblk",
            "case $* in *PKNAME*) echo nvme0n1 1 ;; *) echo 429496729600 ;; esac",
        );
        self.program(
            "growpart",
            "echo \"growpart $*\" >>\"$FAKE/argv\"; echo NOCHANGE: it has its size; exit 1",
        );
        self.program("resize2fs", "echo \"resize2fs $*\" >>\"$FAKE/argv\"");
    }

    fn count(&self, call: &str) -> usize {
        self.read("fake/argv")
            .lines()
            .filter(|line| line.contains(call))
            .count()
    }

    fn stage(&self) -> String {
        let bodies = self.read("fake/reports");
        let last = bodies.lines().last().unwrap_or_default();
        let body: Value = serde_json::from_str(last).unwrap_or_default();
        let value: Value =
            serde_json::from_str(body["Value"].as_str().unwrap_or_default()).unwrap_or_default();
        value["stage"].as_str().unwrap_or_default().to_owned()
    }
}

const CONFIG: &str = "disk/srv/dataops-runner-acme/config/config.toml";
const MARK: &str = "disk/var/lib/dataops-infra/upgrade.json";
const LONG: Ending = Ending::Within(60);

fn one(name: &str, image: &str) -> Vec<(String, bool, String)> {
    vec![(name.to_owned(), true, image.to_owned())]
}

#[test]
fn a_runner_is_stopped_and_started() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    let stopped = disk.work(&Work::Stop(LONG));
    assert_eq!(stopped["ok"], true, "{stopped}");
    assert_eq!(
        (&stopped["was"], &stopped["runner"]),
        (&json!("running"), &json!("stopped"))
    );
    assert_eq!(disk.count("docker kill --signal=QUIT acme"), 1);
    assert_eq!(disk.count("docker stop"), 0, "no job is aborted");
    assert_eq!(
        disk.json("fake/docker.json")["acme"]["restart"],
        "no",
        "it stays stopped"
    );
    assert_eq!(disk.stage(), "stopped");
    let again = disk.work(&Work::Stop(LONG));
    assert_eq!((&again["ok"], &again["was"]), (&json!(true), &json!("stopped")));
    assert_eq!(disk.count("docker kill"), 1);

    let started = disk.work(&Work::Start);
    assert_eq!(started["ok"], true, "{started}");
    assert_eq!(
        (&started["was"], &started["runner"]),
        (&json!("stopped"), &json!("running"))
    );
    assert_eq!(disk.json("fake/docker.json")["acme"]["restart"], "always");
    assert_eq!(disk.stage(), "online");
    let now = disk.work(&Work::Stop(Ending::Now));
    assert_eq!((&now["ok"], &now["drained"]), (&json!(true), &json!(false)));
    assert_eq!(disk.count("docker stop -t 60 acme"), 1);
}

#[test]
fn jobs_that_take_longer_are_left_alone() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    disk.fault("busy");
    for work in [Work::Stop(Ending::Within(1)), Work::Restart(Ending::Within(1))] {
        let busy = disk.work(&work);
        assert_eq!(
            (&busy["ok"], &busy["stage"]),
            (&json!(false), &json!("drain")),
            "{busy}"
        );
        assert_eq!(busy["runner"], "running");
    }
    assert_eq!(disk.count("docker stop"), 0);
    disk.heal("busy");
    let restarted = disk.work(&Work::Restart(LONG));
    assert_eq!(
        (&restarted["ok"], &restarted["runner"]),
        (&json!(true), &json!("running")),
        "{restarted}"
    );
}

#[test]
fn a_container_that_is_gone_is_made_anew_and_a_dead_runner_is_told() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    disk.write("fake/docker.json", "{}");
    let started = disk.work(&Work::Start);
    assert_eq!(
        (&started["ok"], &started["was"]),
        (&json!(true), &json!("absent")),
        "{started}"
    );
    assert_eq!(disk.count(" register "), 0, "its registration is still there");
    disk.fault("dead");
    let dead = disk.work(&Work::Start);
    assert_eq!(
        (&dead["ok"], &dead["stage"]),
        (&json!(false), &json!("verify")),
        "{dead}"
    );
    disk.heal("dead");
    disk.write(CONFIG, "concurrent = 6\n");
    disk.write("fake/docker.json", "{}");
    let nothing = disk.work(&Work::Start);
    assert_eq!(
        (&nothing["ok"], &nothing["stage"]),
        (&json!(false), &json!("container"))
    );
    disk.fault("no-docker");
    assert_eq!(disk.work(&Work::Start)["stage"], "docker");
}

#[test]
fn a_log_is_masked_and_goes_on_where_it_ended() {
    let Some(disk) = Disk::new(OLD_TOKEN) else { return };
    let line = |second: u32, text: &str| format!("2026-01-01T00:00:{second:02}.5Z {text}");
    disk.write(
        "fake/log.json",
        &json!([
            line(1, "token planted-own-first is used"),
            line(2, "fine\u{1b}[0m")
        ])
        .to_string(),
    );
    let logs = |since: Option<&str>| Work::Logs {
        tail: Some(100),
        since: since.map(str::to_owned),
    };
    let said = disk.work(&logs(None));
    assert_eq!(
        (&said["lines"], &said["cut"]),
        (&json!(2), &json!(false)),
        "{said}"
    );
    let last = said["last"].as_str().expect("a time").to_owned();
    let none = disk.work(&logs(Some(&last)));
    assert_eq!((&none["lines"], &none["last"]), (&json!(0), &json!(last)));
    let many: Vec<String> = (0..600).map(|n| line(n % 60, &"x".repeat(100))).collect();
    disk.write("fake/log.json", &json!(many).to_string());
    assert_eq!(disk.work(&logs(None))["cut"], true);
    disk.write("fake/docker.json", "{}");
    assert_eq!(disk.work(&logs(None))["stage"], "container");
}

#[test]
fn settings_change_without_a_restart() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    disk.write("fake/metrics", "gitlab_runner_concurrent 9\n");
    let said = disk.does(&host(9, "latest"), &Work::Settings);
    assert_eq!(
        (&said["ok"], &said["concurrent"]),
        (&json!(true), &json!(9)),
        "{said}"
    );
    let config = disk.read(CONFIG);
    assert!(
        config.contains("concurrent = 9\n") && config.contains("limit = 9\n"),
        "{config}"
    );
    for call in ["restart", "kill", "stop", "start"] {
        assert_eq!(disk.count(&format!("docker {call}")), 0, "{call}");
    }
    let report = disk.read("fake/reports");
    assert!(report.contains(r#"\"concurrent\": 9"#), "{report}");
    disk.write(CONFIG, "concurrent = [\n[[runners]]\ntoken = \"planted-x\"\n");
    let broken = disk.does(&host(7, "latest"), &Work::Settings);
    assert_eq!(
        (&broken["ok"], &broken["stage"]),
        (&json!(false), &json!("settings")),
        "{broken}"
    );
}

#[test]
fn an_upgrade_of_either_kind_leaves_one_runner() {
    for (token, how) in [(new_token(), "manager"), (OLD_TOKEN.to_owned(), "runner")] {
        let Some(disk) = Disk::new(&token) else { return };
        let tried = disk.next(&Work::Try(Why::Upgrade));
        assert_eq!(
            (&tried["ok"], &tried["next"]),
            (&json!(true), &json!("running")),
            "{tried}"
        );
        assert_eq!(disk.containers().len(), 2, "the first one goes on");
        let trial = disk.registered()[1].clone();
        assert_eq!(trial.0, "acme-latest-next");
        let is_old = how == "runner";
        assert_eq!(trial.1, if is_old { "acme-latest-next" } else { "" });
        let config = disk.read("disk/srv/dataops-runner-acme.a/config/config.toml");
        assert!(
            config.contains("concurrent = 1\n"),
            "one job at a time on trial: {config}"
        );
        assert_eq!(
            disk.next(&Work::Try(Why::Upgrade))["ok"],
            true,
            "again changes nothing"
        );
        assert_eq!((disk.count(" register "), disk.count("docker run -d")), (1, 1));

        let done = disk.next(&Work::Finish(Why::Upgrade, LONG));
        assert_eq!(
            (&done["ok"], &done["unregistered"]),
            (&json!(true), &json!(how)),
            "{done}"
        );
        assert_eq!(disk.containers(), one("acme", "sha256:new"));
        let left = disk.registered();
        assert_eq!(left.len(), 1, "{left:?}");
        if is_old {
            assert_eq!(left[0], ("acme".to_owned(), "acme".to_owned()));
        }
        let config = disk.read(CONFIG);
        assert!(
            config.contains("concurrent = 6\n") && config.contains("limit = 6\n"),
            "{config}"
        );
        assert_eq!(
            disk.read("disk/srv/dataops-runner-acme/config/certs/ca.crt"),
            "a certificate"
        );
        assert_eq!(disk.read("disk/var/lib/dataops-infra/image"), format!("{NEW}\n"));
        assert!(!disk.at(MARK).exists());
        assert_eq!(disk.stage(), "online");
        let folders: Vec<_> = fs::read_dir(disk.at("disk/srv"))
            .expect("a folder")
            .flatten()
            .collect();
        assert_eq!(folders.len(), 2, "{folders:?}");
        let binds = disk.json("fake/docker.json")["acme"]["HostConfig"]["Binds"].to_string();
        assert!(
            binds.contains("/special:/special:ro"),
            "what the first had: {binds}"
        );
        assert_eq!(disk.count("docker stop"), 0, "no job is aborted");
        let again = disk.next(&Work::Finish(Why::Upgrade, LONG));
        assert_eq!(
            (&again["ok"], &again["unregistered"]),
            (&json!(true), &json!(how)),
            "a lost answer"
        );
        let same = disk.next(&Work::Try(Why::Upgrade));
        assert_eq!(
            (&same["ok"], &same["nothing"]),
            (&json!(true), &json!(true)),
            "{same}"
        );

        // And back: the former version is an upgrade like any other.
        assert_eq!(disk.work(&Work::Try(Why::Upgrade))["ok"], true);
        assert_eq!(disk.work(&Work::Finish(Why::Upgrade, LONG))["ok"], true);
        assert_eq!(disk.containers(), one("acme", "sha256:old"));
        assert_eq!(disk.registered().len(), 1);
        let drained = disk.run(&drain(60, "acme"));
        let said = String::from_utf8_lossy(&drained.stdout).into_owned();
        assert!(said.contains(&format!("\"unregistered\":\"{how}\"")), "{said}");
        assert!(disk.registered().is_empty());
    }
}

#[test]
fn a_second_runner_that_is_no_good_goes_again() {
    for token in [new_token(), OLD_TOKEN.to_owned()] {
        for (fault, stage) in [
            ("no-pull", "pull"),
            ("refused", "register"),
            ("dead", "verify"),
            ("crash", "poll"),
        ] {
            let Some(disk) = Disk::new(&token) else { return };
            let before = (disk.containers(), disk.registered(), disk.read(CONFIG));
            disk.fault(fault);
            let said = disk.next(&Work::Try(Why::Upgrade));
            assert_eq!(
                (&said["ok"], &said["stage"]),
                (&json!(false), &json!(stage)),
                "{fault}: {said}"
            );
            assert_ne!(said["detail"], "", "{fault}");
            assert_eq!(
                (disk.containers(), disk.registered(), disk.read(CONFIG)),
                before,
                "{fault}"
            );
            assert!(!disk.at(MARK).exists(), "{fault}");
            disk.heal(fault);
            assert_eq!(disk.next(&Work::Try(Why::Upgrade))["ok"], true, "{fault}");
        }
    }
}

#[test]
fn what_the_platform_does_not_take_back_is_told_and_tried_again() {
    let Some(disk) = Disk::new(OLD_TOKEN) else { return };
    disk.fault("crash");
    disk.fault("stays");
    let said = disk.next(&Work::Try(Why::Upgrade));
    assert_eq!(
        (&said["ok"], &said["rolled_back"]),
        (&json!(false), &json!(false)),
        "{said}"
    );
    assert!(
        said["detail"]
            .as_str()
            .is_some_and(|text| text.contains("cannot be unregistered")),
        "{said}"
    );
    assert_eq!(disk.registered().len(), 2);
    disk.heal("stays");
    let back = disk.next(&Work::Rollback(LONG));
    assert_eq!(
        (&back["ok"], &back["rolled_back"]),
        (&json!(true), &json!(true)),
        "{back}"
    );
    assert_eq!(disk.registered().len(), 1);
    assert_eq!(disk.containers(), one("acme", "sha256:old"));
}

#[test]
fn a_rollback_takes_the_second_runner_away() {
    for token in [new_token(), OLD_TOKEN.to_owned()] {
        let Some(disk) = Disk::new(&token) else { return };
        assert_eq!(disk.work(&Work::Rollback(LONG))["nothing"], true);
        let before = (disk.containers(), disk.registered());
        disk.next(&Work::Try(Why::Upgrade));
        let other = disk.does(&host(6, "other"), &Work::Try(Why::Upgrade));
        assert_eq!(
            (&other["ok"], &other["stage"]),
            (&json!(false), &json!("another")),
            "{other}"
        );
        // The first one is asked to finish its jobs already, and takes longer.
        disk.fault("busy");
        let busy = disk.next(&Work::Finish(Why::Upgrade, Ending::Within(1)));
        assert_eq!(
            (&busy["ok"], &busy["stage"]),
            (&json!(false), &json!("drain")),
            "{busy}"
        );
        disk.heal("busy");
        let back = disk.next(&Work::Rollback(LONG));
        assert_eq!(back["ok"], true, "{back}");
        assert_eq!((disk.containers(), disk.registered()), before);
        assert_eq!(disk.json("fake/docker.json")["acme"]["restart"], "always");
    }
}

#[test]
fn an_upgrade_that_is_killed_anywhere_ends_the_same_way() {
    let calls = [
        "pull",
        "run",
        "register",
        "verify",
        "update",
        "kill",
        "wait",
        "unregister",
        "rm",
        "rename",
        "logs",
    ];
    for token in [new_token(), OLD_TOKEN.to_owned()] {
        let mut killed = 0;
        for call in calls {
            let Some(disk) = Disk::new(&token) else { return };
            for (work, next) in [
                (Work::Try(Why::Upgrade), Some(Work::Finish(Why::Upgrade, LONG))),
                (Work::Finish(Why::Upgrade, LONG), None),
            ] {
                disk.fault(&format!("killed-{call}"));
                let said = disk.next(&work);
                if said.is_null() {
                    killed += 1;
                } else {
                    disk.heal(&format!("killed-{call}"));
                }
                let again = disk.next(&work);
                assert_eq!(again["ok"], true, "{call}, {work:?}: {again}");
                drop(next);
            }
            assert_eq!(disk.containers(), one("acme", "sha256:new"), "{call}");
            assert_eq!(disk.registered().len(), 1, "{call}: {:?}", disk.registered());
            assert!(disk.read(CONFIG).contains("limit = 6\n"), "{call}");
            assert!(!disk.at(MARK).exists(), "{call}");
        }
        assert!(killed >= 12, "killed {killed} times");
    }
}

#[test]
fn another_token_takes_the_same_way() {
    for token in [new_token(), OLD_TOKEN.to_owned()] {
        let Some(disk) = Disk::new(&token) else { return };
        let other = ["gl", "rt-", "plantedplantedplanted02"].concat();
        disk.token(&other);
        let tried = disk.work(&Work::Try(Why::Rotate));
        assert_eq!(
            (&tried["ok"], &tried["nothing"]),
            (&json!(true), &json!(false)),
            "{tried}"
        );
        assert_eq!(disk.work(&Work::Finish(Why::Rotate, LONG))["ok"], true);
        assert!(disk.read(CONFIG).contains(&other));
        assert_eq!(disk.containers(), one("acme", "sha256:old"));
        assert_eq!(disk.registered().len(), 1);
        assert_eq!(
            disk.work(&Work::Try(Why::Rotate))["nothing"],
            true,
            "it is the token already"
        );
    }
}

const STRAYS: &str = "disk/var/lib/dataops-infra/strays";

#[test]
fn a_registration_whose_answer_is_lost_is_told_and_kept_in_mind() {
    let Some(disk) = Disk::new(OLD_TOKEN) else { return };
    disk.fault("lost");
    let tried = disk.next(&Work::Try(Why::Upgrade));
    assert_eq!(
        (&tried["ok"], &tried["rolled_back"]),
        (&json!(false), &json!(true)),
        "{tried}"
    );
    let lost = "The platform may list a runner acme-latest-next that never was online";
    assert!(
        tried["detail"].as_str().is_some_and(|text| text.contains(lost)),
        "{tried}"
    );
    assert!(disk.read(STRAYS).starts_with(lost), "{}", disk.read(STRAYS));
    disk.heal("lost");
    assert_eq!(disk.next(&Work::Try(Why::Upgrade))["ok"], true);
    assert_eq!(disk.read(STRAYS).lines().count(), 1, "the second is no stray");

    // The one under the name for good, when the second takes over.
    disk.fault("lost");
    let ended = disk.next(&Work::Finish(Why::Upgrade, LONG));
    assert_eq!(
        (&ended["ok"], &ended["stage"]),
        (&json!(false), &json!("register")),
        "{ended}"
    );
    disk.heal("lost");
    // Killed when it is registered and before anybody knows.
    disk.fault("killed-register");
    assert!(disk.next(&Work::Finish(Why::Upgrade, LONG)).is_null());
    assert_eq!(disk.read(STRAYS).lines().count(), 3);
    let ended = disk.next(&Work::Finish(Why::Upgrade, LONG));
    assert_eq!(ended["ok"], true, "{ended}");
    let strays = disk.read(STRAYS);
    let named: Vec<bool> = strays
        .lines()
        .map(|line| line.contains("a runner acme that"))
        .collect();
    assert_eq!(named, [false, true], "its token was found: {strays}");
    assert_eq!(disk.registered().len(), 3, "one, and two strays");
}

#[test]
fn a_platform_that_takes_no_registration_tokens_leaves_no_doubt() {
    let Some(disk) = Disk::new(OLD_TOKEN) else { return };
    disk.fault("refused");
    let tried = disk.next(&Work::Try(Why::Upgrade));
    let detail = tried["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("410") && detail.contains("rotate-token"),
        "{tried}"
    );
    assert!(disk.read(STRAYS).is_empty(), "{}", disk.read(STRAYS));
    assert_eq!(disk.containers(), one("acme", "sha256:old"));
}

#[test]
fn a_bootstrap_that_failed_is_begun_anew_unless_it_runs() {
    let Some(disk) = Disk::new(OLD_TOKEN) else { return };
    for (state, begun) in [("auto-restart", true), ("failed", true), ("running", false)] {
        disk.program(
            "systemctl",
            &format!("echo \"systemctl $*\" >>\"$FAKE/argv\"; case $* in show*) echo {state} ;; esac"),
        );
        let said = disk.work(&Work::Again);
        assert_eq!(
            (&said["ok"], &said["begun"]),
            (&json!(true), &json!(begun)),
            "{state}: {said}"
        );
    }
    let restarts = "systemctl restart --no-block dataops-infra-bootstrap.service";
    assert_eq!(disk.count(restarts), 2);
    disk.write("disk/var/lib/dataops-infra/bootstrapped", "0123456789abcdef");
    assert_eq!(disk.work(&Work::Again)["begun"], false, "it has done its work");
    assert_eq!(disk.count(restarts), 2);
}

#[test]
fn a_drain_in_the_middle_of_an_upgrade_takes_both_away() {
    for token in [new_token(), OLD_TOKEN.to_owned()] {
        let Some(disk) = Disk::new(&token) else { return };
        disk.next(&Work::Try(Why::Upgrade));
        assert_eq!(disk.registered().len(), 2);
        let output = disk.run(&drain(60, "acme"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("\"drained\":true"), "{said}");
        assert!(disk.registered().is_empty(), "{said}");
        assert!(disk.containers().iter().all(|(_, running, _)| !running));
    }
}

#[test]
fn the_root_file_system_grows_to_its_volume() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    disk.with_partition();
    let grown = disk.work(&Work::Grow { gib: 400 });
    assert_eq!(
        (&grown["ok"], &grown["disk"]),
        (&json!(true), &json!(400.0)),
        "{grown}"
    );
    assert_eq!(disk.count("growpart /dev/nvme0n1 1"), 1);
    assert_eq!(disk.count("resize2fs /dev/nvme0n1p1"), 1);
    let early = disk.work(&Work::Grow { gib: 500 });
    assert_eq!(
        (&early["ok"], &early["stage"]),
        (&json!(false), &json!("grow")),
        "{early}"
    );
}

#[test]
fn two_at_once_wait_for_each_other() {
    let Some(disk) = Disk::new(&new_token()) else {
        return;
    };
    let lock = disk.at("disk/var/lib/dataops-infra/lock");
    let mut holder = Command::new("flock")
        .arg(&lock)
        .args(["sleep", "2"])
        .spawn()
        .expect("flock runs");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let text = script(&host(6, "latest"), &Work::Start).expect("rendered");
    let hasty = text.replace("\"patience\":60", "\"patience\":0");
    assert_ne!(hasty, text);
    let said = String::from_utf8_lossy(&disk.run(&hasty).stdout).into_owned();
    assert!(said.contains("\"stage\": \"lock\""), "{said}");
    assert_eq!(disk.work(&Work::Start)["ok"], true, "it waits");
    holder.wait().expect("ends");
}

#[test]
fn scripts_are_sound_and_hold_no_more_than_run_command_takes() {
    let hostile = HostScript {
        tag: "it's $(acme) `x` \"y\" PYTHON",
        ..host(6, "latest")
    };
    for work in [
        Work::Look,
        Work::Start,
        Work::Finish(Why::Upgrade, LONG),
        Work::Grow { gib: 1 },
    ] {
        let text = script(&hostile, &work).expect("rendered");
        assert!(text.len() < 40_000, "{} bytes", text.len());
        assert!(!text.contains("@@"), "no hole is left, and a value is none");
        for (program, words) in [("sh", &["-n"][..]), ("shellcheck", &["--exclude=SC2016"][..])] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("script");
            fs::write(&path, &text).expect("written");
            let Ok(output) = Command::new(program).args(words).arg(&path).output() else {
                skip(&format!("there is no {program}"));
                continue;
            };
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
    }
}
