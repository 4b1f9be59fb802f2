//! What `doctor` reads besides what the other files read: the time, and facts of a host.

use std::time::{Duration, SystemTime};

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;

use super::clients::Clients;
use super::command;
use super::error::{CallError, Refusal};
use crate::domain::doctor::facts::{self, HostFacts, Told};
use crate::domain::doctor::machine::Greeting;

/// What a question without a signature is called: nobody needs a permission for it.
const GREETING: &str = "AWS";

/// Asks AWS for nothing, without a signature: the answer has a date, also where the clock is too wrong for signatures.
pub async fn greet(url: &str) -> Result<Greeting, CallError> {
    let silent = |cause: String| CallError::Unreachable {
        action: GREETING,
        cause: format!("{url}: {cause}"),
    };
    let mut request = HttpRequest::new(SdkBody::empty());
    request.set_uri(url).map_err(|error| silent(error.to_string()))?;
    let connector = Connector::builder()
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build();
    let answer = connector
        .call(request)
        .await
        .map_err(|error| silent(innermost(&error)))?;
    let date = answer
        .headers()
        .get("date")
        .and_then(|text| DateTime::from_str(text, Format::HttpDate).ok());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or_default());
    Ok(Greeting {
        url: url.to_owned(),
        skew_s: date.map(|date| now - date.secs()),
    })
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

/// Asks a host for its facts.
///
/// # Errors
///
/// As `command::run`; what it answered was no facts.
pub async fn host_facts(
    clients: &Clients,
    instance: &str,
    told: &Told,
    within: Duration,
) -> Result<HostFacts, CallError> {
    // What is left of the time is for the way there and back.
    let limit = within.as_secs() * 2 / 3;
    let script = facts::script(&facts::question(limit.max(2), Some(told)));
    let output = command::run(clients, instance, &script, within).await?;
    facts::read(&output.stdout).map_err(|why| {
        let complaint = output.stderr.lines().rev().find(|line| !line.trim().is_empty());
        let complaint = complaint.map_or_else(String::new, |line| {
            let line: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
            format!(" ({line})")
        });
        CallError::Malformed {
            action: command::INVOCATION,
            cause: format!("{why}{complaint}"),
        }
    })
}

/// Runs fixes on a host; returns what went wrong, if anything.
///
/// # Errors
///
/// As `command::run`.
pub async fn mend(
    clients: &Clients,
    instance: &str,
    script: &str,
    within: Duration,
) -> Result<Option<String>, CallError> {
    let output = command::run(clients, instance, script, within).await?;
    let complaint = output.stderr.lines().rev().find(|line| !line.trim().is_empty());
    Ok((output.exit != 0).then(|| complaint.unwrap_or("no reason is given").trim().to_owned()))
}

/// Whether a host's agent is known not to answer, as opposed to nobody knowing.
pub fn is_offline(error: &CallError) -> bool {
    error
        .refusal()
        .is_some_and(|refusal| refusal != Refusal::Throttled)
}
