//! The operating system of a host.

use super::check::{Check, Remedy, Status};
use super::code::{Area, Code};
use super::facts::{Disk, HostFacts, Reach};
use super::fix::Fix;
use super::scene::Scene;

/// The command that sets a host up again: it registers no second runner, and jobs go on.
pub const BOOTSTRAP: &str = "/usr/local/lib/dataops-infra/bootstrap";

/// Percent of a disk from which it is worth a word, and from which it is about to fill: as the alarms have it.
const DISK: (f64, f64) = (80.0, 90.0);

/// Percent of inodes, the same.
const INODES: (f64, f64) = (80.0, 95.0);

/// Percent of memory that is left below which it is worth a word, and below which jobs are ended.
const MEMORY: (f64, f64) = (10.0, 4.0);

/// Part of the planned disk below which its file system was not grown: what the system takes for itself is less.
const GROWN: f64 = 0.9;

/// Seconds of skew that are worth a word, and that break signatures
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>: five minutes).
pub const SKEW: (f64, f64) = (60.0, 240.0);

/// Seconds after which the disk guard, which looks every minute, is late.
const GUARD_LATE: u64 = 30 * 60;

/// Days after which a reboot that updates wait for is overdue: a window comes at least every week.
const REBOOT_DAYS: u64 = 8;

/// Oldest API that the runner of a `latest` image built before March 2026 speaks no more than: Docker 29 begins there
/// (<https://docs.dataops.live/docs/release-notes/release-notes-march-2026>).
const NEW_API: (u32, u32) = (1, 44);

/// First month whose `latest` works with every Docker.
const WORKS_SINCE: &str = "2026-03-01";

/// Makes the checks of a host's operating system.
pub fn checks(scene: &Scene, facts: &HostFacts) -> Vec<Check> {
    [
        cloud_init(scene, facts),
        bootstrap(scene, facts),
        docker(scene, facts),
        docker_api(scene, facts),
        disk_space(scene, facts),
        disk_inodes(scene, facts),
        disk_size(scene, facts),
        memory(scene, facts),
        clock(scene, facts),
        egress(scene, facts),
        disk_guard(scene, facts),
        metrics_agent(scene, facts),
        reboot(scene, facts),
    ]
    .into_iter()
    .map(|check| check.of(&scene.subject))
    .collect()
}

/// Whether the host is still being set up, so that what is not there yet is no finding.
pub fn is_booting(scene: &Scene, facts: &HostFacts) -> bool {
    let running = facts.bootstrap.known().is_some_and(|boot| boot.running);
    running
        || matches!(
            scene.stage.as_deref(),
            Some("waiting" | "boot" | "docker" | "registered")
        )
}

/// Turns findings about what comes later into "not yet" while a host is being set up.
pub fn not_yet(scene: &Scene, facts: &HostFacts, checks: &mut [Check]) {
    if !is_booting(scene, facts) {
        return;
    }
    let stage = scene.stage.as_deref().unwrap_or("not known");
    for check in checks {
        let early = matches!(
            check.code,
            Code::HostDiskSpace
                | Code::HostDiskInodes
                | Code::HostMemory
                | Code::HostClock
                | Code::HostEgress
                | Code::HostReachable
                | Code::HostReboot
        );
        if !early && matches!(check.status, Status::Warning | Status::Failed | Status::Unknown) {
            check.status = Status::Skipped;
            check.evidence = format!("the host is being set up (stage {stage}): {}", check.evidence);
            check.remedy = None;
            check.fix = None;
        }
    }
}

fn cloud_init(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostCloudInit;
    let Some(cloud) = facts.cloud_init.known() else {
        return facts.cloud_init.gap(code);
    };
    let marker = facts.bootstrap.known().is_some_and(|boot| boot.marker.is_some());
    let mut evidence = format!("status {}", cloud.status);
    if !cloud.errors.is_empty() {
        evidence.push_str(&format!(", with: {}", cloud.errors.join("; ")));
    }
    let look = || scene.on_host("read what failed", "cloud-init status --long");
    match cloud.status.as_str() {
        "done" => Check::ok(code, evidence),
        "running" | "not run" => Check::skipped(code, format!("{evidence}: the host is being set up")),
        "disabled" => Check::warning(
            code,
            format!("{evidence}: this host was not set up by cloud-init"),
            Remedy::new("if somebody set it up by hand, run the exported user data on it again")
                .run("dataops-infra export user-data --help"),
        ),
        // Our own script ran to its end, so it was something else.
        "error" if marker => Check::warning(code, evidence, look()),
        "error" => Check::failed(code, evidence, look()),
        _ => Check::unknown(code, format!("{evidence}, which this version does not know")),
    }
}

