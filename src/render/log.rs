//! What goes to stderr: errors, warnings and notes, as text or as one JSON line each.

use std::io::Write as _;

use super::style::{paint, printable};

/// How lines on stderr look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Whether the words `error` and `hint` are coloured.
    pub colour: bool,
}

/// Something to say on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `error`, `warning` or `note`.
    pub level: &'static str,
    /// What is the matter: the text, then its causes from the outermost in.
    pub chain: &'a [String],
    /// The next command or change to try.
    pub hint: Option<&'a str>,
    /// The code the program ends with, where this message is its end.
    pub exit_code: Option<u8>,
}

impl Log {
    /// Writes the message to stderr; there is nobody left to tell when that fails.
    pub fn say(self, message: &Message<'_>) {
        let _ = std::io::stderr().write_all(self.format(message).as_bytes());
    }

    /// Returns the message as it is written.
    pub fn format(self, message: &Message<'_>) -> String {
        let mut chain = message.chain.iter().map(|text| printable(text));
        let first = chain.next().unwrap_or_default();
        let causes: Vec<String> = chain.collect();
        if self.json {
            let mut line = serde_json::json!({ "level": message.level, "message": first });
            if !causes.is_empty() {
                line["causes"] = causes.into();
            }
            if let Some(hint) = message.hint {
                line["hint"] = hint.into();
            }
            if let Some(code) = message.exit_code {
                line["exit_code"] = code.into();
            }
            return format!("{line}\n");
        }
        let code = match message.level {
            "error" => "1;31",
            "warning" => "1;33",
            _ => "1;36",
        };
        let mut lines = vec![format!("{}: {first}", paint(message.level, code, self.colour))];
        for cause in causes {
            lines.push(format!("  caused by: {}", cause.replace('\n', "\n    ")));
        }
        if let Some(hint) = message.hint {
            lines.push(String::new());
            lines.push(format!(
                "{}: {}",
                paint("hint", "1;36", self.colour),
                printable(hint)
            ));
        }
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(chain: &[String]) -> Message<'_> {
        Message {
            level: "error",
            chain,
            hint: Some("dataops-infra workload list"),
            exit_code: Some(2),
        }
    }

    #[test]
    fn an_error_has_its_causes_and_a_hint_after_a_blank_line() {
        let chain = ["could not read a.yaml".to_owned(), "no such file".to_owned()];
        insta::assert_snapshot!(Log::default().format(&failure(&chain)), @r"
        error: could not read a.yaml
          caused by: no such file

        hint: dataops-infra workload list
        ");
    }

    #[test]
    fn an_error_in_json_is_one_line() {
        let chain = ["line 1\nline 2".to_owned()];
        let log = Log {
            json: true,
            colour: true,
        };
        insta::assert_snapshot!(
            log.format(&failure(&chain)),
            @r#"{"level":"error","message":"line 1\nline 2","hint":"dataops-infra workload list","exit_code":2}"#
        );
    }
}
