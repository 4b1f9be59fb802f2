//! `status`: reads deployments and compares them with their records.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::calls::{Ground, block_on, ground, seen, unreadable};
use super::cluster;
use super::ends::worse;
use super::select::{Meant, select};
use super::wants::grounds;
use crate::aws::deployed::facts;
use crate::aws::observe;
use crate::cli::outcome::{Answer, Context, Ending, Exit, Failure, generated_by};
use crate::cli::status::StatusArgs;
use crate::domain::catalog::Catalog;
use crate::domain::deployment::name::{Host, Name, Place};
use crate::domain::deployment::observed::Observed;
use crate::domain::deployment::record::{Phase, Record};
use crate::domain::deployment::report::Report;
use crate::domain::deployment::resource::alarm::AlarmRule;
use crate::domain::deployment::resource::instance::standing;
use crate::domain::deployment::step::Action;
use crate::domain::deployment::up::{Given, Wanted, up};
use crate::domain::settings::Settings;
use crate::domain::units::{HOURS_PER_MONTH, Micros};
use crate::render::page::{Page, Table};

/// The schema's name.
const SCHEMA: &str = "dataops-infra/status/v1";

/// Runs the command.
pub fn run(args: &StatusArgs, context: &Context) -> Ending {
    match block_on(inspect(args, context)) {
        Ok(answer) => Ending::Answer(answer),
        Err(failure) => Ending::Failed(failure),
    }
}

async fn inspect(args: &StatusArgs, context: &Context) -> Result<Answer, Failure> {
    let named = args.which.name.is_some() || args.which.file.is_some();
    let grounds = if named && !args.all {
        let flags = Settings {
            name: args.which.name.clone(),
            region: context.region_flag.clone(),
            profile: context.profile_flag.clone(),
            ..Settings::default()
        };
        grounds(select(&args.which, &flags, context, "status")?, context).await?
    } else {
        every(args, context).await?
    };
    let mut rows = Vec::new();
    let mut exit = Exit::Done;
    let read = futures_util::future::join_all(grounds.into_iter().map(|(ground, meant)| async move {
        let names: Vec<Name> = meant.into_iter().map(|one| one.name).collect();
        let seen = if names.is_empty() {
            None
        } else {
            Some(seen(&ground, &names, "status").await)
        };
        (ground, names, seen)
    }))
    .await;
    for (ground, names, seen) in read {
        let Some(seen) = seen else { continue };
        let (place, mut seen) = seen?;
        let (catalog, _) = crate::cli::catalog::load(&ground.region, context)?;
        for name in names {
            let observed = seen.remove(&name).unwrap_or_default();
            let row = row(&name, &place, &observed, &catalog);
            exit = worse(
                exit,
                match row["status"].as_str() {
                    Some("ok") => Exit::Done,
                    Some("unreadable") => Exit::Refused,
                    _ => Exit::Findings,
                },
            );
            rows.push(row);
        }
    }
    let single = rows.len() == 1 && args.which.name.is_some();
    if let (true, [row]) = (single, rows.as_slice())
        && row["status"] == "absent"
    {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        return Err(Failure::new(
            Exit::Findings,
            format!("there is no deployment {} in {}", text("name"), text("region")),
        )
        .hint("dataops-infra status --all lists those of the region"));
    }
    let mut page = Page::new();
    match rows.as_slice() {
        [] => {
            page.text("No deployments.");
        }
        [row] => one_page(&mut page, row),
        several => many_page(&mut page, several),
    }
    let document = if let (true, [row]) = (single, rows.as_slice()) {
        let mut document = json!({ "schema": SCHEMA, "generated_by": generated_by() });
        if let (Value::Object(document), Value::Object(row)) = (&mut document, row.clone()) {
            document.extend(row);
        }
        document
    } else {
        json!({ "schema": SCHEMA, "generated_by": generated_by(), "deployments": rows })
    };
    Ok(Answer { document, page, exit })
}

