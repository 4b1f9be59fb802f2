//! The platform, a GitLab: the few calls of its runner API that need nothing but a runner's own token.
//!
//! Source: <https://docs.gitlab.com/api/runners/>.

use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;

use crate::domain::deployment::secret::Secret;

/// How long the platform may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What we are called where a token is shared by several runners; the entry is taken away again.
const SYSTEM: &str = "dataops-infra-preflight";

/// What the platform says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good.
    Accepted,
    /// It is not.
    Rejected(u16),
    /// Nobody knows.
    Unknown(String),
}

/// Asks whether the platform accepts an authentication token (`glrt-…`).
///
/// Asking enters a manager of the runner; it is removed again at once.
pub async fn verify(url: &str, token: &Secret) -> Verdict {
    match call("POST", &format!("{url}/api/v4/runners/verify"), token).await {
        Ok(200..=299) => {
            // Left behind it would be an entry that is never online; that it cannot be removed changes no verdict.
            let _ = call("DELETE", &format!("{url}/api/v4/runners/managers"), token).await;
            Verdict::Accepted
        }
        Ok(status @ (401 | 403 | 404 | 410)) => Verdict::Rejected(status),
        Ok(status) => Verdict::Unknown(format!("HTTP {status}")),
        Err(why) => Verdict::Unknown(why),
    }
}

/// Makes a call; the token goes in the body, so that no log of addresses has it.
async fn call(method: &str, url: &str, token: &Secret) -> Result<u16, String> {
    let body = format!("token={}&system_id={SYSTEM}", encoded(token.reveal()));
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_uri(url).map_err(|error| error.to_string())?;
    request.set_method(method).map_err(|error| error.to_string())?;
    request
        .headers_mut()
        .insert("content-type", "application/x-www-form-urlencoded");
    let connector = Connector::builder()
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build();
    match tokio::time::timeout(PATIENCE, connector.call(request)).await {
        Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => Err(innermost(&error)),
        Ok(Ok(response)) => Ok(response.status().as_u16()),
    }
}

/// Returns the innermost cause, which is the one that says something.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
