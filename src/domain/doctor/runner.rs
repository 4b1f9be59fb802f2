//! The runner on a host: container, image, configuration, registration.

use serde_json::Value;

use super::check::{Check, Remedy};
use super::code::Code;
use super::facts::{Config, HostFacts, Registered};
use super::fix::Fix;
use super::host::BOOTSTRAP;
use super::scene::Scene;

/// Days after which an image is old: the vendor releases every month.
const OLD_DAYS: i64 = 180;

/// Days before its end from which a token is worth a word.
const ENDING_DAYS: i64 = 14;

/// Restarts from which a container is not just back from a reboot.
const MANY_RESTARTS: u64 = 3;

/// Seconds that a container must have run to be taken for steady.
const STEADY: i64 = 600;

/// Makes the checks of a runner.
pub fn checks(scene: &Scene, facts: &HostFacts) -> Vec<Check> {
    [
        container(scene, facts),
        restarts(scene, facts),
        restart_policy(scene, facts),
        image(scene, facts),
        image_age(scene, facts),
        config(scene, facts),
        plan(scene, facts),
        token(scene, facts),
        verify(scene, facts),
        polling(scene, facts),
        leftover_host(scene, facts),
        leftover_registration(scene, facts),
    ]
    .into_iter()
    .map(|check| check.of(&scene.subject))
    .collect()
}

fn logs(scene: &Scene, text: &str) -> Remedy {
    scene.on_host(text, &format!("docker logs --tail 100 {}", scene.wanted.agent))
}

/// Who let the runner finish, and starts it again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Guard,
    Window,
}

/// Returns who keeps the runner from taking jobs on purpose.
fn holder(scene: &Scene, facts: &HostFacts) -> Option<Holder> {
    let boot = facts.bootstrap.known()?;
    if !boot.held.contains(&scene.wanted.agent) {
        return None;
    }
    Some(if boot.window {
        Holder::Window
    } else {
        Holder::Guard
    })
}

/// Returns a check that is moot while the runner is kept from taking jobs on purpose.
fn held(code: Code, scene: &Scene, facts: &HostFacts) -> Option<Check> {
    Some(match holder(scene, facts)? {
        Holder::Window => Check::skipped(
            code,
            "the reboot window lets jobs finish, and starts the runner again",
        ),
        Holder::Guard if code == Code::RunnerContainer => Check::failed(
            code,
            "the disk guard lets it take no new jobs until there is room, and then starts it again",
            Remedy::new("make room: see HOST-DISK-SPACE and HOST-DISK-GUARD"),
        ),
        Holder::Guard => Check::skipped(code, "the disk guard lets the runner take no new jobs"),
    })
}

fn container(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::RunnerContainer;
    let Some(it) = facts.container.known() else {
        return facts.container.gap(code);
    };
    if let Some(check) = held(code, scene, facts) {
        return check;
    }
    let agent = &scene.wanted.agent;
    if !it.exists {
        return Check::failed(
            code,
            format!("there is no container {agent}"),
            scene.on_host(
                "run the bootstrap again: it makes the container anew and keeps the registration",
                BOOTSTRAP,
            ),
        );
    }
    if it.running {
        let up = it
            .up_s
            .map_or_else(String::new, |up| format!(", for {}", span(up)));
        return Check::ok(code, format!("{agent} runs{up}"));
    }
    let mut evidence = format!(
        "{agent} is {}, with exit code {}",
        it.status.as_deref().unwrap_or("not running"),
        it.exit_code.unwrap_or_default()
    );
    if it.oom_killed {
        evidence.push_str(", ended for want of memory");
    }
    if !it.error.is_empty() {
        evidence.push_str(&format!(": {}", it.error));
    }
    let drained = facts.bootstrap.known().and_then(|boot| boot.unregistered.clone());
    if let Some(how) = drained {
        return Check::failed(
            code,
            format!("{evidence}; it was drained and taken off the platform ({how})"),
            scene.on_host("run the bootstrap again, which registers it anew", BOOTSTRAP),
        );
    }
    let fix = Fix::StartContainer;
    let remedy = scene.by_fix(code, "start it", &fix);
    Check::failed(code, evidence, remedy).fixed_by(fix)
}

