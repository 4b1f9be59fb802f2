//! `up`: prepares, shows, asks, takes the steps, and says how it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::apply::{Stop, Work, apply};
use super::calls::{Ground, block_on};
use super::cluster;
use super::confirm::confirm;
use super::ends::{self, End};
use super::planned;
use super::prepare::{Prepared, Want, prepare};
use super::wants::{Group, How, groups};
use crate::aws::deployed::{RECORD_GONE, facts};
use crate::aws::parameter;
use crate::cli::outcome::{Answer, Context, Ending, Exit, Failure};
use crate::cli::question::TargetArg;
use crate::cli::up::UpArgs;
use crate::domain::deployment::eks::upgrade::is_begun;
use crate::domain::deployment::name::{Host, Name};
use crate::domain::deployment::preflight::Status;
use crate::domain::deployment::record::{Phase, Record};
use crate::domain::deployment::resource::instance::standing;
use crate::domain::deployment::step::{Action, Step};
use crate::domain::deployment::up::nodes::{DRAIN, RETURN};
use crate::engine::attempt::Failed;
use crate::engine::run::Report;
use crate::render::deployment as pages;
use crate::render::page::{Page, Table};
use crate::render::style::Style;
use crate::render::text;

/// The schema's name.
const SCHEMA: &str = "dataops-infra/up/v1";

/// Runs the command.
pub fn run(args: &UpArgs, context: &Context) -> Ending {
    match block_on(up(args, context)) {
        Ok(ending) => ending,
        Err(failure) => Ending::Failed(failure),
    }
}

/// A deployment on its way.
#[derive(Debug)]
struct Going {
    ground: Ground,
    want: Want,
    prepared: Prepared,
}

/// Makes deployments, mends them, or goes on with them.
///
/// # Errors
///
/// Before the first change: what was said is wrong, or cannot be read.
pub async fn up(args: &UpArgs, context: &Context) -> Result<Ending, Failure> {
    let wait = !args.no_wait;
    let (groups, plan) = match &args.plan {
        Some(path) => {
            let (group, plan) = planned::read(path, args, wait, context).await?;
            (vec![group], Some(plan))
        }
        None => {
            let groups = groups(
                &args.which,
                &args.question,
                &args.deployment,
                How {
                    wait,
                    renew: args.renew,
                    preview: false,
                },
                context,
                match args.question.target {
                    Some(TargetArg::Eks) => "up eks",
                    _ => "up ec2",
                },
            )
            .await?;
            (groups, None)
        }
    };
    carry_out(groups, plan, args, context).await
}

