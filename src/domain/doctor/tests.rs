//! Each check in each of its states, from the facts of a host that is well with one of them changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::account::{Account, Asked};
use super::alarm::{Alarms, Heard};
use super::board::{Board, Gap, Verdict, summary, verdict};
use super::check::{Check, Remedy, Status, Subject};
use super::code::{Area, Code, Scope};
use super::deployment::HostView;
use super::facts::HostFacts;
use super::fix::Fix;
use super::machine::{Greeting, Tool};
use super::scene::{Scene, VOLUMES, Wanted};
use super::{account, alarm, deployment, host, machine, runner};
use crate::domain::call::{CallError, Refusal};
use crate::domain::deployment::metric::{self, Feed, Metric};
use crate::domain::deployment::observed::{Alarm, Instance, Topic};
use crate::domain::deployment::preflight::{ImageFact, RouteTable, SubnetFact};
use crate::domain::deployment::report::Report;
use crate::domain::deployment::spec::Subnet;

const FACTS: &str = include_str!("../../../tests/doctor/facts.json");

/// When the facts were gathered.
const NOW: f64 = 1_780_000_000.0;

fn subject() -> Subject {
    Subject {
        region: Some("eu-west-2".to_owned()),
        deployment: Some("runner-one".to_owned()),
        host: Some("host".to_owned()),
    }
}

fn scene() -> Scene {
    let facts: HostFacts = serde_json::from_str(FACTS).expect("facts");
    let told = facts.wanted.known().expect("told");
    Scene {
        subject: subject(),
        wanted: Wanted {
            disk_gib: Some(300),
            ..Wanted::of_host(told)
        },
        instance: Some("i-0123456789abcdef0".to_owned()),
        stage: Some("online".to_owned()),
        now: Some(NOW),
    }
}

/// Returns the facts with changes at JSON pointers.
fn changed(changes: &[(&str, Value)]) -> HostFacts {
    let mut facts: Value = serde_json::from_str(FACTS).expect("facts");
    for (pointer, value) in changes {
        let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
        let parent = facts
            .pointer_mut(parent)
            .unwrap_or_else(|| panic!("nothing at {pointer}"));
        match parent {
            Value::Array(list) => list[last.parse::<usize>().expect("a number")] = value.clone(),
            parent => {
                assert!(
                    !parent[last].is_null() || value.is_null() || last != "known",
                    "{pointer}"
                );
                parent[last] = value.clone();
            }
        }
    }
    serde_json::from_value(facts).expect("facts")
}

fn all(scene: &Scene, facts: &HostFacts) -> Vec<Check> {
    let mut checks = host::checks(scene, facts);
    checks.extend(runner::checks(scene, facts));
    host::not_yet(scene, facts, &mut checks);
    checks
}

fn of(code: Code, checks: &[Check]) -> Check {
    checks
        .iter()
        .find(|check| check.code == code)
        .unwrap_or_else(|| panic!("{code} is not among them"))
        .clone()
}

/// A state of a check: what is changed, how it ends, a word of the evidence.
type Case = (
    Code,
    &'static [(&'static str, &'static str)],
    Status,
    &'static str,
);

use Code::*;
use Status::{Failed, Ok as Good, Skipped, Unknown, Warning};

