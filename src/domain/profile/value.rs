//! The value of one key: YAML → a number, word, list or quantity that is in range, or what is wrong with it.

use super::fields::{Field, Kind, Range, Value};
use super::node::{Content, Node};
use super::problem::{Problems, bare, is_printable, quoted};
use super::suggest::{family_hint, nearest, number_hint, respell, share_hint};
use super::{Burst, quantity};

/// Bursts of a day at most.
pub(super) const MAX_BURSTS: usize = 200;
/// Families with a speed of their own at most.
const MAX_SPEEDS: usize = 500;
/// AWS services that people name as a target and that `explain` refuses with reasons.
const REFUSED_TARGETS: &[&str] = &["ecs", "fargate", "app-runner", "batch", "lambda", "beanstalk"];
/// Pipelines that start in one burst at most.
pub(super) const MAX_BURST_PIPELINES: u32 = 1_000_000;
/// Longest window of a burst, seconds.
pub(super) const MAX_WINDOW_S: f64 = 86_400.0;
/// Window of a burst that names none, seconds.
pub(super) const DEFAULT_WINDOW_S: f64 = 300.0;

/// Reads the value of one key.
pub(super) struct Reader<'a, 'p> {
    pub(super) field: &'static Field,
    pub(super) path: String,
    pub(super) problems: &'a mut Problems<'p>,
}

impl Reader<'_, '_> {
    /// Returns the value, or reports why there is none.
    pub(super) fn value(&mut self, node: &Node) -> Option<Value> {
        let path = self.path.clone();
        match self.field.kind {
            Kind::Number(range) => self.number(node, &path, range).map(Value::Number),
            Kind::Integer(min, max) => self.integer(node, &path, min, max).map(Value::Integer),
            Kind::DivisorOf60 => {
                let minutes = self.integer(node, &path, 1, 60)?;
                if 60 % minutes == 0 {
                    return Some(Value::Integer(minutes));
                }
                self.refuse(node, &path, format!("{minutes} does not divide 60"), None)
            }
            Kind::Choice(words) => {
                let text = self.word(node)?;
                if let Some(word) = words.iter().find(|word| **word == text) {
                    return Some(Value::Text((*word).into()));
                }
                let lower = text.to_lowercase().replace('_', "-");
                let suggestion = if self.field.key == "target" && REFUSED_TARGETS.contains(&lower.as_str()) {
                    Some(format!("`dataops-infra explain {lower}` says why"))
                } else {
                    nearest(&lower, words.iter().copied()).map(|near| format!("did you mean `{near}`?"))
                };
                self.refuse(node, &path, format!("{} is not known", quoted(text)), suggestion)
            }
            Kind::Text(longest) => {
                let text = self.word(node)?.split_whitespace().collect::<Vec<_>>().join(" ");
                if text.is_empty() {
                    return self.refuse(node, &path, "is empty".to_owned(), None);
                }
                if !text.chars().all(is_printable) {
                    return self.refuse(node, &path, "holds characters that do not print".to_owned(), None);
                }
                let length = text.chars().count();
                if length > longest {
                    return self.refuse(node, &path, format!("has {length} characters"), None);
                }
                Some(Value::Text(text.into()))
            }
            Kind::Family => {
                let text = self.word(node)?;
                if is_family(text) {
                    return Some(Value::Text(text.to_owned().into()));
                }
                self.refuse(
                    node,
                    &path,
                    format!("{} is no instance family", quoted(text)),
                    family_hint(text),
                )
            }
            Kind::Weights => self.weights(node),
            Kind::Bursts => self.bursts(node),
            Kind::Speeds(range) => self.speeds(node, range),
            Kind::Cpu(range) => self.quantity(node, range, quantity::millicpus, quantity::write_cpu),
            Kind::Memory(range) => self.quantity(node, range, quantity::mebibytes, quantity::write_memory),
        }
    }

