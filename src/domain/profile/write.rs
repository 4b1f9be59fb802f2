//! A profile → YAML that parses back to the same profile, and values as the answer shows them.

use std::fmt::Write as _;

use super::fields::{FIELDS, Field, Kind, SECTIONS, Value};
use super::problem::is_printable;
use super::{Profile, quantity};

/// Writes a complete file.
pub fn to_yaml(profile: &Profile) -> String {
    to_yaml_with(profile, &|_| None)
}

/// Writes a complete file with a comment above each key for which `comments` has one.
///
/// `comments` gets the full key, such as `job.rss_median_mib`; a comment may have several lines.
pub fn to_yaml_with(profile: &Profile, comments: &dyn Fn(&str) -> Option<String>) -> String {
    let mut yaml = String::new();
    for section in SECTIONS {
        if !yaml.is_empty() {
            yaml.push('\n');
        }
        let _ = writeln!(yaml, "{}:", section.name);
        for field in FIELDS.iter().filter(|field| field.section == section.name) {
            for line in comments(&field.path()).unwrap_or_default().lines() {
                let line: String = line.chars().filter(|c| is_printable(*c)).collect();
                let _ = writeln!(yaml, "  # {line}");
            }
            let _ = writeln!(yaml, "  {}: {}", field.key, yaml_value(field, profile));
        }
    }
    yaml
}

fn yaml_value(field: &Field, profile: &Profile) -> String {
    match field.value(profile) {
        Value::Number(number) => match field.kind {
            Kind::Cpu(_) => quantity::write_cpu(number),
            Kind::Memory(_) => quantity::write_memory(number),
            _ => number.to_string(),
        },
        Value::Integer(number) => number.to_string(),
        Value::Text(text) if matches!(field.kind, Kind::Text(_)) => double_quoted(&text),
        Value::Text(word) => word.into_owned(),
        Value::Weights(weights) => {
            format!("[{}]", weights.map(|weight| weight.to_string()).join(", "))
        }
        Value::Bursts(bursts) => {
            let bursts = bursts.iter().map(|burst| {
                let (hour, pipelines, window) = (burst.hour, burst.pipelines, burst.window_s);
                format!("{{hour: {hour}, pipelines: {pipelines}, window_s: {window}}}")
            });
            format!("[{}]", bursts.collect::<Vec<_>>().join(", "))
        }
        Value::Speeds(speeds) => {
            let speeds = speeds.iter().map(|(family, speed)| format!("{family}: {speed}"));
            format!("{{{}}}", speeds.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Writes text between double quotes; whatever YAML might read differently becomes an escape.
fn double_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            c if c.is_alphanumeric() => quoted.push(c),
            c => {
                let _ = write!(quoted, "\\U{:08X}", c as u32);
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Returns the value of a field as a person reads it, without its unit.
pub fn shown(field: &Field, profile: &Profile) -> String {
    match field.value(profile) {
        Value::Text(text) => text.into_owned(),
        Value::Weights(weights) => weights.map(|weight| weight.to_string()).join(" "),
        Value::Bursts(bursts) if bursts.is_empty() => "none".to_owned(),
        Value::Bursts(bursts) => bursts
            .iter()
            .map(|burst| {
                format!(
                    "{:02}:00 {} pipelines within {} s",
                    burst.hour, burst.pipelines, burst.window_s
                )
            })
            .collect::<Vec<_>>()
            .join(", "),
        Value::Speeds(speeds) if speeds.is_empty() => "none".to_owned(),
        Value::Speeds(speeds) => speeds
            .iter()
            .map(|(family, speed)| format!("{family} {speed}"))
            .collect::<Vec<_>>()
            .join(", "),
        Value::Number(_) | Value::Integer(_) => yaml_value(field, profile),
    }
}

/// Returns the value of a field for JSON documents; quantities are text, as in the file.
pub fn json(field: &Field, profile: &Profile) -> serde_json::Value {
    match field.value(profile) {
        Value::Number(_) if matches!(field.kind, Kind::Cpu(_) | Kind::Memory(_)) => {
            yaml_value(field, profile).into()
        }
        Value::Number(number) => json_number(number),
        Value::Integer(number) => number.into(),
        Value::Text(text) => text.into_owned().into(),
        Value::Weights(weights) => weights.iter().copied().map(json_number).collect(),
        Value::Bursts(bursts) => bursts
            .iter()
            .map(|burst| {
                serde_json::json!({
                    "hour": burst.hour, "pipelines": burst.pipelines, "window_s": json_number(burst.window_s),
                })
            })
            .collect(),
        Value::Speeds(speeds) => speeds
            .into_iter()
            .map(|(family, speed)| (family, json_number(speed)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// Writes whole numbers as such: 240, not 240.0.
pub(super) fn json_number(number: f64) -> serde_json::Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        (number as i64).into()
    } else {
        number.into()
    }
}