/// Does what is wanted: compares, shows, asks, takes the steps, and says how it ended.
///
/// # Errors
///
/// As [`up`].
pub async fn carry_out(
    groups: Vec<Group>,
    plan: Option<planned::Live>,
    args: &UpArgs,
    context: &Context,
) -> Result<Ending, Failure> {
    let many = groups.iter().map(|group| group.wants.len()).sum::<usize>() > 1;
    let mut going = Vec::new();
    let mut ends = Vec::new();
    let prepared = futures_util::future::join_all(groups.into_iter().map(|group| async move {
        let Group { ground, wants } = group;
        let prepared = prepare(&ground, wants.clone(), Timestamp::now()).await;
        (ground, wants, prepared)
    }))
    .await;
    for (ground, wants, prepared) in prepared {
        let prepared = match prepared {
            Ok((_, prepared)) => prepared,
            // One account that cannot be read does not hurt the others.
            Err(failure) if many => {
                ends.extend(
                    wants
                        .iter()
                        .map(|want| unprepared(&want.meant.name, &ground.region, failure.copy())),
                );
                continue;
            }
            Err(failure) => return Err(failure),
        };
        for (want, (name, one)) in wants.into_iter().zip(prepared) {
            match one {
                Ok(prepared) => going.push(Going {
                    ground: ground.clone(),
                    want,
                    prepared,
                }),
                Err(failure) if many => ends.push(unprepared(&name, &ground.region, failure)),
                Err(failure) => return Err(failure),
            }
        }
    }
    if let (Some(plan), [one]) = (&plan, going.as_slice()) {
        plan.check(&one.prepared)?;
    }
    let (mut ready, mut blocked) = (Vec::new(), Vec::new());
    for one in going {
        match refusal(&one.prepared) {
            None => ready.push(one),
            Some(failure) => blocked.push((one, failure)),
        }
    }
    if let (false, [(one, _)]) = (many, blocked.as_slice()) {
        let mut page = Page::new();
        preview(&mut page, one);
        let document = document(one, "blocked", None);
        let answer = Answer {
            document,
            page,
            exit: Exit::Refused,
        };
        let failure = blocked.into_iter().next().map(|(_, failure)| failure);
        return Ok(match failure {
            Some(failure) => Ending::Refused(answer, failure),
            None => Ending::Answer(answer),
        });
    }
    ends.extend(blocked.into_iter().map(|(one, failure)| End {
        name: one.prepared.name.clone(),
        region: one.ground.region.clone(),
        document: document(&one, "blocked", None),
        says: failure.message.clone(),
        exit: Exit::Refused,
        failure: Some(failure),
        next: Vec::new(),
    }));
    let (working, unchanged): (Vec<Going>, Vec<Going>) = ready
        .into_iter()
        .partition(|one| !one.prepared.ascent.steps.is_empty());
    ends.extend(unchanged.iter().map(unchanged_end));
    if !working.is_empty() {
        show(&working, context);
        let changes = working
            .iter()
            .flat_map(|one| &one.prepared.ascent.steps)
            .any(|step| step.action != Action::Wait);
        if changes {
            let question = match working.as_slice() {
                [one] => format!("Change {} in {}?", one.prepared.name, one.ground.region),
                several => format!("Change {} deployments?", several.len()),
            };
            confirm(&question, "yes", args.yes)?;
        }
        let stop = Stop::listen(context);
        let online = Duration::from_mins(u64::from(args.wait_minutes));
        let mut reports = apply(working.iter().map(work).collect(), online, &stop, context).await;
        overtaken(&working, &mut reports).await;
        runner_back(&working, &mut reports, &stop, context).await;
        let (lost, done) = working
            .into_iter()
            .zip(reports)
            .partition::<Vec<_>, _>(|(_, report)| lost_the_race(report));
        ends.extend(done.iter().map(|(one, report)| end(one, report, args)));
        for (one, _) in lost {
            ends.push(again(one, online, &stop, args, context).await?);
        }
    }
    ends.sort_by(|a, b| (&a.region, &a.name).cmp(&(&b.region, &b.name)));
    Ok(answer(ends))
}

/// Marks runs as failed whose deployments another run began to remove while things were made.
///
/// That one does not know what was made after it had looked, and this one would call a deployment complete that is gone.
async fn overtaken(all: &[Going], reports: &mut [Report]) {
    let made = |one: &Going, report: &Report| {
        let mut steps = one.prepared.ascent.steps.iter();
        report.failed.is_empty()
            && steps.any(|step| step.action != Action::Wait && report.done.contains_key(&step.address))
    };
    type At<'a> = (&'a str, Option<&'a str>);
    let mut asked: BTreeMap<At, (&Ground, Vec<String>)> = BTreeMap::new();
    for (one, _) in all
        .iter()
        .zip(&*reports)
        .filter(|(one, report)| made(one, report))
    {
        let ground = &one.ground;
        let (_, names) = asked
            .entry((ground.region.as_str(), ground.profile.as_deref()))
            .or_insert((ground, Vec::new()));
        names.push(one.prepared.name.record());
    }
    let reads = asked.values().map(|(ground, names)| async {
        // Everything is made; a look that fails is no reason to say that it is not.
        let read = parameter::read(&ground.clients, names, false).await.ok();
        read.map(|read| (ground.region.as_str(), ground.profile.as_deref(), read))
    });
    let read = futures_util::future::join_all(reads).await;
    for (one, report) in all.iter().zip(reports).filter(|(one, report)| made(one, report)) {
        let place = (one.ground.region.as_str(), one.ground.profile.as_deref());
        let Some((.., found)) = read
            .iter()
            .flatten()
            .find(|(region, profile, _)| (*region, *profile) == place)
        else {
            continue;
        };
        let ours = found
            .get(&one.prepared.name.record())
            .and_then(|found| Record::read(&one.prepared.name, &found.value).ok())
            .is_some_and(|record| {
                record.generation == one.prepared.record.generation && record.phase == Phase::Present
            });
        if !ours {
            let why = "another run removes the deployment; what was made after it had looked may be left";
            report
                .failed
                .push(("record".to_owned(), Failed::Never(why.to_owned())));
            report.done.remove("record");
        }
    }
}

