//! `down`: works out what is ours, shows it, asks, and removes it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::apply::{Stop, Work, apply};
use super::calls::{Ground, block_on, ground, seen, unreadable};
use super::confirm::confirm;
use super::ends::{self, End};
use super::prepare::rfc3339;
use super::select::{Meant, select};
use super::wants::grounds;
use crate::aws::observe;
use crate::cli::down::DownArgs;
use crate::cli::outcome::{Context, Ending, Exit, Failure, generated_by};
use crate::domain::deployment::down::{Descent, Removal, down};
use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::observed::Observed;
use crate::domain::deployment::owner::{self, Generation};
use crate::domain::deployment::record::{Phase, Record, SCHEMA as RECORD_SCHEMA};
use crate::domain::deployment::spec::{AlarmBasis, Disk, Docker, Image, Spec, Token};
use crate::domain::deployment::step::{Action, Step};
use crate::domain::settings::Settings;
use crate::engine::attempt::Failed;
use crate::engine::run::Report;
use crate::render::deployment as pages;
use crate::render::page::{Page, Table};
use crate::render::style::Style;
use crate::render::text;

/// The schema's name.
const SCHEMA: &str = "dataops-infra/down/v1";

/// A deployment that is to go.
#[derive(Debug)]
struct Going {
    ground: Ground,
    place: Place,
    name: Name,
    record: Record,
    has_record: bool,
    descent: Descent,
}

/// Runs the command.
pub fn run(args: &DownArgs, context: &Context) -> Ending {
    match block_on(remove(args, context)) {
        Ok(ending) => ending,
        Err(failure) => Ending::Failed(failure),
    }
}

async fn remove(args: &DownArgs, context: &Context) -> Result<Ending, Failure> {
    let removal = Removal {
        delete_storage: args.delete_storage,
        keep_data: args.keep_data,
        snapshot: args.snapshot,
        drain_seconds: (!args.no_drain).then_some(if args.now { 0 } else { args.drain_timeout * 60 }),
        unprotect: args.unprotect,
    };
    let grounds = if args.expired {
        expired(args, context).await?
    } else {
        let flags = Settings {
            name: args.which.name.clone(),
            region: context.region_flag.clone(),
            profile: context.profile_flag.clone(),
            ..Settings::default()
        };
        let meant = select(&args.which, &flags, context, "down")?;
        grounds(meant, context).await?
    };
    let many = grounds.iter().map(|(_, meant)| meant.len()).sum::<usize>() > 1;
    let mut going = Vec::new();
    let mut ends = Vec::new();
    for (ground, meant) in grounds {
        if meant.is_empty() {
            continue;
        }
        let names: Vec<Name> = meant.iter().map(|one| one.name.clone()).collect();
        let (place, mut seen) = match seen(&ground, &names, "down").await {
            Ok(read) => read,
            // One account that cannot be read does not hurt the others.
            Err(failure) if many => {
                ends.extend(
                    names
                        .iter()
                        .map(|name| refused(name, &ground.region, failure.copy())),
                );
                continue;
            }
            Err(failure) => return Err(failure),
        };
        for name in names {
            let observed = seen.remove(&name).unwrap_or_default();
            match one(&ground, &place, &name, &observed, args, &removal) {
                Ok(Some(one)) => going.push(one),
                Ok(None) => ends.push(nothing(&name, &ground, &observed)),
                Err(failure) if many => ends.push(refused(&name, &ground.region, failure)),
                Err(failure) => return Err(failure),
            }
        }
    }
    if !going.is_empty() {
        show(&going, context);
        let (question, answer) = match going.as_slice() {
            [one] => (
                format!("Remove {} in {}?", one.name, one.ground.region),
                one.name.to_string(),
            ),
            several => (format!("Remove {} deployments?", several.len()), "yes".to_owned()),
        };
        confirm(&question, &answer, args.yes)?;
        let stop = Stop::listen(context);
        let reports = apply(
            going.iter().map(work).collect(),
            Duration::from_mins(20),
            &stop,
            context,
        )
        .await;
        for (one, report) in going.into_iter().zip(reports) {
            let (one, report) = rest(one, report, args, &removal, &stop, context).await;
            ends.push(end(&one, &report));
        }
    }
    ends.sort_by(|a, b| (&a.region, &a.name).cmp(&(&b.region, &b.name)));
    Ok(answer(ends, args))
}