fn bootstrap(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostBootstrap;
    let Some(boot) = facts.bootstrap.known() else {
        return facts.bootstrap.gap(code);
    };
    let again = || {
        scene.on_host(
            "mend what the log names, then run the bootstrap again, which is safe",
            BOOTSTRAP,
        )
    };
    if boot.running {
        let last = boot.log.last().map_or("", String::as_str);
        return Check::skipped(code, format!("it runs right now: {last}"));
    }
    match (&boot.marker, &scene.wanted.generation) {
        (Some(is), Some(should)) if is != should => Check::failed(
            code,
            format!("the marker is of generation {is}, the deployment's is {should}"),
            again(),
        ),
        (Some(is), _) => Check::ok(code, format!("the marker of generation {is} is there")),
        (None, _) if boot.log.is_empty() => Check::failed(
            code,
            "it left neither a marker nor a log: it was never begun",
            again(),
        ),
        (None, _) => Check::failed(
            code,
            format!("there is no marker; the log ends with: {}", boot.log.join(" / ")),
            again(),
        ),
    }
}

fn docker(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostDocker;
    let Some(docker) = facts.docker.known() else {
        let check = facts.docker.gap(code);
        // A daemon that hangs is as good as none, and is known to be one.
        return if check.evidence.contains("did not answer within") {
            Check::failed(code, check.evidence, hung(scene))
        } else {
            check
        };
    };
    let version = docker.version.as_deref().unwrap_or("of an unknown version");
    if !docker.installed {
        return Check::failed(
            code,
            "Docker is not installed",
            scene.on_host("run the bootstrap again, which installs it", BOOTSTRAP),
        );
    }
    if !docker.answers {
        let state = docker.active.as_deref().unwrap_or("not known");
        let evidence = format!(
            "the daemon does not answer (its unit is {state}): {}",
            docker.says
        );
        if state == "active" {
            return Check::failed(code, evidence, hung(scene));
        }
        let fix = Fix::StartDocker;
        let remedy = scene.by_fix(
            code,
            "start it; if it ends again, `journalctl -u docker` says why",
            &fix,
        );
        return Check::failed(code, evidence, remedy).fixed_by(fix);
    }
    if docker.enabled.as_deref() == Some("disabled") {
        let fix = Fix::StartDocker;
        let remedy = scene.by_fix(code, "let it start with the host", &fix);
        let evidence = format!("Docker {version} answers, and does not start with the host");
        return Check::warning(code, evidence, remedy).fixed_by(fix);
    }
    Check::ok(code, format!("Docker {version} answers"))
}

fn hung(scene: &Scene) -> Remedy {
    scene.on_host(
        "the daemon hangs; restarting it ends the jobs that run",
        "systemctl restart docker",
    )
}

/// Reads `1.44`.
fn api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn docker_api(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostDockerApi;
    let newer = || {
        Remedy::new("take a newer image of the runner: those of March 2026 and later work with every Docker")
            .run(scene.command("upgrade --runner-version latest"))
    };
    if let Some(refused) = facts.polling.known().and_then(|polling| polling.too_old.clone()) {
        return Check::failed(
            code,
            format!("Docker refuses the runner's client: {refused}"),
            newer(),
        );
    }
    let Some(docker) = facts.docker.known() else {
        return facts.docker.gap(code);
    };
    let (Some(version), Some(least)) = (&docker.version, &docker.min_api) else {
        return Check::unknown(code, "the daemon does not say which API it speaks");
    };
    let seen = format!("Docker {version} speaks API {least} and later");
    let created = facts.image.known().and_then(|image| image.created.as_deref());
    let Some(day) = created.and_then(|created| created.get(..10)) else {
        return Check::ok(code, seen);
    };
    let evidence = format!("{seen}; the runner's image was built on {day}");
    let strict = api(least).is_some_and(|least| least >= NEW_API);
    // Images that are built reproducibly carry a date of long ago.
    if strict && day < WORKS_SINCE && day > "2015" {
        return Check::warning(code, evidence, newer());
    }
    Check::ok(code, evidence)
}

/// Returns the worst disk by a figure.
fn worst(disks: &[Disk], figure: impl Fn(&Disk) -> f64) -> Option<&Disk> {
    disks.iter().max_by(|a, b| figure(a).total_cmp(&figure(b)))
}

