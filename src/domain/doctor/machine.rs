//! The machine that the program runs on.

use super::board::{Gap, Read};
use super::check::{Check, Remedy};
use super::code::Code;
use crate::domain::call::CallError;

/// Seconds of skew that are worth a word, and that AWS refuses
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>: five minutes).
const SKEW: (i64, i64) = (60, 270);

/// A tool that remedies name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// The program.
    pub name: &'static str,
    /// Whether it is in the search path.
    pub there: bool,
    /// What it is for.
    pub what_for: &'static str,
}

/// Tools that remedies name, with what they are for.
pub const TOOLS: &[(&str, &str)] = &[
    ("aws", "commands of remedies that begin with `aws`"),
    (
        "session-manager-plugin",
        "a shell on a host by `aws ssm start-session`",
    ),
];

/// What AWS answered to a question without a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The address that was asked.
    pub url: String,
    /// Seconds that this machine is ahead of AWS; none: the answer has no date.
    pub skew_s: Option<i64>,
}

/// Checks whether AWS answers.
pub fn network(greeting: &Read<Greeting>) -> Check {
    let code = Code::MachineNetwork;
    match greeting {
        Ok(greeting) => Check::ok(code, format!("{} answers", greeting.url)),
        Err(why) => Check::failed(
            code,
            why.to_string(),
            Remedy::new(
                "check the region, the network, the proxy (HTTPS_PROXY, NO_PROXY) and --endpoint-url",
            ),
        ),
    }
}

/// Checks the clock.
pub fn clock(greeting: &Read<Greeting>) -> Check {
    let code = Code::MachineClock;
    let skew = match greeting {
        Ok(greeting) => greeting.skew_s,
        Err(why) => return Check::unknown(code, format!("AWS tells no time: {why}")),
    };
    let Some(skew) = skew else {
        return Check::unknown(code, "the answer of AWS has no date");
    };
    let way = if skew < 0 { "behind" } else { "ahead of" };
    let evidence = format!("{} s {way} AWS", skew.abs());
    let remedy = || {
        Remedy::new(
            "set the clock and let something keep it: AWS refuses signatures that are five minutes off",
        )
        .run("sudo timedatectl set-ntp true")
    };
    if skew.abs() >= SKEW.1 {
        Check::failed(code, evidence, remedy())
    } else if skew.abs() >= SKEW.0 {
        Check::warning(code, evidence, remedy())
    } else {
        Check::ok(code, evidence)
    }
}

/// Checks the credentials by who AWS says we are.
pub fn credentials(caller: &Read<String>, profile: Option<&str>) -> Check {
    let code = Code::MachineCredentials;
    match caller {
        Ok(arn) => Check::ok(code, arn.clone()),
        Err(Gap::Call(CallError::Credentials { cause, .. })) => {
            let sign_in = match profile {
                Some(profile) => format!("aws sso login --profile {profile}"),
                None => "aws sso login".to_owned(),
            };
            Check::failed(
                code,
                cause.clone(),
                Remedy::new("sign in again, or name a profile with --profile, or set AWS_PROFILE")
                    .run(sign_in),
            )
        }
        Err(why) => Check::unknown(code, why.to_string()),
    }
}

/// Checks the tools; none of them is needed by the program itself.
pub fn tools(tools: &[Tool]) -> Check {
    let code = Code::MachineTools;
    let missing: Vec<String> = tools
        .iter()
        .filter(|tool| !tool.there)
        .map(|tool| format!("{} is not here ({})", tool.name, tool.what_for))
        .collect();
    if missing.is_empty() {
        let all: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
        return Check::ok(code, all.join(", "));
    }
    let why = "the program itself needs no other";
    Check::ok(code, format!("{}; {why}", missing.join("; ")))
}
