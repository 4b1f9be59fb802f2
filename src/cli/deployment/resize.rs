//! `resize`: the steps of `up` that give hosts another type and a larger disk, and what rests on those.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::apply::{Stop, Work, apply};
use super::calls::{block_on, unreadable};
use super::confirm::confirm;
use super::ends;
use super::nodes;
use super::reach::{Reached, reach};
use super::size::disk;
use super::upgrade::ending;
use crate::aws::preflight;
use crate::cli::outcome::{Answer, Context, Ending as End, Exit, Failure, generated_by};
use crate::cli::resize::ResizeArgs;
use crate::domain::catalog::burstable_baseline;
use crate::domain::deployment::record::{LARGEST, Record};
use crate::domain::deployment::resource::instance::root_volume;
use crate::domain::deployment::step::{Action, Step};
use crate::domain::deployment::up::{Ascent, Given, Resize, Wanted, up};
use crate::domain::lifecycle::script::Ending;
use crate::domain::settings::Settings;
use crate::engine::run::Report;
use crate::render::deployment as pages;
use crate::render::page::Page;
use crate::render::style::Style;
use crate::render::text;

/// The schema's name.
const SCHEMA: &str = "dataops-infra/resize/v1";

/// What becomes of alarms (`domain/plan/alarms.rs`).
const ALARMS: &str = "alarms: their thresholds are shares of disk, memory and CPU and hold for any size; what they say of the \
                      size is said anew, and how long the disk lasts at 80 % is no longer, because it was simulated for the \
                      former one: `dataops-infra plan` does";

/// Ends of the addresses of what a host's size is changed by.
const STEPS: &[&str] = &[
    "drain",
    "grow",
    "runner",
    "start",
    "stop",
    "stopped",
    "type",
    "volume",
    "volume-ready",
];

/// Runs the command.
pub fn run(args: &ResizeArgs, context: &Context) -> End {
    block_on(resize(args, context)).unwrap_or_else(End::Failed)
}

async fn resize(args: &ResizeArgs, context: &Context) -> Result<End, Failure> {
    let mut said = Settings::default();
    for (key, flag, value) in [
        ("instance_type", "--instance-type", &args.instance_type),
        ("disk_gib", "--disk-gib", &args.disk_gib),
    ] {
        if let Some(value) = value {
            said.put(key, value).map_err(|refusal| {
                let expected = refusal.expected.unwrap_or_default();
                Failure::new(
                    Exit::BadInput,
                    format!("{flag}: {}; expected {expected}", refusal.message),
                )
            })?;
        }
    }
    let reached = reach(&args.which, context, "resize").await?;
    if reached.record.spec.eks.is_some() {
        return nodes::resize(&reached, &said, args.jobs, args.yes, context).await;
    }
    if reached.hosts.len() < reached.record.spec.count as usize {
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "{} has {} of {} hosts",
                reached.name,
                reached.hosts.len(),
                reached.record.spec.count
            ),
        )
        .hint(format!("`{}` makes the others first", reached.command("up ec2"))));
    }
    if let Some(pending) = &reached.record.pending {
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "the change of {} to {} is not finished, so nothing else is begun",
                reached.name, pending.image
            ),
        )
        .hint(format!(
            "`{}` takes it back",
            reached.command("upgrade --rollback")
        )));
    }
    let record = wanted(&reached, &said);
    possible(&reached, &record, &said).await?;
    let ascent = steps(&reached, &record, ending(args.jobs), said.disk_gib.is_some());
    if !ascent.blocks.is_empty() {
        let list: String = ascent
            .blocks
            .iter()
            .map(|block| format!("\n  {} {}", block.what, block.why))
            .collect();
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "{} cannot be resized as asked; nothing was changed{list}",
                reached.name
            ),
        ));
    }
    if ascent.steps.is_empty() {
        return Ok(End::Answer(answer(&reached, &ascent, None, "unchanged")));
    }
    if !context.quiet && !context.log.json {
        let mut page = Page::new();
        pages::steps(
            &mut page,
            format!("Resize {} in {}", reached.name, reached.ground.region),
            &ascent.steps,
        );
        eprintln!("{}", text::render(&page, Style::of_stderr(context.log.colour)));
    }
    confirm(&format!("Resize {}?", reached.name), "yes", args.yes)?;
    let stop = Stop::listen(context);
    let work = Work {
        ground: reached.ground.clone(),
        place: reached.place.clone(),
        name: reached.name.clone(),
        record: ascent.record.clone(),
        steps: ascent.steps.clone(),
        ids: ascent.ids.clone(),
        secret: None,
    };
    let online = Duration::from_mins(u64::from(args.wait_minutes));
    let report = apply(vec![work], online, &stop, context)
        .await
        .pop()
        .unwrap_or_default();
    Ok(ended(&reached, &ascent, &report))
}