fn disk_space(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostDiskSpace;
    let Some(disks) = facts.disks.known() else {
        return facts.disks.gap(code);
    };
    let Some(disk) = worst(disks, |disk| disk.used_percent) else {
        return Check::unknown(code, "the host names no file system");
    };
    let evidence = format!(
        "{} is {:.0} % full, {:.1} of {:.1} GiB are free",
        disk.path, disk.used_percent, disk.free_gib, disk.gib
    );
    if disk.used_percent < DISK.0 {
        return Check::ok(code, evidence);
    }
    let fix = Fix::RunGuard;
    let text =
        "let the disk guard free what no job uses; where that is not enough, give the host a larger disk";
    let remedy = scene.by_fix(code, text, &fix);
    let status = if disk.used_percent >= DISK.1 {
        Status::Failed
    } else {
        Status::Warning
    };
    Check::new(code, status, evidence).mended_by(remedy).fixed_by(fix)
}

fn disk_inodes(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostDiskInodes;
    let Some(disks) = facts.disks.known() else {
        return facts.disks.gap(code);
    };
    let Some(disk) = worst(disks, |disk| disk.inodes_percent) else {
        return Check::unknown(code, "the host names no file system");
    };
    let evidence = format!(
        "{} has {:.0} % of its inodes in use",
        disk.path, disk.inodes_percent
    );
    if disk.inodes_percent < INODES.0 {
        return Check::ok(code, evidence);
    }
    let fix = Fix::RunGuard;
    let remedy = scene.by_fix(code, "let the disk guard free what no job uses", &fix);
    let status = if disk.inodes_percent >= INODES.1 {
        Status::Failed
    } else {
        Status::Warning
    };
    Check::new(code, status, evidence).mended_by(remedy).fixed_by(fix)
}

fn disk_size(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostDiskSize;
    let Some(disks) = facts.disks.known() else {
        return facts.disks.gap(code);
    };
    let Some(root) = disks.iter().find(|disk| disk.path == "/") else {
        return Check::unknown(code, "the host names no root file system");
    };
    let Some(planned) = scene.wanted.disk_gib else {
        return Check::skipped(
            code,
            format!("/ has {:.0} GiB; the host does not know the plan", root.gib),
        );
    };
    let evidence = format!("/ has {:.0} GiB, the plan says {planned}", root.gib);
    if facts.clock.known().is_some_and(|clock| clock.container) {
        return Check::skipped(
            code,
            format!("{evidence}; the disk is that of the machine around"),
        );
    }
    if root.gib >= f64::from(planned) * GROWN {
        return Check::ok(code, evidence);
    }
    Check::warning(
        code,
        evidence,
        scene.on_host(
            "grow partition and file system to the volume, which takes no reboot",
            "sh -c 'growpart /dev/nvme0n1 1; resize2fs /dev/nvme0n1p1'",
        ),
    )
}

fn memory(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostMemory;
    let Some(memory) = facts.memory.known() else {
        return facts.memory.gap(code);
    };
    let percent = 100.0 * memory.available_mib as f64 / (memory.total_mib.max(1) as f64);
    let mut evidence = format!(
        "{} of {} MiB are available",
        memory.available_mib, memory.total_mib
    );
    let kills = memory.oom_kills.unwrap_or_default();
    if kills > 0 {
        evidence.push_str(&format!(
            "; {kills} processes were ended for want of memory since boot"
        ));
    }
    let remedy = || {
        Remedy::new("run fewer jobs at once, or take a type with more memory")
            .run(scene.command("plan --live"))
    };
    if percent < MEMORY.1 {
        Check::failed(code, evidence, remedy())
    } else if percent < MEMORY.0 || kills > 0 {
        Check::warning(code, evidence, remedy())
    } else {
        Check::ok(code, evidence)
    }
}

fn clock(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostClock;
    let Some(clock) = facts.clock.known() else {
        return facts.clock.gap(code);
    };
    let by_us = scene.now.map(|now| (clock.now - now, "this machine"));
    let reached = facts.egress.known().map_or(&[] as &[Reach], Vec::as_slice);
    let by_platform = reached
        .iter()
        .find_map(|reach| reach.skew_s.map(|skew| (skew, "the platform's answers")));
    // Whoever answered has a clock of its own; how long a command is under way blurs ours.
    let skew = by_platform.or(by_us);
    let remedy = || {
        scene.on_host(
            "let chrony set it and keep it: AWS serves the time at 169.254.169.123",
            "sh -c 'systemctl enable --now chrony; chronyc makestep'",
        )
    };
    if let Some((skew, whose)) = skew
        && skew.abs() >= SKEW.0
    {
        let way = if skew > 0.0 { "ahead of" } else { "behind" };
        let evidence = format!("the clock is {:.0} s {way} {whose}", skew.abs());
        return if skew.abs() >= SKEW.1 {
            Check::failed(
                code,
                format!("{evidence}; AWS refuses signatures from 5 minutes on"),
                remedy(),
            )
        } else {
            Check::warning(code, evidence, remedy())
        };
    }
    let near = skew.map_or("nothing to compare it with", |_| "it is right to the minute");
    match clock.synchronised {
        Some(true) => Check::ok(code, format!("synchronised, {near}")),
        _ if clock.container => Check::ok(code, format!("{near}; the clock is that of the machine around")),
        Some(false) => Check::warning(code, format!("{near}, and nothing keeps it so"), remedy()),
        None if skew.is_some() => Check::ok(code, format!("{near}; whether it is synchronised is not known")),
        None => Check::unknown(code, "neither timedatectl nor another clock could be asked"),
    }
}

