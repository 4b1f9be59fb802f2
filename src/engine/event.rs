//! What happens while steps are taken, for whoever shows it.

use serde::Serialize;

use crate::domain::deployment::step::Action;

/// Something that happened to a step of a deployment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The deployment.
    pub deployment: String,
    /// Address of the step.
    pub address: String,
    /// Kind of resource.
    pub kind: &'static str,
    /// What is done.
    pub action: Action,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// It begins.
    Started,
    /// Something else is tried.
    Trying {
        /// What, and why.
        attempt: String,
    },
    /// It is tried again later.
    Retrying {
        /// What came in between.
        because: String,
        /// Seconds until then.
        in_seconds: f64,
    },
    /// It is waited for.
    Waiting {
        /// What can be seen.
        evidence: String,
        /// Seconds so far.
        seconds: f64,
    },
    /// It is done.
    Done {
        /// Seconds it took.
        seconds: f64,
        /// What somebody should know.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// It failed.
    Failed {
        /// Why.
        cause: String,
    },
}

/// Where events go.
pub type Sink = tokio::sync::mpsc::UnboundedSender<Event>;
