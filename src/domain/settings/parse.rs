//! The file `dataops-infra.yaml` → the settings of each deployment, or everything that is wrong with it.

use std::collections::BTreeMap;

use super::check::{self, Refusal, SECRETS_ARE_NAMED, expectation, masked};
use super::keys::{Form, GROUPS, Group, KEYS, Key, Kind, Value};
use super::node::{self, Content, Entry, MAX_BYTES, Node};
use super::problem::{self, Place, Problems, bare, quoted};
use super::{Problem, Settings, SettingsErrors, contradictions};
use crate::domain::profile::nearest;

/// The schema that a file may name.
pub const SCHEMA: &str = "dataops-infra/deployments/v1";

/// What people write for a key when they do not know its name.
const SYNONYMS: &[(&str, &str)] = &[
    ("type", "instance_type"),
    ("size", "instance_type"),
    ("instances", "count"),
    ("hosts", "count"),
    ("concurrent", "concurrency"),
    ("disk", "disk_gib"),
    ("disk_size", "disk_gib"),
    ("volume_size", "disk_gib"),
    ("vpc_id", "vpc"),
    ("availability_zones", "zones"),
    ("aws_profile", "profile"),
    ("aws_region", "region"),
    ("email", "notify"),
    ("emails", "notify"),
    ("image", "runner_image"),
    ("runner_version", "channel"),
    ("version", "channel"),
    ("sns_topic", "topic"),
    ("lease", "ttl"),
    ("overrides", "set"),
    ("labels", "tags"),
];

/// Reads the file; `file` is the name shown in messages.
///
/// The deployments are in the order of the file, with `defaults` already laid under each. A file that describes a
/// single deployment at its top level gives one, perhaps without a name. Relative paths stay as they are written.
///
/// # Errors
///
/// Everything that is wrong with the text, in the order of the file.
pub fn parse(text: &str, file: &str) -> Result<Vec<Settings>, SettingsErrors> {
    let mut problems = Problems::new(file);
    let deployments = read(text, &mut problems);
    if problems.is_empty() {
        Ok(deployments)
    } else {
        Err(shared(problems.into_errors()))
    }
}

/// Reads the file from bytes that may be anything: too many, binary, in another encoding.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_bytes(bytes: &[u8], file: &str) -> Result<Vec<Settings>, SettingsErrors> {
    let refuse = |place: Place, message: &str| {
        let mut problems = Problems::new(file);
        problems.add(place, "", message, Some("UTF-8 text".to_owned()), None);
        Err(shared(problems.into_errors()))
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return refuse(Place::default(), "is UTF-16");
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, file),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            if before.contains(&0) {
                return refuse(Place::default(), "is a binary file");
            }
            let before = String::from_utf8_lossy(before);
            let last = before.rsplit('\n').next().unwrap_or_default();
            let place = Place {
                line: 1 + before.matches('\n').count() as u32,
                column: 1 + last.chars().count() as u32,
            };
            refuse(place, "is not UTF-8 text from here on")
        }
    }
}

/// Returns the problems with what looks like a secret hidden once more.
fn shared(errors: problem::ProfileErrors) -> SettingsErrors {
    let problems = errors.problems.into_iter().map(|problem| Problem {
        file: problem.file,
        line: problem.line,
        column: problem.column,
        key: masked(&problem.key),
        message: masked(&problem.message),
        expected: problem.expected,
        suggestion: problem.suggestion.as_deref().map(masked),
    });
    SettingsErrors {
        file: errors.file,
        problems: problems.collect(),
    }
}

/// What was read of one deployment or of the defaults.
#[derive(Clone, Debug, Default)]
struct Draft {
    settings: Settings,
    /// Path of the keys, such as `deployments[0].`; empty at the top level.
    prefix: String,
    /// Where it begins.
    place: Place,
    /// Where each key has its value, wrong ones included.
    places: BTreeMap<&'static str, Place>,
}