fn restarts(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::RunnerRestarts;
    let Some(it) = facts.container.known() else {
        return facts.container.gap(code);
    };
    if !it.exists {
        return Check::skipped(code, "there is no container");
    }
    let evidence = format!("{} restarts by its restart policy", it.restarts);
    let fresh = it.up_s.is_none_or(|up| up < STEADY);
    if it.status.as_deref() == Some("restarting") || (it.restarts >= MANY_RESTARTS && fresh) {
        return Check::failed(
            code,
            format!(
                "{evidence}, and it is at it: exit code {}",
                it.exit_code.unwrap_or_default()
            ),
            logs(scene, "its log says why it ends"),
        );
    }
    if it.restarts >= MANY_RESTARTS {
        return Check::warning(code, evidence, logs(scene, "its log may say why it ended"));
    }
    Check::ok(code, evidence)
}

fn restart_policy(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::RunnerRestartPolicy;
    let Some(it) = facts.container.known() else {
        return facts.container.gap(code);
    };
    if !it.exists {
        return Check::skipped(code, "there is no container");
    }
    if let Some(check) = held(code, scene, facts) {
        return check;
    }
    let evidence = format!("the restart policy is `{}`", it.policy);
    if matches!(it.policy.as_str(), "always" | "unless-stopped") {
        return Check::ok(code, evidence);
    }
    let fix = Fix::RestartPolicy;
    let remedy = scene.by_fix(code, "let it come back", &fix);
    Check::warning(code, evidence, remedy).fixed_by(fix)
}

/// Returns the tag of an image.
pub fn tag(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').map_or("latest", |(_, tag)| tag)
}

/// Says what to do about an upgrade that was begun.
pub fn unfinished(image: &str) -> Remedy {
    Remedy::new(format!(
        "the same upgrade again goes on with {image}; `upgrade --rollback` takes the second runner away"
    ))
}

fn image(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::RunnerImage;
    let Some(it) = facts.container.known() else {
        return facts.container.gap(code);
    };
    if !it.exists {
        return Check::skipped(code, "there is no container");
    }
    let is = it.image.clone().unwrap_or_default();
    if let Some(next) = facts.bootstrap.known().and_then(|boot| boot.upgrade.as_ref()) {
        return Check::warning(
            code,
            format!("it runs {is}, and a second runner of {next} waits to take its place"),
            unfinished(next).run(scene.command(&format!("upgrade --runner-version {}", tag(next)))),
        );
    }
    let should = &scene.wanted.image;
    let upgrade = || {
        let channel = tag(should);
        Remedy::new("take the image of the plan by an upgrade, which lets jobs finish")
            .run(scene.command(&format!("upgrade --runner-version {channel}")))
    };
    if should.is_empty() {
        return Check::skipped(code, format!("it runs {is}; the host does not know the plan"));
    }
    if is != *should {
        return Check::warning(code, format!("it runs {is}, the plan says {should}"), upgrade());
    }
    let tagged = facts.image.known().and_then(|image| image.tagged_id.clone());
    match (&it.image_id, tagged) {
        (Some(runs), Some(now)) if *runs != now => Check::warning(
            code,
            format!("it runs {is} as it was; a newer one of that name is on the host and not in use"),
            upgrade(),
        ),
        _ => Check::ok(code, format!("it runs {is}")),
    }
}

/// Returns days from an RFC 3339 time until now.
fn days_since(text: &str, now: f64) -> Option<i64> {
    let then: jiff::Timestamp = text.parse().ok()?;
    Some(((now - then.as_second() as f64) / 86_400.0).floor() as i64)
}

fn now(scene: &Scene, facts: &HostFacts) -> Option<f64> {
    scene.now.or_else(|| facts.clock.known().map(|clock| clock.now))
}