/// How often what another run made meanwhile is removed as well.
const ROUNDS: usize = 3;

/// Goes on with what an `up` that did not know of the removal made after everything had been looked at.
async fn rest(
    mut going: Going,
    mut report: Report,
    args: &DownArgs,
    removal: &Removal,
    stop: &Stop,
    context: &Context,
) -> (Going, Report) {
    for _ in 0..ROUNDS {
        let missed = matches!(report.failed.as_slice(), [(at, Failed::Never(_))] if at == "verification");
        if !missed || report.interrupted || stop.is_asked() {
            break;
        }
        let Ok((place, mut seen)) = seen(&going.ground, std::slice::from_ref(&going.name), "down").await
        else {
            break;
        };
        let observed = seen.remove(&going.name).unwrap_or_default();
        let Ok(Some(next)) = one(&going.ground, &place, &going.name, &observed, args, removal) else {
            break;
        };
        if next.record.generation != going.record.generation {
            break;
        }
        context.note(format!(
            "another run made more of {} meanwhile; it is removed as well",
            going.name
        ));
        let more = apply(vec![work(&next)], Duration::from_mins(20), stop, context)
            .await
            .pop()
            .unwrap_or_default();
        // What the first round removed is told at the end too.
        let done = std::mem::take(&mut report.done);
        let notes = std::mem::take(&mut report.notes);
        report = more;
        report.done.extend(done);
        report.notes.splice(0..0, notes);
        let known: Vec<Step> = going.descent.steps;
        going = next;
        let new = |step: &Step| {
            going
                .descent
                .steps
                .iter()
                .all(|other| other.address != step.address)
        };
        let missing: Vec<Step> = known.into_iter().filter(new).collect();
        going.descent.steps.splice(0..0, missing);
    }
    (going, report)
}

fn work(one: &Going) -> Work {
    Work {
        ground: one.ground.clone(),
        place: one.place.clone(),
        name: one.name.clone(),
        record: one.record.clone(),
        steps: one.descent.steps.clone(),
        ids: std::collections::BTreeMap::new(),
        secret: None,
    }
}

/// Finds the deployments whose lease is over.
async fn expired(args: &DownArgs, context: &Context) -> Result<Vec<(Ground, Vec<Meant>)>, Failure> {
    let mut regions: Vec<Option<String>> = args.regions.iter().cloned().map(Some).collect();
    if context.region_flag.is_some() || regions.is_empty() {
        regions.push(context.region.clone());
    }
    let now = rfc3339(Timestamp::now());
    let mut found = Vec::new();
    for region in regions {
        let profile = context.aws_profile.clone();
        let ground = ground(region.as_deref(), profile.as_deref(), context).await?;
        let records = observe::records(&ground.clients)
            .await
            .map_err(|error| unreadable(&format!("the deployments in {}", ground.region), error, "down"))?;
        let mut meant = Vec::new();
        for (name, (text, _)) in records {
            match Record::read(&name, &text) {
                // Times are all in UTC and to the second, so their order is that of their texts.
                Ok(record) if record.lease.as_ref().is_some_and(|lease| lease.expires_at <= now) => {
                    meant.push(Meant {
                        settings: Settings::default(),
                        region: Some(ground.region.clone()),
                        profile: profile.clone(),
                        name,
                    });
                }
                Ok(_) => {}
                Err(unreadable) => context.warn(format!("{unreadable}; it is left alone")),
            }
        }
        found.push((ground, meant));
    }
    Ok(found)
}