fn read(text: &str, problems: &mut Problems<'_>) -> Vec<Settings> {
    let none = Vec::new();
    let whole = Place::default();
    if text.len() > MAX_BYTES {
        let message = format!("is larger than {} KiB", MAX_BYTES / 1024);
        problems.add(whole, "", message, Some("a file of a few KiB".to_owned()), None);
        return none;
    }
    if text.contains('\0') {
        problems.add(whole, "", "is a binary file", Some("UTF-8 text".to_owned()), None);
        return none;
    }
    let outline = "the keys of a deployment, or `deployments` with a list of them";
    let root = match node::read(text, problems) {
        Some(root) if !root.is_null() => root,
        _ => {
            if problems.is_empty() {
                problems.add(whole, "", "is empty", Some(outline.to_owned()), None);
            }
            return none;
        }
    };
    let Content::Mapping(entries) = &root.content else {
        let message = format!("holds {}", described(&root));
        problems.add(root.place, "", message, Some(outline.to_owned()), None);
        return none;
    };
    let (about_file, keys): (Vec<&Entry>, Vec<&Entry>) = entries
        .iter()
        .partition(|entry| matches!(entry.key.as_str(), "schema" | "defaults" | "deployments"));
    let named = |key: &str| about_file.iter().find(|entry| entry.key == key);
    if let Some(entry) = named("schema")
        && !matches!(&entry.value.content, Content::Scalar { text, .. } if text == SCHEMA)
    {
        let message = format!("{} is not known", described(&entry.value));
        problems.add(
            entry.value.place,
            "schema",
            message,
            Some(SCHEMA.to_owned()),
            None,
        );
    }
    let mut defaults = Draft::default();
    if let Some(entry) = named("defaults") {
        defaults = read_deployment(&entry.value, "defaults", problems);
        check_together(&defaults, &Draft::default(), problems);
        if named("deployments").is_none() {
            let suggestion = (!keys.is_empty()).then(|| "move its keys to the top level".to_owned());
            let expected = Some("`deployments` with a list".to_owned());
            problems.add(
                entry.place,
                "defaults",
                "stands without `deployments`",
                expected,
                suggestion,
            );
        }
    }
    let Some(entry) = named("deployments") else {
        let draft = read_keys(keys.into_iter(), root.place, String::new(), problems);
        check_together(&draft, &defaults, problems);
        if draft.places.is_empty() && problems.is_empty() {
            problems.add(
                root.place,
                "",
                "holds no deployment",
                Some(outline.to_owned()),
                None,
            );
        }
        return vec![draft.settings];
    };
    for stray in keys {
        if top_level().contains(&stray.key.as_str()) {
            let message = "stands beside `deployments`";
            let suggestion = if stray.key == "name" {
                "move it to its deployment"
            } else {
                "move it to a deployment, or to `defaults` for all"
            };
            problems.add(
                stray.place,
                bare(&stray.key),
                message,
                None,
                Some(suggestion.to_owned()),
            );
        } else {
            add_unknown(None, stray, bare(&stray.key), problems);
        }
    }
    read_list(entry, &defaults, problems)
}

fn read_list(entry: &Entry, defaults: &Draft, problems: &mut Problems<'_>) -> Vec<Settings> {
    let expected = || Some("a list with at least one deployment, each beginning with `- name:`".to_owned());
    let items = match &entry.value.content {
        Content::Sequence(items) if !items.is_empty() => items,
        Content::Sequence(_) => {
            problems.add(
                entry.value.place,
                "deployments",
                "is an empty list",
                expected(),
                None,
            );
            return Vec::new();
        }
        _ => {
            let message = has(&entry.value);
            problems.add(entry.value.place, "deployments", message, expected(), None);
            return Vec::new();
        }
    };
    let mut first: BTreeMap<[Option<String>; 3], Place> = BTreeMap::new();
    let mut deployments = Vec::new();
    for (number, item) in items.iter().enumerate() {
        if problems.is_full() {
            break;
        }
        let path = format!("deployments[{number}]");
        let draft = read_deployment(item, &path, problems);
        if matches!(item.content, Content::Mapping(_)) && !draft.places.contains_key("name") {
            let expected = KEYS.iter().find(|key| key.name == "name").map(expectation);
            problems.add(item.place, path, "`name` is missing", expected, None);
        }
        check_together(&draft, defaults, problems);
        let settings = draft.settings.over(defaults.settings.clone());
        let wrong = |key: &str, value: &Option<String>| {
            value.is_none() && (draft.places.contains_key(key) || defaults.places.contains_key(key))
        };
        if let Some(name) = &settings.name
            && !wrong("region", &settings.region)
            && !wrong("profile", &settings.profile)
        {
            let place = draft.places.get("name").copied().unwrap_or(draft.place);
            let identity = [
                Some(name.clone()),
                settings.region.clone(),
                settings.profile.clone(),
            ];
            if let Some(before) = first.get(&identity) {
                let region = settings
                    .region
                    .as_deref()
                    .map_or("the same region".to_owned(), quoted);
                let message = format!(
                    "{} in {region} stands twice, in lines {} and {}",
                    quoted(name),
                    before.line,
                    place.line
                );
                let expected = "another name, region or profile".to_owned();
                problems.add(
                    place,
                    format!("{}name", draft.prefix),
                    message,
                    Some(expected),
                    None,
                );
            } else {
                first.insert(identity, place);
            }
        }
        deployments.push(settings);
    }
    deployments
}