    /// Reports that a value does not fit; the expectation is that of the key.
    fn refuse<T>(
        &mut self,
        node: &Node,
        path: &str,
        message: String,
        suggestion: Option<String>,
    ) -> Option<T> {
        let expected = expectation(&self.field.kind, self.field.unit);
        self.problems
            .add(node.place, path, message, Some(expected), suggestion);
        None
    }

    /// Returns the text of a scalar.
    fn word<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.content {
            Content::Scalar { text, .. } if !node.is_null() => Some(text),
            _ => {
                let path = self.path.clone();
                self.refuse(node, &path, has(node), None)
            }
        }
    }

    fn number(&mut self, node: &Node, path: &str, range: Range) -> Option<f64> {
        self.number_as(
            node,
            path,
            range,
            &expectation(&Kind::Number(range), self.field.unit),
        )
    }

    fn number_as(&mut self, node: &Node, path: &str, range: Range, expected: &str) -> Option<f64> {
        let (message, suggestion) = match &node.content {
            Content::Scalar { text, plain: true } if !node.is_null() => match quantity::decimal(text) {
                Some(number) if range.contains(number) => return Some(number),
                Some(number) => (
                    format!("{} is out of range", quoted(text)),
                    share_hint(number, range),
                ),
                None if is_beyond_floats(text) => (format!("{} is not a finite number", quoted(text)), None),
                None => (
                    format!("{} is not a number", quoted(text)),
                    number_hint(text, self.field.unit),
                ),
            },
            Content::Scalar { text, .. } if quantity::decimal(text).is_some() => {
                (has(node), Some("remove the quotes".to_owned()))
            }
            _ => (has(node), None),
        };
        self.problems
            .add(node.place, path, message, Some(expected.to_owned()), suggestion);
        None
    }

    fn integer(&mut self, node: &Node, path: &str, min: u32, max: u32) -> Option<u32> {
        let range = Range {
            min: f64::from(min),
            max: f64::from(max),
            above_min: false,
        };
        let expected = expectation(&Kind::Integer(min, max), self.field.unit);
        let number = self.number_as(node, path, range, &expected)?;
        if number.fract() != 0.0 {
            self.problems.add(
                node.place,
                path,
                format!("{number} is not a whole number"),
                Some(expected),
                None,
            );
            return None;
        }
        // In range and whole, hence exact.
        Some(number as u32)
    }

    fn quantity(
        &mut self,
        node: &Node,
        range: Range,
        read: fn(&str) -> Option<f64>,
        write: fn(f64) -> String,
    ) -> Option<Value> {
        let path = self.path.clone();
        let text = self.word(node)?;
        let memory = matches!(self.field.kind, Kind::Memory(_));
        // `448` is 448 bytes and `250` is 250 CPUs to Kubernetes, `400m` is less than a byte; none of it was meant.
        let bare = quantity::decimal(text).or_else(|| quantity::decimal(text.strip_suffix('m')?));
        let suspicious = |number: f64| memory && number < 1.0 && bare.is_some_and(|bare| bare != 0.0);
        match read(text) {
            Some(number) if range.contains(number) && !suspicious(number) => Some(Value::Number(number)),
            Some(_) => {
                let (meant, unit) = match bare {
                    Some(number) if range.contains(number) => {
                        (Some(write(number)), if memory { "bytes" } else { "CPUs" })
                    }
                    _ => (None, ""),
                };
                let message = match &meant {
                    Some(_) if !text.ends_with('m') => {
                        format!("{} means {text} {unit} to Kubernetes", quoted(text))
                    }
                    _ => format!("{} is out of range", quoted(text)),
                };
                self.refuse(
                    node,
                    &path,
                    message,
                    meant.map(|meant| format!("did you mean `{meant}`?")),
                )
            }
            None => {
                let suggestion =
                    respell(text).filter(|near| read(near).is_some_and(|number| range.contains(number)));
                let suggestion = suggestion.map(|near| format!("did you mean `{near}`?"));
                self.refuse(
                    node,
                    &path,
                    format!("{} is no Kubernetes quantity", quoted(text)),
                    suggestion,
                )
            }
        }
    }

    fn weights(&mut self, node: &Node) -> Option<Value> {
        let path = self.path.clone();
        let Content::Sequence(items) = &node.content else {
            return self.refuse(node, &path, has(node), None);
        };
        if items.len() != 24 {
            return self.refuse(node, &path, format!("has {} weights", items.len()), None);
        }
        let range = Range {
            min: 0.0,
            max: 1e9,
            above_min: false,
        };
        let mut weights = [0.0; 24];
        let mut complete = true;
        for (hour, item) in items.iter().enumerate() {
            match self.number_as(item, &format!("{path}[{hour}]"), range, &span_of(range, "")) {
                Some(weight) => weights[hour] = weight,
                None => complete = false,
            }
        }
        if !complete {
            return None;
        }
        if weights.iter().sum::<f64>() < 1e-9 {
            return self.refuse(node, &path, "all weights are 0".to_owned(), None);
        }
        Some(Value::Weights(weights))
    }

    fn bursts(&mut self, node: &Node) -> Option<Value> {
        let path = self.path.clone();
        if node.is_null() {
            return self.refuse(
                node,
                &path,
                "has no value".to_owned(),
                Some("write [] for none".to_owned()),
            );
        }
        let Content::Sequence(items) = &node.content else {
            return self.refuse(node, &path, has(node), None);
        };
        if items.len() > MAX_BURSTS {
            return self.refuse(node, &path, format!("has {} bursts", items.len()), None);
        }
        let mut bursts = Vec::new();
        for (number, item) in items.iter().enumerate() {
            bursts.push(self.burst(item, &format!("{path}[{number}]")));
        }
        bursts.into_iter().collect::<Option<Vec<_>>>().map(Value::Bursts)
    }

    fn burst(&mut self, node: &Node, path: &str) -> Option<Burst> {
        let Content::Mapping(entries) = &node.content else {
            let expected = "a mapping with hour, pipelines and window_s".to_owned();
            self.problems
                .add(node.place, path, has(node), Some(expected), None);
            return None;
        };
        let mut bad = false;
        let mut number = |key: &str, range: Range, unit: &str, whole: bool| -> Option<f64> {
            let entry = entries.iter().find(|entry| entry.key == key)?;
            let path = format!("{path}.{key}");
            let expected = if whole {
                format!("a whole number, {}", span_of(range, unit))
            } else {
                span_of(range, unit)
            };
            let number = self.number_as(&entry.value, &path, range, &expected);
            match number {
                Some(number) if whole && number.fract() != 0.0 => {
                    let message = format!("{number} is not a whole number");
                    self.problems
                        .add(entry.value.place, path, message, Some(expected), None);
                    bad = true;
                    None
                }
                Some(number) => Some(number),
                None => {
                    bad = true;
                    None
                }
            }
        };
        let range = |min, max| Range {
            min,
            max,
            above_min: false,
        };
        let hour = number("hour", range(0.0, 23.0), "", true);
        let pipelines = number(
            "pipelines",
            range(1.0, f64::from(MAX_BURST_PIPELINES)),
            "pipelines",
            true,
        );
        let window_s = number("window_s", range(0.0, MAX_WINDOW_S), "s", false);
        let known = ["hour", "pipelines", "window_s"];
        for entry in entries
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()))
        {
            bad = true;
            let near = nearest(&entry.key, known.into_iter()).map(|near| format!("did you mean `{near}`?"));
            let path = format!("{path}.{}", bare(&entry.key));
            self.problems
                .add(entry.place, path, "unknown key", Some(known.join(", ")), near);
        }
        for key in ["hour", "pipelines"] {
            if !entries.iter().any(|entry| entry.key == key) {
                self.problems
                    .add(node.place, path, format!("`{key}` is missing"), None, None);
                bad = true;
            }
        }
        if bad {
            return None;
        }
        Some(Burst {
            hour: hour? as u32,
            pipelines: pipelines? as u32,
            window_s: window_s.unwrap_or(DEFAULT_WINDOW_S),
        })
    }

    fn speeds(&mut self, node: &Node, range: Range) -> Option<Value> {
        let path = self.path.clone();
        let Content::Mapping(entries) = &node.content else {
            let suggestion = node.is_null().then(|| "write {} for none".to_owned());
            return self.refuse(node, &path, has(node), suggestion);
        };
        if entries.len() > MAX_SPEEDS {
            return self.refuse(node, &path, format!("has {} families", entries.len()), None);
        }
        let mut speeds = Vec::new();
        let mut complete = true;
        for entry in entries {
            if !is_family(&entry.key) {
                let message = format!("{} is no instance family", quoted(&entry.key));
                self.problems.add(
                    entry.place,
                    &path,
                    message,
                    Some(FAMILY.to_owned()),
                    family_hint(&entry.key),
                );
                complete = false;
                continue;
            }
            match self.number(&entry.value, &format!("{path}.{}", entry.key), range) {
                Some(speed) => speeds.push((entry.key.clone(), speed)),
                None => complete = false,
            }
        }
        complete.then_some(Value::Speeds(speeds))
    }
}

