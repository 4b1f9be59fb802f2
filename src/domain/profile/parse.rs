//! YAML as written → a checked profile and where each of its values comes from, or everything that is wrong.
//!
//! The file, what it extends and its sections; the value of a single key is read in `value`.

use super::Loaded;
use super::builtin::{self, Draft};
use super::fields::{self, FIELDS, SECTIONS};
use super::node::{self, Content, Entry, MAX_BYTES};
use super::problem::{Place, Problems, ProfileErrors, bare, is_printable, quoted};
use super::suggest::{nearest, suggest};
use super::value::Reader;

/// Files that may extend one another at most.
const MAX_EXTENDS: usize = 8;
/// Bytes of the name of a file that is extended at most.
const MAX_FILE_NAME: usize = 1000;
/// Fewer pipelines a weekday than this would never show in a simulation of weeks.
const LEAST_PIPELINES: f64 = 0.01;

/// Reads a profile.
///
/// `file` is the name shown in messages and the place that a relative `extends: FILE` starts from; `read` returns
/// the text of such a file or why it cannot be read. Keys that nobody sets have the values of the profile that is
/// extended, or of `production`.
///
/// # Errors
///
/// Everything that is wrong with the text, in the order of the file. What is wrong with a file that is extended
/// comes alone, because the rest depends on it.
pub fn parse(
    text: &str,
    file: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<Loaded, ProfileErrors> {
    draft(text, file, read, &mut Vec::new()).map(Draft::into_loaded)
}

/// Reads a profile from bytes that may be anything: too many, binary, in another encoding.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_bytes(
    bytes: &[u8],
    file: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<Loaded, ProfileErrors> {
    let refuse = |place: Place, message: String, expected: &str| {
        let mut problems = Problems::new(file);
        problems.add(place, "", message, Some(expected.to_owned()), None);
        problems.into_errors()
    };
    if bytes.len() > MAX_BYTES {
        return Err(too_large(file));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(refuse(Place::default(), "is UTF-16".to_owned(), "UTF-8 text"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, file, read),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            if before.contains(&0) {
                return Err(refuse(
                    Place::default(),
                    "is a binary file".to_owned(),
                    "UTF-8 text",
                ));
            }
            let lines: Vec<&[u8]> = before.split(|byte| *byte == b'\n').collect();
            let last = lines.last().copied().unwrap_or_default();
            let (line, column) = (lines.len(), 1 + String::from_utf8_lossy(last).chars().count());
            let place = Place {
                line: line as u32,
                column: column as u32,
            };
            Err(refuse(
                place,
                "is not UTF-8 text from here on".to_owned(),
                "UTF-8 text",
            ))
        }
    }
}

fn too_large(file: &str) -> ProfileErrors {
    let mut problems = Problems::new(file);
    problems.add(
        Place::default(),
        "",
        format!("is larger than {} KiB", MAX_BYTES / 1024),
        Some("a workload profile of a few KiB".to_owned()),
        None,
    );
    problems.into_errors()
}

fn draft(
    text: &str,
    file: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
    chain: &mut Vec<String>,
) -> Result<Draft, ProfileErrors> {
    if text.len() > MAX_BYTES {
        return Err(too_large(file));
    }
    let mut problems = Problems::new(file);
    if text.contains('\0') {
        problems.add(
            Place::default(),
            "",
            "is a binary file",
            Some("UTF-8 text".to_owned()),
            None,
        );
        return Err(problems.into_errors());
    }
    let root = node::read(text, &mut problems);
    let root = match root {
        Some(root) if !root.is_null() => root,
        _ => {
            if problems.is_empty() {
                problems.add(
                    Place::default(),
                    "",
                    "is empty",
                    Some(format!(
                        "`extends: NAME` or some of the sections {}",
                        section_names()
                    )),
                    Some(
                        "`dataops-infra workload show production --yaml` prints one to start from".to_owned(),
                    ),
                );
            }
            return Err(problems.into_errors());
        }
    };
    let Content::Mapping(entries) = root.content else {
        problems.add(
            root.place,
            "",
            format!("the file holds {}", root.describe()),
            Some(format!("a mapping with some of the sections {}", section_names())),
            None,
        );
        return Err(problems.into_errors());
    };

    let mut draft = match entries.iter().find(|entry| entry.key == "extends") {
        Some(entry) => base(entry, file, read, chain, &mut problems)?,
        None => Draft::default(),
    };
    draft.rename(file, &stem(file));
    for entry in &entries {
        match SECTIONS.iter().find(|section| section.name == entry.key) {
            Some(section) => read_section(section.name, entry, &mut draft, &mut problems),
            None if entry.key == "extends" => {}
            None => {
                let suggestion = suggest(None, &entry.key, &problems);
                let expected = suggestion
                    .is_none()
                    .then(|| format!("extends, {}", section_names()));
                problems.add(entry.place, bare(&entry.key), "unknown key", expected, suggestion);
            }
        }
    }
    check_together(&draft, &mut problems);
    if problems.is_empty() {
        Ok(draft)
    } else {
        Err(problems.into_errors())
    }
}

fn section_names() -> String {
    SECTIONS
        .iter()
        .map(|section| section.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns the name of a file without folders and without `.yaml`, fit to be the name of a workload.
fn stem(file: &str) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let name = [".yaml", ".yml", ".json"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name);
    let name: String = name.chars().filter(|c| is_printable(*c)).take(100).collect();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    match name.as_str() {
        "" | "-" => "workload".to_owned(),
        _ => name,
    }
}

/// Resolves `extends`: a built-in name, or a file relative to the one that names it.
fn base(
    entry: &Entry,
    file: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
    chain: &mut Vec<String>,
    problems: &mut Problems<'_>,
) -> Result<Draft, ProfileErrors> {
    let at = entry.value.place;
    let names = builtin::builtin_names().join(", ");
    let expected = Some(format!("{names} or a file such as ./base.yaml"));
    let name = match &entry.value.content {
        Content::Scalar { text, .. } if !entry.value.is_null() => text.as_str(),
        _ => {
            problems.add(
                at,
                "extends",
                format!("holds {}", entry.value.describe()),
                expected,
                None,
            );
            return Ok(Draft::default());
        }
    };
    if let Some(draft) = Draft::builtin(name) {
        return Ok(draft);
    }
    let looks_like_a_file =
        name.contains('/') || [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
    if !looks_like_a_file {
        let suggestion = nearest(name, builtin::builtin_names().iter().copied())
            .map(|near| format!("did you mean `{near}`?"));
        problems.add(
            at,
            "extends",
            format!("there is no profile {}", quoted(name)),
            expected,
            suggestion,
        );
        return Ok(Draft::default());
    }
    // The name appears in messages and assumptions from here on.
    if !name.chars().all(is_printable) || name.len() > MAX_FILE_NAME {
        problems.add(
            at,
            "extends",
            format!("{} cannot be the name of a file", quoted(name)),
            expected,
            None,
        );
        return Ok(Draft::default());
    }
    let path = match file.rfind('/') {
        Some(end) if !name.starts_with('/') => format!("{}{name}", &file[..=end]),
        _ => name.to_owned(),
    };
    let path = tidy(&path);
    if chain.is_empty() {
        chain.push(tidy(file));
    }
    if chain.contains(&path) {
        chain.push(path);
        let round: Vec<String> = chain.iter().map(|file| quoted(file)).collect();
        problems.add(
            at,
            "extends",
            format!("the files extend each other in a circle: {}", round.join(" → ")),
            None,
            None,
        );
        return Ok(Draft::default());
    }
    if chain.len() > MAX_EXTENDS {
        problems.add(
            at,
            "extends",
            format!("more than {MAX_EXTENDS} files extend one another"),
            None,
            None,
        );
        return Ok(Draft::default());
    }
    match read(&path) {
        Ok(text) => {
            chain.push(path.clone());
            draft(&text, &path, read, chain)
        }
        Err(why) => {
            problems.add(
                at,
                "extends",
                format!("cannot read {}: {why}", quoted(&path)),
                None,
                None,
            );
            Ok(Draft::default())
        }
    }
}

/// Removes `.` and resolves `..` in a path, as text only.
fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| !matches!(*last, ".." | "")) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn read_section(section: &'static str, entry: &Entry, draft: &mut Draft, problems: &mut Problems<'_>) {
    let entries = match &entry.value.content {
        Content::Mapping(entries) => entries,
        // A section whose keys are all commented out.
        _ if entry.value.is_null() => return,
        _ => {
            let keys = FIELDS
                .iter()
                .filter(|field| field.section == section)
                .map(|field| field.key);
            problems.add(
                entry.value.place,
                section,
                format!("holds {}", entry.value.describe()),
                Some(format!(
                    "a mapping with some of the keys {}",
                    keys.collect::<Vec<_>>().join(", ")
                )),
                None,
            );
            return;
        }
    };
    for entry in entries {
        let Some((index, field)) = fields::find(section, &entry.key) else {
            let suggestion = suggest(Some(section), &entry.key, problems);
            let keys = FIELDS
                .iter()
                .filter(|field| field.section == section)
                .map(|field| field.key);
            let expected = suggestion.is_none().then(|| keys.collect::<Vec<_>>().join(", "));
            let path = format!("{section}.{}", bare(&entry.key));
            problems.add(entry.place, path, "unknown key", expected, suggestion);
            continue;
        };
        let mut reader = Reader {
            field,
            path: field.path(),
            problems,
        };
        if let Some(value) = reader.value(&entry.value) {
            draft.set(index, value, entry.value.place);
        }
    }
}

/// Checks what no key can say on its own.
fn check_together(draft: &Draft, problems: &mut Problems<'_>) {
    let arrivals = &draft.profile.arrivals;
    if problems.is_empty() && arrivals.pipelines_per_weekday < LEAST_PIPELINES && arrivals.bursts.is_empty() {
        problems.add(
            draft.place("arrivals", "pipelines_per_weekday"),
            "arrivals.pipelines_per_weekday",
            format!(
                "{} and no bursts: this workload has no pipelines at all",
                arrivals.pipelines_per_weekday
            ),
            Some(format!("at least {LEAST_PIPELINES}, or a burst")),
            None,
        );
    }
}