/// Lets runners come back that were to be away while nodes are replaced, and that failed: jobs go on with the nodes that there are.
async fn runner_back(all: &[Going], reports: &mut [Report], stop: &Stop, context: &Context) {
    for (one, report) in all.iter().zip(reports) {
        let mut steps = one.prepared.ascent.steps.iter();
        let away = |address: &str| {
            report.done.contains_key(address) || report.failed.iter().any(|(failed, _)| failed == address)
        };
        let Some(step) = steps.find(|step| step.address == RETURN) else {
            continue;
        };
        let is_back = report.done.contains_key(RETURN);
        if report.failed.is_empty() || report.interrupted || is_back || !away(DRAIN) {
            continue;
        }
        context.note(format!(
            "{}: the nodes are not all replaced; the runner takes jobs again until that is gone on with",
            one.prepared.name
        ));
        let step = Step {
            after: Vec::new(),
            ..step.clone()
        };
        let work = Work {
            steps: vec![step],
            ..work(one)
        };
        let online = Duration::from_mins(1);
        let Some(back) = apply(vec![work], online, stop, context).await.pop() else {
            continue;
        };
        report.skipped.retain(|address| !back.done.contains_key(address));
        report.done.extend(back.done);
        report.failed.extend(back.failed);
    }
}

/// Whether another run wrote the record first.
fn lost_the_race(report: &Report) -> bool {
    report
        .failed
        .iter()
        .any(|(address, failed)| address == "record" && matches!(failed, Failed::Foreign(_)))
}

/// Goes on with the record that another run wrote at the same moment: both then make the same things.
async fn again(
    one: Going,
    online: Duration,
    stop: &Stop,
    args: &UpArgs,
    context: &Context,
) -> Result<End, Failure> {
    context.note(format!(
        "another run began {} at the same moment; going on together with it",
        one.prepared.name
    ));
    let (_, prepared) = prepare(&one.ground, vec![one.want.clone()], Timestamp::now()).await?;
    let Some((_, prepared)) = prepared.into_iter().next() else {
        return Err(Failure::new(
            Exit::Failed,
            "the deployment could not be read again",
        ));
    };
    let one = Going {
        prepared: prepared?,
        ..one
    };
    if let Some(failure) = refusal(&one.prepared) {
        return Err(failure);
    }
    let report = apply(vec![work(&one)], online, stop, context)
        .await
        .pop()
        .unwrap_or_default();
    let one = [one];
    let mut reports = [report];
    overtaken(&one, &mut reports).await;
    let ([one], [report]) = (one, reports);
    Ok(end(&one, &report, args))
}

fn work(one: &Going) -> Work {
    Work {
        ground: one.ground.clone(),
        place: one.prepared.place.clone(),
        name: one.prepared.name.clone(),
        record: one.prepared.ascent.record.clone(),
        steps: one.prepared.ascent.steps.clone(),
        ids: one.prepared.ascent.ids.clone(),
        secret: one.prepared.secret.clone(),
    }
}

/// Whether a disk is larger than the plan has it; disks do not shrink.
fn asked_to_shrink(prepared: &Prepared) -> bool {
    let mut sizes = prepared.ascent.stuck.iter().map(|(_, difference)| difference);
    sizes.any(|size| {
        let gib = |text: &str| text.parse::<u32>().unwrap_or_default();
        size.field == "root volume Size" && gib(&size.is) > gib(&size.should)
    })
}

