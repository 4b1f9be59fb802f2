//! What one value must look like, for the file and for flags in the same words.

use std::collections::BTreeMap;
use std::fmt;

use super::Ttl;
use super::keys::{Form, KEYS, Key, Kind, RETENTION_DAYS, Value, find};
use super::problem::{is_printable, quoted};
use super::shape::{
    SIZES, arn, is_chart, is_chart_version, is_cidr, is_cluster, is_email, is_family, is_id, is_image,
    is_image_tag, is_kms_key, is_kubernetes, is_name, is_object, is_parameter, is_policy, is_principal,
    is_region, is_secret, is_size, is_topic, is_url, is_variable, is_zone, network, whole,
};
use crate::domain::deployment::eks::spec::Chart;
use crate::domain::profile::{self, builtin_names, fields::FIELDS, nearest};

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: Option<String>,
    /// What was probably meant, or what to do, as a whole phrase.
    pub suggestion: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; {suggestion}")?;
        }
        Ok(())
    }
}

impl Refusal {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            expected: None,
            suggestion: None,
        }
    }

    pub(super) fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(super) fn suggesting(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    pub(super) fn unknown(key: &str) -> Self {
        let near = near(key, KEYS.iter().map(|key| key.name));
        Self::new("unknown key").suggesting(near.map(did_you_mean))
    }

    pub(super) fn twice(item: &str) -> Self {
        Self::new(format!("{} stands twice", quoted(item))).suggesting(Some("remove one of them".to_owned()))
    }
}

/// Returns the known word that was probably meant; long texts are no typos, and comparing them takes time.
fn near<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > 60 {
        None
    } else {
        nearest(text, known)
    }
}

fn did_you_mean(near: impl fmt::Display) -> String {
    format!("did you mean `{near}`?")
}

/// Checks a value as a flag gives it: one item of a list, `KEY=VALUE` of a map.
///
/// # Errors
///
/// What is wrong with it, and what was expected. What looks like a credential is never repeated.
pub fn check(key: &str, text: &str) -> Result<Value, Refusal> {
    let Some(key) = find(key) else {
        return Err(Refusal::unknown(key));
    };
    match key.form {
        Form::One => single(key, text),
        Form::List(_) => Ok(Value::List(vec![item(key, text)?])),
        Form::Map(_) => {
            let Some((name, value)) = text.split_once('=') else {
                let shown = if looks_secret(text) {
                    "this".to_owned()
                } else {
                    quoted(text)
                };
                return Err(Refusal::new(format!("{shown} has no `=`"))
                    .expecting(format!("KEY=VALUE, such as {}", key.example)));
            };
            pair(key, name, value)?;
            Ok(Value::Map(BTreeMap::from([(name.to_owned(), value.to_owned())])))
        }
    }
}

/// Checks the value of a key that holds one.
pub(super) fn single(key: &Key, text: &str) -> Result<Value, Refusal> {
    item(key, text)?;
    Ok(match key.kind {
        Kind::Flag => Value::Flag(text == "true"),
        Kind::Number(..) | Kind::Retention => Value::Number(whole(text).unwrap_or_default()),
        _ => Value::Text(text.to_owned()),
    })
}

/// Checks one value on its own and returns it.
pub(super) fn item(key: &Key, text: &str) -> Result<String, Refusal> {
    let expected = expectation(key);
    if looks_secret(text) {
        return Err(secret_refused(&expected));
    }
    let trouble = trouble(key.kind, text);
    let Some((message, suggestion)) = trouble else {
        return Ok(text.to_owned());
    };
    if key.is_private() || repeats_a_password(key.kind, text) {
        // Backquotes hold what was written.
        let message = if message.contains('`') {
            "holds something else, which is not repeated here in case it is a secret".to_owned()
        } else {
            message
        };
        // A suggestion would repeat it, too.
        return Err(Refusal::new(message).expecting(expected));
    }
    Err(Refusal::new(message).expecting(expected).suggesting(suggestion))
}