/// Returns the record as it shall be.
fn wanted(reached: &Reached, said: &Settings) -> Record {
    let mut record = reached.record.clone();
    let spec = &mut record.spec;
    if let Some(name) = &said.instance_type {
        spec.instance_type.clone_from(name);
        spec.alarms.burstable = burstable_baseline(name).is_some();
    }
    if let Some(gib) = said.disk_gib {
        if gib != spec.disk.gib {
            // Simulated for the disk that was.
            spec.alarms.days_to_full = 0;
        }
        spec.disk = disk(gib, spec.disk.kms_key.clone());
    }
    record
}

/// Refuses what AWS would refuse after the host was stopped.
async fn possible(reached: &Reached, record: &Record, said: &Settings) -> Result<(), Failure> {
    if record.text().len() > LARGEST {
        return Err(Failure::new(
            Exit::BadInput,
            "the record would be longer than a parameter may be",
        ));
    }
    let smaller = reached.hosts.iter().find_map(|there| {
        let volume = root_volume(&there.it, &reached.observed)?;
        (volume.gib > record.spec.disk.gib).then(|| (volume.id.clone(), volume.gib))
    });
    if let (Some((volume, gib)), true) = (smaller, said.disk_gib.is_some()) {
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "{volume} has {gib} GiB, and a volume cannot shrink to {}; nothing was changed",
                record.spec.disk.gib
            ),
        )
        .hint(format!("--disk-gib {gib} or more")));
    }
    let Some(name) = &said.instance_type else {
        return Ok(());
    };
    let types = BTreeSet::from([name.clone()]);
    let offered = preflight::offered(&reached.ground.clients, &types)
        .await
        .map_err(|error| unreadable("which zones have the type", error, "resize"))?;
    for there in &reached.hosts {
        if !offered.contains(&(name.clone(), there.it.zone.clone())) {
            let zones: Vec<&str> = offered.iter().map(|(_, zone)| zone.as_str()).collect();
            let there_is = if zones.is_empty() {
                "in no zone of the region".to_owned()
            } else {
                format!("in {} only", zones.join(", "))
            };
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "{name} is not offered in {}, where {} is: {there_is}; nothing was changed",
                    there.it.zone, there.it.id
                ),
            )
            .hint(format!(
                "dataops-infra catalog show --region {}",
                reached.ground.region
            )));
        }
    }
    Ok(())
}

/// Returns the steps of `up` that belong to the size; what else differs is not of this command.
fn steps(reached: &Reached, record: &Record, ending: Ending, disk: bool) -> Ascent {
    let scripts = std::collections::BTreeMap::new();
    let wanted = Wanted {
        token_digest: None,
        place: &reached.place,
        record,
        base: Some((&reached.record, reached.version)),
        token: Given::Nothing,
        user_data: &scripts,
        wait: true,
        resize: Some(Resize { ending, disk }),
        upgrade: None,
    };
    let mut ascent = up(&wanted, &reached.observed);
    let hosts: Vec<String> = reached
        .hosts
        .iter()
        .map(|there| there.host.address("host"))
        .collect();
    let of_size = |step: &Step| {
        step.address == "record"
            || hosts.iter().any(|host| {
                step.address
                    .strip_prefix(host.as_str())
                    .and_then(|rest| rest.strip_prefix('-'))
                    .is_some_and(|what| STEPS.contains(&what))
            })
    };
    let sizes = ascent
        .steps
        .iter()
        .any(|step| of_size(step) && step.address != "record");
    let follows = |step: &Step| {
        sizes
            && (step.kind == "runner" && step.action == Action::Wait
                || matches!(step.action, Action::Create | Action::Update | Action::Delete)
                    && matches!(step.kind, "cloudwatch:alarm" | "cloudwatch:dashboard")
                    && !step.address.ends_with("-tags"))
    };
    ascent.steps.retain(|step| of_size(step) || follows(step));
    // Counting launches alone is no reason to write the record.
    if !sizes && reached.record.spec == record.spec {
        ascent.steps.clear();
    }
    let known: BTreeSet<String> = ascent.steps.iter().map(|step| step.address.clone()).collect();
    for step in &mut ascent.steps {
        step.after.retain(|address| known.contains(address));
    }
    ascent
        .blocks
        .retain(|block| hosts.contains(&block.address) || block.address == "record");
    ascent
}

