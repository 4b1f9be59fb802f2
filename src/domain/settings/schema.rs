//! The JSON Schema of `dataops-infra.yaml`, for editors: completion, hover texts and shapes from the table of `keys`.

use serde_json::{Map, Value as Json, json};

use super::keys::{Form, GROUPS, KEYS, Key, Kind, RETENTION_DAYS};
use super::parse::{SCHEMA, top_level};
use crate::domain::profile::{builtin_names, fields::FIELDS};

/// Returns the schema (draft 7, which editors' YAML plug-ins know).
pub fn schema() -> Json {
    let definitions: Map<String, Json> = top_level()
        .into_iter()
        .map(|name| (name.to_owned(), definition(name)))
        .collect();
    let references = |with_name: bool| {
        top_level()
            .into_iter()
            .filter(|name| with_name || *name != "name")
            .map(|name| {
                (
                    name.to_owned(),
                    json!({ "$ref": format!("#/definitions/{name}") }),
                )
            })
            .collect::<Map<String, Json>>()
    };
    let mut properties = Map::new();
    properties.insert(
        "schema".to_owned(),
        json!({ "description": "Version of this format.", "const": SCHEMA }),
    );
    properties.insert(
        "defaults".to_owned(),
        json!({
            "description": "What holds for every deployment that does not say otherwise.",
            "type": "object", "additionalProperties": false, "properties": references(false),
        }),
    );
    properties.insert(
        "deployments".to_owned(),
        json!({
            "description": "The deployments; name, region and profile together occur once.",
            "type": "array", "minItems": 1,
            "items": {
                "type": "object", "additionalProperties": false, "required": ["name"],
                "properties": references(true),
            },
        }),
    );
    properties.extend(references(true));
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "dataops-infra deployments",
        "description": "Describes one deployment by the keys at the top level, or several under `deployments`. \
                        Every key may be left out; flags win over this file.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "if": { "required": ["deployments"] },
        "then": { "propertyNames": { "enum": ["schema", "defaults", "deployments"] } },
        "else": { "not": { "required": ["defaults"] }, "minProperties": 1 },
        "definitions": definitions,
    })
}

/// Returns the schema of a key or group.
fn definition(name: &str) -> Json {
    let Some(group) = GROUPS.iter().find(|group| group.name == name) else {
        return KEYS
            .iter()
            .find(|key| key.name == name)
            .map_or(Json::Bool(false), property);
    };
    let members: Map<String, Json> = KEYS
        .iter()
        .filter(|key| key.split().0 == Some(name))
        .map(|key| (key.split().1.to_owned(), property(key)))
        .collect();
    let mut schema = object(json!({
        "description": group.doc, "additionalProperties": false, "properties": members,
    }));
    if group.one_of {
        schema.insert("type".to_owned(), "object".into());
        schema.insert("minProperties".to_owned(), 1.into());
        schema.insert("maxProperties".to_owned(), 1.into());
    } else {
        schema.insert("type".to_owned(), json!(["object", "null"]));
    }
    schema.into()
}

fn property(key: &Key) -> Json {
    let mut schema = match key.form {
        Form::One => shape(key.kind),
        Form::List(most) => object(json!({
            "type": "array", "minItems": 1, "maxItems": most, "uniqueItems": true, "items": shape(key.kind),
        })),
        Form::Map(most) => {
            let names = match key.kind {
                Kind::Override => {
                    json!({ "enum": FIELDS.iter().map(crate::domain::profile::Field::path).collect::<Vec<_>>() })
                }
                _ => json!({
                    "minLength": 1, "maxLength": 128,
                    "not": { "pattern": "^([Aa][Ww][Ss]:|[Dd][Aa][Tt][Aa][Oo][Pp][Ss]-[Ii][Nn][Ff][Rr][Aa]:|[Nn][Aa][Mm][Ee]$)" },
                }),
            };
            object(json!({
                "type": "object", "maxProperties": most, "propertyNames": names,
                "additionalProperties": shape(key.kind),
            }))
        }
    };
    schema.insert("description".to_owned(), key.doc.into());
    schema.insert("examples".to_owned(), json!([example(key)]));
    schema.into()
}

