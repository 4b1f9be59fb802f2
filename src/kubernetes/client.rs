//! Calls to the API server of one cluster.
//!
//! Objects are JSON, as the server has them: what is applied is made in `domain`, what is read is judged there.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use http::Uri;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper_util::client::proxy::matcher::Matcher;
use kube::core::Status;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::object::query;
use crate::domain::call::{CallError, Refusal};
use crate::domain::deployment::secret::Secret;

/// Reads objects.
pub const READ: &str = "kubernetes:get";
/// Applies an object.
pub const APPLY: &str = "kubernetes:patch";
/// Removes an object.
pub const DELETE: &str = "kubernetes:delete";

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// Pauses before what only reads is asked again.
const AGAIN: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];
/// How long a login is used; EKS takes it for 15 minutes.
const FRESH: Duration = Duration::from_mins(10);

/// The form of a list that holds metadata alone.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

/// Signs in.
pub type Sign = Arc<dyn Fn() -> BoxFuture<'static, Result<Secret, CallError>> + Send + Sync>;

/// A cluster that can be called.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    sign: Sign,
    login: Arc<Mutex<Option<(Secret, Instant)>>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster(…)")
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// What it is called in errors.
    pub action: &'static str,
    /// `GET`, `PATCH`, …
    pub method: &'static str,
    /// Path and query.
    pub path: &'a str,
    /// Type and text of the body.
    pub body: Option<(&'static str, Vec<u8>)>,
    /// Whether of the objects of a list only their metadata are wanted.
    pub metadata_only: bool,
}

impl<'a> Ask<'a> {
    /// Reads a path.
    pub fn read(path: &'a str) -> Self {
        Self {
            action: READ,
            method: "GET",
            path,
            body: None,
            metadata_only: false,
        }
    }
}

/// Whether an address is on this machine: proxies are not asked for it, by Helm neither
/// (<https://pkg.go.dev/net/http#ProxyFromEnvironment>).
fn is_here(address: &Uri) -> bool {
    let host = address.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Returns the proxy by which an address is reached, with user and password as the environment has them.
fn proxy(proxies: &Matcher, address: &Uri) -> Option<Uri> {
    let found = proxies.intercept(address)?;
    let uri = found.uri();
    let login = found
        .basic_auth()
        .and_then(|basic| STANDARD.decode(basic.to_str().ok()?.strip_prefix("Basic ")?).ok())
        .and_then(|login| String::from_utf8(login).ok());
    let Some((user, password)) = login.as_deref().and_then(|login| login.split_once(':')) else {
        return Some(uri.clone());
    };
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let (user, password) = (query(user), query(password));
    format!("{scheme}://{user}:{password}@{authority}").parse().ok()
}

impl Cluster {
    /// Takes the address of the API server and its authority, base 64 of PEM; nothing is called yet. A proxy that the environment
    /// names is used, as AWS's SDKs and Helm do.
    ///
    /// # Errors
    ///
    /// The address or the authority cannot be read.
    pub fn new(endpoint: &str, authority: &str, sign: Sign) -> Result<Self, CallError> {
        let proxies = Matcher::from_env();
        Self::by(endpoint, authority, sign, |address| {
            (!is_here(address)).then(|| proxy(&proxies, address)).flatten()
        })
    }

    /// Takes what `new` takes, and which proxy an address is reached by.
    ///
    /// # Errors
    ///
    /// The address or the authority cannot be read.
    pub fn by(
        endpoint: &str,
        authority: &str,
        sign: Sign,
        proxy: impl Fn(&Uri) -> Option<Uri>,
    ) -> Result<Self, CallError> {
        let wrong = |cause: String| CallError::Malformed { action: READ, cause };
        let address: Uri = endpoint
            .parse()
            .map_err(|error| wrong(format!("the cluster's endpoint `{endpoint}`: {error}")))?;
        let proxy = proxy(&address);
        let mut config = kube::Config::new(address);
        config.proxy_url = proxy;
        config.root_cert = Some(certificates(authority).map_err(wrong)?);
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(ANSWER);
        config.write_timeout = Some(ANSWER);
        // Who may be asked again and when is decided by the engine.
        config.default_retry = false;
        let client = kube::Client::try_from(config).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            client,
            sign,
            login: Arc::default(),
        })
    }

    /// Returns a login that is good for a while.
    async fn login(&self) -> Result<Secret, CallError> {
        let mut login = self.login.lock().await;
        if let Some((token, since)) = &*login
            && since.elapsed() < FRESH
        {
            return Ok(token.clone());
        }
        let token = (self.sign)().await?;
        *login = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    /// Asks, and returns the answer.
    ///
    /// # Errors
    ///
    /// The server does not answer, or refuses.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<Value, CallError> {
        let action = ask.action;
        let text = self.text(ask).await?;
        serde_json::from_str(&text).map_err(|error| CallError::Malformed {
            action,
            cause: error.to_string(),
        })
    }

    /// Asks, and returns the text of the answer.
    ///
    /// What only reads is asked again where there is no answer: one connection that ends would else mean that a cluster cannot be
    /// looked into, and `down` would take the nodes from under running jobs.
    ///
    /// # Errors
    ///
    /// The server does not answer, or refuses.
    pub async fn text(&self, ask: Ask<'_>) -> Result<String, CallError> {
        let mut pauses = if ask.method == "GET" { &AGAIN[..] } else { &[] }.iter();
        loop {
            let error = match self.once(ask.clone()).await {
                Err(error) if error.is_silence() || error.refusal() == Some(Refusal::Throttled) => error,
                other => return other,
            };
            let Some(pause) = pauses.next() else {
                return Err(error);
            };
            tokio::time::sleep(*pause).await;
        }
    }

    /// Asks once.
    async fn once(&self, ask: Ask<'_>) -> Result<String, CallError> {
        let action = ask.action;
        let malformed = |cause: String| CallError::Malformed { action, cause };
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.login().await?.reveal()))
            .map_err(|_| malformed("the login is no header".to_owned()))?;
        bearer.set_sensitive(true);
        let mut request = http::Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .header(AUTHORIZATION, bearer)
            .header(
                ACCEPT,
                if ask.metadata_only {
                    METADATA
                } else {
                    "application/json, */*"
                },
            );
        if let Some((kind, _)) = &ask.body {
            request = request.header(CONTENT_TYPE, *kind);
        }
        let body = ask.body.map(|(_, body)| body).unwrap_or_default();
        let request = request.body(body).map_err(|error| malformed(error.to_string()))?;
        match tokio::time::timeout(ANSWER, self.client.request_text(request)).await {
            Err(_) => Err(CallError::Unreachable {
                action,
                cause: format!("no answer in {} s", ANSWER.as_secs()),
            }),
            Ok(Err(error)) => {
                let error = classify(action, error);
                if matches!(
                    error,
                    CallError::Refused {
                        why: Refusal::NotYet,
                        ..
                    }
                ) {
                    // It may be the login that is not known any more.
                    *self.login.lock().await = None;
                }
                Err(error)
            }
            Ok(Ok(text)) => Ok(text),
        }
    }
}

