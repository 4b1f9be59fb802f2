//! The alarms of a deployment: there, fed, armed, heard.

use std::collections::BTreeMap;

use super::board::Read;
use super::check::{Check, Remedy, Subject};
use super::code::Code;
use super::deployment::{listed, told_steps};
use super::fix::Fix;
use super::scene::command;
use crate::domain::deployment::metric::{Feed, Metric};
use crate::domain::deployment::observed::{Alarm, Topic};
use crate::domain::deployment::step::Step;

/// Seconds after a launch in which metrics may not have arrived yet.
pub const WARMING: i64 = 20 * 60;

/// Seconds after which an alarm that has no data is stuck.
const STUCK: i64 = 30 * 60;

/// A topic that alarms go to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// Its ARN.
    pub arn: String,
    /// Whether it is the user's own.
    pub theirs: bool,
    /// What there is of it.
    pub topic: Option<Topic>,
}

/// What is known of the alarms of a deployment.
#[derive(Clone, Debug)]
pub struct Alarms {
    /// The alarms by name.
    pub alarms: Read<BTreeMap<String, Alarm>>,
    /// What metrics of alarms arrive, by name of the alarm.
    pub fed: Read<BTreeMap<String, Feed>>,
    /// The topic.
    pub heard: Read<Heard>,
    /// Seconds since the youngest host was launched; none: not known.
    pub age: Option<i64>,
    /// Region.
    pub region: String,
    /// Those who are to be told.
    pub notify: Vec<String>,
    /// Now.
    pub now: jiff::Timestamp,
}

/// Makes the checks of alarms but whether all are there.
pub fn checks(subject: &Subject, known: &Alarms) -> Vec<Check> {
    [
        metric(subject, known),
        actions(subject, known),
        topic(subject, known),
        subscription(known),
        data(known),
        state(known),
    ]
    .into_iter()
    .map(|check| check.of(subject))
    .collect()
}

/// Checks that all alarms are there and as planned, by the steps of `up` that are about alarms.
pub fn present<'a>(subject: &Subject, there: usize, steps: impl Iterator<Item = &'a Step>) -> Check {
    let code = Code::AlarmPresent;
    let differs = told_steps(steps);
    let check = if differs.is_empty() {
        Check::ok(code, format!("{there} alarms"))
    } else {
        let fix = Fix::PutAlarms;
        Check::warning(
            code,
            listed(&differs),
            Remedy::new("put them back").run(command(subject, &format!("doctor --fix --check {code}"))),
        )
        .fixed_by(fix)
    };
    check.of(subject)
}

/// Returns the last part of an alarm's name.
fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn warming(known: &Alarms) -> Option<String> {
    let age = known.age?;
    (age < WARMING).then(|| {
        format!(
            "the host was launched {} min ago, and metrics take up to 20",
            age / 60
        )
    })
}

fn metric(subject: &Subject, known: &Alarms) -> Check {
    let code = Code::AlarmMetric;
    let (alarms, fed) = match (&known.alarms, &known.fed) {
        (Ok(alarms), Ok(fed)) => (alarms, fed),
        (Err(why), _) | (_, Err(why)) => return Check::unknown(code, why.to_string()),
    };
    if alarms.is_empty() {
        return Check::skipped(code, "there are no alarms");
    }
    let mut silent = Vec::new();
    let mut unknown = Vec::new();
    for (name, alarm) in alarms {
        match fed.get(name) {
            None => unknown.push(short(name).to_owned()),
            Some(fed) if fed.last.is_some() => {}
            Some(fed) => {
                let mut says = format!("{}: {} has not arrived", short(name), Metric::of(alarm));
                if !fed.others.is_empty() {
                    let others: Vec<String> = fed.others.iter().take(3).map(ToString::to_string).collect();
                    says.push_str(&format!(", but {} is published", others.join(" and ")));
                }
                silent.push(says);
            }
        }
    }
    if silent.is_empty() && !unknown.is_empty() {
        return Check::unknown(code, format!("CloudWatch says nothing of {}", unknown.join(", ")));
    }
    if silent.is_empty() {
        return Check::ok(
            code,
            format!("the metrics of {} alarms have arrived", alarms.len()),
        );
    }
    if let Some(warming) = warming(known) {
        return Check::skipped(code, format!("{warming}; {} not there yet", silent.len()));
    }
    Check::failed(
        code,
        listed(&silent),
        Remedy::new(
            "an alarm on a metric that never arrives never rings: see HOST-METRICS-AGENT, then whether the dimensions are \
             those the agent publishes",
        )
        .run(command(subject, "doctor --check HOST-METRICS-AGENT,ALARM-METRIC")),
    )
}

