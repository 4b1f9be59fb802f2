//! The JSON Schema of a profile, for editors: completion, hover texts and ranges from the table of `fields`.

use serde_json::{Map, Value as Json, json};

use super::fields::{FIELDS, Field, Kind, Range, SECTIONS};
use super::value::{DEFAULT_WINDOW_S, MAX_BURST_PIPELINES, MAX_BURSTS, MAX_WINDOW_S};
use super::write::json_number;
use super::{builtin, builtin_names, write};

/// Returns the schema (draft 7, which editors' YAML plug-ins know).
pub fn json_schema() -> Json {
    let mut properties = Map::new();
    properties.insert(
        "extends".to_owned(),
        json!({
            "description": "The profile that gives every value this file does not set: a built-in name, or a file \
                            relative to this one. Without it, production.",
            "anyOf": [{ "enum": builtin_names() }, { "type": "string", "pattern": "/|\\.(yaml|yml|json)$" }],
            "default": "production",
        }),
    );
    // The defaults are production's, because that is what a file extends unless it says otherwise.
    let defaults = builtin("production");
    for section in SECTIONS {
        let mut keys = Map::new();
        for field in FIELDS.iter().filter(|field| field.section == section.name) {
            let mut schema = shape(field);
            schema.insert("description".to_owned(), description(field).into());
            if let Some(loaded) = &defaults
                && field.section != "profile"
            {
                schema.insert("default".to_owned(), write::json(field, &loaded.profile));
            }
            keys.insert(field.key.to_owned(), schema.into());
        }
        properties.insert(
            section.name.to_owned(),
            json!({
                "description": section.doc,
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": keys,
            }),
        );
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "dataops-infra workload profile",
        "description": "Describes a DataOps workload for `dataops-infra plan --workload FILE`. \
                        Every key may be left out; it then has the value of the profile that is extended.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn description(field: &Field) -> String {
    let mut text = field.doc.to_owned();
    if !field.unit.is_empty() {
        text = format!("{text} Unit: {}.", field.unit);
    }
    if field.section == "profile" {
        return text;
    }
    let why = if field.source.is_empty() {
        String::new()
    } else {
        format!(": {}", field.source)
    };
    format!("{text} Default [{}]{why}.", field.basis.word())
}

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

fn number(range: Range) -> Map<String, Json> {
    let least = if range.above_min {
        "exclusiveMinimum"
    } else {
        "minimum"
    };
    object(json!({ "type": "number", least: json_number(range.min), "maximum": json_number(range.max) }))
}

fn shape(field: &Field) -> Map<String, Json> {
    const FAMILY: &str = "^[a-z][a-z-]*[0-9][a-z0-9-]*$";
    const CPU: &str = "^([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]+)?(n|u|m|k)?$";
    const MEMORY: &str = "^([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$";
    match field.kind {
        Kind::Number(range) => number(range),
        Kind::Integer(min, max) => object(json!({ "type": "integer", "minimum": min, "maximum": max })),
        Kind::DivisorOf60 => object(json!({ "enum": [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60] })),
        Kind::Choice(words) => object(json!({ "enum": words })),
        Kind::Text(longest) => {
            object(json!({ "type": ["string", "number", "boolean"], "minLength": 1, "maxLength": longest }))
        }
        Kind::Family => object(json!({ "type": "string", "maxLength": 20, "pattern": FAMILY })),
        Kind::Weights => object(json!({
            "type": "array", "minItems": 24, "maxItems": 24,
            "items": { "type": "number", "minimum": 0, "maximum": 1_000_000_000 },
            "contains": { "exclusiveMinimum": 0 },
        })),
        Kind::Bursts => object(json!({
            "type": "array", "maxItems": MAX_BURSTS,
            "items": {
                "type": "object", "additionalProperties": false, "required": ["hour", "pipelines"],
                "properties": {
                    "hour": {
                        "description": "Hour of the day, local time.",
                        "type": "integer", "minimum": 0, "maximum": 23,
                    },
                    "pipelines": {
                        "description": "Pipelines that start in the window.",
                        "type": "integer", "minimum": 1, "maximum": MAX_BURST_PIPELINES,
                    },
                    "window_s": {
                        "description": "Length of the window in seconds, from the start of the hour.",
                        "type": "number", "minimum": 0, "maximum": json_number(MAX_WINDOW_S),
                        "default": json_number(DEFAULT_WINDOW_S),
                    },
                },
            },
        })),
        Kind::Speeds(range) => object(json!({
            "type": "object", "propertyNames": { "pattern": FAMILY }, "additionalProperties": number(range),
        })),
        Kind::Cpu(range) => object(json!({ "anyOf": [
            { "type": "string", "pattern": CPU },
            { "type": "number", "minimum": json_number(range.min / 1000.0), "maximum": json_number(range.max / 1000.0) },
        ] })),
        Kind::Memory(range) => object(json!({ "anyOf": [
            { "type": "string", "pattern": MEMORY },
            { "type": "number", "minimum": json_number(range.min * 1_048_576.0) },
        ] })),
    }
}
