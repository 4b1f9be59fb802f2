//! What a host says of itself in its parameter.

use serde::{Deserialize, Serialize};

use super::owner::Generation;

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// `waiting` before the host has spoken, then `boot`, `docker`, `registered`, `online`, or `failed`.
    pub stage: String,
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Life of the deployment that the host was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// The instance that speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Number of the runner on the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_id: Option<u64>,
    /// Jobs at once, as the host has set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// Seconds between asking for jobs, as the host has set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_interval: Option<u32>,
    /// Stage that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_stage: Option<String>,
    /// The last lines, secrets masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What `up` writes before the host speaks.
pub const WAITING: &str = "{\"stage\":\"waiting\"}";

impl Report {
    /// Reads a parameter; a text that is no report is taken for the name of a stage.
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self {
            stage: text.trim().chars().filter(|c| !c.is_control()).take(40).collect(),
            ..Self::default()
        })
    }

    /// Whether it is of this life and instance, as far as it says.
    pub fn is_of(&self, generation: &Generation, instance: Option<&str>) -> bool {
        let generation_fits = self
            .generation
            .as_deref()
            .is_none_or(|text| text == generation.as_str());
        let instance_fits = match (self.instance.as_deref(), instance) {
            (Some(is), Some(should)) => is == should,
            _ => true,
        };
        generation_fits && instance_fits
    }

    /// Whether the runner is online on this instance.
    pub fn is_online(&self, generation: &Generation, instance: Option<&str>) -> bool {
        instance.is_some() && self.stage == "online" && self.is_of(generation, instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_another_host_is_not_online() {
        let generation = Generation::from_bytes([1; 8]);
        let report = |text: &str| Report::read(text);
        assert!(report("{\"stage\":\"online\"}").is_online(&generation, Some("i-1")));
        assert!(report("online").is_online(&generation, Some("i-1")));
        assert!(!report("online").is_online(&generation, None));
        assert!(!report("{\"stage\":\"online\",\"instance\":\"i-2\"}").is_online(&generation, Some("i-1")));
        assert!(!report("{\"stage\":\"online\",\"generation\":\"x\"}").is_online(&generation, Some("i-1")));
        assert!(!report(WAITING).is_online(&generation, Some("i-1")));
        assert_eq!(report("a\u{7}b").stage, "ab");
    }
}