/// Reports contradictions of a deployment laid over the defaults; those of the defaults alone are theirs.
fn check_together(draft: &Draft, defaults: &Draft, problems: &mut Problems<'_>) {
    for found in contradictions(&draft.settings.clone().over(defaults.settings.clone())) {
        // The key that stands last is the one to look at.
        let last = found
            .keys
            .iter()
            .filter_map(|key| Some((*draft.places.get(key)?, *key)))
            .max_by_key(|(place, _)| (place.line, place.column));
        if let Some((place, key)) = last {
            let path = format!("{}{key}", draft.prefix);
            problems.add(place, path, found.message, Some(found.expected), None);
        }
    }
}

fn read_deployment(node: &Node, path: &str, problems: &mut Problems<'_>) -> Draft {
    let Content::Mapping(entries) = &node.content else {
        let expected = "a mapping with the keys of a deployment".to_owned();
        problems.add(node.place, path, has(node), Some(expected), None);
        return Draft::default();
    };
    read_keys(entries.iter(), node.place, format!("{path}."), problems)
}

fn read_keys<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    place: Place,
    prefix: String,
    problems: &mut Problems<'_>,
) -> Draft {
    let mut draft = Draft {
        prefix,
        place,
        ..Draft::default()
    };
    let in_defaults = draft.prefix == "defaults.";
    for entry in entries {
        let path = format!("{}{}", draft.prefix, bare(&entry.key));
        if in_defaults && entry.key == "name" {
            let message = "a name belongs to one deployment and cannot be a default";
            problems.add(
                entry.place,
                path,
                message,
                None,
                Some("move it to its deployment".to_owned()),
            );
        } else if let Some(group) = GROUPS.iter().find(|group| group.name == entry.key) {
            read_group(group, entry, &mut draft, problems);
        } else if let Some(key) = KEYS.iter().find(|key| key.name == entry.key) {
            read_value(key, &path, &entry.value, &mut draft, problems);
        } else {
            add_unknown(None, entry, path, problems);
        }
    }
    draft
}

fn read_group(group: &'static Group, entry: &Entry, draft: &mut Draft, problems: &mut Problems<'_>) {
    let path = format!("{}{}", draft.prefix, group.name);
    let expected = || {
        let how_many = if group.one_of { "exactly one" } else { "some" };
        format!(
            "a mapping with {how_many} of the keys {}",
            siblings(group.name).join(", ")
        )
    };
    let entries = match &entry.value.content {
        Content::Mapping(entries) => entries,
        // A group whose keys are all commented out.
        _ if entry.value.is_null() && !group.one_of => return,
        // The text is perhaps the token itself and is not repeated.
        Content::Scalar { .. } if group.one_of && !entry.value.is_null() => {
            let message = "holds a text; what is written here is read by everyone who reads the file";
            let suggestion = Some(SECRETS_ARE_NAMED.replace("token:", &format!("{}:", group.name)));
            let suggestion = if group.name == "token" {
                suggestion
            } else {
                Some("name where AWS keeps it".to_owned())
            };
            problems.add(entry.value.place, path, message, Some(expected()), suggestion);
            return;
        }
        _ => {
            problems.add(entry.value.place, path, has(&entry.value), Some(expected()), None);
            return;
        }
    };
    let mut given = 0;
    for entry in entries {
        let path = format!("{path}.{}", bare(&entry.key));
        let name = format!("{}.{}", group.name, entry.key);
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            add_unknown(Some(group), entry, path, problems);
            continue;
        };
        given += 1;
        if group.one_of && given > 1 {
            let message = format!(
                "a second way to say where it is kept, beside `{}`",
                entries[0].key
            );
            problems.add(entry.place, path, masked(&message), Some(expected()), None);
            continue;
        }
        read_value(key, &path, &entry.value, draft, problems);
    }
    if group.one_of && entries.is_empty() {
        problems.add(entry.value.place, path, "is empty", Some(expected()), None);
    }
}