/// Returns whether a URL may hold a password or a webhook's key.
fn repeats_a_password(kind: Kind, text: &str) -> bool {
    matches!(kind, Kind::Url | Kind::Address | Kind::Image)
        && text.contains("://")
        && text.contains(['@', '?'])
}

pub(super) fn secret_refused(expected: &str) -> Refusal {
    Refusal::new("looks like a token or password, which has no place here and is not repeated")
        .expecting(expected)
        .suggesting(Some(SECRETS_ARE_NAMED.to_owned()))
}

/// What to do with a credential.
pub(super) const SECRETS_ARE_NAMED: &str = "name where it is kept: `token: {file: PATH}`, or environment, parameter or secret; then replace the one that was written down";

/// Beginnings of credentials that people paste by mistake.
const SECRET_PREFIXES: &[&str] = &[
    "glrt-",
    "glpat-",
    "gldt-",
    "glcbt-",
    "glptt-",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "AKIA",
    "ASIA",
    "dckr_pat_",
    "xoxb-",
    "-----BEGIN",
];

/// Returns whether text holds what looks like a token, a key or a password.
pub fn looks_secret(text: &str) -> bool {
    secrets(text).next().is_some()
}

/// Returns the places of what looks like a secret: from the prefix to the end of its word.
fn secrets(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '…');
    SECRET_PREFIXES.iter().flat_map(move |prefix| {
        text.match_indices(prefix).filter_map(move |(start, _)| {
            let rest = &text[start + prefix.len()..];
            let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
            // A word such as `AKIAH` in the middle of another is none; the marks with a hyphen always are.
            let begins = !text[..start].ends_with(|c: char| c.is_ascii_alphanumeric());
            let long = *prefix == "-----BEGIN" || length >= if prefix.len() == 4 { 12 } else { 4 };
            (begins && long).then_some(start..start + prefix.len() + length)
        })
    })
}

/// Returns text in which what looks like a secret is hidden.
pub(super) fn masked(text: &str) -> String {
    let mut shown = text.to_owned();
    let first = |text: &str| secrets(text).next();
    while let Some(place) = first(&shown) {
        shown.replace_range(place, "(hidden)");
    }
    shown
}

/// Checks a key of a map and its value.
pub(super) fn pair(key: &Key, name: &str, value: &str) -> Result<(), Refusal> {
    let expected = expectation(key);
    if looks_secret(name) || looks_secret(value) {
        return Err(secret_refused(&expected));
    }
    match key.kind {
        Kind::Override => setting(name, value),
        _ => tag(name, value),
    }
    .map_err(|refusal| match refusal.expected {
        None => refusal.expecting(expected),
        Some(_) => refusal,
    })
}

/// Checks a change of the workload with the words of the workload's own file.
fn setting(name: &str, value: &str) -> Result<(), Refusal> {
    if !FIELDS.iter().any(|field| field.path() == name) {
        let paths: Vec<String> = FIELDS.iter().map(profile::Field::path).collect();
        let near = (name.len() <= 60)
            .then(|| near(name, paths.iter().map(String::as_str)))
            .flatten();
        let owner = FIELDS
            .iter()
            .find(|field| field.key == name)
            .map(profile::Field::path);
        return Err(Refusal::new(format!("{} is no key of a workload", quoted(name)))
            .suggesting(near.map(str::to_owned).or(owner).map(did_you_mean)));
    }
    if value.contains(['\n', '\r']) {
        return Err(Refusal::new(format!(
            "the value of {} has several lines",
            quoted(name)
        )));
    }
    let (section, field) = name.split_once('.').unwrap_or((name, ""));
    let file = format!("{section}:\n  {field}: {value}\n");
    match profile::parse(&file, "", &mut |_| Err("no file".to_owned())) {
        Ok(_) => Ok(()),
        Err(errors) => Err(errors.problems.into_iter().next().map_or_else(
            || Refusal::new("is wrong"),
            |problem| Refusal {
                message: format!("{}: {}", quoted(name), problem.message),
                expected: problem.expected,
                suggestion: problem.suggestion,
            },
        )),
    }
}

