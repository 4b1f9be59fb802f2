//! What was probably meant: typos of keys, keys in the wrong section, numbers with units, quantities misspelt.

use super::fields::{FIELDS, Field, Range, SECTIONS};
use super::problem::Problems;
use super::quantity;
use super::value::is_family;

/// Returns what was probably meant by an unknown key.
pub(super) fn suggest(section: Option<&str>, key: &str, problems: &Problems<'_>) -> Option<String> {
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

pub(super) fn family_hint(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let family = lower.split('.').next().unwrap_or_default();
    is_family(family).then(|| format!("did you mean `{family}`?"))
}

/// Returns a share that was written as a percentage.
pub(super) fn share_hint(number: f64, range: Range) -> Option<String> {
    let share = number / 100.0;
    (range.max <= 1.0 && number > 1.0 && range.contains(share)).then(|| format!("did you mean `{share}`?"))
}

/// Returns how a number was probably meant.
pub(super) fn number_hint(text: &str, unit: &str) -> Option<String> {
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
pub(super) fn respell(text: &str) -> Option<String> {
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