/// Says what stands in the place of a value.
fn has(node: &Node) -> String {
    if node.is_null() {
        "has no value".to_owned()
    } else {
        format!("holds {}", node.describe())
    }
}

/// What an instance family looks like.
const FAMILY: &str = "a family such as c5 or m6i";

/// Returns whether text looks like an instance family.
pub(super) fn is_family(text: &str) -> bool {
    text.len() <= 20
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().any(|b| b.is_ascii_digit())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Returns whether text stands for a number that no profile may hold: `.nan`, `.inf`, `1e999`.
fn is_beyond_floats(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let word = unsigned.strip_prefix('.').unwrap_or(unsigned);
    word.eq_ignore_ascii_case("nan")
        || word.eq_ignore_ascii_case("inf")
        || (unsigned.starts_with(|c: char| c.is_ascii_digit())
            && text.parse::<f64>().is_ok_and(f64::is_infinite))
}

/// Returns an interval in words.
fn span_of(range: Range, unit: &str) -> String {
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    if range.above_min {
        format!("more than {} and at most {}{unit}", range.min, range.max)
    } else {
        format!("{} to {}{unit}", range.min, range.max)
    }
}

/// Returns what a key may hold, in words.
pub(super) fn expectation(kind: &Kind, unit: &str) -> String {
    match kind {
        Kind::Number(range) => format!("a number, {}", span_of(*range, unit)),
        Kind::Integer(min, max) => {
            let range = Range {
                min: f64::from(*min),
                max: f64::from(*max),
                above_min: false,
            };
            format!("a whole number, {}", span_of(range, unit))
        }
        Kind::DivisorOf60 => "one of 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60 min".to_owned(),
        Kind::Choice(words) => words.join(" or "),
        Kind::Text(longest) => format!("one line of at most {longest} characters"),
        Kind::Family => FAMILY.to_owned(),
        Kind::Weights => "24 numbers from 0 up, one for each hour, not all 0".to_owned(),
        Kind::Bursts => format!("a list of at most {MAX_BURSTS} mappings with hour, pipelines and window_s"),
        Kind::Speeds(range) => format!("a mapping from family to speed, {}", span_of(*range, unit)),
        Kind::Cpu(range) => {
            format!(
                "a quantity such as 250m or 0.5, {}m to {} CPUs",
                range.min,
                range.max / 1000.0
            )
        }
        Kind::Memory(range) => {
            format!(
                "a quantity such as 448Mi or 1Gi, {}Mi to {}Ti",
                range.min,
                range.max / 1_048_576.0
            )
        }
    }
}