fn egress(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostEgress;
    let Some(reached) = facts.egress.known() else {
        return facts.egress.gap(code);
    };
    let says = |reach: &Reach| format!("{} {}: {}", reach.what, reach.url, reach.says);
    let of = |what: &str| {
        reached
            .iter()
            .filter(|reach| reach.what == what)
            .collect::<Vec<_>>()
    };
    // Images come from a mirror as well as from the registry itself.
    let sources = [of("mirror"), of("registry")].concat();
    let images = sources.iter().any(|reach| reach.ok);
    let platform = of("platform");
    let mut missing: Vec<String> = Vec::new();
    missing.extend(platform.iter().filter(|reach| !reach.ok).map(|reach| says(reach)));
    if !images {
        missing.extend(sources.iter().map(|reach| says(reach)));
    }
    missing.extend(
        of("login")
            .iter()
            .filter(|reach| !reach.ok)
            .map(|reach| says(reach)),
    );
    if platform.is_empty() && sources.is_empty() {
        return Check::unknown(code, "the host does not say what it tried");
    }
    let text = "open the way out: DNS, route, security group, network ACL, firewall and proxy, for the names in the evidence";
    if missing.is_empty() {
        let all: Vec<String> = reached.iter().map(says).collect();
        Check::ok(code, all.join("; "))
    } else {
        Check::failed(code, missing.join("; "), {
            let url = scene.wanted.url.as_str();
            scene.on_host(
                text,
                &format!("curl -sS -o /dev/null -w '%{{http_code}}\\n' {url}"),
            )
        })
    }
}

fn disk_guard(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostDiskGuard;
    let Some(guard) = facts.guard.known() else {
        return facts.guard.gap(code);
    };
    if guard.loaded.as_deref() == Some("not-found") {
        return Check::warning(
            code,
            "this host has no disk guard",
            scene.on_host("run the bootstrap again, which installs it", BOOTSTRAP),
        );
    }
    let state = |text: &Option<String>| text.clone().unwrap_or_else(|| "not known".to_owned());
    let (active, enabled) = (state(&guard.active), state(&guard.enabled));
    if active == "not known" {
        return Check::unknown(code, "systemd does not say whether its timer runs");
    }
    if active != "active" || enabled != "enabled" {
        let fix = Fix::EnableGuard;
        let remedy = scene.by_fix(code, "let it run by itself again", &fix);
        return Check::failed(code, format!("its timer is {active} and {enabled}"), remedy).fixed_by(fix);
    }
    let run = |evidence: String| {
        let fix = Fix::RunGuard;
        let remedy = scene.by_fix(
            code,
            "run it once; `journalctl -u dataops-infra-disk-guard` says what it did",
            &fix,
        );
        Check::warning(code, evidence, remedy).fixed_by(fix)
    };
    let Some(health) = &guard.health else {
        // The first run comes a while after the timer was started.
        let why = guard.why.clone().unwrap_or_default();
        let uptime = facts.clock.known().and_then(|clock| clock.uptime_s);
        let set_up = facts.bootstrap.known().and_then(|boot| boot.age_s);
        let age = [uptime, set_up].into_iter().flatten().min().unwrap_or(u64::MAX);
        return if age < GUARD_LATE {
            Check::ok(code, format!("its timer runs; {why}"))
        } else {
            run(format!("its timer runs, but {why}"))
        };
    };
    let age = health.age_s.unwrap_or_default();
    // The reboot window stops the runner in the same way.
    let window = facts.bootstrap.known().is_some_and(|boot| boot.window);
    let paused = health.paused == Some(true) && !window;
    if health.healthy == Some(false) || paused {
        let mut why = health
            .why
            .clone()
            .unwrap_or_else(|| "it gives no reason".to_owned());
        if paused {
            why.push_str("; the runner takes no new jobs until there is room");
        }
        let text = "give the host a larger disk, or fewer jobs: what it may remove is not enough";
        return Check::failed(
            code,
            format!("it could not free enough: {why}"),
            Remedy::new(text).run(scene.command("plan --live")),
        );
    }
    if age > GUARD_LATE {
        return run(format!("it last said something {} min ago", age / 60));
    }
    let freed = health.freed_bytes.unwrap_or_default() / 1e9;
    Check::ok(
        code,
        format!("content {} min ago, {freed:.1} GB freed then", age / 60),
    )
}

