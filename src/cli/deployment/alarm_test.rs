//! `alarms test`: drives alarms one by one and puts them back, whatever happens in between.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::apply::Stop;
use super::calls::{Ground, block_on, seen};
use super::confirm::confirm;
use super::select::select;
use super::wants::grounds;
use crate::aws::alarm_test::{Subject, history, set_state};
use crate::aws::clients::Clients;
use crate::aws::{metric, topic};
use crate::cli::alarms::AlarmsTestArgs;
use crate::cli::outcome::{Answer, Context, Ending, Exit, Failure, generated_by};
use crate::domain::alarm_test::{Drive, Listeners, Seen, Status, deeds, is_message, read_history, verdict};
use crate::domain::deployment::metric::Feed;
use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::observed::{Alarm, Observed};
use crate::domain::deployment::record::{Phase, Record};
use crate::domain::deployment::resource::alarm::{AlarmRule, topic_arn};
use crate::domain::deployment::resource::instance::standing;
use crate::domain::settings::Settings;
use crate::render::page::{Page, Table};
use crate::render::spinner::Spinner;

/// The schema's name.
const SCHEMA: &str = "dataops-infra/alarms-test/v1";

/// Alarms that are driven at the same time.
const AT_ONCE: usize = 4;

/// How long the history of an alarm may take to tell of its action.
const HISTORY_BUDGET: Duration = Duration::from_secs(45);

/// Time between two looks at metrics that have not arrived.
const METRIC_PAUSE: Duration = Duration::from_secs(15);

/// An alarm that is to be tested.
#[derive(Debug)]
struct Candidate {
    rule: AlarmRule,
    instance: Option<String>,
}

/// A deployment whose alarms are to be tested.
#[derive(Debug)]
struct Testing {
    ground: Ground,
    place: Place,
    record: Record,
    observed: Observed,
    candidates: Vec<Candidate>,
}

/// Runs the command.
pub fn run(args: &AlarmsTestArgs, context: &Context) -> Ending {
    match block_on(test(args, context)) {
        Ok(answer) => Ending::Answer(answer),
        Err(failure) => Ending::Failed(failure),
    }
}

async fn test(args: &AlarmsTestArgs, context: &Context) -> Result<Answer, Failure> {
    let flags = Settings {
        name: args.which.name.clone(),
        region: context.region_flag.clone(),
        profile: context.profile_flag.clone(),
        ..Settings::default()
    };
    let mut all = Vec::new();
    for (ground, meant) in grounds(select(&args.which, &flags, context, "alarms test")?, context).await? {
        let names: Vec<Name> = meant.into_iter().map(|one| one.name).collect();
        all.extend(read(&ground, &names, args).await?);
    }
    let several = all.len() > 1;
    let stop = Stop::listen(context);
    if !args.no_fire {
        confirm(&announce(&all, context), "yes", args.yes)?;
    }
    let mut rows = Vec::new();
    for one in &all {
        for (mut row, status) in tested(one, args, &stop, context).await {
            if several {
                row["deployment"] = one.record.name.as_str().into();
            }
            rows.push((row, status));
        }
    }
    Ok(answer(&rows, several, args.no_fire))
}

/// Reads deployments and chooses their alarms.
async fn read(ground: &Ground, names: &[Name], args: &AlarmsTestArgs) -> Result<Vec<Testing>, Failure> {
    let (place, mut seen) = seen(ground, names, "alarms").await?;
    let mut all = Vec::new();
    for name in names {
        let observed = seen.remove(name).unwrap_or_default();
        let record = match &observed.record {
            Some((Ok(record), _)) if record.phase == Phase::Present => record.clone(),
            Some((Ok(_), _)) => {
                return Err(Failure::new(Exit::Refused, format!("{name} is being removed"))
                    .hint(format!("dataops-infra down --name {name} goes on with that")));
            }
            Some((Err(error), _)) => {
                return Err(Failure::new(
                    Exit::Refused,
                    format!("the record of {name} cannot be read: {error}"),
                ));
            }
            None => {
                return Err(Failure::new(
                    Exit::Refused,
                    format!("there is no deployment {name} in {}", place.region),
                )
                .hint("dataops-infra status --all lists those of the region"));
            }
        };
        let candidates = chosen(&record, &place, &observed, &args.alarms)?;
        all.push(Testing {
            ground: ground.clone(),
            place: place.clone(),
            record,
            observed,
            candidates,
        });
    }
    Ok(all)
}

