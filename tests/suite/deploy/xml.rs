//! As much XML as AWS' answers are made of, read into the same form as JSON.

use serde_json::{Map, Value};

/// Reads an answer: lists (`item`, `member`) are arrays, other elements objects or texts.
pub fn read(text: &str) -> Value {
    let start = text.find("?>").map_or(0, |end| end + 2);
    element(&mut &text[start..]).map_or(Value::Null, |(_, value)| value)
}

/// Returns the first value with a name, wherever it is.
pub fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members
            .get(name)
            .or_else(|| members.values().find_map(|value| find(value, name))),
        Value::Array(values) => values.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

/// Returns the elements of the first list with a name.
pub fn list(value: &Value, name: &str) -> Vec<Value> {
    match find(value, name) {
        Some(Value::Array(values)) => values.clone(),
        _ => Vec::new(),
    }
}

/// Takes an element from the front; none where the parent ends.
fn element(rest: &mut &str) -> Option<(String, Value)> {
    let text = rest.trim_start().strip_prefix('<')?;
    if text.starts_with('/') {
        return None;
    }
    let (tag, after) = text.split_once('>')?;
    *rest = after;
    let name = tag.split([' ', '/', '\n']).next()?.to_owned();
    if tag.ends_with('/') {
        return Some((name, Value::String(String::new())));
    }
    let mut members: Vec<(String, Value)> = Vec::new();
    let inner = *rest;
    while let Some(member) = element(rest) {
        members.push(member);
    }
    let (said, after) = rest.split_once("</")?;
    let said = if members.is_empty() {
        &inner[..inner.len() - rest.len() + said.len()]
    } else {
        ""
    };
    *rest = after.split_once('>')?.1;
    Some((name, value(said, members)))
}

fn value(said: &str, members: Vec<(String, Value)>) -> Value {
    if members.is_empty() {
        let list = said.contains('\n') && said.trim().is_empty();
        return if list {
            Value::Array(Vec::new())
        } else {
            decoded(said).into()
        };
    }
    if members.iter().all(|(name, _)| name == "item" || name == "member") {
        return members.into_iter().map(|(_, value)| value).collect();
    }
    Value::Object(members.into_iter().collect::<Map<_, _>>())
}

fn decoded(text: &str) -> String {
    let plain = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&#39;", "'");
    plain.replace("&amp;", "&")
}

#[test]
fn lists_texts_and_empty_elements_are_told_apart() {
    let text = "<?xml version=\"1.0\"?>\n<A x=\"y\"><set><item><k>a &amp; b</k></item><item><k/></item></set>\
                <none>\n</none></A>";
    let read = read(text);
    let expected = serde_json::json!({"set": [{"k": "a & b"}, {"k": ""}], "none": []});
    assert_eq!(read, expected);
    assert_eq!(list(&read, "set").len(), 2);
}