fn metrics_agent(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostMetricsAgent;
    let Some(agent) = facts.cloudwatch_agent.known() else {
        return facts.cloudwatch_agent.gap(code);
    };
    let again = |text: &str| scene.on_host(text, BOOTSTRAP);
    if !agent.installed {
        return Check::failed(
            code,
            "it is not installed: no figures of memory and disk",
            again("run the bootstrap again, which installs it; the log says why it could not before"),
        );
    }
    if !agent.configured {
        return Check::failed(
            code,
            "it has not our configuration, so its metrics are not those of the alarms",
            again("run the bootstrap again, which configures it"),
        );
    }
    match agent.active.as_deref() {
        Some("active") => Check::ok(code, "it runs with our configuration"),
        None => Check::unknown(code, "systemd does not say whether it runs"),
        Some(state) => {
            let result = agent.result.as_deref().unwrap_or("not known");
            let fix = Fix::StartMetricsAgent;
            let remedy = scene.by_fix(code, "start it", &fix);
            Check::failed(
                code,
                format!("its unit is {state}, its last result {result}"),
                remedy,
            )
            .fixed_by(fix)
        }
    }
}

fn reboot(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::HostReboot;
    let Some(reboot) = facts.reboot.known() else {
        return facts.reboot.gap(code);
    };
    let timer = &reboot.window;
    let off = timer.loaded.as_deref() == Some("loaded")
        && (timer.active.as_deref() != Some("active") || timer.enabled.as_deref() == Some("disabled"));
    if off {
        let fix = Fix::EnableWindow;
        let remedy = scene.by_fix(code, "let it come by itself again", &fix);
        let state = timer.active.as_deref().unwrap_or("not known");
        let evidence = format!("the timer of the reboot window is {state}: updates wait for ever");
        return Check::warning(code, evidence, remedy).fixed_by(fix);
    }
    if !reboot.required {
        return Check::ok(code, "no update waits for a reboot");
    }
    let days = reboot.age_s.unwrap_or_default() / 86_400;
    let packages = if reboot.packages.is_empty() {
        "packages that are not named".to_owned()
    } else {
        reboot.packages.join(", ")
    };
    let evidence = format!("{packages} wait for a reboot, since {days} days");
    if days < REBOOT_DAYS {
        return Check::ok(code, format!("{evidence}; the window will come"));
    }
    Check::warning(
        code,
        evidence,
        scene.on_host(
            "the window that lets jobs finish has not come; reboot by hand when no job runs",
            "systemctl reboot",
        ),
    )
}

/// Whether a check is made of what the host itself says.
pub fn is_said_by_host(code: Code) -> bool {
    let area = matches!(code.area(), Area::Host | Area::Runner);
    area || matches!(code, Code::LeftoverHost | Code::LeftoverRegistration)
}

/// Notes that a host could not be asked; `reachable` is how that check ended, `rest` how the others did.
pub fn unreached(scene: &Scene, reachable: Status, rest: Status, reason: &str, evidence: &str) -> Vec<Check> {
    let more = if evidence.is_empty() {
        String::new()
    } else {
        format!("; {evidence}")
    };
    let one = |code: &Code| {
        // A disk can be too full for the question itself.
        if *code == Code::HostDiskSpace && reason.contains("No space left on device") {
            return Check::failed(
                *code,
                format!("the disk is so full that the host cannot be asked: {reason}"),
                Remedy::new(
                    "grow the volume in AWS, then reboot the host, which grows the file system; or free some by the console",
                ),
            );
        }
        if *code != Code::HostReachable {
            return Check::new(
                *code,
                rest,
                format!("the host could not be asked: {reason}{more}"),
            );
        }
        let check = Check::new(*code, reachable, format!("{reason}{more}"));
        if !reachable.is_finding() {
            return check;
        }
        check.mended_by(Remedy::new(
            "the agent needs the role of the instance and a way to the endpoints of Systems Manager (ssm, ssmmessages, \
             ec2messages); where both are right, reboot the host",
        ))
    };
    let codes = Code::ALL.iter().filter(|code| is_said_by_host(**code));
    codes.map(one).map(|check| check.of(&scene.subject)).collect()
}