fn chosen(
    record: &Record,
    place: &Place,
    observed: &Observed,
    wanted: &[String],
) -> Result<Vec<Candidate>, Failure> {
    let rules = AlarmRule::all(&record.name, &record.spec, place);
    let is = |rule: &AlarmRule, word: &String| rule.address == *word || rule.name == *word;
    if let Some(unknown) = wanted
        .iter()
        .find(|word| !rules.iter().any(|rule| is(rule, word)))
    {
        let known: Vec<&str> = rules.iter().map(|rule| rule.address.as_str()).collect();
        return Err(Failure::new(
            Exit::BadInput,
            format!(
                "{} has no alarm {unknown}; it has {}",
                record.name,
                known.join(", ")
            ),
        ));
    }
    Ok(rules
        .into_iter()
        .filter(|rule| wanted.is_empty() || wanted.iter().any(|word| is(rule, word)))
        .map(|rule| Candidate {
            instance: rule.cluster.clone().or_else(|| {
                standing(record, rule.host, observed)
                    .current
                    .map(|current| current.it.id.clone())
            }),
            rule,
        })
        .collect())
}

/// Says what will happen; returns the question.
fn announce(all: &[Testing], context: &Context) -> String {
    let alarms: usize = all.iter().map(|one| one.candidates.len()).sum();
    let harmful: Vec<&str> = all
        .iter()
        .flat_map(|one| &one.candidates)
        .filter(|candidate| !deeds(&candidate.rule.actions).is_empty())
        .map(|candidate| candidate.rule.address.as_str())
        .collect();
    if !harmful.is_empty() {
        context.note(format!(
            "{} would recover or reboot the host: that action is taken off while it is tested and put back",
            harmful.join(" and ")
        ));
    }
    format!("Drive {alarms} alarms to ALARM and back? Whoever listens to their topics gets real messages.")
}

/// Tests the alarms of a deployment.
async fn tested(
    one: &Testing,
    args: &AlarmsTestArgs,
    stop: &Stop,
    context: &Context,
) -> Vec<(Value, Status)> {
    let clients = &one.ground.clients;
    let spinner = Spinner::start(context.progress, &format!("{}: metrics", one.record.name));
    let topic = topic_arn(&one.record.name, &one.record.spec, &one.place);
    let (seen, listeners) = tokio::join!(arriving(one, args, stop, &spinner), listening(clients, &topic));
    let mut rows = Vec::new();
    for part in one.candidates.chunks(AT_ONCE) {
        spinner.say(format!(
            "{}: alarms {} to {} of {}",
            one.record.name,
            rows.len() + 1,
            rows.len() + part.len(),
            one.candidates.len()
        ));
        let tests = part.iter().map(|candidate| async {
            let drive = if args.no_fire || ours(one, candidate).is_none() {
                None
            } else if stop.is_asked() {
                Some(Drive {
                    error: Some("not tested: stopped before".to_owned()),
                    ..Drive::default()
                })
            } else {
                Some(drive(clients, &candidate.rule).await)
            };
            let feed = seen
                .clone()
                .map(|mut seen| seen.remove(&candidate.rule.name).unwrap_or_default());
            row(one, candidate, feed, drive, &listeners)
        });
        rows.extend(futures_util::future::join_all(tests).await);
    }
    rows
}

/// Returns the fields of an alarm that provably is of this deployment.
fn ours<'a>(one: &'a Testing, candidate: &Candidate) -> Option<&'a BTreeMap<&'static str, String>> {
    let alarm = one.observed.alarms.get(&candidate.rule.name)?;
    let owner = one.record.owner();
    owner
        .owns(&alarm.tags, &candidate.rule.address)
        .then_some(&alarm.it.fields)
}