fn answer(reached: &Reached, ascent: &Ascent, report: Option<&Report>, status: &str) -> Answer {
    let spec = &ascent.record.spec;
    let steps: Vec<Value> = ascent
        .steps
        .iter()
        .map(|step| {
            let mut value = json!(step);
            let failed = report.and_then(|report| {
                let mut failed = report.failed.iter();
                failed.find(|(address, _)| *address == step.address)
            });
            let done = report.is_some_and(|report| report.done.contains_key(&step.address));
            value["outcome"] = match (failed, done, report) {
                (Some(_), ..) => "failed",
                (_, true, _) => "done",
                (.., Some(_)) => "not-begun",
                _ => "planned",
            }
            .into();
            if let Some((_, why)) = failed {
                value["error"] = why.to_string().into();
            }
            value
        })
        .collect();
    let mut notes: Vec<String> = report
        .iter()
        .flat_map(|report| &report.notes)
        .map(|(address, note)| format!("{address}: {note}"))
        .collect();
    if ascent
        .steps
        .iter()
        .any(|step| step.kind.starts_with("ec2:") && step.action == Action::Update)
    {
        notes.push(ALARMS.to_owned());
    }
    let again = reached.command("resize");
    let next = if matches!(status, "resized" | "unchanged") {
        vec![reached.command("status")]
    } else {
        vec![again, reached.command("status")]
    };
    let mut page = Page::new();
    page.heading(format!("{} in {}: {status}", reached.name, reached.ground.region));
    page.text(format!(
        "{} x {}, {} GiB",
        spec.count, spec.instance_type, spec.disk.gib
    ));
    page.bullets(notes.clone());
    page.heading("Next").verbatim(next.clone());
    Answer {
        document: json!({
            "schema": SCHEMA,
            "generated_by": generated_by(),
            "name": reached.name.as_str(),
            "region": reached.ground.region,
            "account": reached.place.account,
            "status": status,
            "instance_type": spec.instance_type,
            "disk_gib": spec.disk.gib,
            "hosts": reached.hosts.iter().map(|there| json!({
                "address": there.host.address("host"), "instance_id": there.it.id,
            })).collect::<Vec<_>>(),
            "steps": steps,
            "notes": notes,
            "next": next,
        }),
        page,
        exit: Exit::Done,
    }
}

fn ended(reached: &Reached, ascent: &Ascent, report: &Report) -> End {
    if report.failed.is_empty() && !report.interrupted && report.skipped.is_empty() {
        return End::Answer(answer(reached, ascent, Some(report), "resized"));
    }
    let status = if report.interrupted {
        "interrupted"
    } else {
        "failed"
    };
    let mut lines: Vec<String> = report
        .failed
        .iter()
        .map(|(address, failed)| format!("{}: could not take {address}: {failed}", reached.name))
        .collect();
    if report.interrupted {
        lines.push(format!("{}: interrupted", reached.name));
    }
    lines.extend(ends::unanswered(report));
    if !report.skipped.is_empty() {
        lines.push(format!("not begun: {}", report.skipped.join(", ")));
    }
    for there in &reached.hosts {
        let address = there.host.address("host");
        let done = |what: &str| report.done.contains_key(&format!("{address}-{what}"));
        let down = (done("drain") || done("stop")) && !done("runner");
        if down {
            lines.push(format!(
                "{} ({}) is stopped, or its runner is, until this is finished",
                reached.name.host(there.host),
                there.it.id
            ));
        }
    }
    let mut answer = answer(reached, ascent, Some(report), status);
    answer.exit = Exit::Failed;
    let message = lines.join("\n");
    answer.document["error"] = message.clone().into();
    let was = &reached.record.spec;
    let mut hint = format!("`{}` goes on from here", reached.command("resize"));
    if was.instance_type != ascent.record.spec.instance_type {
        hint.push_str(&format!(
            "; `{} --instance-type {}` goes back",
            reached.command("resize"),
            was.instance_type
        ));
    }
    End::Refused(answer, Failure::new(Exit::Failed, message).hint(hint))
}