/// Says why nothing may be changed; none where it may.
pub fn refusal(prepared: &Prepared) -> Option<Failure> {
    let name = &prepared.name;
    let mut reasons: Vec<String> = prepared
        .ascent
        .blocks
        .iter()
        .map(|block| format!("{} {}", block.what, block.why))
        .collect();
    let mut hint = "give it another name, or remove what is in the way if nobody needs it".to_owned();
    let blocked = prepared
        .findings
        .iter()
        .filter(|finding| finding.status == Status::Blocked);
    let blocked: Vec<String> = blocked
        .map(|finding| {
            let remedy = finding.remedy.as_deref().unwrap_or_default();
            format!("{}: {}; {remedy}", finding.code, finding.evidence)
        })
        .collect();
    if !blocked.is_empty() {
        "mend what the list says, then run the command again".clone_into(&mut hint);
    }
    reasons.extend(blocked);
    if prepared.changed && !prepared.upgrades && !prepared.ascent.stuck.is_empty() {
        reasons.extend(prepared.ascent.stuck.iter().map(|(address, difference)| {
            format!("{address}: {difference}; a running host is not changed in this")
        }));
        let stuck = |field: &str| {
            let mut stuck = prepared.ascent.stuck.iter();
            stuck.any(|(_, difference)| difference.field.starts_with(field))
        };
        let region = &prepared.place.region;
        let spec = &prepared.record.spec;
        hint = if stuck("runner image") {
            format!(
                "dataops-infra upgrade --name {name} --region {region} --runner-version {}",
                spec.channel
            )
        } else if stuck("InstanceType") || stuck("root volume") {
            let mut command = format!("dataops-infra resize --name {name} --region {region}");
            if stuck("InstanceType") {
                command.push_str(&format!(" --instance-type {}", spec.instance_type));
            }
            if stuck("root volume Size") && !asked_to_shrink(prepared) {
                command.push_str(&format!(" --disk-gib {}", spec.disk.gib));
            }
            command
        } else if stuck("Kubernetes version") {
            let version = spec.eks.as_deref().map_or("", |eks| eks.version.as_str());
            format!("dataops-infra upgrade --name {name} --region {region} --kubernetes-version {version}")
        } else if stuck("instanceTypes") {
            "a node group keeps its types: make a deployment of another name with them, then take this one down"
                .to_owned()
        } else if stuck("disk of nodes") {
            format!(
                "dataops-infra resize --name {name} --region {region} --disk-gib {}",
                spec.disk.gib
            )
        } else {
            format!(
                "repeat the options it was made with, or make it anew: dataops-infra down --name {name} --region \
                 {region}, then up"
            )
        };
    }
    if reasons.is_empty() {
        return None;
    }
    let list: String = reasons.iter().map(|reason| format!("\n  {reason}")).collect();
    Some(
        Failure::new(
            Exit::Refused,
            format!("{name} cannot be made as asked; nothing was changed{list}"),
        )
        .hint(hint),
    )
}

fn unprepared(name: &Name, region: &str, failure: Failure) -> End {
    End {
        name: name.clone(),
        region: region.to_owned(),
        document: json!({
            "name": name.as_str(),
            "region": region,
            "status": "blocked",
            "error": failure.message,
        }),
        says: failure.message.clone(),
        exit: failure.exit,
        failure: Some(failure),
        next: Vec::new(),
    }
}

/// Adds what will be done to a page.
fn preview(page: &mut Page, one: &Going) {
    let prepared = &one.prepared;
    let spec = &prepared.record.spec;
    let what = if prepared.version.is_some() {
        "Change"
    } else {
        "Make"
    };
    pages::steps(
        page,
        format!("{what} {} in {}", prepared.name, one.ground.region),
        &prepared.ascent.steps,
    );
    let lease = prepared
        .record
        .lease
        .as_ref()
        .map(|lease| format!(", leased until {}", lease.expires_at))
        .unwrap_or_default();
    page.text(match &spec.eks {
        Some(eks) => format!(
            "{} to {} x {}, {} jobs at once, {} GiB gp3 each, Kubernetes {}, {} cluster {} in {}{lease}",
            eks.min_nodes,
            eks.max_nodes,
            spec.instance_type,
            spec.concurrency,
            spec.disk.gib,
            eks.version,
            if eks.adopted { "adopted" } else { "own" },
            eks.cluster,
            spec.vpc,
        ),
        None => format!(
            "{} x {}, {} jobs at once on each, {} GiB gp3, {} in {}{lease}",
            spec.count, spec.instance_type, spec.concurrency, spec.disk.gib, spec.image.id, spec.vpc,
        ),
    });
    pages::findings(page, &prepared.findings, false);
    pages::blocks(page, &prepared.ascent.blocks);
    pages::stuck(page, &prepared.ascent.stuck);
}