/// Checks a tag by the rules that hold for every service we tag, IAM and SSM included.
fn tag(name: &str, value: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    let lower = name.to_lowercase();
    let refuse = |message: String| Err(Refusal::new(message));
    if name.is_empty() {
        return refuse("a key is empty".to_owned());
    }
    if name.chars().count() > 128 {
        return refuse(format!(
            "the key {} has {} characters",
            quoted(name),
            name.chars().count()
        ));
    }
    if value.chars().count() > 256 {
        let length = value.chars().count();
        return refuse(format!("the value of {} has {length} characters", quoted(name)));
    }
    for prefix in ["aws:", "dataops-infra:"] {
        if lower.starts_with(prefix) {
            let owner = if prefix == "aws:" { "AWS" } else { "this tool" };
            return refuse(format!(
                "{} begins with `{prefix}`, which belongs to {owner}",
                quoted(name)
            ));
        }
    }
    if lower == "name" {
        return Err(Refusal::new(format!("{} is set by this tool", quoted(name)))
            .suggesting(Some("the key `name` of the deployment says it".to_owned())));
    }
    for (what, text) in [("the key", name), ("the value of", value)] {
        if let Some(odd) = text.chars().find(|c| !allowed(*c)) {
            let odd = quoted(&odd.to_string());
            return refuse(format!("{what} {} holds {odd}", quoted(name)));
        }
    }
    Ok(())
}

/// Returns what is wrong with a value and what was probably meant; `None` when nothing is.
fn trouble(kind: Kind, text: &str) -> Option<(String, Option<String>)> {
    trouble_and(kind, text, true)
}