fn image_age(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::RunnerImageAge;
    let Some(image) = facts.image.known() else {
        return facts.image.gap(code);
    };
    if !image.exists {
        return Check::skipped(code, "the image is not on the host");
    }
    let created = image.created.as_deref().unwrap_or_default();
    let days = now(scene, facts).and_then(|now| days_since(created, now));
    let (Some(days), Some(day)) = (days, created.get(..10).filter(|day| *day > "2015")) else {
        return Check::ok(code, "the image does not say when it was built");
    };
    let evidence = format!("built on {day}, {days} days ago");
    if days <= OLD_DAYS {
        return Check::ok(code, evidence);
    }
    Check::warning(
        code,
        evidence,
        Remedy::new("a runner never updates itself: upgrade it")
            .run(scene.command("upgrade --runner-version latest")),
    )
}

fn config(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::RunnerConfig;
    let Some(config) = facts.config.known() else {
        return facts.config.gap(code);
    };
    let path = format!("/srv/dataops-runner-{}/config/config.toml", scene.wanted.agent);
    if !config.exists {
        return Check::failed(
            code,
            format!("there is no {path}"),
            scene.on_host("run the bootstrap again, which registers the runner", BOOTSTRAP),
        );
    }
    if !config.valid {
        let why = config.error.as_deref().unwrap_or("no reason is given");
        return Check::failed(
            code,
            format!("{path} is no valid TOML: {why}"),
            scene.on_host(
                "mend the line; the runner goes on with what it read before, until it restarts",
                &format!("nano {path}"),
            ),
        );
    }
    // Whoever reads the file has the token.
    if config.mode.chars().rev().take(2).any(|digit| digit != '0') {
        let fix = Fix::CloseConfig;
        let remedy = scene.by_fix(code, "let only root read it", &fix);
        let evidence = format!(
            "{path} can be read by others (mode {}), and holds the token",
            config.mode
        );
        return Check::warning(code, evidence, remedy).fixed_by(fix);
    }
    Check::ok(
        code,
        format!("valid, {} runners, mode {}", config.runners.len(), config.mode),
    )
}

/// Returns the runners with a token for our platform.
fn ours<'a>(scene: &Scene, config: &'a Config) -> Vec<&'a Registered> {
    let url = scene.wanted.url.trim_end_matches('/');
    let of_us = |runner: &&Registered| runner.url.trim_end_matches('/') == url && runner.token_kind != "none";
    config.runners.iter().filter(of_us).collect()
}

fn plan(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::RunnerPlan;
    let Some(config) = facts.config.known() else {
        return facts.config.gap(code);
    };
    if !config.exists || !config.valid {
        return Check::skipped(code, "there is no config.toml that can be read");
    }
    let wanted = &scene.wanted;
    let ours = ours(scene, config);
    let Some(runner) = ours.first() else {
        let urls: Vec<&str> = config.runners.iter().map(|runner| runner.url.as_str()).collect();
        let seen = if urls.is_empty() {
            "config.toml has no runner".to_owned()
        } else {
            format!("config.toml has runners for {} only", urls.join(", "))
        };
        return Check::failed(
            code,
            format!("{seen}, the plan says {}", wanted.url),
            scene.on_host("put the address back, or run the bootstrap again", BOOTSTRAP),
        );
    };
    let mut differs = Vec::new();
    let mut number = |name: &str, is: &Value, should: Option<u64>| {
        if let Some(should) = should
            && is.as_u64() != Some(should)
        {
            let is = if is.is_null() {
                "not set".to_owned()
            } else {
                is.to_string()
            };
            differs.push(format!("{name} is {is}, not {should}"));
        }
    };
    number("concurrent", &config.top["concurrent"], wanted.concurrent);
    number(
        "check_interval",
        &config.top["check_interval"],
        wanted.check_interval,
    );
    number("limit", &runner.limit, wanted.limit);
    if runner.name != wanted.agent {
        differs.push(format!("name is {}, not {}", runner.name, wanted.agent));
    }
    if runner.executor != "docker" {
        differs.push(format!("executor is {}, not docker", runner.executor));
    }
    if runner.privileged {
        differs.push("jobs are privileged".to_owned());
    }
    if !wanted.pull_policies.is_empty() && runner.pull_policy != wanted.pull_policies {
        differs.push(format!(
            "pull_policy is [{}], not [{}]",
            runner.pull_policy.join(", "),
            wanted.pull_policies.join(", ")
        ));
    }
    let lacks = |volume: &&String| !runner.volumes.contains(*volume);
    let missing: Vec<&str> = wanted.volumes.iter().filter(lacks).map(String::as_str).collect();
    if !missing.is_empty() {
        differs.push(format!("volumes lack {}", missing.join(", ")));
    }
    if differs.is_empty() {
        return Check::ok(
            code,
            format!(
                "concurrent, limit, check_interval, url, name, pull policy and volumes of {}",
                runner.name
            ),
        );
    }
    Check::warning(
        code,
        differs.join("; "),
        scene.on_host(
            "let the bootstrap write our settings again, which it does once only; it changes nothing else, and jobs go on",
            "sh -c 'rm -f /var/lib/dataops-infra/settings; /usr/local/lib/dataops-infra/bootstrap'",
        ),
    )
}