/// Shows on stderr what will be done.
fn show(working: &[Going], context: &Context) {
    if context.quiet || context.log.json {
        return;
    }
    let mut page = Page::new();
    if let [one] = working {
        preview(&mut page, one);
    } else {
        let mut table = Table::new(&["deployment", "region", ">steps", "what"]);
        for one in working {
            let spec = &one.prepared.record.spec;
            table.row([
                one.prepared.name.to_string(),
                one.ground.region.clone(),
                one.prepared.ascent.steps.len().to_string(),
                format!("{} x {}, {} GiB", spec.count, spec.instance_type, spec.disk.gib),
            ]);
        }
        page.heading(format!("Change {} deployments", working.len()))
            .table(table);
    }
    let style = Style::of_stderr(context.log.colour);
    eprintln!("{}", text::render(&page, style));
}

fn hosts(one: &Going, report: Option<&Report>) -> Vec<Value> {
    if one.prepared.record.spec.eks.is_some() {
        return Vec::new();
    }
    Host::all(one.prepared.record.spec.count)
        .into_iter()
        .filter_map(|host| {
            let address = host.address("host");
            let seen = standing(&one.prepared.ascent.record, host, &one.prepared.observed);
            let mut known = seen.current.map(|current| facts(&current.it)).unwrap_or_default();
            if let Some(report) = report {
                for step in ["online", "running"] {
                    known.extend(report.facts.get(&host.address(step)).cloned().unwrap_or_default());
                }
                known.extend(report.ids.get(&address).cloned().map(|id| ("instance_id", id)));
            }
            (!known.is_empty()).then(|| {
                let mut value = json!(known);
                value["address"] = address.into();
                value
            })
        })
        .collect()
}

fn document(one: &Going, status: &str, report: Option<&Report>) -> Value {
    let prepared = &one.prepared;
    let spec = &prepared.record.spec;
    let step = |step: &Step| {
        let mut value = json!(step);
        let failed =
            report.and_then(|report| report.failed.iter().find(|(address, _)| *address == step.address));
        let seconds = report.and_then(|report| report.done.get(&step.address));
        value["outcome"] = match (failed, seconds, report) {
            (Some(_), _, _) => "failed",
            (_, Some(_), _) => "done",
            (_, _, Some(_)) => "not-begun",
            _ => "planned",
        }
        .into();
        if let Some((_, why)) = failed {
            value["error"] = why.to_string().into();
        }
        if let Some(seconds) = seconds {
            value["seconds"] = ((seconds * 1000.0).round() / 1000.0).into();
        }
        value
    };
    let mut value = json!({
        "name": prepared.name.as_str(),
        "region": one.ground.region,
        "account": prepared.place.account,
        "generation": prepared.record.generation.as_str(),
        "status": status,
        "created_at": prepared.record.created_at,
        "runner": {
            "tag": prepared.name.as_str(),
            "platform_url": spec.platform_url,
            "image": format!("{}:{}", spec.runner_image, spec.channel),
            "concurrency": spec.concurrency * spec.count,
        },
        "hosts": hosts(one, report),
        "preflight": prepared.findings,
        "steps": prepared.ascent.steps.iter().map(step).collect::<Vec<_>>(),
        "differs": prepared.ascent.stuck.iter().map(|(address, difference)| json!({
            "address": address, "difference": difference,
        })).collect::<Vec<_>>(),
    });
    if let Some(cluster) = cluster::document(&prepared.record, &prepared.observed) {
        value["cluster"] = cluster;
        // What was seen before; what was made since is known to be there.
        if let Some(report) = report {
            let cluster = &mut value["cluster"];
            if report.done.contains_key("cluster-active") {
                cluster["state"] = "ACTIVE".into();
            }
            if report.done.contains_key("nodes-active") {
                cluster["nodes"]["state"] = "ACTIVE".into();
            }
            if report.done.contains_key("online") {
                cluster["online"] = true.into();
            }
            let eks = prepared.ascent.record.spec.eks.as_deref();
            if let (true, Some(eks)) = (report.done.contains_key("cluster-version"), eks) {
                cluster["version"] = json!(eks.version);
            }
            if let (true, Some(eks)) = (report.done.contains_key("nodes-replaced"), eks) {
                cluster["nodes"]["version"] = json!(eks.version);
                cluster["nodes"]["image"] = json!(eks.release);
            }
        }
    }
    if let Some(lease) = &prepared.record.lease {
        value["expires_at"] = lease.expires_at.clone().into();
    }
    if !prepared.ascent.blocks.is_empty() {
        value["in_the_way"] = json!(prepared.ascent.blocks);
    }
    let mut notes: Vec<String> = prepared.notes.clone();
    if let Some(report) = report {
        notes.extend(
            report
                .notes
                .iter()
                .map(|(address, note)| format!("{address}: {note}")),
        );
    }
    value["notes"] = json!(notes);
    value
}

