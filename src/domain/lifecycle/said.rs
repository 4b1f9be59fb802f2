//! What a host answers to a script of `lifecycle.sh`.

use serde::{Deserialize, Serialize};

/// An answer; what the work does not tell is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Said {
    /// Whether it was done.
    pub ok: bool,
    /// The work.
    pub did: String,
    /// For people; secrets are masked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// What the runner's container did before: `running`, `stopped` or `absent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// What the container of a second runner does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Image of the runner's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether jobs ended by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained: Option<bool>,
    /// What went off the platform: `runner`, `manager`, or `gone` where its owner had removed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unregistered: Option<String>,
    /// Whether nothing is left of a second runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<bool>,
    /// Whether there was nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing: Option<bool>,
    /// An upgrade that is not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Mark>,
    /// Jobs at once, as the runner itself says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// GiB of the root file system before it was grown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// GiB after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<f64>,
    /// Lines of a log that stand before the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<usize>,
    /// Whether earlier lines were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<bool>,
    /// Time of the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// An upgrade that a host has begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mark {
    /// The image of the second runner.
    pub image: String,
    /// `upgrade` or `rotate`.
    pub why: String,
    /// Whether the second runner has the deployment's tag already.
    pub promoted: bool,
}

impl Said {
    /// Reads what a script printed: its last line is JSON. None where it is not, as when the output was cut.
    pub fn read(stdout: &str) -> Option<Self> {
        let last = stdout.lines().rev().find(|line| !line.trim().is_empty())?;
        let mut said: Self = serde_json::from_str(last).ok()?;
        said.detail.retain(|c| c == '\n' || !c.is_control());
        Some(said)
    }

    /// Says what somebody should know of what was done.
    pub fn note(&self) -> Option<String> {
        let text = match (self.before, self.after, self.concurrent) {
            (Some(before), Some(after), _) if before < after => {
                format!("the root file system has {after} GiB instead of {before}")
            }
            (Some(_), Some(after), _) => format!("the root file system has {after} GiB"),
            (_, _, Some(jobs)) => format!("the runner itself says that it takes {jobs} jobs at once"),
            _ => return (!self.detail.is_empty()).then(|| self.detail.clone()),
        };
        Some(match self.detail.as_str() {
            "" => text,
            detail => format!("{text}; {detail}"),
        })
    }

    /// Returns the lines before the answer.
    pub fn lines(stdout: &str) -> Vec<String> {
        let mut lines: Vec<&str> = stdout.trim_end().lines().collect();
        lines.pop();
        let shown = |line: &&str| line.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        lines.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_answer() {
        let said = Said::read("a\nb\n{\"ok\":true,\"did\":\"logs\",\"lines\":2,\"new\":1}\n").expect("JSON");
        assert!(said.ok && said.lines == Some(2));
        assert_eq!(Said::lines("a\u{1b}[0m\nb\n{\"ok\":true}\n"), ["a[0m", "b"]);
        assert_eq!(Said::read("a\nb\n"), None);
        assert_eq!(Said::read(""), None);
        let hostile = Said::read("{\"ok\":false,\"detail\":\"a\\u001b]b\"}").expect("JSON");
        assert_eq!(hostile.detail, "a]b");
    }
}