fn add_unknown(group: Option<&'static Group>, entry: &Entry, path: String, problems: &mut Problems<'_>) {
    if problems.is_full() {
        problems.add(entry.place, path, "unknown key", None, None);
        return;
    }
    let mut suggestion = suggestion(group, &entry.key);
    if path == entry.key && entry.key.len() <= 60 {
        // At the top level, and there alone.
        let outline = nearest(
            &entry.key.to_lowercase(),
            ["deployments", "defaults", "schema"].into_iter(),
        );
        suggestion = outline
            .map(|near| format!("did you mean `{near}`?"))
            .or(suggestion);
    }
    let expected = suggestion.is_none().then(|| match group {
        Some(group) => siblings(group.name).join(", "),
        None => top_level().join(", "),
    });
    problems.add(entry.place, path, "unknown key", expected, suggestion);
}

fn siblings(group: &str) -> Vec<&'static str> {
    KEYS.iter()
        .filter(|key| key.split().0 == Some(group))
        .map(|key| key.split().1)
        .collect()
}

/// Returns the keys and groups of a deployment.
pub(super) fn top_level() -> Vec<&'static str> {
    let mut names: Vec<&str> = KEYS.iter().map(|key| key.split().0.unwrap_or(key.name)).collect();
    names.dedup();
    names
}

/// Returns what was probably meant by an unknown key.
fn suggestion(group: Option<&'static Group>, key: &str) -> Option<String> {
    let known = match group {
        Some(group) => siblings(group.name),
        None => top_level(),
    };
    // Long keys are no typos, and comparing thousands of them takes time.
    if key.len() > 60 {
        return None;
    }
    let spelt = key.to_lowercase().replace(['-', ' '], "_");
    if spelt == "<<" {
        return Some("use `defaults` instead of a merge key".to_owned());
    }
    let did_you_mean = |near: &str| Some(format!("did you mean `{near}`?"));
    // Before likeness: `registration_token: …` is nearer to nothing.
    if ["password", "secret_access", "access_key", "credential"]
        .iter()
        .any(|word| spelt.contains(word))
        || (group.is_none() && spelt != "token" && spelt.contains("token"))
    {
        return Some("see `token` and `registry`: credentials stay out of this file".to_owned());
    }
    if group.is_none()
        && let Some((_, key)) = SYNONYMS.iter().find(|(other, _)| *other == spelt)
    {
        return did_you_mean(key);
    }
    if let Some(near) = nearest(&spelt, known.into_iter()) {
        return did_you_mean(near);
    }
    if group.is_some() && top_level().contains(&spelt.as_str()) {
        return Some(format!("`{spelt}` belongs one level up"));
    }
    if let Some(owner) = KEYS
        .iter()
        .find(|key| key.split().0.is_some() && key.split().1 == spelt)
        && let (Some(group), key) = owner.split()
    {
        return Some(format!("`{key}` belongs under `{group}`"));
    }
    None
}

/// Says what stands in the place of a value.
fn has(node: &Node) -> String {
    if node.is_null() {
        "has no value".to_owned()
    } else {
        format!("holds {}", described(node))
    }
}

fn described(node: &Node) -> String {
    match &node.content {
        Content::Scalar { text, .. } if check::looks_secret(text) => "what looks like a secret".to_owned(),
        _ => node.describe(),
    }
}

fn read_value(key: &'static Key, path: &str, node: &Node, draft: &mut Draft, problems: &mut Problems<'_>) {
    draft.places.insert(key.name, node.place);
    let value = match key.form {
        Form::One => text_of(key, node)
            .and_then(|text| check::single(key, text))
            .map_err(|refusal| add(refusal, path, node.place, problems))
            .ok(),
        Form::List(most) => list(key, path, node, most, problems).map(Value::List),
        Form::Map(most) => map(key, path, node, most, problems).map(Value::Map),
    };
    if let Some(value) = value {
        key.put(&mut draft.settings, value);
    }
}