async fn every(args: &StatusArgs, context: &Context) -> Result<Vec<(Ground, Vec<Meant>)>, Failure> {
    let mut regions: Vec<Option<String>> = args.regions.iter().cloned().map(Some).collect();
    if context.region_flag.is_some() || regions.is_empty() {
        regions.push(context.region.clone());
    }
    let mut found = Vec::new();
    for region in regions {
        let profile = context.aws_profile.clone();
        let ground = ground(region.as_deref(), profile.as_deref(), context).await?;
        let records = observe::records(&ground.clients)
            .await
            .map_err(|error| unreadable(&format!("the deployments in {}", ground.region), error, "status"))?;
        let meant = records
            .into_keys()
            .map(|name| Meant {
                name,
                region: Some(ground.region.clone()),
                profile: profile.clone(),
                settings: Settings::default(),
            })
            .collect();
        found.push((ground, meant));
    }
    Ok(found)
}

fn row(name: &Name, place: &Place, observed: &Observed, catalog: &Catalog) -> Value {
    let base = json!({ "name": name.as_str(), "region": place.region, "account": place.account });
    let with = |more: Value| {
        let mut row = base.clone();
        if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
            row.extend(more);
        }
        row
    };
    let (record, version) = match &observed.record {
        None => return with(json!({ "status": "absent" })),
        Some((Err(unreadable), _)) => {
            return with(json!({ "status": "unreadable", "error": unreadable.to_string() }));
        }
        Some((Ok(record), version)) => (record, *version),
    };
    let scripts = BTreeMap::new();
    let wanted = Wanted {
        token_digest: None,
        place,
        record,
        base: Some((record, version)),
        token: Given::Nothing,
        user_data: &scripts,
        wait: false,
        resize: None,
        upgrade: None,
    };
    let ascent = up(&wanted, observed);
    let mut drift: Vec<Value> = ascent
        .steps
        .iter()
        // The record counts launches; that is bookkeeping, not drift.
        .filter(|step| step.action != Action::Wait && step.address != "record")
        .flat_map(|step| {
            if step.differences.is_empty() {
                let is = if step.action == Action::Create { "missing" } else { "differs" };
                vec![json!({ "address": step.address, "kind": step.kind, "field": "", "is": is, "should": "there" })]
            } else {
                step.differences
                    .iter()
                    .map(|difference| {
                        json!({
                            "address": step.address, "kind": step.kind, "field": difference.field,
                            "is": difference.is, "should": difference.should,
                        })
                    })
                    .collect()
            }
        })
        .collect();
    drift.extend(ascent.stuck.iter().map(|(address, difference)| {
        json!({
            "address": address, "kind": "ec2:instance", "field": difference.field,
            "is": difference.is, "should": difference.should,
        })
    }));
    drift.extend(ascent.blocks.iter().map(|block| {
        json!({
            "address": block.address, "kind": "", "field": "owner", "is": format!("{} {}", block.what, block.why),
            "should": "ours",
        })
    }));
    let now = Timestamp::now();
    let cluster = cluster::document(record, observed);
    let hosts: Vec<Value> = Host::all(record.spec.count)
        .into_iter()
        .filter(|_| cluster.is_none())
        .map(|host| host_row(record, host, observed, now))
        .collect();
    let online = if cluster.is_some() {
        cluster::online(observed)
    } else {
        hosts
            .iter()
            .all(|host| host["stage"] == "online" && host["state"] == "running")
    };
    let ringing: Vec<&String> = observed
        .alarms
        .iter()
        .filter(|(_, alarm)| alarm.it.state == "ALARM")
        .map(|(name, _)| name)
        .collect();
    let silent: usize = observed
        .alarms
        .values()
        .filter(|alarm| alarm.it.state == "INSUFFICIENT_DATA")
        .count();
    let unconfirmed: Vec<&String> = observed
        .topic
        .iter()
        .flat_map(|topic| &topic.it.subscriptions)
        .filter(|(_, arn)| !arn.starts_with("arn:"))
        .map(|(address, _)| address)
        .collect();
    let status = match (record.phase, drift.is_empty(), online, ringing.is_empty()) {
        (Phase::Removing, ..) => "removing",
        _ if record.pending.is_some() => "unfinished",
        (_, false, ..) => "drift",
        (_, _, false, _) => "not-online",
        (_, _, _, false) => "alarm",
        _ => "ok",
    };
    let age = record
        .created_at
        .parse::<Timestamp>()
        .ok()
        .map(|created| now.duration_since(created).as_secs().max(0));
    let mut row = with(json!({
        "status": status,
        "generation": record.generation.as_str(),
        "created_at": record.created_at,
        "age_seconds": age,
        "workload": record.spec.workload,
        "instance_type": record.spec.instance_type,
        "concurrency": record.spec.concurrency * record.spec.count,
        "hosts": hosts,
        "drift": drift,
        "alarms": {
            "planned": AlarmRule::all(name, &record.spec, place).len(),
            "there": observed.alarms.len(),
            "ringing": ringing,
            "without_data": silent,
            "unconfirmed": unconfirmed,
        },
        "cost": cost(record, catalog, age),
    }));
    if let Some(cluster) = cluster {
        row["cluster"] = cluster;
    }
    if let Some(pending) = &record.pending {
        row["unfinished"] = json!(pending);
    }
    if let Some(lease) = &record.lease {
        row["expires_at"] = lease.expires_at.clone().into();
        row["expired"] = lease
            .expires_at
            .parse::<Timestamp>()
            .is_ok_and(|expires| expires <= now)
            .into();
    }
    row
}

