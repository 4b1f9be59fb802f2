//! Who may name whom, read from the source: see ARCHITECTURE.md.

use super::tree::{files, root};

/// Each room and the rooms it may name.
const RULES: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("engine", &["domain"]),
    ("platform", &["domain"]),
    ("render", &["domain", "engine"]),
    ("kubernetes", &["domain", "engine"]),
    ("aws", &["domain", "engine", "kubernetes"]),
    (
        "cli",
        &["domain", "engine", "platform", "render", "kubernetes", "aws"],
    ),
];

/// Returns the code of a file without comments and texts, so that a mention is not a use.
fn code(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns the rooms that the code names through `crate::`, also inside `use crate::{…}`.
fn named(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (start, path) in code.match_indices("crate::") {
        let rest = &code[start + path.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            rooms.extend(heads(group));
        } else {
            rooms.extend(first_word(rest));
        }
    }
    rooms
}

/// Returns the first word of each entry at the top of a `{…}` group.
fn heads(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut rooms: Vec<String> = first_word(group.trim_start()).into_iter().collect();
    for (n, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => rooms.extend(first_word(group[n + 1..].trim_start())),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    rooms
}

fn first_word(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

#[test]
fn rooms_name_only_those_below_them() {
    for (room, may_name) in RULES {
        let mut sources = files(&root().join("src").join(room));
        sources.push(root().join("src").join(format!("{room}.rs")));
        for path in sources.iter().filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(path).expect("a source file is text");
            for named in named(&code(&text)) {
                assert!(
                    named == *room || may_name.contains(&named.as_str()),
                    "{} names {named}; {room} may name {may_name:?}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_room_has_a_rule() {
    for entry in std::fs::read_dir(root().join("src")).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if matches!(name.as_str(), "main" | "lib" | "bin") {
            continue;
        }
        assert!(
            RULES.iter().any(|(room, _)| *room == name),
            "no rule for {}",
            path.display()
        );
    }
}

#[test]
fn only_main_names_cli() {
    let main = std::fs::read_to_string(root().join("src/main.rs")).expect("main.rs is text");
    assert!(main.contains("cli::run"));
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs is text");
    assert_eq!(
        code(&lib).matches("cli").count(),
        1,
        "lib.rs declares cli and uses nothing of it"
    );
}

#[test]
fn only_render_knows_how_a_terminal_is_drawn() {
    for path in files(&root().join("src")) {
        let inside = path.starts_with(root().join("src/render"));
        let text = std::fs::read_to_string(&path).expect("a source file is text");
        for library in ["comfy_table::", "terminal_size::", "unicode_width::"] {
            assert!(
                inside || !code(&text).contains(library),
                "{} uses {library}",
                path.display()
            );
        }
    }
}

#[test]
fn domain_is_a_function_of_its_arguments() {
    let impure = [
        "std::fs",
        "std::env",
        "std::process",
        "std::net",
        "tokio::",
        "clap::",
        "indicatif::",
        "tempfile::",
        "aws_sdk",
        "aws_config",
        "aws_smithy",
        "async fn",
    ];
    for path in files(&root().join("src/domain")) {
        if path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file is text");
        // What follows the tests' mark may read files to compare with.
        let code = code(text.split("#[cfg(test)]").next().unwrap_or_default());
        for name in impure {
            assert!(!code.contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn groups_are_read() {
    assert_eq!(
        named("use crate::{a::{b, c}, d::e};\nuse crate::f;"),
        ["a", "d", "f"]
    );
}
