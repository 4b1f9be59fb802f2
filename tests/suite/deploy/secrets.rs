//! A token with a marker goes where it must, and nowhere else.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use super::host::{Manner, unpacked};
use super::preflight::Platform;
use super::witness::record;
use super::world::{NAME, Ran, World};
use crate::bench::call::Call;
use crate::bench::rule::Rule;

/// Part of the token that nothing else has; put together here, so that nobody finds a token in this file.
fn marker() -> String {
    ["Marker", "Of", "The", "Bench", "7331"].concat()
}

fn token() -> String {
    ["glrt-", &marker()].concat()
}

/// Runs a command and looks at it as `ps` would, all the while.
fn watched(command: Command, stdin: Stdio) -> Ran {
    let mut running = World::start_reading(command, stdin);
    let lines = format!("/proc/{}/cmdline", running.id());
    let mut seen = BTreeSet::new();
    while !running.has_ended() {
        // The command line is empty once it has ended.
        seen.extend(std::fs::read(&lines).ok().filter(|bytes| !bytes.is_empty()));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(
        !seen.is_empty() || !Path::new("/proc/self").exists(),
        "it was seen"
    );
    for bytes in seen {
        let line = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!line.contains(&marker()), "{line}");
    }
    let ran = running.ended();
    clean("output", &format!("{}{}", ran.stdout, ran.stderr));
    ran
}

/// Asserts that a text does not give the token away.
fn clean(what: &str, text: &str) {
    let marker = marker();
    let reversed: String = marker.chars().rev().collect();
    let hexadecimal: String = marker.bytes().map(|byte| format!("{byte:02x}")).collect();
    let lower = text.to_lowercase();
    for (form, secret) in [
        ("as it is", &marker),
        ("backwards", &reversed),
        ("as numbers", &hexadecimal),
    ] {
        assert!(
            !lower.contains(&secret.to_lowercase()),
            "the token is in {what}, {form}:\n{text}"
        );
    }
}

/// Returns everything that a call says, with what is written in base 64 in clear.
fn said(call: &Call) -> String {
    let mut text = format!("{} {}", call.name(), call.parameters);
    for value in call
        .parameters
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, value)| value.as_str())
    {
        text.push('\n');
        text.push_str(&unpacked(value));
    }
    text
}

/// Asserts that the token is in one kind of call alone, as often as this, and nowhere in the account but there.
fn only_put(world: &World, times: usize) {
    let (puts, others): (Vec<Call>, Vec<Call>) = world.account.calls().into_iter().partition(|call| {
        let name = format!("/dataops-infra/{NAME}/token");
        call.name() == "ssm:PutParameter" && call.parameters["Name"] == name.as_str()
    });
    assert_eq!(puts.len(), times, "{puts:#?}");
    for put in &puts {
        assert_eq!(put.parameters["Value"], token().as_str());
        assert_eq!(put.parameters["Type"], "SecureString");
    }
    for call in &others {
        clean("a call", &said(call));
    }
    // The value of the parameter is not in the inventory: it is a SecureString, read without decryption.
    for (kind, things) in world.inventory() {
        let things = things
            .iter()
            .filter(|thing| kind != "parameters" || !thing.contains("SecureString"));
        things.for_each(|thing| clean(kind, thing));
    }
}

fn world() -> Option<(World, Platform)> {
    let world = World::open()?;
    std::fs::write(world.folder().join("secret"), token()).expect("a file");
    Some((world, Platform::start(200)))
}

/// Says what goes wrong with the token's parameter, in ways that might repeat what was sent.
fn faults() -> [(Rule, &'static str); 3] {
    let put = || Rule::on("ssm:PutParameter").when(|call| call.parameters["Type"] == "SecureString");
    [
        (put().deny(), "denied"),
        (put().fail(500, "InternalServerError"), "broken"),
        (put().fail(400, "ValidationException"), "invalid"),
    ]
}

#[test]
fn a_token_in_a_file_is_in_its_parameter_and_nowhere_else() {
    let Some((world, platform)) = world() else {
        return;
    };
    let secret = world.folder().join("secret").display().to_string();
    let args = ["--token-file", secret.as_str(), "--platform-url", &platform.url];
    let verbose = ["--log-format", "json", "-vv"];
    let plan = world.folder().join("plan.json").display().to_string();

    let live = super::preflight::plan(&world, &[&args[..], &["--out", &plan, "-v"]].concat());
    assert_eq!(live.code, 0, "{live}");
    clean("the plan's output", &live.to_string());
    clean(
        "the plan",
        &std::fs::read_to_string(&plan).expect("the plan is there"),
    );

    for (rule, how) in faults() {
        world.account.rule(rule);
        let up = watched(world.up_command(&[&args[..], &verbose].concat()), Stdio::null());
        assert_eq!(up.code, 1, "{how}: {up}");
        world.account.heal();
        let down = watched(world.down_command(&verbose), Stdio::null());
        assert_eq!(down.code, 0, "{how}: {down}");
    }
    let failed = world
        .account
        .calls()
        .iter()
        .filter(|call| call.parameters["Type"] == "SecureString")
        .count();
    only_put(&world, failed);

    let up = watched(world.up_command(&[&args[..], &verbose].concat()), Stdio::null());
    assert_eq!(up.code, 0, "{up}");
    clean("the record", &record(&world.direct(), NAME));
    let again = watched(world.up_command(&[&args[..], &verbose].concat()), Stdio::null());
    assert_eq!(again.json["status"], "unchanged", "{again}");
    // A page for people tells no more than a document.
    let page = watched(
        world.up_command(&[&args[..], &["--output", "table", "-v"]].concat()),
        Stdio::null(),
    );
    assert_eq!(page.code, 0, "{page}");
    let status = watched(world.command(&["status"], &verbose), Stdio::null());
    assert_eq!(status.code, 0, "{status}");
    only_put(&world, failed + 1);
    let down = watched(world.down_command(&verbose), Stdio::null());
    assert_eq!(down.code, 0, "{down}");
    only_put(&world, failed + 1);
    // What the program leaves on this machine.
    let mut folders = vec![world.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("secret") {
                clean(
                    "a file",
                    &String::from_utf8_lossy(&std::fs::read(&path).expect("a file")),
                );
            }
        }
    }
}