/// Reads certificates: base 64 of PEM, as EKS gives them.
fn certificates(authority: &str) -> Result<Vec<Vec<u8>>, String> {
    let none = || "the cluster's certificate authority cannot be read".to_owned();
    let pem = STANDARD.decode(authority.trim()).map_err(|_| none())?;
    let pem = String::from_utf8(pem).map_err(|_| none())?;
    let certificates = pem
        .split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|part| {
            let body = part.split("-----END CERTIFICATE-----").next().unwrap_or_default();
            let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
            STANDARD.decode(body).map_err(|_| none())
        })
        .collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() {
        Err(none())
    } else {
        Ok(certificates)
    }
}

/// Returns what an error means.
fn classify(action: &'static str, error: kube::Error) -> CallError {
    match error {
        kube::Error::Api(status) => refused(action, &status),
        kube::Error::SerdeError(error) => CallError::Malformed {
            action,
            cause: error.to_string(),
        },
        other => CallError::Unreachable {
            action,
            cause: innermost(&other),
        },
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

/// Returns what a refusal of the API server means
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/>; reasons: <https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#StatusReason>).
fn refused(action: &'static str, status: &Status) -> CallError {
    let said = said(status);
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let because = |reason: &str| causes.clone().any(|cause| cause.reason == reason);
    let refused = |why, cause| CallError::Refused { action, why, cause };
    match (status.code, status.reason.as_str()) {
        (401, _) => refused(
            Refusal::NotYet,
            format!(
                "{said}: the cluster does not know who calls; an access entry for the role or user is missing, or not \
                 in effect yet"
            ),
        ),
        (403, _) if because("NamespaceTerminating") || said.contains("because it is being terminated") => {
            refused(Refusal::NotYet, said)
        }
        (403, _) if said.contains("exceeded quota") => refused(Refusal::Quota, said),
        (403, _) => CallError::Denied { action, cause: said },
        (404, _) => refused(Refusal::Missing, said),
        (409, "AlreadyExists") => refused(Refusal::Exists, said),
        // Fields of others; a conflict over the version has no causes and goes away by itself.
        (409, _) if because("FieldManagerConflict") => refused(Refusal::Other, said),
        (409, _) => refused(Refusal::NotYet, said),
        (429, _) => refused(Refusal::Throttled, said),
        (500.., _) => CallError::Unreachable { action, cause: said },
        _ => refused(Refusal::Other, said),
    }
}

/// Returns what the server said: of conflicts each field with its owner.
fn said(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let conflicts: Vec<String> = causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| {
            let owner = cause.message.trim_start_matches("conflict with ");
            format!("{} is set by {owner}", cause.field)
        })
        .collect();
    if !conflicts.is_empty() {
        let of = status
            .details
            .as_ref()
            .map(|details| format!("{} {}", details.kind, details.name));
        return format!(
            "somebody else has set fields of {}: {}; they are left as they are",
            of.unwrap_or_else(|| "the object".to_owned()),
            conflicts.join(", ")
        );
    }
    if status.message.is_empty() {
        return format!("HTTP {} {}", status.code, status.reason)
            .trim()
            .to_owned();
    }
    // The server repeats what was wrong, which is long and holds no data of secrets.
    status
        .message
        .chars()
        .filter(|c| !c.is_control())
        .take(600)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_used_as_the_environment_says() {
        let proxies = Matcher::builder()
            .https("http://user:p%40ss@proxy.example:3128")
            .no("inner.example,10.0.0.0/8")
            .build();
        let of = |address: &str| proxy(&proxies, &address.parse().expect("an address"));
        assert_eq!(
            of("https://abc.eks.amazonaws.com").expect("a proxy"),
            "http://user:p%40ss@proxy.example:3128"
        );
        assert_eq!(of("https://api.inner.example"), None);
        assert_eq!(of("https://10.1.2.3:443"), None);
        let plain = Matcher::builder().https("proxy.example:3128").build();
        let found = proxy(&plain, &"https://a.example".parse().expect("an address")).expect("a proxy");
        assert_eq!(
            found.authority().map(http::uri::Authority::as_str),
            Some("proxy.example:3128")
        );
        for (address, here) in [
            ("https://127.0.0.1:6443", true),
            ("https://[::1]:6443", true),
            ("https://localhost", true),
            ("https://10.0.0.1", false),
            ("https://localhost.example", false),
        ] {
            assert_eq!(is_here(&address.parse().expect("an address")), here, "{address}");
        }
    }
    use serde_json::json;

    fn status(value: Value) -> Status {
        serde_json::from_value(value).expect("a status")
    }

    #[test]
    fn a_conflict_names_fields_and_owners() {
        let error = refused(
            APPLY,
            &status(json!({
                "code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict",
                "details": { "kind": "storageclasses", "name": "x", "causes": [{
                    "reason": "FieldManagerConflict",
                    "message": "conflict with \"kubectl-edit\" using storage.k8s.io/v1",
                    "field": ".parameters.directoryPerms",
                }] },
            })),
        );
        assert_eq!(error.refusal(), Some(Refusal::Other));
        let text = error.to_string();
        assert!(
            text.contains(".parameters.directoryPerms is set by \"kubectl-edit\""),
            "{text}"
        );
    }

    #[test]
    fn each_refusal_is_what_it_says() {
        let of = |code: u16, reason: &str, message: &str| {
            refused(
                READ,
                &status(json!({ "code": code, "reason": reason, "message": message })),
            )
        };
        assert_eq!(
            of(401, "Unauthorized", "Unauthorized").refusal(),
            Some(Refusal::NotYet)
        );
        assert!(matches!(
            of(403, "Forbidden", "pods is forbidden"),
            CallError::Denied { .. }
        ));
        let ending = "unable to create new content in namespace x because it is being terminated";
        assert_eq!(of(403, "Forbidden", ending).refusal(), Some(Refusal::NotYet));
        assert_eq!(
            of(403, "Forbidden", "exceeded quota: q").refusal(),
            Some(Refusal::Quota)
        );
        assert_eq!(of(404, "NotFound", "").refusal(), Some(Refusal::Missing));
        assert_eq!(of(409, "AlreadyExists", "").refusal(), Some(Refusal::Exists));
        assert_eq!(of(409, "Conflict", "modified").refusal(), Some(Refusal::NotYet));
        assert_eq!(
            of(422, "Invalid", "spec.x: Invalid value").refusal(),
            Some(Refusal::Other)
        );
        assert_eq!(of(429, "TooManyRequests", "").refusal(), Some(Refusal::Throttled));
        let silent = of(503, "", "");
        assert!(silent.is_silence());
        assert!(
            silent.to_string().contains("the cluster does not answer"),
            "{silent}"
        );
    }

    #[test]
    fn an_authority_that_is_none_is_told() {
        let none = STANDARD.encode("-----BEGIN NOTHING-----");
        assert!(certificates(&none).is_err() && certificates("%").is_err());
        let two = STANDARD.encode(
            "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nZGVm\n-----END CERTIFICATE-----\n",
        );
        assert_eq!(certificates(&two), Ok(vec![b"abc".to_vec(), b"def".to_vec()]));
    }
}