fn token(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::RunnerToken;
    let Some(config) = facts.config.known() else {
        return facts.config.gap(code);
    };
    if !config.exists || !config.valid {
        return Check::skipped(code, "there is no config.toml that can be read");
    }
    let ours = ours(scene, config);
    let Some(runner) = ours.first() else {
        return Check::failed(
            code,
            "no runner of ours in config.toml has a token",
            scene.on_host("run the bootstrap again, which registers the runner", BOOTSTRAP),
        );
    };
    if runner.token_kind == "registration-token" {
        return Check::failed(
            code,
            "config.toml has a registration token where the runner's own token belongs",
            scene.on_host("remove the section and run the bootstrap again", BOOTSTRAP),
        );
    }
    let kind = match runner.token_kind.as_str() {
        "authentication" => "made on the platform (glrt-)",
        _ => "from a registration token, which the platform's makers phase out",
    };
    let ends = runner.expires_at.replace(' ', "T");
    let ends = if ends.len() == 19 {
        format!("{ends}Z")
    } else {
        ends
    };
    let left = now(scene, facts)
        .and_then(|now| days_since(&ends, now))
        .map(|days| -days);
    // A token without end is written as one that ends in the year 1.
    if let Some(left) = left.filter(|_| ends.get(..4).is_some_and(|year| year > "2000")) {
        let day = ends.get(..10).unwrap_or_default();
        let rotate = || {
            Remedy::new("rotate the token: put the new one where the deployment looks for it")
                .run(scene.command("up ec2"))
        };
        if left < 0 {
            return Check::failed(code, format!("the token ended on {day}"), rotate());
        }
        if left <= ENDING_DAYS {
            return Check::warning(code, format!("the token ends on {day}, in {left} days"), rotate());
        }
        return Check::ok(code, format!("{kind}; it ends on {day}"));
    }
    Check::ok(code, kind)
}

fn verify(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::RunnerVerify;
    let Some(verify) = facts.verify.known() else {
        return facts.verify.gap(code);
    };
    let says = verify
        .says
        .last()
        .cloned()
        .unwrap_or_else(|| "nothing was said".to_owned());
    if verify.ok {
        return Check::ok(code, says);
    }
    let text = verify.says.join(" / ");
    let lower = text.to_lowercase();
    let offline = [
        "no such host",
        "connection refused",
        "i/o timeout",
        "timed out",
        "network is unreachable",
        "status 5",
        "503",
        "502",
    ];
    if offline.iter().any(|word| lower.contains(word)) {
        return Check::unknown(code, format!("the platform could not be asked: {text}"));
    }
    Check::failed(
        code,
        text,
        scene.on_host(
            "the platform no longer knows this token: make or find the runner there, store its token for the deployment, take \
             the old section out of config.toml, and run the bootstrap again",
            BOOTSTRAP,
        ),
    )
}