#[test]
fn a_token_on_standard_input_is_in_its_parameter_and_nowhere_else() {
    let Some((world, platform)) = world() else {
        return;
    };
    let args = ["--token-file", "-", "--platform-url", &platform.url, "-v"];
    let stdin = || Stdio::from(File::open(world.folder().join("secret")).expect("a file"));
    let up = watched(world.up_command(&args), stdin());
    assert_eq!(up.code, 0, "{up}");
    only_put(&world, 1);
    let down = watched(world.down_command(&["-v"]), Stdio::null());
    assert_eq!(down.code, 0, "{down}");
    only_put(&world, 1);
}

#[test]
fn a_token_in_the_environment_is_in_its_parameter_and_nowhere_else() {
    let Some((world, platform)) = world() else {
        return;
    };
    let args = [
        "--token-env",
        "RUNNER_TOKEN",
        "--platform-url",
        &platform.url,
        "-v",
    ];
    let with_token = |mut command: Command| {
        command.env("RUNNER_TOKEN", token());
        command
    };
    let up = watched(with_token(world.up_command(&args)), Stdio::null());
    assert_eq!(up.code, 0, "{up}");
    for args in [vec![], vec!["--keep-data"]] {
        let status = watched(with_token(world.command(&["status"], &["-v"])), Stdio::null());
        assert!([0, 4].contains(&status.code), "{status}");
        let down = watched(with_token(world.down_command(&args)), Stdio::null());
        assert_eq!(down.code, 0, "{down}");
    }
    only_put(&world, 1);
}

#[test]
fn tokens_that_are_none_are_not_repeated_in_the_error() {
    let Some((world, platform)) = world() else {
        return;
    };
    let file = world.folder().join("secret");
    let wrong = [
        format!("{} and more", token()).into_bytes(),
        format!("{}\n{}", token(), token()).into_bytes(),
        [token().as_bytes(), &[0xff, 0xfe]].concat(),
        [token().as_bytes(), &[0x1b], b"[0m"].concat(),
        token().repeat(80).into_bytes(),
    ];
    for bytes in wrong {
        std::fs::write(&file, &bytes).expect("a file");
        let secret = file.display().to_string();
        let args = [
            "--token-file",
            secret.as_str(),
            "--platform-url",
            &platform.url,
            "-v",
        ];
        let up = watched(world.up_command(&args), Stdio::null());
        assert_eq!(up.code, 2, "{up}");
    }
    // The token itself where its place is asked for.
    for flag in ["--token-parameter", "--token-env"] {
        let up = world.up(&[flag, "not/a//place of a token"]);
        assert!([2, 3].contains(&up.code), "{up}");
    }
    assert!(
        platform.asked().is_empty(),
        "nobody is asked about what is no token"
    );
}

#[test]
fn a_host_that_fails_says_why_and_not_with_what() {
    let Some((world, platform)) = world() else {
        return;
    };
    world.hosts(Manner::Failed("registered", "the platform rejects the token"));
    let secret = world.folder().join("secret").display().to_string();
    let args = [
        "--token-file",
        secret.as_str(),
        "--platform-url",
        &platform.url,
        "-vv",
    ];
    let up = watched(world.up_command(&args), Stdio::null());
    assert_eq!(up.code, 1, "{up}");
    assert!(up.stderr.contains("the platform rejects the token"), "{up}");
    only_put(&world, 1);
    let down = watched(world.down_command(&["--no-drain"]), Stdio::null());
    assert_eq!(down.code, 0, "{down}");
}