/// Works out what goes; none if there is nothing of the deployment.
fn one(
    ground: &Ground,
    place: &Place,
    name: &Name,
    observed: &Observed,
    args: &DownArgs,
    removal: &Removal,
) -> Result<Option<Going>, Failure> {
    let (record, version) = match &observed.record {
        Some((Ok(record), version)) => {
            if let Some(generation) = &args.generation
                && generation != record.generation.as_str()
            {
                return Err(Failure::new(
                    Exit::Refused,
                    format!(
                        "{name} has a record, of generation {}; --generation is for deployments without one",
                        record.generation
                    ),
                )
                .hint("leave --generation out"));
            }
            (record.clone(), Some(*version))
        }
        Some((Err(unreadable), _)) => {
            return Err(
                Failure::new(Exit::Refused, format!("{unreadable}; nothing was removed"))
                    .hint("a version of dataops-infra that knows the record can remove it"),
            );
        }
        None => match &args.generation {
            Some(text) => {
                let generation = Generation::try_from(text.clone())
                    .map_err(|error| Failure::new(Exit::BadInput, format!("--generation {text}: {error}")))?;
                (orphan(name, generation, observed), None)
            }
            None => return unrecorded(name, ground, observed),
        },
    };
    let descent = down(&record, version, observed, removal);
    if !descent.blocks.is_empty() {
        let list: String = descent
            .blocks
            .iter()
            .map(|block| format!("\n  {} {}", block.what, block.why))
            .collect();
        // What is in the way names the flag that takes it out of the way, where there is one.
        let mut flags = ["--unprotect", "--no-drain"]
            .into_iter()
            .filter(|flag| list.contains(flag))
            .peekable();
        let region = &ground.region;
        let hint = if flags.peek().is_some() {
            let flags: Vec<&str> = flags.collect();
            format!(
                "dataops-infra down --name {name} --region {region} {}",
                flags.join(" ")
            )
        } else {
            format!("dataops-infra doctor --name {name} --region {region} says more")
        };
        return Err(Failure::new(
            Exit::Refused,
            format!("{name} cannot be removed as asked; nothing was removed{list}"),
        )
        .hint(hint));
    }
    Ok(Some(Going {
        ground: ground.clone(),
        place: place.clone(),
        name: name.clone(),
        record,
        has_record: version.is_some(),
        descent,
    }))
}

/// Without a record nothing is provably ours; what carries the name is listed, with how to prove it.
fn unrecorded(name: &Name, ground: &Ground, observed: &Observed) -> Result<Option<Going>, Failure> {
    let mut generations = std::collections::BTreeMap::new();
    let mut note = |tags: &owner::Tags, what: String| {
        if tags.get(owner::DEPLOYMENT).map(String::as_str) == Some(name.as_str())
            && let Some(generation) = tags.get(owner::GENERATION)
        {
            generations
                .entry(generation.clone())
                .or_insert_with(Vec::new)
                .push(what);
        }
    };
    for instance in observed
        .instances
        .iter()
        .filter(|instance| !instance.it.is_gone())
    {
        note(&instance.tags, format!("instance {}", instance.it.id));
    }
    for group in &observed.security_groups {
        note(&group.tags, format!("security group {}", group.it.id));
    }
    if let Some(role) = &observed.role {
        note(&role.tags, "role".to_owned());
    }
    if let Some(profile) = &observed.instance_profile {
        note(&profile.tags, "instance profile".to_owned());
    }
    if let Some(logs) = &observed.logs {
        note(&logs.tags, "log group".to_owned());
    }
    if let Some(topic) = &observed.topic {
        note(&topic.tags, "topic".to_owned());
    }
    if let Some(token) = &observed.token {
        note(&token.tags, "token".to_owned());
    }
    for (parameter, report) in &observed.reports {
        note(&report.tags, format!("parameter {parameter}"));
    }
    for (alarm, it) in &observed.alarms {
        note(&it.tags, format!("alarm {alarm}"));
    }
    if generations.is_empty() {
        return Ok(None);
    }
    let list: String = generations
        .iter()
        .map(|(generation, what)| format!("\n  generation {generation}: {}", what.join(", ")))
        .collect();
    let first = generations.keys().next().cloned().unwrap_or_default();
    Err(Failure::new(
        Exit::Refused,
        format!(
            "{name} has no record in {}, so nothing proves whose these are; nothing was removed{list}",
            ground.region
        ),
    )
    .hint(format!(
        "if they are yours to remove: dataops-infra down --name {name} --region {} --generation {first}",
        ground.region
    )))
}