/// Looks at metrics until all arrive or the time is over; by name of the alarm.
async fn arriving(
    one: &Testing,
    args: &AlarmsTestArgs,
    stop: &Stop,
    spinner: &Spinner,
) -> Result<BTreeMap<String, Feed>, String> {
    let begin = Timestamp::now();
    let watched: BTreeMap<String, Alarm> = one
        .candidates
        .iter()
        .filter_map(|candidate| one.observed.alarms.get_key_value(&candidate.rule.name))
        .map(|(name, alarm)| (name.clone(), alarm.it.clone()))
        .collect();
    loop {
        let seen = metric::fed(&one.ground.clients, &watched).await;
        let silent = seen.as_ref().map_or(0, |seen| {
            let silent = seen
                .values()
                .filter(|feed| feed.last.is_none() && feed.others.is_empty());
            silent.count()
        });
        let over = Timestamp::now().duration_since(begin).as_secs() >= i64::from(args.wait) * 60;
        if silent == 0 || over || stop.is_asked() {
            return seen.map_err(|error| error.to_string());
        }
        spinner.say(format!(
            "{}: {silent} of {} metrics have not arrived yet",
            one.record.name,
            watched.len()
        ));
        tokio::time::sleep(METRIC_PAUSE).await;
    }
}

async fn listening(clients: &Clients, arn: &str) -> Listeners {
    match topic::read(clients, arn).await {
        Err(error) => Listeners::Unread(error.to_string()),
        Ok(None) => Listeners::NoTopic,
        Ok(Some(topic)) => {
            let (confirmed, pending) = topic
                .subscriptions
                .into_iter()
                .partition::<Vec<_>, _>(|(_, subscription)| subscription.starts_with("arn:"));
            let addresses =
                |pairs: Vec<(String, String)>| pairs.into_iter().map(|(address, _)| address).collect();
            Listeners::Known {
                confirmed: addresses(confirmed),
                pending: addresses(pending),
            }
        }
    }
}

/// Drives an alarm to ALARM and back. What was changed is put back even where something fails in between.
async fn drive(clients: &Clients, rule: &AlarmRule) -> Drive {
    let mut drive = Drive::default();
    let subject = match Subject::read(clients, &rule.name).await {
        Ok(Some(subject)) => subject,
        Ok(None) => {
            drive.error = Some("it was deleted meanwhile".to_owned());
            return drive;
        }
        Err(error) => {
            drive.error = Some(format!("it could not be read: {error}"));
            return drive;
        }
    };
    subject.state().clone_into(&mut drive.before);
    let harmless: Vec<String> = subject
        .actions()
        .iter()
        .filter(|action| is_message(action))
        .cloned()
        .collect();
    let changed = harmless.len() != subject.actions().len();
    if changed && let Err(error) = subject.put(clients, &harmless).await {
        // Silence may mean that it was changed.
        if error.is_silence() {
            put_back(clients, rule, &subject, true, &mut drive).await;
        }
        drive.error = Some(format!(
            "its harmful action could not be taken off, so it was not driven: {error}"
        ));
        return drive;
    }
    if let Err(why) = fire(clients, rule, &mut drive).await {
        drive.error = Some(why);
    }
    put_back(clients, rule, &subject, changed, &mut drive).await;
    drive
}