fn add(refusal: Refusal, path: &str, place: Place, problems: &mut Problems<'_>) {
    problems.add(place, path, refusal.message, refusal.expected, refusal.suggestion);
}

/// Returns the text of a value, whose type must be right: `"8"` is a text and no number.
fn text_of<'a>(key: &Key, node: &'a Node) -> Result<&'a str, Refusal> {
    let refuse = |suggestion| {
        Err(Refusal::new(has(node))
            .expecting(expectation(key))
            .suggesting(suggestion))
    };
    match &node.content {
        _ if node.is_null() => refuse(None),
        Content::Scalar { text, plain } => {
            let is_text = !matches!(key.kind, Kind::Flag | Kind::Number(..) | Kind::Retention);
            if !plain && !is_text {
                let good = check::single(key, text).is_ok();
                return refuse(good.then(|| "remove the quotes".to_owned()));
            }
            Ok(text)
        }
        _ => refuse(None),
    }
}

fn list(key: &Key, path: &str, node: &Node, most: usize, problems: &mut Problems<'_>) -> Option<Vec<String>> {
    let expected = format!("a list of at most {most}, each {}", expectation(key));
    let items = match &node.content {
        Content::Sequence(items) if (1..=most).contains(&items.len()) => items,
        Content::Sequence(items) if items.is_empty() => {
            let suggestion = Some("leave the key out".to_owned());
            problems.add(node.place, path, "is an empty list", Some(expected), suggestion);
            return None;
        }
        Content::Sequence(items) => {
            problems.add(
                node.place,
                path,
                format!("has {} values", items.len()),
                Some(expected),
                None,
            );
            return None;
        }
        Content::Scalar { text, .. } if !node.is_null() && check::item(key, text).is_ok() => {
            let suggestion = Some(format!("write [{}]", bare(text)));
            problems.add(node.place, path, has(node), Some(expected), suggestion);
            return None;
        }
        _ => {
            problems.add(node.place, path, has(node), Some(expected), None);
            return None;
        }
    };
    let mut values: Vec<String> = Vec::new();
    for (number, item) in items.iter().enumerate() {
        match text_of(key, item).and_then(|text| check::item(key, text)) {
            Ok(value) if values.contains(&value) => {
                add(
                    Refusal::twice(&value),
                    &format!("{path}[{number}]"),
                    item.place,
                    problems,
                );
            }
            Ok(value) => values.push(value),
            Err(refusal) => add(refusal, &format!("{path}[{number}]"), item.place, problems),
        }
    }
    (values.len() == items.len()).then_some(values)
}

fn map(
    key: &Key,
    path: &str,
    node: &Node,
    most: usize,
    problems: &mut Problems<'_>,
) -> Option<BTreeMap<String, String>> {
    let expected = format!("a mapping with at most {most} entries, each {}", expectation(key));
    let Content::Mapping(entries) = &node.content else {
        let example = key.example.replacen('=', ": ", 1);
        let suggestion = Some(format!("write {{{example}}}"));
        problems.add(node.place, path, has(node), Some(expected), suggestion);
        return None;
    };
    if entries.len() > most {
        problems.add(
            node.place,
            path,
            format!("has {} entries", entries.len()),
            Some(expected),
            None,
        );
        return None;
    }
    let mut values = BTreeMap::new();
    for entry in entries {
        if problems.is_full() {
            return None;
        }
        let path = format!("{path}.{}", bare(&entry.key));
        let text = match &entry.value.content {
            Content::Scalar { text, .. } if !entry.value.is_null() => text,
            _ => {
                let suggestion = match &entry.value.content {
                    Content::Scalar { .. } if key.kind == Kind::Tag => "write \"\" for an empty value",
                    Content::Scalar { .. } => "leave the key out to keep the workload's value",
                    _ => "put a list or a mapping in quotes",
                };
                let refusal = Refusal::new(has(&entry.value))
                    .expecting("one value")
                    .suggesting(Some(suggestion.to_owned()));
                add(refusal, &path, entry.value.place, problems);
                continue;
            }
        };
        match check::pair(key, &entry.key, text) {
            Ok(()) => {
                values.insert(entry.key.clone(), text.clone());
            }
            Err(refusal) => add(refusal, &path, entry.value.place, problems),
        }
    }
    (values.len() == entries.len()).then_some(values)
}
