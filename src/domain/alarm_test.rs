//! Whether an alarm can fire, from what a test of it has seen.
//!
//! An alarm is proven when the exact metric it watches has arrived lately, when it went to ALARM and told its topic, when
//! somebody listens to that topic, and when it is again as it was. What could not be read is unknown, never fine.

use std::collections::BTreeMap;

use crate::domain::deployment::change::Difference;
use crate::domain::deployment::metric::{Feed, LATELY, Value};
use crate::domain::deployment::resource::alarm::AlarmRule;

/// What happened when the alarm was driven to ALARM.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drive {
    /// State before: `OK`, `ALARM`, `INSUFFICIENT_DATA`.
    pub before: String,
    /// Whether its history has the change to ALARM.
    pub fired: bool,
    /// Actions that its history calls successful.
    pub done: Vec<String>,
    /// Actions that its history calls failed, with AWS' words.
    pub failed: Vec<String>,
    /// Why it is not as it was before the test; none: it is.
    pub left: Option<String>,
    /// What went wrong on the way.
    pub error: Option<String>,
}

/// Who listens to the topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Listeners {
    /// Addresses that get messages, and those whose owner has not confirmed.
    Known {
        /// Confirmed.
        confirmed: Vec<String>,
        /// Not confirmed.
        pending: Vec<String>,
    },
    /// There is no topic.
    NoTopic,
    /// Could not be read.
    Unread(String),
}

/// Everything that was seen of an alarm.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The alarm as planned.
    pub rule: &'a AlarmRule,
    /// The instance it should watch.
    pub instance: &'a str,
    /// Its fields, as they are; none: there is no such alarm, or it is not ours.
    pub fields: Option<&'a BTreeMap<&'static str, String>>,
    /// Its metric, or why that could not be read.
    pub feed: Result<Feed, String>,
    /// Its drive; none: it was not driven.
    pub drive: Option<Drive>,
    /// The topic.
    pub listeners: &'a Listeners,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Proven.
    Ok,
    /// Something could not be seen.
    Unknown,
    /// It would not do what it is for.
    Failed,
}

impl Status {
    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// What follows from what was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The worst of it.
    pub status: Status,
    /// What was seen, a sentence each, the worst first.
    pub says: Vec<String>,
    /// What to do.
    pub remedy: Option<String>,
}

/// Returns what follows.
pub fn verdict(seen: &Seen) -> Verdict {
    let mut found: Vec<(Status, String, Option<String>)> = Vec::new();
    let up = || Some("`dataops-infra up` puts it right".to_owned());
    let Some(fields) = seen.fields else {
        return Verdict {
            status: Status::Failed,
            says: vec!["there is no such alarm of this deployment".to_owned()],
            remedy: up(),
        };
    };
    let should = seen.rule.fields(seen.instance);
    for (field, should) in &should {
        let is = fields.get(field).map_or("nothing", String::as_str);
        if is != should {
            found.push((
                Status::Failed,
                Difference::new(*field, is, should).to_string(),
                up(),
            ));
        }
    }
    found.push(fed(&seen.feed));
    if let Some(drive) = &seen.drive {
        found.extend(driven(drive));
    }
    found.push(heard(seen.listeners));
    found.sort_by_key(|(status, ..)| std::cmp::Reverse(*status));
    Verdict {
        status: found.first().map_or(Status::Unknown, |(status, ..)| *status),
        remedy: found.iter().find_map(|(.., remedy)| remedy.clone()),
        says: found.into_iter().map(|(_, says, _)| says).collect(),
    }
}

type Found = (Status, String, Option<String>);

fn fed(feed: &Result<Feed, String>) -> Found {
    let feed = match feed {
        Ok(feed) => feed,
        Err(why) => {
            return (
                Status::Unknown,
                format!("its metric could not be read: {why}"),
                None,
            );
        }
    };
    if let Some(Value { value, at }) = &feed.last {
        return (
            Status::Ok,
            format!("its metric arrives, {value:.4} at {at}"),
            None,
        );
    }
    let mut says = format!("no value of its metric in {} min", LATELY / 60);
    let mut remedy = "see whether the CloudWatch agent runs: dataops-infra doctor";
    if let Some(other) = feed.others.first() {
        says.push_str(&format!("; it is published as {other}"));
        remedy = "make the agent's configuration and the alarm agree: dataops-infra doctor";
    }
    (Status::Failed, says, Some(remedy.to_owned()))
}

