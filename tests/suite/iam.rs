//! The least policy holds every call that the code makes.

use super::tree::{files, root};

/// Operations of the SDK clients that we use, as they are called and as IAM names them.
///
/// A call that is not in here fails the test: it needs a line here and in `templates/iam/`.
const ACTIONS: &[(&str, &str)] = &[
    ("describe_instance_types", "ec2:DescribeInstanceTypes"),
    (
        "describe_instance_type_offerings",
        "ec2:DescribeInstanceTypeOfferings",
    ),
    ("get_products", "pricing:GetProducts"),
];

/// What an operation of AWS begins with, as a method of a client.
const VERBS: &[&str] = &[
    "describe_",
    "get_products",
    "get_attribute_values",
    "list_",
    "create_",
    "delete_",
    "put_",
    "run_",
    "terminate_",
    "start_",
    "stop_",
    "modify_",
    "authorize_",
    "revoke_",
    "associate_",
    "attach_",
    "detach_",
    "assume_",
];

/// Returns the calls `.verb_something()` without arguments, which is how the SDK begins an operation.
fn calls(text: &str) -> Vec<String> {
    let mut calls = Vec::new();
    for (start, _) in text.match_indices('.') {
        let rest = &text[start + 1..];
        let end = rest
            .find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_')
            .unwrap_or(rest.len());
        let name = &rest[..end];
        if rest[end..].starts_with("()") && VERBS.iter().any(|verb| name.starts_with(verb)) {
            calls.push(name.to_owned());
        }
    }
    calls
}

#[test]
fn every_call_is_in_the_policy() {
    let policy =
        std::fs::read_to_string(root().join("templates/iam/plan.json")).expect("the policy is there");
    let mut used = Vec::new();
    for path in files(&root().join("src/aws")) {
        let text = std::fs::read_to_string(&path).expect("a source file is text");
        for call in calls(&text) {
            let action = ACTIONS
                .iter()
                .find(|(name, _)| *name == call)
                .map(|(_, action)| *action);
            let action =
                action.unwrap_or_else(|| panic!("{}: no IAM action is known for {call}", path.display()));
            assert!(
                policy.contains(&format!("\"{action}\"")),
                "{action} is missing in templates/iam/plan.json"
            );
            used.push(action);
        }
    }
    for (call, action) in ACTIONS {
        assert!(
            used.is_empty() || used.contains(action),
            "{call} is allowed, but nothing calls it"
        );
    }
}

#[test]
fn the_policy_allows_nothing_else() {
    let text = std::fs::read_to_string(root().join("templates/iam/plan.json")).expect("the policy is there");
    let policy: serde_json::Value = serde_json::from_str(&text).expect("the policy is JSON");
    let mut allowed: Vec<&str> = policy["Statement"]
        .as_array()
        .expect("statements")
        .iter()
        .flat_map(|statement| statement["Action"].as_array().expect("actions"))
        .filter_map(serde_json::Value::as_str)
        .collect();
    allowed.sort_unstable();
    let mut known: Vec<&str> = ACTIONS.iter().map(|(_, action)| *action).collect();
    known.sort_unstable();
    assert_eq!(allowed, known);
}

#[test]
fn calls_are_found() {
    let code = "client.describe_instance_types().into_paginator();\n client\n    .get_products()\n .send(); a.start_time(); b.start(x)";
    assert_eq!(
        calls(code),
        ["describe_instance_types", "get_products", "start_time"]
    );
}