/// As [`trouble`]; what was meant is looked for once, not for what was perhaps meant again.
fn trouble_and(kind: Kind, text: &str, look: bool) -> Option<(String, Option<String>)> {
    let is_no = |what: &str| format!("{} is no {what}", quoted(text));
    let meant = |near: String| {
        let good = look && near != text && trouble_and(kind, &near, false).is_none();
        good.then(|| did_you_mean(near))
    };
    let lower = text.trim().to_lowercase();
    let hyphens = lower.replace(['_', ' '], "-");
    if text.is_empty() {
        return Some(("is empty".to_owned(), None));
    }
    if text.len() > 2048 {
        return Some((format!("has {} characters", text.chars().count()), None));
    }
    if !text.chars().all(is_printable) {
        return Some(("holds characters that do not print".to_owned(), None));
    }
    let answer = |good: bool, what: &str, near: String| (!good).then(|| (is_no(what), meant(near)));
    match kind {
        Kind::Name => {
            let near = hyphens.replace('.', "-").trim_matches('-').to_owned();
            answer(is_name(text), "name of a deployment", near)
        }
        Kind::Choice(words) => {
            if words.contains(&text) {
                return None;
            }
            let explained = ["ecs", "fargate", "app-runner", "batch", "lambda", "beanstalk"];
            let suggestion = if words.contains(&"ec2") && explained.contains(&hyphens.as_str()) {
                Some(format!("`dataops-infra explain {hyphens}` says why"))
            } else {
                near(&hyphens, words.iter().copied()).map(did_you_mean)
            };
            Some((format!("{} is not known", quoted(text)), suggestion))
        }
        Kind::Flag => {
            if matches!(text, "true" | "false") {
                return None;
            }
            let near = match lower.as_str() {
                "yes" | "on" | "y" | "1" | "true" => Some("true"),
                "no" | "off" | "n" | "0" | "false" => Some("false"),
                _ => None,
            };
            Some((format!("{} is not known", quoted(text)), near.map(did_you_mean)))
        }
        Kind::Number(min, max, unit) => match whole(text) {
            Some(number) if (min..=max).contains(&number) => None,
            Some(_) => Some((format!("{} is out of range", quoted(text)), None)),
            None => Some(number_trouble(text, unit)),
        },
        Kind::Retention => match whole(text) {
            Some(days) if RETENTION_DAYS.contains(&days) => None,
            Some(days) => {
                let next = RETENTION_DAYS.iter().find(|known| **known > days);
                let near = next.map(|next| format!("the next longer one is {next}"));
                Some((
                    format!("CloudWatch Logs cannot keep logs for {}", quoted(text)),
                    near,
                ))
            }
            None => Some(number_trouble(text, "days")),
        },
        Kind::Region => {
            let near = hyphens
                .trim_end_matches(|c: char| c.is_ascii_lowercase())
                .to_owned();
            answer(is_region(text), "AWS region", near)
        }
        Kind::Zone => {
            if hyphens.contains("-az") {
                let message = format!("{} is the id of a zone", quoted(text));
                return Some((
                    message,
                    Some("write its name, which the account maps to it".to_owned()),
                ));
            }
            answer(is_zone(text), "availability zone", hyphens)
        }
        Kind::AwsProfile => {
            let good = text.chars().count() <= 128 && text.trim() == text && !text.contains(['[', ']']);
            answer(good, "AWS profile", text.trim().to_owned())
        }
        Kind::Workload => {
            if builtin_names().contains(&text) {
                return None;
            }
            let looks_like_a_file =
                text.contains('/') || [".yaml", ".yml", ".json"].iter().any(|end| text.ends_with(end));
            if looks_like_a_file {
                return file_trouble(text);
            }
            let near = near(&hyphens, builtin_names().iter().copied()).map(did_you_mean);
            Some((format!("there is no workload {}", quoted(text)), near))
        }
        Kind::File => file_trouble(text),
        Kind::Family => {
            let near = lower.split('.').next().unwrap_or_default().to_owned();
            answer(is_family(text), "instance family", near)
        }
        Kind::InstanceType => {
            let near = match lower.split_once('.') {
                Some((family, size)) if !is_size(size) => {
                    let size = near(size, SIZES.iter().copied()).unwrap_or_default();
                    format!("{family}.{size}")
                }
                _ => lower,
            };
            let good = text
                .split_once('.')
                .is_some_and(|(family, size)| is_family(family) && is_size(size));
            answer(good, "instance type", near)
        }
        Kind::Id(prefix, what) => {
            let near = lower.rsplit('/').next().unwrap_or_default().to_owned();
            answer(
                is_id(text, prefix),
                &format!("id of {}", with_article(what)),
                near,
            )
        }
        Kind::Parameter => {
            let near = format!("/{text}");
            answer(is_parameter(text), "SSM parameter", near)
        }
        Kind::Secret => answer(is_secret(text), "secret of Secrets Manager", String::new()),
        Kind::KmsKey => answer(is_kms_key(text), "KMS key", format!("alias/{text}")),
        Kind::Variable => {
            let near = text.trim_start_matches('$').trim_matches(['{', '}']).to_owned();
            answer(is_variable(text), "environment variable", near)
        }
        Kind::Url => {
            if text.contains("://")
                && text
                    .split(['/', '?', '#'])
                    .nth(2)
                    .is_some_and(|host| host.contains('@'))
            {
                return Some(("holds a user name or password".to_owned(), None));
            }
            answer(is_url(text, &["https", "http"]), "URL", format!("https://{text}"))
        }
        Kind::Image => {
            let near = lower
                .split_once("://")
                .map_or(lower.clone(), |(_, image)| image.to_owned());
            answer(is_image(text), "container image", near)
        }
        Kind::Channel => answer(is_image_tag(text), "tag of an image", hyphens),
        Kind::Topic => answer(
            arn(text).is_some_and(|arn| arn.service == "sns" && is_topic(arn.resource)),
            "ARN of an SNS topic",
            String::new(),
        ),
        Kind::Address => {
            let near = lower.trim_start_matches("mailto:").replace("http://", "https://");
            let good = is_email(text) || is_url(text, &["https"]);
            answer(good, "address for alarms", near)
        }
        Kind::Ttl => {
            let near = match lower.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim() {
                number if whole(number).is_some() => {
                    let unit = lower[lower
                        .find(|c: char| c.is_ascii_alphabetic())
                        .unwrap_or(lower.len())..]
                        .chars()
                        .next();
                    format!("{number}{}", unit.unwrap_or('h'))
                }
                _ => String::new(),
            };
            let number = text.trim_end_matches(['m', 'h', 'd']);
            if Ttl::parse(text).is_none() && text.len() == number.len() + 1 && whole(number).is_some() {
                return Some((format!("{} is out of range", quoted(text)), None));
            }
            answer(Ttl::parse(text).is_some(), "length of time", near)
        }
        Kind::Cluster => answer(is_cluster(text), "name of an EKS cluster", hyphens),
        Kind::Kubernetes => {
            let version = lower.trim_start_matches('v');
            let near: Vec<&str> = version.splitn(3, '.').take(2).collect();
            answer(is_kubernetes(text), "minor version of Kubernetes", near.join("."))
        }
        Kind::Cidr => {
            let near = match network(text) {
                Some((_, first)) => text.split_once('/').map(|(_, bits)| format!("{first}/{bits}")),
                None => (!text.contains('/')).then(|| format!("{text}/32")),
            };
            answer(is_cidr(text), "range of IPv4 addresses", near.unwrap_or_default())
        }
        Kind::Principal => {
            if text.contains(":assumed-role/") {
                let message = format!("{} is a session of a role", quoted(text));
                let suggestion = "write the role: arn:aws:iam::ACCOUNT:role/NAME".to_owned();
                return Some((message, Some(suggestion)));
            }
            answer(is_principal(text), "ARN of a role or a user", String::new())
        }
        Kind::Policy => {
            let near = (!text.contains(':')).then(|| format!("arn:aws:iam::aws:policy/{text}"));
            answer(is_policy(text), "ARN of a policy", near.unwrap_or_default())
        }
        Kind::Object(longest, what) => answer(
            is_object(text, longest),
            &format!("name of a {what}"),
            hyphens.trim_matches('-').to_owned(),
        ),
        Kind::Repository => {
            if text.contains('@') {
                return Some(("holds a user name or password".to_owned(), None));
            }
            let bare = text.strip_prefix("http://").unwrap_or(text);
            let near = (!bare.contains("://")).then(|| format!("https://{bare}"));
            answer(
                is_url(text, &["https", "oci"]),
                "repository of charts",
                near.unwrap_or_default(),
            )
        }
        Kind::Chart => {
            if Chart::is_path(text) {
                return file_trouble(text);
            }
            if let Some((repository, chart)) = text
                .rsplit_once('/')
                .filter(|(repository, _)| repository.contains("://"))
            {
                let message = format!("{} is an address", quoted(text));
                let suggestion = format!("write chart_repository: {repository} and chart: {chart}");
                return Some((message, Some(suggestion)));
            }
            answer(is_chart(text), "name of a chart", hyphens)
        }
        Kind::ChartVersion => {
            let near = (text.matches('.').count() == 1).then(|| format!("{text}.0"));
            answer(
                is_chart_version(text),
                "version of a chart",
                near.unwrap_or_default(),
            )
        }
        Kind::Override | Kind::Tag => None,
    }
}