fn driven(drive: &Drive) -> Vec<Found> {
    let mut found = Vec::new();
    for failed in &drive.failed {
        found.push((
            Status::Failed,
            failed.clone(),
            Some("see whether the topic exists and lets CloudWatch publish".to_owned()),
        ));
    }
    if let Some(left) = &drive.left {
        found.push((
            Status::Failed,
            format!("it was NOT put back as it was: {left}"),
            Some(
                "`dataops-infra up` puts it right; its state mends itself at the next evaluation".to_owned(),
            ),
        ));
    }
    if let Some(error) = &drive.error {
        found.push((Status::Unknown, error.clone(), None));
    }
    match (drive.fired, drive.done.is_empty()) {
        (true, false) => found.push((
            Status::Ok,
            format!("it went to ALARM and told {}", drive.done.join(" and ")),
            None,
        )),
        (true, true) if drive.failed.is_empty() && drive.error.is_none() => found.push((
            Status::Unknown,
            "it went to ALARM, and its history does not say whether the topic was told".to_owned(),
            None,
        )),
        (false, _) if drive.error.is_none() => found.push((
            Status::Unknown,
            "its history has no change to ALARM".to_owned(),
            None,
        )),
        _ => {}
    }
    found
}

fn heard(listeners: &Listeners) -> Found {
    match listeners {
        Listeners::Known { confirmed, pending } if confirmed.is_empty() => {
            let (why, remedy) = if pending.is_empty() {
                ("has no subscription", "dataops-infra up … --notify ADDRESS")
            } else {
                (
                    "has only unconfirmed subscriptions",
                    "follow the link in the mail that AWS sent; `dataops-infra up` asks for another",
                )
            };
            (
                Status::Failed,
                format!("nobody hears of it: its topic {why}"),
                Some(remedy.to_owned()),
            )
        }
        Listeners::Known { confirmed, pending } => {
            let mut says = format!("{} confirmed", count(confirmed.len(), "subscription"));
            if !pending.is_empty() {
                says.push_str(&format!(", not confirmed: {}", pending.join(", ")));
            }
            (Status::Ok, says, None)
        }
        Listeners::NoTopic => (
            Status::Failed,
            "nobody hears of it: its topic does not exist".to_owned(),
            Some("`dataops-infra up` puts it right".to_owned()),
        ),
        Listeners::Unread(why) => (
            Status::Unknown,
            format!("its topic could not be read: {why}"),
            None,
        ),
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Returns the actions that a test must not set off: those that do something to the host.
pub fn deeds(actions: &[String]) -> Vec<&String> {
    actions.iter().filter(|action| !is_message(action)).collect()
}

/// Whether an action only sends a message.
pub fn is_message(action: &str) -> bool {
    action.split(':').nth(2) == Some("sns")
}

/// What the history of an alarm says happened, from its summaries
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_AlarmHistoryItem.html>).
pub fn read_history(drive: &mut Drive, items: &[(String, String)]) {
    drive.done.clear();
    drive.failed.clear();
    for (kind, summary) in items {
        match kind.as_str() {
            "StateUpdate" if summary.ends_with("to ALARM") => drive.fired = true,
            "Action" => {
                if let Some(action) = summary.strip_prefix("Successfully executed action ") {
                    drive.done.push(action.trim().to_owned());
                } else {
                    drive.failed.push(summary.clone());
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::metric::Metric;
    use crate::domain::deployment::name::{Name, Place};
    use crate::domain::testing::spec;

    fn rules() -> Vec<AlarmRule> {
        let place = Place {
            account: "111111111111".to_owned(),
            region: "eu-west-2".to_owned(),
        };
        AlarmRule::all(&Name::new("abc").expect("a name"), &spec(1), &place)
    }

    const TOPIC: &str = "arn:aws:sns:eu-west-2:111111111111:dataops-infra-abc";

    type Fed = Result<Feed, String>;

    fn well() -> (Fed, Drive, Listeners) {
        let last = Value {
            value: 12.0,
            at: "2026-01-01T00:00:00Z".to_owned(),
        };
        (
            Ok(Feed {
                last: Some(last),
                others: Vec::new(),
            }),
            Drive {
                before: "OK".to_owned(),
                fired: true,
                done: vec![TOPIC.to_owned()],
                ..Drive::default()
            },
            Listeners::Known {
                confirmed: vec!["ops@example.com".to_owned()],
                pending: Vec::new(),
            },
        )
    }

    /// Returns the verdict on the first alarm after a change to what is well.
    fn after(
        change: impl FnOnce(&mut Fed, &mut Drive, &mut Listeners, &mut BTreeMap<&'static str, String>),
    ) -> Verdict {
        let rules = rules();
        let (mut feed, mut drive, mut listeners) = well();
        let mut fields = rules[0].fields("i-1");
        change(&mut feed, &mut drive, &mut listeners, &mut fields);
        verdict(&Seen {
            rule: &rules[0],
            instance: "i-1",
            fields: Some(&fields),
            feed,
            drive: Some(drive),
            listeners: &listeners,
        })
    }

    #[test]
    fn what_is_well_is_proven() {
        let verdict = after(|_, _, _, _| {});
        assert_eq!((verdict.status, verdict.remedy), (Status::Ok, None));
        assert!(
            verdict.says.iter().any(|says| says.contains(TOPIC)),
            "{:?}",
            verdict.says
        );
    }

    #[test]
    fn each_flaw_is_found() {
        type Change = fn(&mut Fed, &mut Drive, &mut Listeners, &mut BTreeMap<&'static str, String>);
        let cases: &[(Change, Status, &str)] = &[
            (
                |feed, _, _, _| {
                    let other = Metric {
                        dimensions: BTreeMap::from([("device".to_owned(), "nvme0n1p1".to_owned())]),
                        ..Metric::default()
                    };
                    *feed = Ok(Feed {
                        last: None,
                        others: vec![other],
                    });
                },
                Status::Failed,
                "device=nvme0n1p1",
            ),
            (
                |feed, _, _, _| *feed = Ok(Feed::default()),
                Status::Failed,
                "no value of its metric in 15 min",
            ),
            (
                |feed, _, _, _| *feed = Err("denied".to_owned()),
                Status::Unknown,
                "denied",
            ),
            (
                |_, drive, _, _| drive.fired = false,
                Status::Unknown,
                "no change to ALARM",
            ),
            (
                |_, drive, _, _| drive.done.clear(),
                Status::Unknown,
                "does not say",
            ),
            (
                |_, drive, _, _| drive.failed.push("Failed to execute action x".to_owned()),
                Status::Failed,
                "Failed to execute",
            ),
            (
                |_, drive, _, _| drive.left = Some("denied".to_owned()),
                Status::Failed,
                "NOT put back",
            ),
            (
                |_, drive, _, _| drive.error = Some("no answer".to_owned()),
                Status::Unknown,
                "no answer",
            ),
            (
                |_, _, listeners, _| *listeners = Listeners::NoTopic,
                Status::Failed,
                "does not exist",
            ),
            (
                |_, _, listeners, _| {
                    *listeners = Listeners::Known {
                        confirmed: Vec::new(),
                        pending: vec!["ops@example.com".to_owned()],
                    }
                },
                Status::Failed,
                "unconfirmed",
            ),
            (
                |_, _, _, fields| {
                    fields.insert("Dimensions", "InstanceId=i-2".to_owned());
                },
                Status::Failed,
                "i-2 instead of",
            ),
        ];
        for (change, status, says) in cases {
            let verdict = after(change);
            assert_eq!(verdict.status, *status, "{verdict:?}");
            assert!(verdict.says[0].contains(says), "{says}: {verdict:?}");
        }
    }

    #[test]
    fn an_alarm_that_is_not_there_is_found() {
        let rules = rules();
        let (feed, _, listeners) = well();
        let verdict = verdict(&Seen {
            rule: &rules[0],
            instance: "i-1",
            fields: None,
            feed,
            drive: None,
            listeners: &listeners,
        });
        assert_eq!(verdict.status, Status::Failed);
    }

    #[test]
    fn hosts_are_not_rebooted_by_a_test() {
        let with_deeds: Vec<AlarmRule> = rules()
            .into_iter()
            .filter(|rule| !deeds(&rule.actions).is_empty())
            .collect();
        assert_eq!(with_deeds.len(), 2, "recover and reboot");
        for rule in with_deeds {
            assert_eq!(deeds(&rule.actions).len(), 1);
            assert!(deeds(&rule.actions)[0].contains(":ec2:re"));
        }
    }

    #[test]
    fn history_is_read() {
        let item = |kind: &str, summary: &str| (kind.to_owned(), summary.to_owned());
        let mut drive = Drive::default();
        read_history(
            &mut drive,
            &[
                item("StateUpdate", "Alarm updated from OK to ALARM"),
                item("Action", &format!("Successfully executed action {TOPIC}")),
                item("Action", "Failed to execute action x. Received error: \"no\""),
                item("ConfigurationUpdate", "Alarm \"a\" updated"),
            ],
        );
        assert!(drive.fired);
        assert_eq!(drive.done, [TOPIC]);
        assert_eq!(drive.failed.len(), 1);
    }
}