/// Says what is wrong with an action; none where it can be taken.
fn unreachable(action: &str, region: &str, heard: &Read<Heard>) -> Option<String> {
    let parts: Vec<&str> = action.split(':').collect();
    match parts.as_slice() {
        [
            "arn",
            _,
            "automate",
            there,
            "ec2",
            "recover" | "reboot" | "stop" | "terminate",
        ] => (*there != region).then(|| format!("{action} is for another region")),
        ["arn", _, "sns", there, ..] if *there != region => Some(format!("{action} is in another region")),
        ["arn", _, "sns", ..] => match heard {
            Ok(heard) if heard.arn == action && heard.topic.is_none() => {
                Some(format!("{action} does not exist"))
            }
            _ => None,
        },
        ["arn", ..] => None,
        _ => Some(format!("{action} is no ARN")),
    }
}

fn actions(subject: &Subject, known: &Alarms) -> Check {
    let code = Code::AlarmActions;
    let alarms = match &known.alarms {
        Ok(alarms) => alarms,
        Err(why) => return Check::unknown(code, why.to_string()),
    };
    if alarms.is_empty() {
        return Check::skipped(code, "there are no alarms");
    }
    let mut off = Vec::new();
    let mut bad = Vec::new();
    for (name, alarm) in alarms {
        let text = |key: &str| alarm.fields.get(key).map_or("", String::as_str);
        if text("ActionsEnabled") != "true" {
            off.push(format!("{}: its actions are disabled", short(name)));
        }
        let actions: Vec<&str> = text("AlarmActions").split_whitespace().collect();
        if actions.is_empty() {
            off.push(format!("{}: it has no action", short(name)));
        }
        for action in actions {
            if let Some(why) = unreachable(action, &known.region, &known.heard) {
                bad.push(format!("{}: {why}", short(name)));
            }
        }
    }
    if off.is_empty() && bad.is_empty() {
        return Check::ok(code, format!("enabled and reachable, of {} alarms", alarms.len()));
    }
    let put_back = off.is_empty();
    let all = [off, bad].concat();
    if put_back {
        return Check::failed(
            code,
            listed(&all),
            Remedy::new("let `up` put the alarms and what they name back").run(command(subject, "up ec2")),
        );
    }
    Check::failed(
        code,
        listed(&all),
        Remedy::new("put the alarms back as planned")
            .run(command(subject, &format!("doctor --fix --check {code}"))),
    )
    .fixed_by(Fix::PutAlarms)
}

fn topic(subject: &Subject, known: &Alarms) -> Check {
    let code = Code::AlarmTopic;
    match &known.heard {
        Err(why) => Check::unknown(code, why.to_string()),
        Ok(heard) if heard.topic.is_some() => Check::ok(code, heard.arn.clone()),
        Ok(heard) if heard.theirs => Check::failed(
            code,
            format!("{} is not there", heard.arn),
            Remedy::new("make it again, or name another topic").run(command(subject, "up ec2 --topic ARN")),
        ),
        Ok(heard) => Check::failed(
            code,
            format!("{} is not there", heard.arn),
            Remedy::new("let `up` make it again").run(command(subject, "up ec2")),
        ),
    }
}

