//! IAM policies in tests: what moto can enforce of one, and what AWS would decide on the rest.

use serde_json::{Value, json};

use super::account::Account;

/// Returns a policy with the same actions on everything and without conditions: all that moto can enforce.
pub fn flattened(policy: &Value) -> Value {
    let statements = policy["Statement"].as_array().expect("statements");
    let mut actions: Vec<&str> = statements
        .iter()
        .flat_map(|statement| words(&statement["Action"]))
        .collect();
    actions.sort_unstable();
    actions.dedup();
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
    })
}

/// Makes a user who may do what a policy allows, as far as moto can tell, and returns the user's key.
///
/// To be called before [`super::launcher::Bench::enforce_policies`], after which only such keys are let in.
pub fn enforced(account: &Account, policy: &Value) -> String {
    let user = [("UserName", "limited")];
    let (status, text) = account.query("test", "iam", "CreateUser", &user);
    // A second policy replaces the first, and the key is another.
    assert!(status == 200 || text.contains("EntityAlreadyExists"), "{text}");
    let document = flattened(policy).to_string();
    let put = [user[0], ("PolicyName", "limited"), ("PolicyDocument", &document)];
    let (status, text) = account.query("test", "iam", "PutUserPolicy", &put);
    assert_eq!(status, 200, "{text}");
    let (status, made) = account.query("test", "iam", "CreateAccessKey", &user);
    assert_eq!(status, 200, "{made}");
    let key = made
        .split_once("<AccessKeyId>")
        .and_then(|(_, rest)| rest.split_once('<'));
    key.expect("a key").0.to_owned()
}

/// A question to IAM: may this be done?
#[derive(Clone, Debug, Default)]
pub struct Ask<'a> {
    /// Such as `ec2:RunInstances`.
    pub action: &'a str,
    /// ARNs of all that it touches, each with its tags; all must be allowed. None: the action knows no resources.
    pub on: &'a [(&'a str, &'a [(&'a str, &'a str)])],
    /// Tags that the request gives.
    pub gives: &'a [(&'a str, &'a str)],
    /// Region that is called.
    pub region: &'a str,
    /// Other keys of the request.
    pub keys: &'a [(&'a str, &'a str)],
}

/// Says whether a policy allows something, as AWS describes it
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>), for what our policies
/// use: statements that allow, wildcards, and four operators. It was never compared with AWS itself.
pub fn allows(policy: &Value, ask: &Ask) -> bool {
    let nothing = [("*", &[][..])];
    let resources = if ask.on.is_empty() { &nothing[..] } else { ask.on };
    resources.iter().all(|(arn, tags)| {
        policy["Statement"]
            .as_array()
            .expect("statements")
            .iter()
            .any(|statement| {
                assert_eq!(
                    statement["Effect"], "Allow",
                    "only such statements are understood"
                );
                words(&statement["Action"])
                    .iter()
                    .any(|action| like(&action.to_lowercase(), &ask.action.to_lowercase()))
                    && words(&statement["Resource"])
                        .iter()
                        .any(|pattern| like(pattern, arn))
                    && holds(&statement["Condition"], ask, tags)
            })
    })
}

/// Whether all conditions hold; one on a key that the request has not got does not, but for `Null`.
fn holds(conditions: &Value, ask: &Ask, tags: &[(&str, &str)]) -> bool {
    let Some(conditions) = conditions.as_object() else {
        return true;
    };
    conditions.iter().all(|(operator, keys)| {
        keys.as_object().expect("keys").iter().all(|(key, wanted)| {
            let is = value(key, ask, tags);
            let wanted = words(wanted);
            match operator.as_str() {
                "Null" => wanted == [if is.is_none() { "true" } else { "false" }],
                "StringEquals" | "Bool" => is.is_some_and(|is| wanted.contains(&is)),
                "StringLike" => is.is_some_and(|is| wanted.iter().any(|pattern| like(pattern, is))),
                other => panic!("{other} is not understood"),
            }
        })
    })
}

fn value<'a>(key: &str, ask: &Ask<'a>, tags: &[(&str, &'a str)]) -> Option<&'a str> {
    let find = |list: &[(&str, &'a str)], name: &str| {
        list.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    };
    match key.split_once('/') {
        Some(("aws:RequestTag", tag)) => find(ask.gives, tag),
        Some(("aws:ResourceTag" | "ssm:resourceTag", tag)) => find(tags, tag),
        _ if key == "aws:RequestedRegion" => Some(ask.region),
        _ => find(ask.keys, key),
    }
}

/// Returns one text or a list of them.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(word) => vec![word],
        Value::Array(words) => words.iter().map(|word| word.as_str().expect("a text")).collect(),
        other => panic!("{other} is neither a text nor a list"),
    }
}

/// Whether a pattern with `*` and `?` fits.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            // The last star takes one more.
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[test]
fn patterns_fit_as_in_iam() {
    for (pattern, text, fits) in [
        ("*", "", true),
        ("a*c", "abbc", true),
        ("a*c", "abb", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("*-x", "a-x-x", true),
        (
            "arn:*:role/dataops-infra/*",
            "arn:aws:iam::1:role/dataops-infra/x",
            true,
        ),
        ("role/dataops-infra/*", "role/other/dataops-infra/x", false),
    ] {
        assert_eq!(like(pattern, text), fits, "{pattern} {text}");
    }
}
