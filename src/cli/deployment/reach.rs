//! Hosts that are there: which they are, and what they answer to a script.

use std::time::Duration;

use serde_json::{Value, json};

use super::apply::Stop;
use super::args::WhichArgs;
use super::calls::{Ground, seen};
use super::select::select;
use super::wants::grounds;
use crate::aws::command;
use crate::aws::error::CallError;
use crate::cli::outcome::{Context, Exit, Failure};
use crate::domain::deployment::name::{Host, Name, Place};
use crate::domain::deployment::observed::{Instance, Observed};
use crate::domain::deployment::record::{Phase, Record};
use crate::domain::deployment::resource::instance::standing;
use crate::domain::deployment::user_data::described;
use crate::domain::lifecycle::said::Said;
use crate::domain::lifecycle::script::{Work, script};
use crate::domain::settings::Settings;

/// A deployment that is there.
#[derive(Debug)]
pub struct Reached {
    /// How to call.
    pub ground: Ground,
    /// Where.
    pub place: Place,
    /// Its name.
    pub name: Name,
    /// Its record.
    pub record: Record,
    /// The version of the record.
    pub version: i64,
    /// What there is of it.
    pub observed: Observed,
    /// Its hosts.
    pub hosts: Vec<There>,
}

/// A host that is there.
#[derive(Clone, Debug)]
pub struct There {
    /// Which one.
    pub host: Host,
    /// Its instance.
    pub it: Instance,
}

/// Finds the one deployment that is meant, by name, and where it is; it is not asked whether it is there.
///
/// # Errors
///
/// There is none, or more than one, or AWS is not set up.
pub async fn one(which: &WhichArgs, context: &Context, command: &str) -> Result<(Name, Ground), Failure> {
    let flags = Settings {
        name: which.name.clone(),
        region: context.region_flag.clone(),
        profile: context.profile_flag.clone(),
        ..Settings::default()
    };
    let meant = select(which, &flags, context, command)?;
    let [one] = meant.as_slice() else {
        let names: Vec<&str> = meant.iter().map(|one| one.name.as_str()).collect();
        return Err(Failure::new(
            Exit::BadInput,
            format!("several deployments are meant: {}", names.join(", ")),
        )
        .hint("name one of them with --name"));
    };
    let name = one.name.clone();
    let Some((ground, _)) = grounds(meant, context).await?.pop() else {
        return Err(Failure::new(Exit::BadInput, "no deployment is meant"));
    };
    Ok((name, ground))
}

/// Finds the deployment that is meant, with its hosts.
///
/// # Errors
///
/// There is none, or more than one, it is being removed, it has no host, or AWS cannot be read.
pub async fn reach(which: &WhichArgs, context: &Context, command: &str) -> Result<Reached, Failure> {
    let (name, ground) = one(which, context, command).await?;
    let names = std::slice::from_ref(&name);
    let word = command.split(' ').next().unwrap_or(command);
    let (place, mut seen) = seen(&ground, names, word).await?;
    let observed = seen.remove(&name).unwrap_or_default();
    let (record, version) = match &observed.record {
        Some((Ok(record), version)) => (record.clone(), *version),
        Some((Err(unreadable), _)) => return Err(Failure::new(Exit::Refused, unreadable.to_string())),
        None => {
            return Err(Failure::new(
                Exit::Refused,
                format!("there is no deployment {name} in {}", ground.region),
            )
            .hint("dataops-infra status --all lists those of the region"));
        }
    };
    if record.phase == Phase::Removing {
        return Err(
            Failure::new(Exit::Refused, format!("{name} is being removed")).hint(format!(
                "dataops-infra down --name {name} --region {} goes on with that",
                ground.region
            )),
        );
    }
    let hosts = Host::all(record.spec.count)
        .into_iter()
        .filter_map(|host| {
            let current = standing(&record, host, &observed).current?;
            Some(There {
                host,
                it: current.it.clone(),
            })
        })
        .collect();
    Ok(Reached {
        ground,
        place,
        name,
        record,
        version,
        observed,
        hosts,
    })
}

/// Why a host gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// It could not be asked, or did not run the script to its end.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The script ended, but without an answer.
    #[error("the script ended with exit code {exit} and without an answer{tail}")]
    NoAnswer {
        /// Its exit code.
        exit: i32,
        /// The end of what it complained about.
        tail: String,
    },
    /// The script cannot be made.
    #[error("the script for the host cannot be made: {0}")]
    Unrenderable(String),
    /// Somebody asked to stop.
    #[error("interrupted; the host goes on by itself with what it has begun")]
    Interrupted,
}

