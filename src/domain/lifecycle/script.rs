//! The scripts for hosts that are there: `templates/host/lifecycle.sh` with its programs inside.
//!
//! Sent whole each time, so a host that an older version made needs nothing new. No secret is among the values.

use serde_json::{Value, json};

pub use crate::domain::deployment::record::Why;
use crate::domain::host_script::{
    self, HELPER, HostScript, Unrenderable, compact, dns_suffix, fill, quote, registry_of, runner_settings,
    secret_call,
};

const SHELL: &str = include_str!("../../../templates/host/lifecycle.sh");
const PROGRAM: &str = include_str!("../../../templates/host/lifecycle.py");
const UPGRADE: &str = include_str!("../../../templates/host/upgrade.py");

/// Seconds that a script waits for another one on the same host, unless it waits for jobs anyway.
const PATIENCE: u32 = 60;

/// How long running jobs may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Seconds to finish; the runner takes no new ones.
    Within(u32),
    /// They are aborted.
    Now,
}

/// What is to be done on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Says what runs.
    Look,
    /// Starts the runner, and says whether it polls.
    Start,
    /// Lets it finish its jobs and stops it.
    Stop(Ending),
    /// The same, and starts it again.
    Restart(Ending),
    /// Prints its log.
    Logs {
        /// Lines from the end; none: all that are asked for otherwise.
        tail: Option<u32>,
        /// From when: a time or a span.
        since: Option<String>,
    },
    /// Writes the settings into `config.toml`; the runner reads it again by itself.
    Settings,
    /// Grows the root file system to its volume.
    Grow {
        /// Size that the volume has.
        gib: u32,
    },
    /// Begins the bootstrap anew where it has failed.
    Again,
    /// Puts a second runner beside the first.
    Try(Why),
    /// Puts the second in the place of the first.
    Finish(Why, Ending),
    /// Takes the second away again.
    Rollback(Ending),
}

impl Work {
    /// Returns the word that the script knows it by.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Start => "start",
            Self::Stop(_) => "stop",
            Self::Restart(_) => "restart",
            Self::Logs { .. } => "logs",
            Self::Settings => "settings",
            Self::Grow { .. } => "grow",
            Self::Again => "again",
            Self::Try(_) => "try",
            Self::Finish(..) => "finish",
            Self::Rollback(_) => "rollback",
        }
    }

    /// Returns the seconds that the script may take; pulling an image is the longest of what does not wait for jobs.
    pub fn seconds(&self) -> u32 {
        let jobs = |ending: &Ending| match ending {
            Ending::Within(seconds) => *seconds,
            Ending::Now => 120,
        };
        match self {
            Self::Look | Self::Again | Self::Logs { .. } => 120,
            Self::Settings => 300,
            Self::Grow { .. } | Self::Start => 900,
            Self::Stop(ending) | Self::Rollback(ending) => jobs(ending) + 900,
            Self::Restart(ending) => jobs(ending) + 1200,
            Self::Finish(_, ending) => jobs(ending) + 1800,
            Self::Try(_) => 7200,
        }
    }

    fn values(&self) -> Value {
        let jobs = |ending: &Ending| match ending {
            Ending::Within(seconds) => json!({ "seconds": seconds, "patience": (*seconds).max(PATIENCE) }),
            Ending::Now => json!({ "now": true }),
        };
        let why = |why: &Why| match why {
            Why::Upgrade => "upgrade",
            Why::Rotate => "rotate",
            Why::Nodes => "nodes",
        };
        match self {
            Self::Look | Self::Start | Self::Settings | Self::Again => json!({}),
            Self::Stop(ending) | Self::Restart(ending) | Self::Rollback(ending) => jobs(ending),
            Self::Logs { tail, since } => json!({ "tail": tail, "since": since }),
            Self::Grow { gib } => json!({ "gib": gib }),
            Self::Try(reason) => json!({ "why": why(reason) }),
            Self::Finish(reason, ending) => {
                let mut values = jobs(ending);
                values["why"] = why(reason).into();
                values
            }
        }
    }

    fn is_upgrade(&self) -> bool {
        matches!(
            self,
            Self::Look | Self::Try(_) | Self::Finish(..) | Self::Rollback(_)
        )
    }
}

/// Returns the script that does the work on a host.
///
/// # Errors
///
/// `Unrenderable` for values that no host could use.
pub fn script(host: &HostScript, work: &Work) -> Result<String, Unrenderable> {
    host_script::check(host)?;
    let image = match host.channel {
        Some(channel) => format!("{}:{channel}", host.runner_image),
        None => host.runner_image.to_owned(),
    };
    let registry_call = match &host.registry {
        Some(login) => secret_call("place of the registry's login", login, host.region)?,
        None => Vec::new(),
    };
    let trial = trial(host.agent_name, host.channel.unwrap_or("latest"));
    let mut values = json!({
        "do": work.word(),
        "agent": host.agent_name,
        "generation": host.generation,
        "region": host.region,
        "dns_suffix": dns_suffix(host.region),
        "report": host.report_parameter,
        "url": host.platform_url.trim_end_matches('/'),
        "tag": host.tag,
        "trial_name": trial,
        "trial_tag": self::trial(host.tag, host.channel.unwrap_or("latest")),
        "image": image,
        "job_image": host.default_job_image,
        "settings": runner_settings(host),
        "registry": registry_of(&image),
        "token_call": secret_call("place of the token", &host.token, host.region)?,
        "registry_call": registry_call,
        "seconds": 0,
        "patience": PATIENCE,
    });
    if let (Value::Object(values), Value::Object(more)) = (&mut values, work.values()) {
        values.extend(more);
    }
    let mut program = compact(PROGRAM, "\t");
    if work.is_upgrade() {
        program.push_str(&compact(UPGRADE, "\t"));
    }
    program.push_str(compact(HELPER, "\t").trim_end());
    let holes = [("WORK", quote(&values.to_string())), ("PROGRAM", program)];
    Ok(fill(SHELL, &holes))
}

/// Returns the name, or the tag, of a second runner while it is tried, as the vendor makes it: the name, a dash, and the
/// image's tag (<https://docs.dataops.live/docs/environment-management/runner-installation/runner-upgrade/>).
pub fn trial(name: &str, channel: &str) -> String {
    format!("{name}-{channel}")
}