fn host_row(record: &Record, host: Host, observed: &Observed, now: Timestamp) -> Value {
    let standing = standing(record, host, observed);
    let current = standing.current.map(|current| &current.it);
    let parameter = observed.reports.get(&record.name.report(host));
    let report = parameter
        .map(|parameter| Report::read(&parameter.it.text))
        .filter(|report| report.is_of(&record.generation, current.map(|it| it.id.as_str())));
    let contact = report.as_ref().and_then(|report| {
        report
            .at
            .clone()
            .or_else(|| parameter.and_then(|parameter| parameter.it.modified_at.clone()))
    });
    let mut row = json!(current.map(facts).unwrap_or_default());
    row["address"] = host.address("host").into();
    if current.is_none() {
        row["state"] = "missing".into();
    }
    row["stage"] = report.as_ref().map_or("waiting", |report| &report.stage).into();
    if let Some(detail) = report.and_then(|report| report.detail) {
        row["detail"] = detail.into();
    }
    if let Some(contact) = contact {
        if let Ok(at) = contact.parse::<Timestamp>() {
            row["last_contact_seconds"] = now.duration_since(at).as_secs().max(0).into();
        }
        row["last_contact"] = contact.into();
    }
    row
}

/// Returns hosts and disks a month, and so far; none where a price is not known.
fn cost(record: &Record, catalog: &Catalog, age: Option<i64>) -> Value {
    let Some(price) = catalog
        .get(&record.spec.instance_type)
        .and_then(|instance| instance.price.as_ref())
    else {
        return Value::Null;
    };
    let eks = record.spec.eks.as_deref();
    // A group has its smallest size but when it is busy.
    let hosts = f64::from(eks.map_or(record.spec.count, |eks| eks.min_nodes));
    let disks = f64::from(record.spec.disk.gib) * hosts;
    let mut monthly: Micros = price.amount.per_month().times(hosts);
    monthly += catalog.services.gp3_gib_month.amount.times(disks);
    if eks.is_some_and(|eks| !eks.adopted) {
        monthly += catalog.services.eks_control_plane_hour.amount.per_month();
    }
    let so_far = age.map(|age| {
        monthly
            .times(age as f64 / 3600.0 / HOURS_PER_MONTH as f64)
            .cents()
    });
    json!({
        "currency": "USD",
        "monthly": monthly.cents(),
        "so_far": so_far,
        "catalog_date": catalog.date,
        "what": if eks.is_some() { "control plane, nodes and disks" } else { "hosts and disks" },
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Returns a span in its largest two units.
fn span(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

fn one_page(page: &mut Page, row: &Value) {
    page.heading(format!("{} in {}", text(&row["name"]), text(&row["region"])));
    if let Some(error) = row["error"].as_str() {
        page.text(error);
        return;
    }
    let mut pairs = vec![("status".to_owned(), text(&row["status"]))];
    for host in row["hosts"].as_array().into_iter().flatten() {
        let mut says = format!("{} {}", text(&host["instance_id"]), text(&host["state"]));
        says.push_str(&format!(", runner at stage {}", text(&host["stage"])));
        if let Some(seconds) = host["last_contact_seconds"].as_i64() {
            says.push_str(&format!(", heard of {} ago", span(seconds)));
        }
        for key in ["private_ip", "public_ip"] {
            if let Some(address) = host[key].as_str() {
                says.push_str(&format!(", {address}"));
            }
        }
        if let Some(detail) = host["detail"].as_str().filter(|detail| !detail.is_empty()) {
            says.push_str(&format!("; {detail}"));
        }
        pairs.push((text(&host["address"]), says.trim().to_owned()));
    }
    if row["cluster"].is_object() {
        pairs.extend(cluster::pairs(&row["cluster"]));
    }
    pairs.push((
        "size".to_owned(),
        format!(
            "{}, {} jobs at once, workload {}",
            text(&row["instance_type"]),
            text(&row["concurrency"]),
            text(&row["workload"])
        ),
    ));
    if let Some(age) = row["age_seconds"].as_i64() {
        pairs.push(("age".to_owned(), span(age)));
    }
    if let Some(expires) = row["expires_at"].as_str() {
        let over = if row["expired"] == true {
            ", which is over"
        } else {
            ""
        };
        pairs.push(("leased until".to_owned(), format!("{expires}{over}")));
    }
    if let Some(monthly) = row["cost"]["monthly"].as_str() {
        let so_far = row["cost"]["so_far"].as_str().unwrap_or("?");
        pairs.push((
            text(&row["cost"]["what"]),
            format!(
                "${monthly} a month, ${so_far} so far, prices of {}",
                text(&row["cost"]["catalog_date"])
            ),
        ));
    }
    let alarms = &row["alarms"];
    let ringing: Vec<String> = alarms["ringing"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    pairs.push((
        "alarms".to_owned(),
        format!(
            "{} of {} there, {} without data yet, {}",
            alarms["there"],
            alarms["planned"],
            alarms["without_data"],
            if ringing.is_empty() {
                "none rings".to_owned()
            } else {
                format!("RINGING: {}", ringing.join(", "))
            }
        ),
    ));
    let unconfirmed: Vec<String> = alarms["unconfirmed"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    if !unconfirmed.is_empty() {
        pairs.push((
            "not confirmed".to_owned(),
            format!("{} hear nothing until they confirm", unconfirmed.join(", ")),
        ));
    }
    page.pairs(pairs);
    let mut table = Table::new(&["address", "field", "is", "should be"]);
    for drift in row["drift"].as_array().into_iter().flatten() {
        table.row([
            text(&drift["address"]),
            text(&drift["field"]),
            text(&drift["is"]),
            text(&drift["should"]),
        ]);
    }
    if !table.rows.is_empty() {
        page.heading("Drift").table(table);
        let target = if row["cluster"].is_object() { "eks" } else { "ec2" };
        page.heading("Next").verbatim([format!(
            "dataops-infra up {target} --name {} --region {}",
            text(&row["name"]),
            text(&row["region"])
        )]);
    }
}

fn many_page(page: &mut Page, rows: &[Value]) {
    let mut table = Table::new(&[
        "deployment",
        "region",
        "status",
        "hosts",
        "age",
        ">$/month",
        "says",
    ]);
    for row in rows {
        let hosts: Vec<String> = row["hosts"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|host| text(&host["instance_id"]))
            .chain(row["cluster"]["name"].as_str().map(str::to_owned))
            .collect();
        let mut says = Vec::new();
        if let Some(drift) = row["drift"].as_array().filter(|drift| !drift.is_empty()) {
            says.push(format!("{} fields differ", drift.len()));
        }
        if row["expired"] == true {
            says.push("lease is over".to_owned());
        }
        if let Some(error) = row["error"].as_str() {
            says.push(error.to_owned());
        }
        table.row([
            text(&row["name"]),
            text(&row["region"]),
            text(&row["status"]),
            hosts.join(", "),
            row["age_seconds"].as_i64().map(span).unwrap_or_default(),
            text(&row["cost"]["monthly"]),
            says.join("; "),
        ]);
    }
    page.heading(format!("{} deployments", rows.len())).table(table);
}