/// Returns the command that makes a deployment of its kind.
fn up_command(one: &Going) -> &'static str {
    if one.prepared.record.spec.eks.is_some() {
        "up eks"
    } else {
        "up ec2"
    }
}

/// Returns commands to try next, with the options that find the deployment again.
fn commands(one: &Going, what: &[&str]) -> Vec<String> {
    let profile = one
        .ground
        .profile
        .as_ref()
        .map(|profile| format!(" --profile {profile}"))
        .unwrap_or_default();
    what.iter()
        .map(|command| {
            format!(
                "dataops-infra {command} --name {} --region {}{profile}",
                one.prepared.name, one.ground.region
            )
        })
        .collect()
}

fn unchanged_end(one: &Going) -> End {
    let stuck = !one.prepared.ascent.stuck.is_empty();
    let next = commands(one, &["status", "down"]);
    let mut document = document(one, "unchanged", None);
    document["next"] = json!(next);
    End {
        name: one.prepared.name.clone(),
        region: one.ground.region.clone(),
        document,
        says: if stuck {
            "nothing to change; what differs is not changed while the host runs".to_owned()
        } else {
            "nothing to change".to_owned()
        },
        exit: if stuck { Exit::Findings } else { Exit::Done },
        failure: None,
        next,
    }
}

fn end(one: &Going, report: &Report, args: &UpArgs) -> End {
    let name = one.prepared.name.clone();
    let region = one.ground.region.clone();
    let complete = report.failed.is_empty() && !report.interrupted && report.skipped.is_empty();
    if complete {
        let stuck = !one.prepared.ascent.stuck.is_empty();
        let status = if args.no_wait { "running" } else { "online" };
        let mut document = document(one, status, Some(report));
        let next = commands(one, &["status", "down"]);
        document["next"] = json!(next);
        let ids: Vec<String> = hosts(one, Some(report))
            .iter()
            .filter_map(|host| host["instance_id"].as_str().map(str::to_owned))
            .collect();
        let what = match &one.prepared.record.spec.eks {
            Some(eks) => format!("cluster {}", eks.cluster),
            None => ids.join(", "),
        };
        let says = if args.no_wait {
            format!("{what} runs; its runner is not yet online")
        } else {
            format!("{what}: online")
        };
        return End {
            name,
            region,
            document,
            says,
            exit: if stuck { Exit::Findings } else { Exit::Done },
            failure: None,
            next,
        };
    }
    let mut document = document(
        one,
        if report.interrupted {
            "interrupted"
        } else {
            "failed"
        },
        Some(report),
    );
    let failure = incomplete(one, report);
    document["error"] = failure.message.clone().into();
    let next = commands(one, &[up_command(one), "status", "down"]);
    document["next"] = json!(next);
    End {
        name,
        region,
        document,
        says: failure.message.clone(),
        exit: Exit::Failed,
        failure: Some(failure),
        next,
    }
}