fn polling(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::RunnerPolling;
    if let Some(check) = held(code, scene, facts) {
        return check;
    }
    if facts
        .container
        .known()
        .is_some_and(|it| !it.exists || !it.running)
    {
        return Check::failed(
            code,
            "the container does not run, so nobody asks for jobs",
            Remedy::new("see RUNNER-CONTAINER"),
        );
    }
    let Some(polling) = facts.polling.known() else {
        return facts.polling.gap(code);
    };
    let answered: u64 = polling
        .requests
        .iter()
        .filter(|(status, _)| status.starts_with('2'))
        .map(|(_, count)| count)
        .sum();
    let refused: Vec<String> = polling
        .requests
        .iter()
        .filter(|(status, count)| !status.starts_with('2') && **count > 0)
        .map(|(status, count)| format!("{count} times {status}"))
        .collect();
    if polling.failed > 0 && !polling.over {
        let last = polling.last_failed.as_deref().unwrap_or_default();
        return Check::failed(
            code,
            format!(
                "{} questions for jobs failed within the hour, and it goes on: {last}",
                polling.failed
            ),
            logs(
                scene,
                "403 means that the token is no longer good, no connection means network or proxy",
            ),
        );
    }
    if answered == 0 && !refused.is_empty() {
        return Check::failed(
            code,
            format!("the platform never gave an answer: {}", refused.join(", ")),
            logs(scene, "403 means that the token is no longer good"),
        );
    }
    if let Some(error) = polling.errors.last() {
        return Check::warning(
            code,
            format!("the log has errors that are no job's: {error}"),
            logs(scene, "read the log around it"),
        );
    }
    let requests = if answered > 0 {
        format!("{answered} questions were answered since it started, ")
    } else {
        String::new()
    };
    Check::ok(code, format!("{requests}no question fails"))
}

fn leftover_host(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::LeftoverHost;
    let Some(config) = facts.config.known() else {
        return facts.config.gap(code);
    };
    let drained = facts
        .bootstrap
        .known()
        .and_then(|boot| boot.unregistered.as_deref());
    let ours = ours(scene, config);
    if let Some(runner) = ours.first() {
        let id = runner
            .id
            .map_or_else(String::new, |id| format!(" as number {id}"));
        return Check::ok(code, format!("the host has a registration{id}"));
    }
    let how = drained.map_or_else(String::new, |how| format!("; draining took it off ({how})"));
    Check::failed(
        code,
        format!("the host runs and costs money, and no runner is registered on it{how}"),
        Remedy::new("set it up again, or remove the deployment").run(scene.command("down")),
    )
}

fn leftover_registration(scene: &Scene, facts: &HostFacts) -> Check {
    let code = Code::LeftoverRegistration;
    let Some(config) = facts.config.known() else {
        return facts.config.gap(code);
    };
    let ours = ours(scene, config);
    if ours.len() > 1 {
        let ids: Vec<String> = ours
            .iter()
            .filter_map(|runner| runner.id.map(|id| id.to_string()))
            .collect();
        return Check::warning(
            code,
            format!(
                "config.toml has {} runners for the platform ({})",
                ours.len(),
                ids.join(", ")
            ),
            Remedy::new("delete the sections that nobody needs, on the platform and in config.toml"),
        );
    }
    let strays = facts
        .bootstrap
        .known()
        .map_or(&[] as &[String], |boot| &boot.strays);
    let told: Vec<&str> = strays
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
        .collect();
    if !told.is_empty() {
        return Check::warning(
            code,
            told.join(" "),
            scene.on_host(
                "delete it on the platform, where there is an offline runner of this name; then let the host forget it",
                "rm /var/lib/dataops-infra/strays",
            ),
        );
    }
    Check::ok(code, "one section, one registration")
}

/// Returns a span in its largest unit.
pub fn span(seconds: i64) -> String {
    match seconds {
        i64::MIN..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