/// Sets the state, and waits until the history tells what came of it.
async fn fire(clients: &Clients, rule: &AlarmRule, drive: &mut Drive) -> Result<(), String> {
    let reason = "test of the alarm by dataops-infra; nothing is wrong";
    if drive.before == "ALARM" {
        // Only a change does something.
        set_state(clients, &rule.name, "OK", reason)
            .await
            .map_err(|error| format!("its state could not be set: {error}"))?;
    }
    // Clocks differ a little; what is older belongs to another test.
    let since = Timestamp::now().as_second() - 2;
    let begin = std::time::Instant::now();
    set_state(clients, &rule.name, "ALARM", reason)
        .await
        .map_err(|error| format!("its state could not be set: {error}"))?;
    loop {
        match history(clients, &rule.name, since).await {
            Ok(items) => read_history(drive, &items),
            Err(error) if begin.elapsed() > HISTORY_BUDGET || !error.is_silence() => {
                return Err(format!("its history could not be read: {error}"));
            }
            Err(_) => {}
        }
        let told = drive.done.iter().chain(&drive.failed).next().is_some();
        if drive.fired && told || begin.elapsed() > HISTORY_BUDGET {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

/// Sets the state and the actions that were before; three tries.
async fn put_back(clients: &Clients, rule: &AlarmRule, subject: &Subject, changed: bool, drive: &mut Drive) {
    let reason = "the test by dataops-infra is over; this was the state before it";
    for pause in [1, 3, 0] {
        // The state first: with its action back and in ALARM it must not be put into OK and ALARM again.
        let state = set_state(clients, &rule.name, subject.state(), reason).await;
        let actions = if changed {
            subject.put(clients, subject.actions()).await
        } else {
            Ok(())
        };
        match state.and(actions) {
            Ok(()) => {
                drive.left = None;
                return;
            }
            Err(error) => drive.left = Some(error.to_string()),
        }
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

fn row(
    one: &Testing,
    candidate: &Candidate,
    feed: Result<Feed, String>,
    drive: Option<Drive>,
    listeners: &Listeners,
) -> (Value, Status) {
    let rule = &candidate.rule;
    let instance = candidate.instance.as_deref().unwrap_or_default();
    let seen = Seen {
        rule,
        instance,
        fields: ours(one, candidate),
        feed,
        drive,
        listeners,
    };
    let verdict = verdict(&seen);
    let metric = match &seen.feed {
        Err(why) => json!({ "arrives": null, "why": why }),
        Ok(feed) => match &feed.last {
            Some(last) => json!({ "arrives": true, "value": last.value, "at": last.at }),
            None => {
                let others: Vec<_> = feed.others.iter().map(|other| &other.dimensions).collect();
                json!({ "arrives": false, "published_as": others })
            }
        },
    };
    let drive = seen.drive.as_ref().map(|drive| {
        json!({
            "before": drive.before, "fired": drive.fired, "notified": drive.done, "failed": drive.failed,
            "put_back": drive.left.is_none(),
        })
    });
    let row = json!({
        "address": rule.address,
        "name": rule.name,
        "host": instance,
        "status": verdict.status.word(),
        "evidence": verdict.says,
        "remedy": verdict.remedy,
        "metric": metric,
        "drive": drive,
    });
    (row, verdict.status)
}

fn answer(rows: &[(Value, Status)], several: bool, only_looked: bool) -> Answer {
    let count = |wanted: Status| rows.iter().filter(|(_, status)| *status == wanted).count();
    let (ok, unknown, failed) = (count(Status::Ok), count(Status::Unknown), count(Status::Failed));
    let mut table = Table::new(&["alarm", "status", "seen"]);
    for (row, status) in rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let mut says: Vec<&str> = row["evidence"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let remedy = text("remedy");
        if !remedy.is_empty() {
            says.push(&remedy);
        }
        let mut alarm = text("address");
        if several {
            alarm = format!("{} {alarm}", text("deployment"));
        }
        table.row([alarm, status.word().to_owned(), says.join("; ")]);
    }
    let mut page = Page::new();
    page.heading("Alarms");
    page.table(table);
    let proven = if only_looked {
        "well, but not driven"
    } else {
        "proven"
    };
    page.text(format!(
        "{ok} {proven}, {failed} failed, {unknown} not fully seen."
    ));
    Answer {
        document: json!({
            "schema": SCHEMA,
            "generated_by": generated_by(),
            "alarms": rows.iter().map(|(row, _)| row).collect::<Vec<_>>(),
            "summary": { "ok": ok, "failed": failed, "unknown": unknown },
        }),
        page,
        exit: match (failed, unknown) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::Unknown,
            _ => Exit::Findings,
        },
    }
}