fn number_trouble(text: &str, unit: &str) -> (String, Option<String>) {
    let digits = text.replace(['_', ',', '\''], "");
    let bare = text
        .trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .trim_end();
    let suggestion = if whole(&digits).is_some() {
        Some(did_you_mean(digits))
    } else if bare.len() < text.len() && whole(bare).is_some() {
        Some(format!("write the number alone: the unit is {unit}"))
    } else {
        None
    };
    (format!("{} is not a whole number", quoted(text)), suggestion)
}

fn file_trouble(text: &str) -> Option<(String, Option<String>)> {
    if text == "-" {
        let message = "`-` stands for standard input elsewhere, but here for a file".to_owned();
        return Some((message, Some("write ./- if that is its name".to_owned())));
    }
    text.starts_with('~').then(|| {
        let message = format!("{} begins with `~`, which only a shell understands", quoted(text));
        (message, Some("write the whole path".to_owned()))
    })
}

fn with_article(what: &str) -> String {
    let article = if what.starts_with('A') { "an" } else { "a" };
    format!("{article} {what}")
}

/// Returns what a key may hold, in words.
pub(super) fn expectation(key: &Key) -> String {
    match key.kind {
        Kind::Name => "3 to 40 of a-z, 0-9 and -, a letter first and no - at the end".to_owned(),
        Kind::Choice(words) => words.join(" or "),
        Kind::Flag => "true or false".to_owned(),
        Kind::Number(min, max, unit) => format!("a whole number, {min} to {max} {unit}"),
        Kind::Retention => {
            let days: Vec<String> = RETENTION_DAYS.iter().map(ToString::to_string).collect();
            format!("one of {} days", days.join(", "))
        }
        Kind::Region => "a region such as eu-west-2".to_owned(),
        Kind::Zone => "a zone such as eu-west-2a".to_owned(),
        Kind::AwsProfile => "the name of a profile in the AWS configuration files".to_owned(),
        Kind::Workload => format!("{} or a file such as ./team.yaml", builtin_names().join(", ")),
        Kind::Override => "a key of a workload and its value, such as slo.wait_s: 20".to_owned(),
        Kind::Family => "a family such as c5 or m6i".to_owned(),
        Kind::InstanceType => "a type such as m6i.2xlarge".to_owned(),
        Kind::Id(prefix, _) => format!("{prefix} and 8 or 17 of 0-9 and a-f"),
        Kind::Parameter => "the name of an SSM parameter, such as /team/value, or its ARN".to_owned(),
        Kind::Secret => "the name of a secret in Secrets Manager, such as team/value, or its ARN".to_owned(),
        Kind::KmsKey => "the id of a KMS key, alias/NAME, or the ARN of either".to_owned(),
        Kind::File => "the path of a file".to_owned(),
        Kind::Variable => "the name of an environment variable, such as RUNNER_TOKEN".to_owned(),
        Kind::Url => format!(
            "an https or http URL without user and password, such as {}",
            key.example
        ),
        Kind::Image => format!("an image such as {}", key.example),
        Kind::Channel => "latest, latest-next or another tag of the image".to_owned(),
        Kind::Topic => format!("the ARN of a standard topic, such as {}", key.example),
        Kind::Address => "an e-mail address or an https URL".to_owned(),
        Kind::Ttl => "a life such as 90m, 4h or 7d, from 15m to 30d".to_owned(),
        Kind::Cluster => "up to 100 letters, digits, - and _, a letter or digit first".to_owned(),
        Kind::Kubernetes | Kind::ChartVersion => format!("a version such as {}", key.example),
        Kind::Cidr => format!("a range such as {}", key.example),
        Kind::Principal => format!("the ARN of a role or a user, such as {}", key.example),
        Kind::Policy => format!("the ARN of a policy, such as {}", key.example),
        Kind::Object(longest, _) => {
            let dots = if longest > 63 { ", . between" } else { "" };
            format!("up to {longest} of a-z, 0-9 and -, no - at either end{dots}")
        }
        Kind::Repository => format!(
            "an https or oci URL without user and password, such as {}",
            key.example
        ),
        Kind::Chart => "the name of a chart, or the path of a folder or archive such as ./chart".to_owned(),
        Kind::Tag => "a key of 1 to 128 and a value of up to 256 letters, digits, spaces and _ . : / = + - @"
            .to_owned(),
    }
}