/// Returns a record for things that have none; only what identifies them matters.
fn orphan(name: &Name, generation: Generation, observed: &Observed) -> Record {
    let owner = owner::Owner {
        name: name.clone(),
        generation: generation.clone(),
    };
    let vpc = observed
        .security_groups
        .iter()
        .find(|group| owner.owns(&group.tags, "security-group"))
        .map(|group| group.it.vpc.clone())
        .unwrap_or_default();
    Record {
        schema: RECORD_SCHEMA.to_owned(),
        name: name.clone(),
        generation,
        made_by: generated_by().to_owned(),
        created_at: String::new(),
        phase: Phase::Removing,
        lease: None,
        pending: None,
        launches: std::collections::BTreeMap::new(),
        spec: Spec {
            workload: String::new(),
            asked: String::new(),
            instance_type: String::new(),
            fallback_types: Vec::new(),
            count: 1,
            concurrency: 1,
            check_interval: 1,
            disk: Disk {
                gib: 0,
                iops: 0,
                throughput: 0,
                kms_key: None,
            },
            image: Image {
                id: String::new(),
                root_device: "/dev/sda1".to_owned(),
                parameter: None,
            },
            vpc,
            subnets: Vec::new(),
            public_address: None,
            token: Token::Ours,
            registry: None,
            platform_url: String::new(),
            runner_image: String::new(),
            channel: String::new(),
            docker: Docker::default(),
            topic: None,
            notify: Vec::new(),
            termination_protection: false,
            log_retention_days: 0,
            tags: owner::Tags::new(),
            alarms: AlarmBasis {
                wave_gib: 0.0,
                days_to_full: 0,
                burstable: false,
            },
            eks: None,
        },
    }
}

fn preview(page: &mut Page, one: &Going) {
    pages::steps(
        page,
        format!("Remove {} in {}", one.name, one.ground.region),
        &one.descent.steps,
    );
    pages::stays(page, &one.descent.stays);
}

fn show(going: &[Going], context: &Context) {
    if context.quiet || context.log.json {
        return;
    }
    let mut page = Page::new();
    if let [one] = going {
        preview(&mut page, one);
    } else {
        let mut table = Table::new(&["deployment", "region", ">steps", "stays"]);
        for one in going {
            let stays: Vec<&str> = one
                .descent
                .stays
                .iter()
                .map(|stays| stays.what.as_str())
                .collect();
            table.row([
                one.name.to_string(),
                one.ground.region.clone(),
                one.descent.steps.len().to_string(),
                stays.join(", "),
            ]);
        }
        page.heading(format!("Remove {} deployments", going.len()))
            .table(table);
    }
    eprintln!("{}", text::render(&page, Style::of_stderr(context.log.colour)));
}

fn nothing(name: &Name, ground: &Ground, observed: &Observed) -> End {
    let stays: Vec<Value> = observed
        .strangers
        .iter()
        .map(|(arn, tags)| json!({ "what": arn, "why": owner::told(tags) }))
        .collect();
    End {
        next: Vec::new(),
        name: name.clone(),
        region: ground.region.clone(),
        document: json!({
            "name": name.as_str(),
            "region": ground.region,
            "status": "nothing-there",
            "stays": stays,
        }),
        says: format!("there is no deployment {name} in {}", ground.region),
        exit: Exit::Done,
        failure: None,
    }
}

