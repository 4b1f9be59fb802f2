//! `upgrade`, `rotate-token` and `resize`, killed before and after each of their calls, and then run again to a clean end.
//!
//! What Run Command sends is run for real, in a folder with a Docker that plays along: a script goes on when the program that
//! sent it is dead. In an ordinary run the sample is the first change of each kind, killed when it is made;
//! `DATAOPS_INFRA_SWEEP=whole` takes all.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use super::sweep::{At, calls, good};
use super::world::{NAME, World};
use crate::bench::account::Direct;
use crate::bench::call::Call;
use crate::bench::launcher::Bench;
use crate::bench::rule::Rule;
use crate::lifecycle::{Disk, NEW, OLD};

/// Cases at the same time.
const AT_ONCE: usize = 3;

/// The token that the deployment has at first, as `World` gives it.
const TOKEN: &str = "runner-token-of-the-bench";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Upgrade,
    Rotate,
    Resize,
}

impl Way {
    fn words(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Upgrade => (&["upgrade"], &["--runner-version", "latest-next", "--yes"]),
            Self::Rotate => (&["rotate-token"], &["--token-file", "other", "--yes"]),
            Self::Resize => (
                &["resize"],
                &["--instance-type", "c5.xlarge", "--disk-gib", "400", "--yes"],
            ),
        }
    }

    /// Images of the only container that is left, as Docker and as people call it.
    fn image(self) -> (&'static str, &'static str) {
        match self {
            Self::Upgrade => ("sha256:new", NEW),
            Self::Rotate | Self::Resize => ("sha256:old", OLD),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

/// An account with one host, which does what it is sent.
struct Scene {
    world: World,
    disk: Arc<Mutex<Disk>>,
}

impl Scene {
    fn open(bench: &Bench) -> Option<Self> {
        let world = World::on(bench);
        let disk = Disk::of(NAME, TOKEN)?;
        disk.with_partition();
        let disk = Arc::new(Mutex::new(disk));
        let said: Arc<Mutex<String>> = Arc::default();
        let (host, answer, direct) = (Arc::clone(&disk), Arc::clone(&said), world.direct());
        world.account.after("ssm:SendCommand", move |call| {
            let disk = host.lock().expect("sound");
            *answer.lock().expect("sound") = obeyed(&disk, &direct, call);
        });
        world
            .account
            .rule(Rule::on("ssm:GetCommandInvocation").rewrite(move |text| {
                let mut invocation: Value = serde_json::from_str(&text).expect("JSON");
                invocation["StandardOutputContent"] = said.lock().expect("sound").clone().into();
                invocation.to_string()
            }));
        let (host, direct) = (Arc::clone(&disk), world.direct());
        world.account.after("ec2:StartInstances", move |call| {
            // As the bootstrap at a boot: a runner that was stopped stays so.
            let disk = host.lock().expect("sound");
            let instance = call.parameters["InstanceId"][0]
                .as_str()
                .or(call.parameters["InstanceId.1"].as_str());
            report(
                &disk,
                &direct,
                instance.unwrap_or_default(),
                Some("2026-01-01T00:00:00Z"),
            );
        });
        std::fs::write(world.folder().join("other"), "another-token-of-the-bench").expect("a file");
        let up = world.up(&[]);
        assert_eq!(up.code, 0, "{up}");
        // From now on the host speaks for itself.
        world.hosts(super::host::Manner::Silent);
        Some(Self { world, disk })
    }

    fn command(&self, way: Way) -> std::process::Command {
        let (words, args) = way.words();
        self.world.command(words, args)
    }

    /// Says what is not as it must be once the command has ended well.
    fn is_clean(&self, way: Way) -> Result<(), String> {
        let parameter = |name: &str| parameter(&self.world.direct(), name);
        let record: Value = serde_json::from_str(&parameter(&format!("/dataops-infra/{NAME}/deployment")))
            .unwrap_or_default();
        if !record["pending"].is_null() {
            return Err(format!("pending: {record}"));
        }
        let disk = self.disk.lock().expect("sound");
        let (image, name) = way.image();
        let containers = disk.containers();
        if containers != [(NAME.to_owned(), true, image.to_owned())] {
            return Err(format!("containers: {containers:?}"));
        }
        let registered = disk.registered();
        if registered != [(NAME.to_owned(), NAME.to_owned())] {
            return Err(format!("registered: {registered:?}"));
        }
        let state = "disk/var/lib/dataops-infra";
        for (file, should) in [("upgrade.json", ""), ("strays", ""), ("image", name)] {
            let is = disk.read(&format!("{state}/{file}"));
            if is.trim() != should {
                return Err(format!("{file}: {is}"));
            }
        }
        let (_, text) = self.world.direct().query("ec2", "DescribeInstances", &[]);
        let instance = super::host::instances(&text).pop().unwrap_or_default();
        let wanted = if way == Way::Resize {
            "c5.xlarge"
        } else {
            "c5.large"
        };
        if instance["instanceType"] != wanted || instance["instanceState"]["name"] != "running" {
            return Err(format!("instance: {instance}"));
        }
        drop(disk);
        good(&self.world.status(&[]), "status")
    }
}

fn parameter(direct: &Direct, name: &str) -> String {
    let (_, answer) = direct.json(
        "ssm",
        "AmazonSSM.GetParameter",
        &json!({ "Name": name, "WithDecryption": true }),
    );
    answer["Parameter"]["Value"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Runs what a host was sent, and returns what it printed; its last report reaches the account.
fn obeyed(disk: &Disk, direct: &Direct, call: &Call) -> String {
    disk.token(&parameter(direct, &format!("/dataops-infra/{NAME}/token")));
    let script = call.parameters["Parameters"]["commands"][0]
        .as_str()
        .unwrap_or_default();
    let output = disk.run(script);
    let instance = call.parameters["InstanceIds"][0].as_str().unwrap_or_default();
    report(disk, direct, instance, None);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Writes a host's last report, at another time where one is given.
fn report(disk: &Disk, direct: &Direct, instance: &str, at: Option<&str>) {
    let reports = disk.read("fake/reports");
    let Some(last) = reports.lines().last() else {
        return;
    };
    let mut body: Value = serde_json::from_str(last).expect("JSON");
    let mut said: Value = serde_json::from_str(body["Value"].as_str().unwrap_or_default()).expect("JSON");
    // The metadata service of the stand-ins knows another name.
    said["instance"] = instance.into();
    if let Some(at) = at {
        said["at"] = at.into();
    }
    body["Value"] = said.to_string().into();
    let (status, answer) = direct.json("ssm", "AmazonSSM.PutParameter", &body);
    assert_eq!(status, 200, "{answer}");
}

fn sweep(way: Way) {
    let Some(bench) = Bench::shared() else { return };
    let began = Instant::now();
    let Some(scene) = Scene::open(bench) else { return };
    let before = scene.world.account.calls().len();
    let ran = scene.world.start(scene.command(way)).ended();
    assert_eq!(ran.code, 0, "{ran}");
    let log = scene.world.account.calls().split_off(before);
    scene
        .is_clean(way)
        .unwrap_or_else(|why| panic!("undisturbed: {why}"));
    let mut cases: Vec<(At, Moment)> = Vec::new();
    for at in calls(&log) {
        if at.changes {
            cases.push((at.clone(), Moment::Before));
        }
        cases.push((at, Moment::After));
    }
    let cases = super::cases::chosen(cases, |(at, moment)| {
        *moment == Moment::After && at.changes && at.nth == 0
    });
    let number = cases.len();
    assert!(number >= 2, "{cases:?}");
    let cases = Mutex::new(cases);
    let wrong: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().expect("no panic").pop();
                    let Some((at, moment)) = next else { return };
                    if let Err(why) = case(bench, way, &at, moment) {
                        let text = format!("{way:?} killed {moment:?} {at}: {why}");
                        wrong.lock().expect("no panic").push(text);
                    }
                }
            });
        }
    });
    eprintln!("{way:?}: {number} cases in {:?}", began.elapsed());
    let wrong = wrong.into_inner().expect("no panic");
    assert!(
        wrong.is_empty(),
        "{} of {number} cases:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// Takes one case; says what is wrong.
fn case(bench: &Bench, way: Way, at: &At, moment: Moment) -> Result<(), String> {
    let scene = Scene::open(bench).ok_or("no Python")?;
    let world = &scene.world;
    let rule = Rule::on(&at.name).skip(at.nth).times(1);
    let rule = match moment {
        Moment::Before => rule.reset(),
        Moment::After => rule,
    };
    let ran = world.killed(scene.command(way), rule);
    if at.changes && ran.code != -1 {
        return Err(format!("it was not killed: {ran}"));
    }
    let again = world.start(scene.command(way)).ended();
    good(&again, "the command after it")?;
    if again.stderr.contains("unknown") {
        return Err(format!("something is unknown: {again}"));
    }
    scene.is_clean(way).map_err(|why| format!("{why}\n{again}"))
}

#[test]
fn an_upgrade_killed_at_a_call_is_finished_by_the_next() {
    sweep(Way::Upgrade);
}

#[test]
fn a_change_of_token_killed_at_a_call_is_finished_by_the_next() {
    sweep(Way::Rotate);
}

#[test]
fn a_resize_killed_at_a_call_is_finished_by_the_next() {
    sweep(Way::Resize);
}
