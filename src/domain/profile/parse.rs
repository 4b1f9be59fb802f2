//! YAML as written → a checked profile and where each of its values comes from, or everything that is wrong.

use super::builtin::{self, Draft};
use super::fields::{self, FIELDS, Field, Kind, Range, SECTIONS, Value};
use super::node::{self, Content, Entry, MAX_BYTES, Node};
use super::problem::{Place, Problems, ProfileErrors, bare, is_printable, quoted};
use super::{Burst, Loaded, quantity};

/// Files that may extend one another at most.
const MAX_EXTENDS: usize = 8;
/// Bytes of the name of a file that is extended at most.
const MAX_FILE_NAME: usize = 1000;
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

/// Returns what was probably meant by an unknown key.
fn suggest(section: Option<&str>, key: &str, problems: &Problems<'_>) -> Option<String> {
    // Long keys are no typos, and comparing thousands of them takes time.
    if problems.is_full() || key.len() > 60 {
        return None;
    }
    let key = key.to_lowercase().replace(['-', ' '], "_");
    if key == "<<" {
        return Some("use extends instead of a merge key".to_owned());
    }
    let inside = |field: &&Field| Some(field.section) == section;
    if section.is_some()
        && let Some(near) = nearest(&key, FIELDS.iter().filter(inside).map(|field| field.key))
    {
        return Some(format!("did you mean `{near}`?"));
    }
    if let Some(field) = FIELDS.iter().find(|field| field.key == key) {
        return Some(format!("`{}` belongs under `{}`", field.key, field.section));
    }
    if section.is_none()
        && let Some(near) = nearest(
            &key,
            SECTIONS.iter().map(|section| section.name).chain(["extends"]),
        )
    {
        return Some(format!("did you mean `{near}`?"));
    }
    if section.is_some() && SECTIONS.iter().any(|section| section.name == key) {
        return Some(format!("`{key}` is a section: write it at the start of a line"));
    }
    // The beginning of a word is too weak a hint across sections: `jobs` is not `jobs_cv`.
    let slips = |field: &&Field| slips(&key, field.key).is_some();
    let near = nearest(&key, FIELDS.iter().filter(slips).map(|field| field.key))?;
    let field = FIELDS.iter().find(|field| field.key == near)?;
    Some(format!("did you mean `{}` under `{}`?", field.key, field.section))
}

/// Returns the known word nearest to a typo, if one is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let begins = word.len() >= 4 && (candidate.starts_with(word) || word.starts_with(candidate));
        // `duration_p90` for `duration_p90_s`: better than nothing, worse than any slip.
        let Some(distance) = slips(word, candidate).or_else(|| begins.then_some(100 + candidate.len()))
        else {
            continue;
        };
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, word)| word)
}

/// Returns how many slips of the fingers lie between two words, if they are few: one in three letters.
fn slips(word: &str, known: &str) -> Option<usize> {
    let distance = strsim::damerau_levenshtein(word, known);
    let allowed = (known.chars().count().min(word.chars().count()) / 3).clamp(1, 4);
    (distance <= allowed).then_some(distance)
}

/// Reads the value of one key.
struct Reader<'a, 'p> {
    field: &'static Field,
    path: String,
    problems: &'a mut Problems<'p>,
}

impl Reader<'_, '_> {
    /// Returns the value, or reports why there is none.
    fn value(&mut self, node: &Node) -> Option<Value> {
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
                        format!("{} means {} {unit} and is out of range", quoted(text), text)
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
fn is_family(text: &str) -> bool {
    text.len() <= 20
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().any(|b| b.is_ascii_digit())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn family_hint(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let family = lower.split('.').next().unwrap_or_default();
    is_family(family).then(|| format!("did you mean `{family}`?"))
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

/// Returns a share that was written as a percentage.
fn share_hint(number: f64, range: Range) -> Option<String> {
    let share = number / 100.0;
    (range.max <= 1.0 && number > 1.0 && range.contains(share)).then(|| format!("did you mean `{share}`?"))
}

/// Returns how a number was probably meant.
fn number_hint(text: &str, unit: &str) -> Option<String> {
    let good = |text: String| quantity::decimal(&text).map(|_| format!("did you mean `{text}`?"));
    if let Some(percent) = text.strip_suffix('%') {
        let share = quantity::decimal(percent.trim())? / 100.0;
        return Some(format!("did you mean `{share}`?"));
    }
    let letters = text
        .trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .trim_end();
    if letters.len() < text.len() && quantity::decimal(letters).is_some() && !unit.is_empty() {
        return Some(format!("write the number alone: the unit is {unit}"));
    }
    if text.contains('_') || text.contains('\'') {
        return good(text.replace(['_', '\''], ""));
    }
    if text.matches(',').count() == 1 {
        return good(text.replace(',', "."));
    }
    let stripped = text.trim_start_matches('0');
    if stripped.len() < text.len() {
        return good(stripped.to_owned());
    }
    None
}

/// Returns a quantity with the suffix as Kubernetes spells it.
fn respell(text: &str) -> Option<String> {
    let end = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = &text[end.len()..];
    let near = match suffix.to_lowercase().as_str() {
        "ki" | "kib" => "Ki",
        "mi" | "mib" => "Mi",
        "gi" | "gib" | "g" => "Gi",
        "ti" | "tib" => "Ti",
        "kb" => "k",
        "mb" => "M",
        "gb" => "G",
        "cpu" | "cpus" | "core" | "cores" => "",
        "m" | "mcpu" | "millicpu" => "m",
        _ => return None,
    };
    Some(format!("{}{near}", end.trim()))
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