#[rustfmt::skip]
const CASES: &[Case] = &[
    (HostCloudInit, &[("/cloud_init/known/status", r#""running""#)], Skipped, "running"),
    (HostCloudInit, &[("/cloud_init/known/status", r#""disabled""#)], Warning, "not set up by cloud-init"),
    (HostCloudInit, &[("/cloud_init/known/status", r#""error""#)], Warning, "status error"),
    (HostCloudInit, &[("/cloud_init/known/status", r#""error""#), ("/bootstrap/known/marker", "null"),
        ("/cloud_init/known/errors", r#"["scripts-user"]"#)], Failed, "scripts-user"),
    (HostCloudInit, &[("/cloud_init/known/status", r#""novel""#)], Unknown, "novel"),
    (HostCloudInit, &[("/cloud_init/known/errors", r#"["(recovered)"]"#)], Good, "recovered"),
    (HostBootstrap, &[("/bootstrap/known/marker", r#""fedcba9876543210""#)], Failed, "fedcba9876543210"),
    (HostBootstrap, &[("/bootstrap/known/marker", "null")], Failed, "ends with: stage online"),
    (HostBootstrap, &[("/bootstrap/known/marker", "null"), ("/bootstrap/known/log", "[]")], Failed, "never begun"),
    (HostBootstrap, &[("/bootstrap/known/running", "true")], Skipped, "right now"),
    (HostDocker, &[("/docker/known/installed", "false")], Failed, "not installed"),
    (HostDocker, &[("/docker/known/answers", "false"), ("/docker/known/active", r#""failed""#)], Failed, "its unit is failed"),
    (HostDocker, &[("/docker/known/answers", "false")], Failed, "does not answer"),
    (HostDocker, &[("/docker/known/enabled", r#""disabled""#)], Warning, "does not start with the host"),
    (HostDocker, &[("/docker", r#"{"unknown": "`docker version` did not answer within 20 s"}"#)], Failed, "within 20 s"),
    (HostDocker, &[("/docker", r#"{"unknown": "OSError"}"#)], Unknown, "OSError"),
    (HostDockerApi, &[("/polling/known/too_old", r#""client version 1.43 is too old""#)], Failed, "1.43 is too old"),
    (HostDockerApi, &[("/image/known/created", r#""2026-02-03T00:00:00Z""#)], Warning, "built on 2026-02-03"),
    (HostDockerApi, &[("/image/known/created", r#""2026-02-03T00:00:00Z""#), ("/docker/known/min_api", r#""1.24""#)], Good, "1.24"),
    (HostDockerApi, &[("/image/known/created", r#""0001-01-01T00:00:00Z""#)], Good, "1.44"),
    (HostDockerApi, &[("/image", r#"{"unknown": "x"}"#)], Good, "29.1.0"),
    (HostDockerApi, &[("/docker/known/min_api", "null")], Unknown, "does not say"),
    (HostDiskSpace, &[("/disks/known/0/used_percent", "79.9")], Good, "80 % full"),
    (HostDiskSpace, &[("/disks/known/0/used_percent", "80.0")], Warning, "80 % full"),
    (HostDiskSpace, &[("/disks/known/0/used_percent", "93.0")], Failed, "93 % full"),
    (HostDiskSpace, &[("/disks/known", "[]")], Unknown, "no file system"),
    (HostDiskInodes, &[("/disks/known/0/inodes_percent", "85")], Warning, "85 %"),
    (HostDiskInodes, &[("/disks/known/0/inodes_percent", "96")], Failed, "96 %"),
    (HostDiskSize, &[("/disks/known/0/gib", "49.0")], Warning, "49 GiB, the plan says 300"),
    (HostDiskSize, &[("/disks/known/0/gib", "49.0"), ("/clock/known/container", "true")], Skipped, "machine around"),
    (HostMemory, &[("/memory/known/available_mib", "700")], Warning, "700 of 7800"),
    (HostMemory, &[("/memory/known/available_mib", "200")], Failed, "200 of 7800"),
    (HostMemory, &[("/memory/known/oom_kills", "2")], Warning, "2 processes"),
    (HostClock, &[("/clock/known/synchronised", "false")], Warning, "nothing keeps it so"),
    (HostClock, &[("/clock/known/synchronised", "false"), ("/clock/known/container", "true")], Good, "machine around"),
    (HostClock, &[("/clock/known/synchronised", "null")], Good, "not known"),
    (HostClock, &[("/egress/known/0/skew_s", "-90")], Warning, "90 s behind"),
    (HostClock, &[("/egress/known/0/skew_s", "3600")], Failed, "3600 s ahead"),
    (HostClock, &[("/clock/known/now", "1780000400.0"), ("/egress", r#"{"unknown": "x"}"#)], Failed, "400 s ahead of this machine"),
    (HostEgress, &[("/egress/known/0/ok", "false"), ("/egress/known/0/says", r#""timed out""#)], Failed, "platform https://app.example/: timed out"),
    (HostEgress, &[("/egress/known/1/ok", "false"), ("/egress/known/1/says", r#""refused""#)], Failed, "registry-1.docker.io"),
    (HostEgress, &[("/egress/known/2/ok", "false")], Failed, "auth.docker.io"),
    (HostEgress, &[("/egress/known/1/ok", "false"), ("/egress/known/2/what", r#""mirror""#)], Good, "mirror"),
    (HostEgress, &[("/egress/known", "[]")], Unknown, "does not say"),
    (HostDiskGuard, &[("/guard/known/loaded", r#""not-found""#)], Warning, "no disk guard"),
    (HostDiskGuard, &[("/guard/known/active", r#""inactive""#)], Failed, "inactive and enabled"),
    (HostDiskGuard, &[("/guard/known/active", "null")], Unknown, "does not say"),
    (HostDiskGuard, &[("/guard/known/health/healthy", "false"), ("/guard/known/health/why", r#""92 % used""#)], Failed, "92 % used"),
    (HostDiskGuard, &[("/guard/known/health/paused", "true")], Failed, "takes no new jobs"),
    (HostDiskGuard, &[("/guard/known/health/age_s", "40000")], Warning, "666 min ago"),
    (HostDiskGuard, &[("/guard/known/health", "null"), ("/guard/known/why", r#""it has not reported yet""#)], Warning, "not reported"),
    (HostDiskGuard, &[("/guard/known/health", "null"), ("/clock/known/uptime_s", "300")], Good, "timer runs"),
    (HostDiskGuard, &[("/guard/known/health", "null"), ("/bootstrap/known/age_s", "30")], Good, "timer runs"),
    (HostMetricsAgent, &[("/cloudwatch_agent/known/installed", "false")], Failed, "not installed"),
    (HostMetricsAgent, &[("/cloudwatch_agent/known/configured", "false")], Failed, "not our configuration"),
    (HostMetricsAgent, &[("/cloudwatch_agent/known/active", r#""failed""#)], Failed, "its unit is failed"),
    (HostMetricsAgent, &[("/cloudwatch_agent/known/active", "null")], Unknown, "does not say"),
    (HostReboot, &[("/reboot/known/required", "true"), ("/reboot/known/age_s", "90000")], Good, "since 1 days"),
    (HostReboot, &[("/reboot/known/required", "true"), ("/reboot/known/age_s", "800000"), ("/reboot/known/packages", r#"["linux-image-aws"]"#)], Warning, "linux-image-aws"),
    (RunnerContainer, &[("/container/known/exists", "false")], Failed, "no container runner-one"),
    (RunnerContainer, &[("/container/known/running", "false"), ("/container/known/status", r#""exited""#), ("/container/known/exit_code", "137"), ("/container/known/oom_killed", "true")], Failed, "exited, with exit code 137, ended for want of memory"),
    (RunnerContainer, &[("/container/known/running", "false"), ("/bootstrap/known/unregistered", r#""manager""#)], Failed, "taken off the platform (manager)"),
    (RunnerContainer, &[("/container", r#"{"unknown": "hangs"}"#)], Unknown, "hangs"),
    (RunnerContainer, &[("/container/known/running", "false"), ("/bootstrap/known/held", r#"["runner-one"]"#)], Failed, "disk guard"),
    (RunnerContainer, &[("/container/known/running", "false"), ("/bootstrap/known/held", r#"["runner-one"]"#), ("/bootstrap/known/window", "true")], Skipped, "reboot window"),
    (RunnerRestartPolicy, &[("/container/known/policy", r#""no""#), ("/bootstrap/known/held", r#"["runner-one"]"#)], Skipped, "disk guard"),
    (RunnerPolling, &[("/container/known/running", "false"), ("/bootstrap/known/held", r#"["runner-one"]"#)], Skipped, "disk guard"),
    (HostDiskGuard, &[("/guard/known/health/paused", "true"), ("/bootstrap/known/window", "true")], Good, "content"),
    (RunnerImage, &[("/bootstrap/known/upgrade", r#""dataopslive/dataops-runner:next""#)], Warning, "second runner of dataopslive/dataops-runner:next"),
    (HostReboot, &[("/reboot/known/window/active", r#""inactive""#)], Warning, "updates wait for ever"),
    (HostReboot, &[("/reboot/known/window/loaded", r#""not-found""#), ("/reboot/known/window/active", r#""inactive""#)], Good, "no update"),
    (RunnerRestarts, &[("/container/known/restarts", "5")], Warning, "5 restarts"),
    (RunnerRestarts, &[("/container/known/restarts", "5"), ("/container/known/up_s", "20")], Failed, "is at it"),
    (RunnerRestarts, &[("/container/known/status", r#""restarting""#)], Failed, "is at it"),
    (RunnerRestarts, &[("/container/known/exists", "false")], Skipped, "no container"),
    (RunnerRestartPolicy, &[("/container/known/policy", r#""no""#)], Warning, "`no`"),
    (RunnerRestartPolicy, &[("/container/known/policy", r#""unless-stopped""#)], Good, "unless-stopped"),
    (RunnerRestartPolicy, &[("/container/known/exists", "false")], Skipped, "no container"),
    (RunnerImage, &[("/container/known/image", r#""dataopslive/dataops-runner:old""#)], Warning, "the plan says dataopslive/dataops-runner:latest"),
    (RunnerImage, &[("/image/known/tagged_id", r#""sha256:bb""#)], Warning, "not in use"),
    (RunnerImage, &[("/container/known/exists", "false")], Skipped, "no container"),
    (RunnerImageAge, &[("/image/known/created", r#""2025-05-01T00:00:00Z""#)], Warning, "392 days ago"),
    (RunnerImageAge, &[("/image/known/created", r#""0001-01-01T00:00:00Z""#)], Good, "does not say"),
    (RunnerImageAge, &[("/image/known/exists", "false")], Skipped, "not on the host"),
    (RunnerConfig, &[("/config/known/exists", "false")], Failed, "there is no /srv/dataops-runner-runner-one"),
    (RunnerConfig, &[("/config/known/valid", "false"), ("/config/known/error", r#""at line 3""#)], Failed, "at line 3"),
    (RunnerConfig, &[("/config/known/mode", r#""644""#)], Warning, "mode 644"),
    (RunnerConfig, &[("/config/known/mode", r#""640""#)], Warning, "mode 640"),
    (RunnerPlan, &[("/config/known/top/concurrent", "8")], Warning, "concurrent is 8, not 4"),
    (RunnerPlan, &[("/config/known/top/concurrent", "null")], Warning, "concurrent is not set, not 4"),
    (RunnerPlan, &[("/config/known/top/check_interval", "3")], Warning, "check_interval is 3, not 1"),
    (RunnerPlan, &[("/config/known/runners/0/limit", "0")], Warning, "limit is 0, not 4"),
    (RunnerPlan, &[("/config/known/runners/0/name", r#""other""#)], Warning, "name is other"),
    (RunnerPlan, &[("/config/known/runners/0/executor", r#""shell""#)], Warning, "executor is shell"),
    (RunnerPlan, &[("/config/known/runners/0/pull_policy", r#"["always"]"#)], Warning, "pull_policy is [always]"),
    (RunnerPlan, &[("/config/known/runners/0/volumes", r#"["/cache"]"#)], Warning, "volumes lack /app:/local_config:rw"),
    (RunnerPlan, &[("/config/known/runners/0/privileged", "true")], Warning, "privileged"),
    (RunnerPlan, &[("/config/known/runners/0/url", r#""https://app.example/""#)], Good, "concurrent"),
    (RunnerPlan, &[("/config/known/runners/0/url", r#""https://other.example""#)], Failed, "runners for https://other.example only"),
    (RunnerPlan, &[("/config/known/runners", "[]")], Failed, "no runner"),
    (RunnerPlan, &[("/config/known/valid", "false")], Skipped, "no config.toml that can be read"),
    (RunnerToken, &[("/config/known/runners", "[]")], Failed, "no runner of ours"),
    (RunnerToken, &[("/config/known/runners/0/token_kind", r#""none""#)], Failed, "has a token"),
    (RunnerToken, &[("/config/known/runners/0/token_kind", r#""registration-token""#)], Failed, "registration token"),
    (RunnerToken, &[("/config/known/runners/0/token_kind", r#""registration""#)], Good, "phase out"),
    (RunnerToken, &[("/config/known/runners/0/expires_at", r#""2026-06-03 00:00:00""#)], Warning, "ends on 2026-06-03"),
    (RunnerToken, &[("/config/known/runners/0/expires_at", r#""2026-05-20T00:00:00Z""#)], Failed, "ended on 2026-05-20"),
    (RunnerToken, &[("/config/known/runners/0/expires_at", r#""2027-05-20T00:00:00Z""#)], Good, "ends on 2027-05-20"),
    (RunnerToken, &[("/config/known/exists", "false")], Skipped, "no config.toml"),
    (RunnerVerify, &[("/verify/known/ok", "false"), ("/verify/known/says", r#"["ERROR: Verifying runner... is removed"]"#)], Failed, "is removed"),
    (RunnerVerify, &[("/verify/known/ok", "false"), ("/verify/known/says", r#"["dial tcp: no such host"]"#)], Unknown, "could not be asked"),
    (RunnerVerify, &[("/verify", r#"{"unknown": "did not answer within 20 s"}"#)], Unknown, "within 20 s"),
    (RunnerPolling, &[("/polling/known/failed", "4"), ("/polling/known/last_failed", r#""Checking for jobs... forbidden""#)], Failed, "forbidden"),
    (RunnerPolling, &[("/polling/known/failed", "4"), ("/polling/known/over", "true")], Good, "8033 questions"),
    (RunnerPolling, &[("/polling/known/requests", r#"{"403": 7}"#)], Failed, "7 times 403"),
    (RunnerPolling, &[("/polling/known/requests", "{}")], Good, "no question fails"),
    (RunnerPolling, &[("/polling/known/errors", r#"["ERROR: odd"]"#)], Warning, "ERROR: odd"),
    (RunnerPolling, &[("/container/known/running", "false")], Failed, "does not run"),
    (LeftoverHost, &[("/config/known/runners", "[]")], Failed, "costs money"),
    (LeftoverHost, &[("/config/known/exists", "false"), ("/config/known/runners", "[]"), ("/bootstrap/known/unregistered", r#""runner""#)], Failed, "took it off (runner)"),
    (LeftoverHost, &[("/config", r#"{"unknown": "x"}"#)], Unknown, "x"),
    (LeftoverRegistration, &[("/config/known/runners/0/id", "13")], Good, "one section"),
    (LeftoverRegistration, &[("/bootstrap/known/strays", r#"["", "The platform may list a runner acme."]"#)], Warning, "may list a runner acme"),
];

#[test]
fn a_host_that_is_well_has_nothing_but_ok() {
    for check in all(&scene(), &changed(&[])) {
        assert_eq!(check.status, Good, "{check:?}");
        assert_eq!(check.subject, subject());
        assert!(check.remedy.is_none() && check.fix.is_none(), "{check:?}");
    }
}

#[test]
fn each_state_of_each_check_is_told() {
    for (code, changes, status, word) in CASES {
        let changes: Vec<(&str, Value)> = changes
            .iter()
            .map(|(pointer, value)| (*pointer, serde_json::from_str(value).expect("JSON")))
            .collect();
        let check = of(*code, &all(&scene(), &changed(&changes)));
        assert_eq!(check.status, *status, "{changes:?} gives {check:?}");
        assert!(check.evidence.contains(word), "`{word}` is not in {check:?}");
        assert_eq!(check.remedy.is_some(), status.is_finding(), "{check:?}");
    }
}

#[test]
fn every_check_of_a_host_can_fail_in_the_table() {
    let told: BTreeSet<Code> = CASES
        .iter()
        .filter(|(_, _, status, _)| status.is_finding())
        .map(|case| case.0)
        .collect();
    for code in Code::ALL.iter().filter(|code| host::is_said_by_host(**code)) {
        let elsewhere = matches!(code, HostReachable | LeftoverRegistration);
        assert!(told.contains(code) || elsewhere, "{code}");
    }
}

#[test]
fn without_a_fact_its_checks_are_unknown_and_the_rest_goes_on() {
    let facts = HostFacts::default();
    for check in all(&scene(), &facts) {
        assert_eq!(check.status, Unknown, "{check:?}");
        assert_eq!(check.evidence, "the host does not say");
    }
    let checks = all(
        &scene(),
        &changed(&[("/verify", json!({"unknown": "did not answer within 20 s"}))]),
    );
    let unknown: Vec<Code> = checks
        .iter()
        .filter(|check| check.status == Unknown)
        .map(|check| check.code)
        .collect();
    assert_eq!(unknown, [RunnerVerify]);
}

#[test]
fn what_comes_later_is_no_finding_while_a_host_is_set_up() {
    let early = Scene {
        stage: Some("docker".to_owned()),
        ..scene()
    };
    let facts = changed(&[
        ("/container/known/exists", json!(false)),
        ("/config/known/exists", json!(false)),
        ("/disks/known/0/used_percent", json!(95)),
        ("/egress/known/0/ok", json!(false)),
    ]);
    let checks = all(&early, &facts);
    assert_eq!(of(RunnerContainer, &checks).status, Skipped);
    assert!(of(RunnerContainer, &checks).evidence.contains("stage docker"));
    assert_eq!(
        of(HostDiskSpace, &checks).status,
        Failed,
        "a full disk is why it does not go on"
    );
    assert_eq!(of(HostEgress, &checks).status, Failed);
    let failed = Scene {
        stage: Some("failed".to_owned()),
        ..scene()
    };
    assert_eq!(of(RunnerContainer, &all(&failed, &facts)).status, Failed);
}

#[test]
fn remedies_are_for_where_one_stands() {
    let facts = changed(&[
        ("/container/known/running", json!(false)),
        ("/cloud_init/known/status", json!("error")),
    ]);
    let afar = of(RunnerContainer, &all(&scene(), &facts));
    assert_eq!(
        afar.remedy.and_then(|remedy| remedy.command).as_deref(),
        Some("dataops-infra doctor --fix --check RUNNER-CONTAINER --name runner-one --region eu-west-2")
    );
    assert_eq!(afar.fix, Some(Fix::StartContainer));
    let there = Scene {
        instance: None,
        ..scene()
    };
    let here = of(RunnerContainer, &all(&there, &facts));
    assert_eq!(
        here.remedy.and_then(|remedy| remedy.command).as_deref(),
        Some("sudo docker start 'runner-one'")
    );
    let read = of(HostCloudInit, &all(&scene(), &facts))
        .remedy
        .expect("a remedy");
    assert!(read.text.contains("sudo cloud-init status"), "{read:?}");
    assert_eq!(
        read.command.as_deref(),
        Some("aws ssm start-session --target i-0123456789abcdef0 --region eu-west-2")
    );
}

#[test]
fn volumes_are_those_of_the_bootstrap() {
    let script = include_str!("../host_script.rs");
    for volume in VOLUMES {
        assert!(script.contains(&format!("\"{volume}\"")), "{volume}");
    }
}

#[test]
fn every_code_is_sound() {
    let mut words = BTreeSet::new();
    for code in Code::ALL {
        assert!(words.insert(code.word()), "{code} is there twice");
        assert!(
            code.word().starts_with(&format!("{}-", code.area().word())),
            "{code}"
        );
        assert!(!code.title().ends_with('.') && !code.title().is_empty(), "{code}");
        assert_eq!(
            Code::find(&code.word().to_lowercase()).as_deref(),
            Ok(&[*code][..])
        );
    }
    for area in Area::ALL {
        let found = Code::find(area.word()).expect("an area");
        assert!(found.len() > 1 && found.iter().all(|code| code.area() == area));
    }
    assert_eq!(Code::find("HOST-DISC-SPACE"), Err("HOST-DISK-SPACE"));
}

#[test]
fn every_page_is_about_its_check() {
    for code in Code::ALL {
        let page = code.page();
        let first = format!("# {code}: {}", code.title());
        assert_eq!(page.lines().next(), Some(first.as_str()));
        assert!(
            page.contains(&format!("Severity: {}.", code.severity().word())),
            "{code}"
        );
        let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        let all = [
            "## What it means",
            "## How it is measured",
            "## Why it matters",
            "## How to mend it",
        ];
        assert_eq!(headings, all, "{code}");
        for word in page.split(|c: char| !c.is_ascii_uppercase() && c != '-') {
            let named = Area::ALL
                .iter()
                .any(|area| word.starts_with(&format!("{}-", area.word())));
            assert!(!named || Code::find(word).is_ok(), "{code} names {word}");
        }
    }
}

fn denied(action: &'static str) -> Gap {
    Gap::Call(CallError::Denied {
        action,
        cause: "no".to_owned(),
    })
}

#[test]
fn what_is_asked_is_on_the_board_at_the_end() {
    let mut board = Board::default();
    let region = Subject {
        region: Some("eu-west-2".to_owned()),
        ..Subject::default()
    };
    board.ask(&Subject::default(), MachineClock);
    board.ask(&region, AccountPermissions);
    board.ask(&region, AccountImage);
    board.put([
        Check::ok(AccountImage, "there").of(&region),
        Check::ok(AccountType, "nobody asked").of(&region),
        Check::ok(AccountPermissions, "fine").of(&region),
    ]);
    board.note(&region, &denied("sns:GetTopicAttributes"));
    board.note(&region, &Gap::Slow(3));
    let checks = board.close("it was late");
    let seen: Vec<(Code, Status)> = checks.iter().map(|check| (check.code, check.status)).collect();
    assert_eq!(
        seen,
        [
            (MachineClock, Unknown),
            (AccountPermissions, Failed),
            (AccountImage, Good)
        ]
    );
    assert_eq!(checks[0].evidence, "it was late");
    assert!(checks[1].evidence.contains("sns:GetTopicAttributes"));
}

#[test]
fn a_finding_wins_over_what_could_not_be_checked() {
    let ok = || Check::ok(HostMemory, "");
    let skipped = || Check::skipped(HostMemory, "");
    let unknown = || Check::unknown(HostDocker, "");
    let warning = || Check::warning(HostClock, "", Remedy::default());
    let no_credentials = || Check::failed(MachineCredentials, "", Remedy::default());
    assert_eq!(verdict(&[ok(), skipped()]), Verdict::Clean);
    assert_eq!(verdict(&[ok(), unknown()]), Verdict::Unchecked);
    assert_eq!(verdict(&[warning(), unknown()]), Verdict::Findings);
    assert_eq!(verdict(&[no_credentials(), unknown()]), Verdict::Unchecked);
    assert_eq!(verdict(&[no_credentials()]), Verdict::Unchecked);
    assert_eq!(verdict(&[no_credentials(), warning()]), Verdict::Findings);
    assert_eq!(
        summary(&[ok(), warning(), unknown()]),
        json!({"checks": 3, "ok": 1, "warning": 1, "failed": 0, "skipped": 0, "unknown": 1, "verdict": "findings"})
    );
}

#[test]
fn the_machine_is_checked() {
    let at = |skew: Option<i64>| {
        Ok(Greeting {
            url: "https://sts".to_owned(),
            skew_s: skew,
        })
    };
    let silent = Err(Gap::Slow(5));
    assert_eq!(machine::network(&at(None)).status, Good);
    assert_eq!(machine::network(&silent).status, Failed);
    for (skew, status) in [
        (Some(-59), Good),
        (Some(60), Warning),
        (Some(-300), Failed),
        (None, Unknown),
    ] {
        assert_eq!(machine::clock(&at(skew)).status, status, "{skew:?}");
    }
    assert_eq!(machine::clock(&silent).status, Unknown);
    let refused = Err(Gap::Call(CallError::Credentials {
        action: "sts:GetCallerIdentity",
        cause: "ExpiredToken".to_owned(),
    }));
    let check = machine::credentials(&refused, Some("work"));
    assert_eq!(check.status, Failed);
    assert_eq!(
        check.remedy.and_then(|remedy| remedy.command).as_deref(),
        Some("aws sso login --profile work")
    );
    assert_eq!(machine::credentials(&Err(Gap::Slow(5)), None).status, Unknown);
    assert_eq!(machine::credentials(&Ok("arn".to_owned()), None).status, Good);
    let tool = |there| Tool {
        name: "aws",
        there,
        what_for: "x",
    };
    assert!(
        machine::tools(&[tool(false)])
            .evidence
            .contains("aws is not here")
    );
    assert_eq!(machine::tools(&[tool(true)]).status, Good);
}

fn healthy_account() -> Account {
    let subnet = SubnetFact {
        subnet: Subnet {
            id: "subnet-1".to_owned(),
            zone: "eu-west-2a".to_owned(),
        },
        vpc: "vpc-1".to_owned(),
        free: 100,
        public: true,
        default_for_zone: true,
    };
    Account {
        vcpus: Ok((64.0, Some(4.0))),
        gp3: Ok(50.0),
        subnets: Ok(vec![subnet]),
        routes: Ok(vec![RouteTable {
            vpc: "vpc-1".to_owned(),
            main: true,
            out: Some("igw-1".to_owned()),
            subnets: Vec::new(),
        }]),
        offered: Ok(BTreeSet::from([("c5.large".to_owned(), "eu-west-2a".to_owned())])),
        image: Ok(Some(ImageFact {
            id: "ami-1".to_owned(),
            name: "ubuntu".to_owned(),
            architecture: "x86_64".to_owned(),
            root_device: "/dev/sda1".to_owned(),
            on_ebs: true,
            state: "available".to_owned(),
            root_gib: Some(8),
        })),
    }
}

#[test]
fn the_account_is_checked() {
    let asked = |running: bool| Asked {
        types: BTreeSet::from(["c5.large".to_owned()]),
        vcpus: Some(2),
        gib: 300,
        running,
        public_address: None,
        on_eks: false,
    };
    let look =
        |running: bool, account: &Account, code: Code| of(code, &account::checks(&asked(running), account));
    for code in [
        AccountQuotaVcpus,
        AccountQuotaDisk,
        AccountNetwork,
        AccountType,
        AccountImage,
        AccountPermissions,
    ] {
        assert_eq!(look(false, &healthy_account(), code).status, Good, "{code}");
    }
    let with = |change: fn(&mut Account)| {
        let mut account = healthy_account();
        change(&mut account);
        account
    };
    let full = with(|account| account.vcpus = Ok((5.0, Some(4.0))));
    assert_eq!(look(false, &full, AccountQuotaVcpus).status, Failed);
    assert_eq!(
        look(true, &full, AccountQuotaVcpus).status,
        Good,
        "a lost host gives its own back"
    );
    assert_eq!(
        look(true, &with(|a| a.vcpus = Ok((1.0, None))), AccountQuotaVcpus).status,
        Failed
    );
    assert_eq!(
        look(true, &with(|a| a.gp3 = Ok(0.1)), AccountQuotaDisk).status,
        Failed
    );
    let stuck = with(|account| account.routes = Ok(Vec::new()));
    assert_eq!(look(true, &stuck, AccountNetwork).status, Warning);
    assert_eq!(
        look(true, &with(|a| a.subnets = Ok(Vec::new())), AccountNetwork).status,
        Warning
    );
    assert_eq!(
        look(true, &with(|a| a.subnets = Ok(Vec::new())), AccountType).status,
        Skipped
    );
    let elsewhere = with(|account| account.offered = Ok(BTreeSet::new()));
    assert_eq!(look(false, &elsewhere, AccountType).status, Failed);
    assert_eq!(
        look(true, &elsewhere, AccountType).status,
        Warning,
        "running hosts go on"
    );
    let gone = with(|account| account.image = Ok(None));
    assert_eq!(look(false, &gone, AccountImage).status, Failed);
    assert_eq!(look(true, &gone, AccountImage).status, Warning);
    let dark = Account {
        vcpus: Err(Gap::Slow(1)),
        gp3: Err(Gap::Slow(1)),
        subnets: Err(Gap::Slow(1)),
        routes: Err(Gap::Slow(1)),
        offered: Err(Gap::Slow(1)),
        image: Err(Gap::Slow(1)),
    };
    assert_eq!(look(true, &dark, AccountPermissions).status, Unknown);
    for code in [
        AccountQuotaVcpus,
        AccountQuotaDisk,
        AccountNetwork,
        AccountType,
        AccountImage,
    ] {
        let check = look(true, &dark, code);
        assert_eq!(
            (check.status, check.evidence.as_str()),
            (Unknown, "did not answer within 1 s")
        );
    }
}

fn instance(state: &str) -> Instance {
    Instance {
        id: "i-1".to_owned(),
        state: state.to_owned(),
        launched_at: Some("2026-05-28T10:00:00Z".to_owned()),
        ..Instance::default()
    }
}

fn time(text: &str) -> jiff::Timestamp {
    text.parse().expect("a time")
}

#[test]
fn hosts_and_their_reports_are_checked() {
    let view = |state: Option<&str>, report: Option<&str>, current: bool| HostView {
        instance: state.map(instance),
        report: report.map(Report::read),
        current,
        ..HostView::default()
    };
    let soon = time("2026-05-28T10:05:00Z");
    let late = time("2026-05-28T12:05:00Z");
    let host = |state| deployment::host(&subject(), &view(state, None, false)).status;
    assert_eq!(host(None), Failed);
    assert_eq!(host(Some("running")), Good);
    assert_eq!(host(Some("pending")), Skipped);
    assert_eq!(host(Some("stopped")), Failed);
    let stage = |view: &HostView, now| deployment::stage_report(&subject(), view, now);
    let online = view(Some("running"), Some(r#"{"stage":"online"}"#), true);
    assert_eq!(stage(&online, late).status, Good);
    let failed = view(
        Some("running"),
        Some(r#"{"stage":"failed","failed_stage":"registered","detail":"a\nb\nPANIC: 410"}"#),
        true,
    );
    let check = stage(&failed, soon);
    assert_eq!(check.status, Failed);
    assert!(
        check.evidence.contains("on the way to registered") && check.evidence.contains("410"),
        "{check:?}"
    );
    let silent = view(Some("running"), None, false);
    assert_eq!(stage(&silent, soon).status, Skipped);
    assert_eq!(stage(&silent, late).status, Failed);
    let former = view(Some("running"), Some(r#"{"stage":"online"}"#), false);
    assert_eq!(
        stage(&former, late).status,
        Failed,
        "an earlier instance's word is none"
    );
    assert_eq!(stage(&view(None, None, false), late).status, Skipped);
    let mut shown = silent;
    shown.console = vec!["cloud-init: 404".to_owned()];
    assert!(
        stage(&shown, late)
            .evidence
            .contains("the console ends with: cloud-init: 404")
    );

    let lost = |view: &HostView| deployment::lost_registration(&subject(), view);
    let gone = view(
        None,
        Some(r#"{"stage":"online","runner_id":12,"instance":"i-0"}"#),
        false,
    );
    let check = lost(&gone).expect("a check");
    assert_eq!(check.status, Warning);
    assert!(
        check.evidence.starts_with("runner 12 was registered by i-0"),
        "{check:?}"
    );
    assert_eq!(
        lost(&view(None, None, false)).map(|check| check.status),
        Some(Skipped)
    );
    assert_eq!(lost(&online), None, "the host itself knows");

    let ok = || Check::ok(LeftoverRegistration, "one");
    let twice = HostView {
        gone: vec!["i-0".to_owned()],
        ..HostView::default()
    };
    assert_eq!(
        deployment::with_gone(ok(), &twice, Some("authentication")).status,
        Good
    );
    assert_eq!(
        deployment::with_gone(ok(), &twice, Some("registration")).status,
        Unknown
    );
    assert_eq!(
        deployment::with_gone(ok(), &HostView::default(), None).status,
        Good
    );
    let noted = |stage: &str, detail: &str| {
        let text = json!({ "stage": stage, "detail": detail }).to_string();
        view(Some("running"), Some(&text), true)
    };
    let lost = noted(
        "online",
        "The platform may list 1 more of this name that never was online: x",
    );
    assert_eq!(deployment::with_gone(ok(), &lost, None).status, Warning);
    assert_eq!(stage(&lost, late).status, Good);
    let refused = noted(
        "online",
        "The registry takes the login no more: images of jobs cannot be pulled. ",
    );
    assert_eq!(stage(&refused, late).status, Warning);
    assert_eq!(
        stage(&noted("stopped", "somebody stopped the runner"), late).status,
        Warning
    );
    // As the host says it.
    let script = include_str!("../../../templates/host/user-data.sh");
    for words in [
        "The platform may list",
        "The registry takes the login no more",
        "succeeded stopped",
        "$STATE/settings",
    ] {
        assert!(script.contains(words), "{words}");
    }
}

#[test]
fn two_sections_are_two_registrations() {
    let mut facts: Value = serde_json::from_str(FACTS).expect("facts");
    let runners = facts.pointer_mut("/config/known/runners").expect("runners");
    let mut second = runners[0].clone();
    second["id"] = json!(13);
    runners.as_array_mut().expect("a list").push(second);
    let facts: HostFacts = serde_json::from_value(facts).expect("facts");
    let check = of(LeftoverRegistration, &all(&scene(), &facts));
    assert_eq!(check.status, Warning);
    assert!(check.evidence.contains("(12, 13)"), "{check:?}");
}

#[test]
fn a_host_that_cannot_be_asked_is_unknown_with_the_reason() {
    let checks = host::unreached(
        &scene(),
        Failed,
        Unknown,
        "PingStatus ConnectionLost",
        "its report says boot",
    );
    assert_eq!(of(HostReachable, &checks).status, Failed);
    assert!(of(HostReachable, &checks).remedy.is_some());
    let others: Vec<&Check> = checks
        .iter()
        .filter(|check| check.code != HostReachable)
        .collect();
    assert!(
        others
            .iter()
            .all(|check| check.status == Unknown && check.evidence.contains("its report says boot"))
    );
    let full = host::unreached(
        &scene(),
        Unknown,
        Unknown,
        "cat: write error: No space left on device",
        "",
    );
    assert_eq!(of(HostDiskSpace, &full).status, Failed);
    assert_eq!(of(HostMemory, &full).status, Unknown);
    let told: BTreeSet<Code> = checks.iter().map(|check| check.code).collect();
    let scoped = Code::ALL.iter().filter(|code| code.scope() == Scope::Host);
    let by_aws = |code: &&Code| !matches!(code, DeploymentHost | DeploymentStage);
    assert_eq!(told, scoped.filter(by_aws).copied().collect());
}

const TOPIC: &str = "arn:aws:sns:eu-west-2:111111111111:dataops-infra-runner-one";

fn watched(actions: &str) -> Alarm {
    Alarm {
        fields: BTreeMap::from([
            ("Namespace", "CWAgent".to_owned()),
            ("MetricName", "disk_used_percent".to_owned()),
            ("Dimensions", "InstanceId=i-1 path=/".to_owned()),
            ("Period", "300".to_owned()),
            ("EvaluationPeriods", "1".to_owned()),
            ("ActionsEnabled", "true".to_owned()),
            ("AlarmActions", actions.to_owned()),
        ]),
        state: "OK".to_owned(),
        changed_at: Some("2026-05-28T10:00:00Z".to_owned()),
    }
}

fn healthy_alarms() -> Alarms {
    let name = "dataops-infra/runner-one/disk-space-warning".to_owned();
    Alarms {
        alarms: Ok(BTreeMap::from([(name.clone(), watched(TOPIC))])),
        fed: Ok(BTreeMap::from([(
            name,
            Feed {
                last: Some(metric::Value {
                    value: 1.0,
                    at: String::new(),
                }),
                others: Vec::new(),
            },
        )])),
        heard: Ok(Heard {
            arn: TOPIC.to_owned(),
            theirs: false,
            topic: Some(Topic {
                subscriptions: BTreeMap::from([("ops@acme.example".to_owned(), format!("{TOPIC}:1"))]),
            }),
        }),
        age: Some(100_000),
        region: "eu-west-2".to_owned(),
        notify: vec!["ops@acme.example".to_owned()],
        now: time("2026-05-28T12:00:00Z"),
    }
}

#[test]
fn alarms_are_checked() {
    let look = |known: &Alarms, code: Code| of(code, &alarm::checks(&subject(), known));
    for check in alarm::checks(&subject(), &healthy_alarms()) {
        assert_eq!(check.status, Good, "{check:?}");
    }
    let with = |change: &dyn Fn(&mut Alarms)| {
        let mut known = healthy_alarms();
        change(&mut known);
        known
    };
    let the = |known: &mut Alarms, change: &dyn Fn(&mut Alarm)| {
        if let Ok(alarms) = &mut known.alarms {
            alarms.values_mut().for_each(change);
        }
    };
    let field = |key: &'static str, value: &'static str| {
        with(&move |known| {
            the(known, &|alarm| {
                alarm.fields.insert(key, value.to_owned());
            });
        })
    };

    let silent = |age: Option<i64>| {
        with(&move |known| {
            known.age = age;
            if let Ok(fed) = &mut known.fed {
                fed.values_mut().for_each(|fed| {
                    fed.last = None;
                    fed.others = vec![Metric {
                        namespace: "CWAgent".to_owned(),
                        name: "disk_used_percent".to_owned(),
                        dimensions: BTreeMap::from([("device".to_owned(), "nvme0n1p1".to_owned())]),
                        period: 300,
                    }];
                });
            }
        })
    };
    let check = look(&silent(Some(100_000)), AlarmMetric);
    assert_eq!(check.status, Failed);
    assert_eq!(
        check.evidence,
        "disk-space-warning: CWAgent disk_used_percent [InstanceId=i-1, path=/] has not arrived, but CWAgent \
         disk_used_percent [device=nvme0n1p1] is published"
    );
    assert_eq!(
        look(&silent(Some(300)), AlarmMetric).status,
        Skipped,
        "a young host"
    );
    assert_eq!(look(&silent(None), AlarmMetric).status, Failed);
    assert_eq!(
        look(&with(&|known| known.fed = Ok(BTreeMap::new())), AlarmMetric).status,
        Unknown
    );
    assert_eq!(
        look(&with(&|known| known.fed = Err(Gap::Slow(1))), AlarmMetric).status,
        Unknown
    );

    let off = look(&field("ActionsEnabled", "false"), AlarmActions);
    assert_eq!((off.status, off.fix), (Failed, Some(Fix::PutAlarms)));
    assert_eq!(look(&field("AlarmActions", ""), AlarmActions).status, Failed);
    let other = "arn:aws:sns:us-east-1:111111111111:dataops-infra-runner-one";
    assert!(
        look(&field("AlarmActions", other), AlarmActions)
            .evidence
            .contains("another region")
    );
    assert_eq!(
        look(
            &field("AlarmActions", "arn:aws:automate:eu-west-2:ec2:recover"),
            AlarmActions
        )
        .status,
        Good
    );
    assert_eq!(
        look(
            &field("AlarmActions", "arn:aws:automate:us-east-1:ec2:recover"),
            AlarmActions
        )
        .status,
        Failed
    );
    assert_eq!(
        look(&field("AlarmActions", "mailto:ops"), AlarmActions).status,
        Failed
    );

    let no_topic = with(&|known| {
        if let Ok(heard) = &mut known.heard {
            heard.topic = None;
        }
    });
    assert_eq!(look(&no_topic, AlarmTopic).status, Failed);
    assert_eq!(look(&no_topic, AlarmActions).status, Failed);
    assert_eq!(
        look(&no_topic, AlarmActions).fix,
        None,
        "alarms are as planned; the topic is not"
    );
    assert_eq!(look(&no_topic, AlarmSubscription).status, Skipped);
    let refused = with(&|known| known.heard = Err(denied("sns:GetTopicAttributes")));
    assert_eq!(look(&refused, AlarmTopic).status, Unknown);
    assert_eq!(look(&refused, AlarmSubscription).status, Unknown);

    let subscribed = |address: Option<(&'static str, &'static str)>| {
        with(&move |known| {
            if let Ok(Heard {
                topic: Some(topic), ..
            }) = &mut known.heard
            {
                topic.subscriptions = address
                    .iter()
                    .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                    .collect();
            }
        })
    };
    let waiting = look(
        &subscribed(Some(("ops@acme.example", "PendingConfirmation"))),
        AlarmSubscription,
    );
    assert_eq!(waiting.status, Failed);
    assert!(waiting.evidence.contains("ops@acme.example hear nothing"));
    assert_eq!(
        look(&subscribed(None), AlarmSubscription).status,
        Failed,
        "somebody is to be told"
    );
    let nobody = with(&|known| {
        known.notify.clear();
        if let Ok(Heard {
            topic: Some(topic), ..
        }) = &mut known.heard
        {
            topic.subscriptions.clear();
        }
    });
    assert_eq!(look(&nobody, AlarmSubscription).status, Skipped);

    let in_state = |state: &'static str, since: Option<&'static str>| {
        with(&move |known| {
            the(known, &|alarm| {
                state.clone_into(&mut alarm.state);
                alarm.changed_at = since.map(str::to_owned);
            });
        })
    };
    let insufficient = "INSUFFICIENT_DATA";
    assert_eq!(
        look(&in_state(insufficient, Some("2026-05-28T10:00:00Z")), AlarmData).status,
        Warning
    );
    assert_eq!(
        look(&in_state(insufficient, Some("2026-05-28T11:45:00Z")), AlarmData).status,
        Skipped
    );
    assert_eq!(look(&in_state(insufficient, None), AlarmData).status, Warning);
    let ringing = look(&in_state("ALARM", Some("2026-05-28T11:00:00Z")), AlarmState);
    assert_eq!(ringing.status, Failed);
    assert!(
        ringing
            .evidence
            .contains("disk-space-warning since 2026-05-28T11:00:00Z")
    );

    let none = with(&|known| known.alarms = Ok(BTreeMap::new()));
    for code in [AlarmMetric, AlarmActions, AlarmData, AlarmState] {
        assert_eq!(look(&none, code).status, Skipped, "{code}");
    }
    let dark = with(&|known| {
        known.alarms = Err(Gap::Call(CallError::Refused {
            action: "cloudwatch:DescribeAlarms",
            why: Refusal::Throttled,
            cause: "Throttling".to_owned(),
        }));
    });
    for code in [AlarmMetric, AlarmActions, AlarmData, AlarmState] {
        assert_eq!(look(&dark, code).status, Unknown, "{code}");
    }
}

#[test]
fn facts_are_read_or_the_reason_is_told() {
    let line = format!(
        "noise\n{}\n",
        json!({"schema": "dataops-infra/facts/v1", "facts": {"docker": {"unknown": "x"}}})
    );
    let facts = super::facts::read(&line).expect("facts");
    assert_eq!(facts.docker.gap(HostDocker).evidence, "x");
    for (text, why) in [
        ("", "said nothing"),
        (
            "sh: python3: not found",
            "answer with facts but with: sh: python3",
        ),
        (r#"{"schema":"other"}"#, "another kind"),
        (
            r#"{"schema":"dataops-infra/facts/v1","facts":{"docker":7}}"#,
            "cannot be read",
        ),
    ] {
        let told = super::facts::read(text).expect_err("no facts");
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn the_program_is_sent_as_it_is() {
    let script = super::facts::script(&json!({"limit": 5, "wanted": {"agent": "it's"}}));
    assert!(
        script.starts_with(r#"exec python3 - '{"limit":5,"wanted":{"agent":"it'\''s"}}' <<'FACTS'"#),
        "{script:.90}"
    );
    assert!(script.ends_with("\nFACTS\n"));
    assert!(
        !super::facts::PROGRAM.lines().any(|line| line == "FACTS"),
        "the mark of its end"
    );
}

#[test]
fn fixes_are_tried_one_by_one() {
    let script = super::fix::script(
        &[Fix::RestartPolicy, Fix::StartContainer, Fix::PutAlarms],
        "runner-one",
    );
    assert_eq!(
        script,
        "code=0\ntimeout 60 docker update --restart always 'runner-one' </dev/null || code=$?\n\
         timeout 60 docker start 'runner-one' </dev/null || code=$?\nexit \"$code\"\n"
    );
}

#[test]
fn a_check_is_a_document() {
    let check = Check::warning(HostDiskSpace, "85 %", Remedy::new("free some").run("x"))
        .fixed_by(Fix::RunGuard)
        .of(&subject());
    assert_eq!(
        check.document(),
        json!({
            "code": "HOST-DISK-SPACE", "title": "the disk has room", "severity": "high", "region": "eu-west-2",
            "deployment": "runner-one", "host": "host", "status": "warning", "evidence": "85 %",
            "remedy": {"text": "free some", "command": "x"}, "fix": "run-disk-guard",
            "doc": "docs/checks/HOST-DISK-SPACE.md",
        })
    );
}
