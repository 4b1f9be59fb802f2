//! The source tree as data, and what must not be in it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder of the package.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the files below a folder, in order; none if there is no such folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("a folder can be read to its end").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the files that git tracks, or would track with the next `git add`.
fn tracked() -> Option<Vec<PathBuf>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let names = String::from_utf8(listed.stdout).ok()?;
    let paths = names.split('\0').filter(|name| !name.is_empty());
    Some(
        paths
            .map(|name| root().join(name))
            .filter(|path| path.is_file())
            .collect(),
    )
}

/// Returns the text of each tracked file; what is not text is left out.
fn texts() -> Vec<(String, String)> {
    let Some(paths) = tracked() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI checks the tree, but git does not list it"
        );
        eprintln!("skipped: git does not list this tree");
        return Vec::new();
    };
    paths
        .into_iter()
        .filter_map(|path| {
            let name = path.strip_prefix(root()).ok()?.to_string_lossy().into_owned();
            Some((name, std::fs::read_to_string(&path).ok()?))
        })
        .collect()
}

/// Calls `check` with the place and the text of each line of each tracked file.
fn each_line(check: impl Fn(&str, &str)) {
    for (name, text) in texts() {
        for (n, line) in text.lines().enumerate() {
            check(&format!("{name}:{}", n + 1), line);
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Returns what looks like a credential in a line.
fn credential(line: &str) -> Option<&str> {
    // Each with the least number of characters that must follow before it is a secret and not a mention.
    let kinds = [
        (concat!("dckr_", "pat_"), 8),
        ("AKIA", 16),
        ("ASIA", 16),
        ("glrt-", 20),
        ("glpat-", 20),
        ("ghp_", 20),
    ];
    kinds.iter().find_map(|(prefix, least)| {
        line.match_indices(prefix).find_map(|(start, _)| {
            let rest = &line[start + prefix.len()..];
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            // AWS' own documentation uses keys that end in EXAMPLE.
            let token = &line[start..start + prefix.len() + length];
            (length >= *least && !token.ends_with("EXAMPLE")).then_some(token)
        })
    })
}

#[test]
fn no_file_holds_what_looks_like_a_credential() {
    each_line(|place, line| {
        assert!(credential(line).is_none(), "{place} looks like a credential");
    });
}

#[test]
fn a_credential_is_recognised() {
    let made_up = ["dckr_", "pat_", "abcdefghijkl"].concat();
    assert!(credential(&format!("docker login -p {made_up}")).is_some());
    assert!(credential(&["AKI", "AIOSFODNN7ABCDEFG"].concat()).is_some());
    assert!(credential(&["AKI", "AIOSFODNN7EXAMPLE"].concat()).is_none());
    assert!(credential("tokens begin with `glrt-`, older ones do not").is_none());
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let paths = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/tmp", "/wt"],
        ["/tmp/bash", "_jobs"],
    ]
    .map(|parts| parts.concat());
    // Behind a word it is some other folder.
    let elsewhere = |c: char| is_word(c) || matches!(c, '.' | '~' | '}');
    each_line(|place, line| {
        for path in &paths {
            let mut found = line.match_indices(path.as_str());
            let named = found.any(|(start, _)| !line[..start].ends_with(elsewhere));
            assert!(!named, "{place} names {path}");
        }
    });
}

#[test]
fn nothing_is_left_open() {
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["#[ig", "nore"],
    ]
    .map(|parts| parts.concat());
    each_line(|place, line| {
        let code = place.starts_with("src/") || place.starts_with("tests/");
        for mark in &marks {
            assert!(!code || !line.contains(mark.as_str()), "{place} has {mark}");
        }
    });
}