/// Returns the example of a key as the file holds it.
fn example(key: &Key) -> Json {
    let one = |text: &str| match key.kind {
        Kind::Flag => Json::Bool(text == "true"),
        Kind::Number(..) | Kind::Retention => super::shape::whole(text).map_or(Json::Null, Json::from),
        _ => text.into(),
    };
    match key.form {
        Form::One => one(key.example),
        Form::List(_) => json!([one(key.example)]),
        Form::Map(_) => {
            let (name, value) = key.example.split_once('=').unwrap_or((key.example, ""));
            json!({ name: value })
        }
    }
}

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// Returns the schema of one value. The patterns are wider than the checks where a pattern would not be readable.
fn shape(kind: Kind) -> Map<String, Json> {
    const ARN: &str = "^arn:aws[a-z-]*:";
    let pattern = |pattern: &str| object(json!({ "type": "string", "pattern": pattern }));
    match kind {
        Kind::Name => pattern("^[a-z][a-z0-9-]{1,38}[a-z0-9]$"),
        Kind::Choice(words) => object(json!({ "enum": words })),
        Kind::Flag => object(json!({ "type": "boolean" })),
        Kind::Number(min, max, _) => object(json!({ "type": "integer", "minimum": min, "maximum": max })),
        Kind::Retention => object(json!({ "enum": RETENTION_DAYS })),
        Kind::Region => pattern("^[a-z]{2,4}(-[a-z]+){1,2}-[0-9]{1,2}$"),
        Kind::Zone => pattern("^[a-z]{2,4}(-[a-z]+){1,2}-[0-9]{1,2}([a-z]|-[a-z0-9-]+)$"),
        Kind::AwsProfile => object(json!({ "type": ["string", "number"], "minLength": 1, "maxLength": 128 })),
        Kind::Workload => object(json!({
            "anyOf": [{ "enum": builtin_names() }, { "type": "string", "pattern": "/|\\.(yaml|yml|json)$" }],
        })),
        Kind::Override => object(json!({ "type": ["string", "number", "boolean"] })),
        Kind::Family => {
            object(json!({ "type": "string", "maxLength": 20, "pattern": "^[a-z][a-z-]*[0-9][a-z0-9-]*$" }))
        }
        Kind::InstanceType => pattern("^[a-z][a-z-]*[0-9][a-z0-9-]*\\.[a-z0-9-]+$"),
        Kind::Id(prefix, _) => pattern(&format!("^{prefix}([0-9a-f]{{8}}|[0-9a-f]{{17}})$")),
        Kind::Parameter => pattern(&format!(
            "{ARN}ssm:[a-z0-9-]+:[0-9]{{12}}:parameter/|^[A-Za-z0-9_./-]+(:[A-Za-z0-9_.-]+)?$"
        )),
        Kind::Secret => pattern(&format!(
            "{ARN}secretsmanager:[a-z0-9-]+:[0-9]{{12}}:secret:|^[A-Za-z0-9/_+=.@-]+$"
        )),
        Kind::KmsKey => pattern(&format!(
            "{ARN}kms:[a-z0-9-]+:[0-9]{{12}}:(key|alias)/|^alias/[A-Za-z0-9/_-]+$|^(mrk-[0-9a-f]{{32}}|[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})$"
        )),
        Kind::File | Kind::Chart => {
            object(json!({ "type": ["string", "number"], "minLength": 1, "not": { "pattern": "^~|^-$" } }))
        }
        Kind::Variable => pattern("^[A-Za-z_][A-Za-z0-9_]*$"),
        Kind::Url => pattern("^https?://[^/?#@\\s]+([/?][^#\\s]*)?$"),
        Kind::Image => pattern("^[a-z0-9][A-Za-z0-9._:/@-]*$"),
        Kind::Channel => object(json!({
            "type": ["string", "number"], "maxLength": 128, "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
        })),
        Kind::Topic => pattern(&format!(
            "{ARN}sns:[a-z0-9-]+:[0-9]{{12}}:[A-Za-z0-9_-]{{1,256}}$"
        )),
        Kind::Address => pattern("^(https://[^/?#@\\s]+([/?][^#\\s]*)?|[^@\\s]+@[^@\\s]+\\.[^@\\s]+)$"),
        Kind::Ttl => pattern("^[1-9][0-9]*[mhd]$"),
        Kind::Tag => object(json!({ "type": ["string", "number", "boolean"], "maxLength": 256 })),
        Kind::Cluster => object(json!({
            "type": ["string", "number"], "maxLength": 100, "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*$",
        })),
        // YAML reads 1.34 as a number.
        Kind::Kubernetes => object(json!({ "type": ["string", "number"], "pattern": "^1\\.[0-9]{1,3}$" })),
        Kind::Cidr => pattern("^([0-9]{1,3}\\.){3}[0-9]{1,3}/([0-9]|[12][0-9]|3[0-2])$"),
        Kind::Principal => pattern("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9/_+=,.@-]+$"),
        Kind::Policy => pattern("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9/_+=,.@-]+$"),
        Kind::Object(longest, _) => object(json!({
            "type": ["string", "number"], "maxLength": longest, "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        })),
        Kind::Repository => pattern("^(https|oci)://[^/?#@\\s]+(/[^#\\s]*)?$"),
        Kind::ChartVersion => pattern("^v?[0-9]+\\.[0-9]+\\.[0-9]+([+-][A-Za-z0-9.+-]+)?$"),
    }
}