/// What a host said.
#[derive(Debug)]
pub struct Heard {
    /// The host.
    pub there: There,
    /// Its answer, with the lines before it.
    pub said: Result<(Said, Vec<String>), Unheard>,
}

impl Heard {
    /// Returns the answer, if there is one.
    pub fn answer(&self) -> Option<&Said> {
        self.said.as_ref().ok().map(|(said, _)| said)
    }

    /// Whether the host did what it was asked for.
    pub fn is_done(&self) -> bool {
        self.answer().is_some_and(|said| said.ok)
    }

    /// Says why it did not.
    pub fn why(&self) -> String {
        match &self.said {
            Ok((said, _)) if said.detail.is_empty() => "the host gives no reason".to_owned(),
            Ok((said, _)) => said.detail.clone(),
            Err(unheard) => unheard.to_string(),
        }
    }

    /// Returns it for a document.
    pub fn document(&self) -> Value {
        let mut value = json!({
            "address": self.there.host.address("host"),
            "instance_id": self.there.it.id,
        });
        let more = match &self.said {
            Ok((said, _)) => json!(said),
            Err(unheard) => json!({ "ok": false, "error": unheard.to_string() }),
        };
        if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
            value.extend(more);
        }
        value
    }
}

impl Reached {
    /// Refuses where not every host runs.
    ///
    /// # Errors
    ///
    /// A host is missing or does not run.
    pub fn all_run(&self) -> Result<(), Failure> {
        let up = |what: String| {
            Err(Failure::new(Exit::Refused, what).hint(format!(
                "dataops-infra up ec2 --name {} --region {} mends that",
                self.name, self.ground.region
            )))
        };
        if self.hosts.len() < self.record.spec.count as usize {
            return up(format!(
                "{} has {} of {} hosts",
                self.name,
                self.hosts.len(),
                self.record.spec.count
            ));
        }
        match self.hosts.iter().find(|there| there.it.state != "running") {
            Some(there) => up(format!("{} of {} is {}", there.it.id, self.name, there.it.state)),
            None => Ok(()),
        }
    }

    /// Asks a host, with the intent that the record shall have.
    pub async fn ask(&self, record: &Record, there: &There, work: &Work, stop: &Stop) -> Heard {
        let said = self.said(record, there, work, stop).await;
        Heard {
            there: there.clone(),
            said,
        }
    }

    async fn said(
        &self,
        record: &Record,
        there: &There,
        work: &Work,
        stop: &Stop,
    ) -> Result<(Said, Vec<String>), Unheard> {
        let script = described(record, &self.place, there.host, None, |host| script(host, work))
            .map_err(|error| Unheard::Unrenderable(error.to_string()))?;
        let within = Duration::from_secs(u64::from(work.seconds()));
        let clients = &self.ground.clients;
        let id = &there.it.id;
        let comment = format!("dataops-infra {} --name {}", work.word(), self.name);
        let asked = async {
            let command = command::send(clients, id, &script, within, &comment).await?;
            command::wait(clients, id, &command, within, |_| {}).await
        };
        let output = tokio::select! {
            output = asked => output?,
            () = stop.asked() => return Err(Unheard::Interrupted),
        };
        match output.last_line().and_then(|_| Said::read(&output.stdout)) {
            Some(said) => Ok((said, Said::lines(&output.stdout))),
            None => Err(Unheard::NoAnswer {
                exit: output.exit,
                tail: tail(&output),
            }),
        }
    }

    /// Asks hosts at the same time; the answers are in their order.
    pub async fn ask_all(&self, record: &Record, work: &Work, stop: &Stop) -> Vec<Heard> {
        let asked = self.hosts.iter().map(|there| self.ask(record, there, work, stop));
        futures_util::future::join_all(asked).await
    }

    /// Returns a command to try next, with the options that find the deployment again.
    pub fn command(&self, command: &str) -> String {
        let profile = self
            .ground
            .profile
            .as_ref()
            .map(|profile| format!(" --profile {profile}"))
            .unwrap_or_default();
        format!(
            "dataops-infra {command} --name {} --region {}{profile}",
            self.name, self.ground.region
        )
    }
}

fn tail(output: &command::Output) -> String {
    let text = if output.cut {
        "; its output was cut"
    } else {
        output.stderr.trim()
    };
    let line = text.lines().last().unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).take(300).collect();
    if line.is_empty() || output.cut {
        line
    } else {
        format!(": {line}")
    }
}
