//! What a host says after it was asked to drain.

use serde::Deserialize;

/// The end of a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Whether jobs still run.
    pub busy: bool,
    /// What happened, in a sentence.
    pub says: String,
}

#[derive(Deserialize)]
struct Said {
    drained: bool,
    unregistered: String,
    #[serde(default)]
    detail: String,
}

impl Drained {
    /// Reads what the script printed; its last line is JSON.
    pub fn read(output: &str) -> Self {
        let last = output.lines().rev().find(|line| !line.trim().is_empty());
        let said = last.and_then(|line| serde_json::from_str::<Said>(line).ok());
        let Some(said) = said else {
            return Self {
                busy: false,
                says:
                    "the host did not say whether its runner was unregistered; it may still be listed on the \
                       platform, where its owner can delete it"
                        .to_owned(),
            };
        };
        let detail: String = said
            .detail
            .chars()
            .filter(|c| !c.is_control())
            .take(300)
            .collect();
        let unregistered = match said.unregistered.as_str() {
            "runner" => "the runner is removed from the platform".to_owned(),
            "gone" => "its owner had removed the runner from the platform already".to_owned(),
            "manager" => "the runner's manager is removed from the platform; the runner that was created there remains, \
                          and its owner can delete it"
                .to_owned(),
            _ => format!("the runner was not unregistered ({detail}); it may still be listed on the platform"),
        };
        if said.drained {
            let jobs = if detail.contains("aborted") {
                "running jobs were aborted"
            } else {
                "jobs have finished"
            };
            Self {
                busy: false,
                says: format!("{jobs}; {unregistered}"),
            }
        } else {
            Self {
                busy: true,
                says: format!(
                    "{}; the same command goes on waiting, --drain-timeout says how long, --now aborts the jobs",
                    if detail.is_empty() {
                        "jobs still run".to_owned()
                    } else {
                        detail
                    }
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_what_happened() {
        let read = |text: &str| Drained::read(text);
        let done = read("x\n{\"drained\":true,\"unregistered\":\"runner\",\"detail\":\"\"}\n");
        assert!(!done.busy && done.says.contains("removed from the platform"));
        let busy = read("{\"drained\":false,\"unregistered\":\"no\",\"detail\":\"2 jobs run\"}");
        assert!(busy.busy && busy.says.starts_with("2 jobs run; the same command"));
        let gone = read("{\"drained\":true,\"unregistered\":\"gone\"}");
        assert!(!gone.busy && gone.says.contains("had removed"));
        assert!(read("").says.contains("did not say"));
    }
}