/// Says what failed, what is left behind, and what to do.
fn incomplete(one: &Going, report: &Report) -> Failure {
    let prepared = &one.prepared;
    let action = |address: &str| {
        prepared
            .ascent
            .steps
            .iter()
            .find(|step| step.address == address)
            .map_or("take", |step| step.action.word())
    };
    let mut message = String::new();
    for (address, failed) in &report.failed {
        if !message.is_empty() {
            message.push('\n');
        }
        let verb = match action(address) {
            "wait" => "wait for",
            other => other,
        };
        message.push_str(&format!(
            "{}: could not {verb} {address}: {failed}",
            prepared.name
        ));
    }
    if report.interrupted {
        if !message.is_empty() {
            message.push('\n');
        }
        message.push_str(&format!("{}: interrupted", prepared.name));
    }
    if report.done.contains_key(DRAIN) && !report.done.contains_key(RETURN) {
        message
            .push_str("\nthe runner takes no jobs until this is finished, or `runner start` brings it back");
    }
    if report.done.contains_key(RETURN) {
        message.push_str("\nthe runner takes jobs meanwhile");
    }
    let made: Vec<String> = prepared
        .ascent
        .steps
        .iter()
        .filter(|step| step.action == Action::Create && report.done.contains_key(&step.address))
        .map(|step| match report.ids.get(&step.address) {
            Some(id) => format!("{} ({id})", step.address),
            None => step.address.clone(),
        })
        .collect();
    let unknown = ends::unanswered(report);
    let left = match (made.as_slice(), prepared.version) {
        ([], None) if unknown.is_none() => "\nnothing was made".to_owned(),
        ([], _) => String::new(),
        (made, _) => format!("\nmade and left: {}", made.join(", ")),
    };
    message.push_str(&left);
    if let Some(unknown) = unknown {
        message.push_str(&format!("\n{unknown}"));
    }
    if !report.skipped.is_empty() {
        message.push_str(&format!("\nnot begun: {}", report.skipped.join(", ")));
    }
    let [again, mut down]: [String; 2] = commands(one, &[up_command(one), "down"])
        .try_into()
        .unwrap_or_default();
    let orphaned = |failed: &Failed| matches!(failed, Failed::Never(why) if why == RECORD_GONE);
    if report.failed.iter().any(|(_, failed)| orphaned(failed)) {
        down.push_str(&format!(" --generation {}", prepared.record.generation));
        return Failure::new(Exit::Failed, message).hint(format!("`{down}` removes what was made"));
    }
    if is_begun(&prepared.ascent.record) {
        return Failure::new(Exit::Failed, message).hint(format!(
            "once that is mended, the same command or `{again}` goes on from here"
        ));
    }
    Failure::new(Exit::Failed, message).hint(format!(
        "`{again}` with the same options goes on from here; `{down}` removes what was made"
    ))
}

/// Puts the ends together: one answer, or a summary.
fn answer(ends: Vec<End>) -> Ending {
    let [one] = match <[End; 1]>::try_from(ends) {
        Ok(one) => one,
        Err(ends) => {
            let failed = ends.iter().filter(|end| end.failure.is_some()).count();
            let heading = format!("{} deployments, {failed} not as asked", ends.len());
            let hint = "the same command goes on with those that are not complete";
            return ends::several(&ends, SCHEMA, &heading, hint);
        }
    };
    ends::one(one, SCHEMA, one_page)
}

fn one_page(page: &mut Page, document: &Value) {
    let mut pairs = Vec::new();
    for host in document["hosts"].as_array().into_iter().flatten() {
        let text = |key: &str| host[key].as_str().unwrap_or_default().to_owned();
        let mut says = format!(
            "{} ({}, {})",
            text("instance_id"),
            text("instance_type"),
            text("zone")
        );
        if host["zone"].is_null() {
            says = text("instance_id");
        }
        for key in ["private_ip", "public_ip"] {
            if let Some(address) = host[key].as_str() {
                says.push_str(&format!(", {address}"));
            }
        }
        pairs.push((text("address"), says));
    }
    if document["cluster"].is_object() {
        pairs.extend(cluster::pairs(&document["cluster"]));
    }
    if let Some(tag) = document["runner"]["tag"].as_str() {
        pairs.push(("tag of jobs".to_owned(), tag.to_owned()));
    }
    if let Some(expires) = document["expires_at"].as_str() {
        pairs.push(("leased until".to_owned(), expires.to_owned()));
    }
    if !pairs.is_empty() {
        page.pairs(pairs);
    }
    let texts = |key: &str| -> Vec<String> {
        document[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|note| note.as_str().map(str::to_owned))
            .collect()
    };
    page.bullets(texts("notes"));
    let differs: Vec<String> = document["differs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!(
                "{}: {} is {} instead of {}",
                text(&row["address"]),
                text(&row["difference"]["field"]),
                text(&row["difference"]["is"]),
                text(&row["difference"]["should"])
            )
        })
        .collect();
    if !differs.is_empty() {
        page.heading("Differs and is not changed while a host runs")
            .bullets(differs);
    }
}