fn refused(name: &Name, region: &str, failure: Failure) -> End {
    End {
        next: Vec::new(),
        name: name.clone(),
        region: region.to_owned(),
        document: json!({
            "name": name.as_str(),
            "region": region,
            "status": "refused",
            "error": failure.message,
        }),
        says: failure.message.clone(),
        exit: failure.exit,
        failure: Some(failure),
    }
}

fn end(one: &Going, report: &Report) -> End {
    let complete = report.failed.is_empty() && !report.interrupted && report.skipped.is_empty();
    let removed: Vec<String> = one
        .descent
        .steps
        .iter()
        .filter(|step| step.action == Action::Delete && report.done.contains_key(&step.address))
        .map(|step| step.address.clone())
        .collect();
    let notes: Vec<String> = report
        .notes
        .iter()
        .map(|(address, note)| format!("{address}: {note}"))
        .collect();
    let mut document = json!({
        "name": one.name.as_str(),
        "region": one.ground.region,
        "account": one.place.account,
        "generation": one.record.generation.as_str(),
        "status": if complete { "gone" } else if report.interrupted { "interrupted" } else { "failed" },
        "removed": removed,
        "stays": one.descent.stays,
        "notes": notes,
    });
    if complete {
        return End {
            next: Vec::new(),
            name: one.name.clone(),
            region: one.ground.region.clone(),
            document,
            says: format!("gone, {} resources removed", removed.len()),
            exit: Exit::Done,
            failure: None,
        };
    }
    let mut lines: Vec<String> = report
        .failed
        .iter()
        .map(|(address, failed)| {
            let verb = one
                .descent
                .steps
                .iter()
                .find(|step| step.address == *address)
                .map_or("take", |step| match step.action {
                    Action::Wait => "finish",
                    action => action.word(),
                });
            format!("{}: could not {verb} {address}: {failed}", one.name)
        })
        .collect();
    if report.interrupted {
        lines.push(format!("{}: interrupted", one.name));
    }
    let left: Vec<&str> = one
        .descent
        .steps
        .iter()
        .filter(|step| step.action == Action::Delete && !report.done.contains_key(&step.address))
        .map(|step| step.address.as_str())
        .collect();
    if !left.is_empty() {
        lines.push(format!("still there: {}", left.join(", ")));
    }
    lines.extend(ends::unanswered(report));
    let message = lines.join("\n");
    document["error"] = message.clone().into();
    document["left"] = json!(left);
    let generation = if one.has_record {
        String::new()
    } else {
        format!(" --generation {}", one.record.generation)
    };
    End {
        next: Vec::new(),
        name: one.name.clone(),
        region: one.ground.region.clone(),
        document,
        says: message.clone(),
        exit: Exit::Failed,
        failure: Some(Failure::new(Exit::Failed, message).hint(format!(
            "dataops-infra down --name {} --region {}{generation}",
            one.name, one.ground.region
        ))),
    }
}

fn answer(ends: Vec<End>, args: &DownArgs) -> Ending {
    let several = |ends: &[End]| {
        let heading = match ends.len() {
            0 => "No lease is over.".to_owned(),
            number => format!("{number} deployments"),
        };
        ends::several(
            ends,
            SCHEMA,
            &heading,
            "the same command goes on with those that are left",
        )
    };
    if args.expired {
        return several(&ends);
    }
    match <[End; 1]>::try_from(ends) {
        Ok([one]) => ends::one(one, SCHEMA, page),
        Err(ends) => several(&ends),
    }
}

fn page(page: &mut Page, document: &Value) {
    let rows = |key: &str| document[key].as_array().into_iter().flatten();
    page.bullets(rows("notes").filter_map(|note| note.as_str().map(str::to_owned)));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let stays: Vec<String> = rows("stays")
        .map(|row| format!("{}: {}", text(&row["what"]), text(&row["why"])))
        .collect();
    if !stays.is_empty() {
        page.heading("Stays").bullets(stays);
    }
}