fn subscription(known: &Alarms) -> Check {
    let code = Code::AlarmSubscription;
    let heard = match &known.heard {
        Err(why) => return Check::unknown(code, why.to_string()),
        Ok(heard) => heard,
    };
    let Some(topic) = &heard.topic else {
        return Check::skipped(code, "there is no topic");
    };
    let confirmed = |arn: &String| arn.starts_with("arn:");
    let waiting: Vec<String> = topic
        .subscriptions
        .iter()
        .filter(|(_, arn)| !confirmed(arn))
        .map(|(address, _)| address.clone())
        .collect();
    let missing: Vec<String> = known
        .notify
        .iter()
        .filter(|address| !heard.theirs && !topic.subscriptions.contains_key(*address))
        .cloned()
        .collect();
    if !waiting.is_empty() {
        return Check::failed(
            code,
            format!("{} hear nothing until they confirm", waiting.join(", ")),
            Remedy::new(
                "ask them to follow the link in the mail of AWS Notifications; where it is lost, subscribe them again",
            ),
        );
    }
    if !missing.is_empty() {
        return Check::failed(
            code,
            format!("{} are to be told and are not subscribed", missing.join(", ")),
            Remedy::new("let `up` subscribe them"),
        );
    }
    if topic.subscriptions.is_empty() {
        return Check::skipped(
            code,
            "nobody is subscribed, and the deployment names nobody (--notify): alarms ring unheard",
        );
    }
    Check::ok(code, format!("{} confirmed", topic.subscriptions.len()))
}

fn data(known: &Alarms) -> Check {
    let code = Code::AlarmData;
    let alarms = match &known.alarms {
        Ok(alarms) => alarms,
        Err(why) => return Check::unknown(code, why.to_string()),
    };
    if alarms.is_empty() {
        return Check::skipped(code, "there are no alarms");
    }
    let since = |alarm: &Alarm| {
        let at: Option<jiff::Timestamp> = alarm.changed_at.as_ref().and_then(|at| at.parse().ok());
        at.map(|at| known.now.duration_since(at).as_secs())
    };
    let without: Vec<(&String, &Alarm)> = alarms
        .iter()
        .filter(|(_, alarm)| alarm.state == "INSUFFICIENT_DATA")
        .collect();
    // An alarm on a long window has none for as long as that, and is not stuck.
    let stuck: Vec<String> = without
        .iter()
        .filter(|(_, alarm)| {
            let number = |key: &str| alarm.fields.get(key).and_then(|text| text.parse::<i64>().ok());
            let window = number("Period").unwrap_or(300) * number("EvaluationPeriods").unwrap_or(1);
            since(alarm).is_none_or(|since| since > STUCK.max(window + STUCK))
        })
        .map(|(name, _)| short(name).to_owned())
        .collect();
    if without.is_empty() {
        return Check::ok(code, format!("all {} alarms have data", alarms.len()));
    }
    if stuck.is_empty() {
        let names: Vec<&str> = without.iter().map(|(name, _)| short(name)).collect();
        return Check::skipped(code, format!("too young to have data: {}", names.join(", ")));
    }
    if let Some(warming) = warming(known) {
        return Check::skipped(code, warming);
    }
    Check::warning(
        code,
        format!(
            "in INSUFFICIENT_DATA for more than half an hour: {}",
            stuck.join(", ")
        ),
        Remedy::new("see ALARM-METRIC for what each of them waits for"),
    )
}

fn state(known: &Alarms) -> Check {
    let code = Code::AlarmState;
    let alarms = match &known.alarms {
        Ok(alarms) => alarms,
        Err(why) => return Check::unknown(code, why.to_string()),
    };
    let ringing: Vec<String> = alarms
        .iter()
        .filter(|(_, alarm)| alarm.state == "ALARM")
        .map(|(name, alarm)| {
            let since = alarm
                .changed_at
                .as_ref()
                .map_or_else(String::new, |at| format!(" since {at}"));
            format!("{}{since}", short(name))
        })
        .collect();
    if alarms.is_empty() {
        return Check::skipped(code, "there are no alarms");
    }
    if ringing.is_empty() {
        return Check::ok(code, format!("none of {} rings", alarms.len()));
    }
    Check::failed(
        code,
        listed(&ringing),
        Remedy::new(
            "each names its reason in its description; HOST-… and RUNNER-… checks say what is behind it",
        ),
    )
}
