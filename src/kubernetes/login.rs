//! The login to a cluster of EKS: a presigned question to STS who asks, for the one cluster that its header names.
//!
//! The same bytes as `aws eks get-token` makes
//! (<https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster>,
//! <https://github.com/aws/aws-cli/blob/develop/awscli/customizations/eks/get_token.py>). It is a secret for a quarter of an hour.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::domain::deployment::secret::Secret;

/// Header that names the cluster.
const CLUSTER_HEADER: &str = "x-k8s-aws-id";
/// What a token begins with.
const PREFIX: &str = "k8s-aws-v1.";
/// Seconds in the signature; EKS takes the token for 15 minutes whatever this is.
const EXPIRES: u64 = 60;
/// How long a token is used: a minute less than it is taken.
pub const LIFETIME: Duration = Duration::from_mins(14);
/// Version of the credential that is printed for Kubernetes' clients.
pub const EXEC_VERSION: &str = "client.authentication.k8s.io/v1beta1";

/// Parameters of the address in botocore's order; the signature is over them sorted, whatever their order here.
const ORDER: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
];

/// A login could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the login to the cluster cannot be signed: {0}")]
pub struct Unsigned(String);

/// Returns the login to a cluster.
///
/// # Errors
///
/// Region or cluster are no text of a request.
pub fn token(
    credentials: &Credentials,
    cluster: &str,
    region: &str,
    at: SystemTime,
) -> Result<Secret, Unsigned> {
    let address = address(credentials, cluster, region, at)?;
    Ok(Secret::new(&format!(
        "{PREFIX}{}",
        URL_SAFE_NO_PAD.encode(address)
    )))
}

/// Returns the presigned address.
fn address(
    credentials: &Credentials,
    cluster: &str,
    region: &str,
    at: SystemTime,
) -> Result<String, Unsigned> {
    let failed = |error: &dyn std::fmt::Display| Unsigned(error.to_string());
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(EXPIRES));
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(at)
        .settings(settings)
        .build()
        .map_err(|error| failed(&error))?
        .into();
    let base = format!(
        "https://sts.{region}.{}/?Action=GetCallerIdentity&Version=2011-06-15",
        suffix(region)
    );
    let headers = [(CLUSTER_HEADER, cluster)].into_iter();
    let request = SignableRequest::new("GET", base.as_str(), headers, SignableBody::Bytes(&[]))
        .map_err(|error| failed(&error))?;
    let (instructions, _) = sign(request, &params)
        .map_err(|error| failed(&error))?
        .into_parts();
    let (_, signed) = instructions.into_parts();
    let mut address = base;
    for name in ORDER {
        if let Some((_, value)) = signed.iter().find(|(key, _)| *key == name) {
            let _ = write!(address, "&{name}={}", encoded(value));
        }
    }
    Ok(address)
}

/// Returns the end of AWS's names in a region
/// (<https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json>).
fn suffix(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "amazonaws.com.cn",
        region if region.starts_with("us-iso-") => "c2s.ic.gov",
        region if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        region if region.starts_with("eusc-") => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Returns what a credential plugin prints; it holds the token.
pub fn exec_credential(token: &Secret, at: SystemTime) -> Value {
    let seconds = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
        + LIFETIME.as_secs();
    let expires = jiff::Timestamp::from_second(seconds.cast_signed()).unwrap_or_default();
    json!({
        "kind": "ExecCredential",
        "apiVersion": EXEC_VERSION,
        "spec": {},
        "status": { "expirationTimestamp": expires.to_string(), "token": token.reveal() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret key of AWS's own documentation.
    fn credentials(session: Option<&str>) -> Credentials {
        Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session.map(str::to_owned),
            None,
            "test",
        )
    }

    fn at() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000)
    }

    #[test]
    fn the_token_is_of_one_cluster_region_and_minute() {
        let one = token(&credentials(None), "abc", "eu-west-2", at()).expect("signed");
        assert!(one.reveal().starts_with(PREFIX) && !one.reveal().contains('='));
        let same = token(&credentials(None), "abc", "eu-west-2", at()).expect("signed");
        assert!(one == same);
        for (cluster, region, later) in [
            ("abd", "eu-west-2", 0),
            ("abc", "eu-west-1", 0),
            ("abc", "eu-west-2", 1),
        ] {
            let at = at() + Duration::from_secs(later);
            assert!(one != token(&credentials(None), cluster, region, at).expect("signed"));
        }
    }

    #[test]
    fn a_credential_expires_before_the_token_does() {
        let token = Secret::new("x");
        let credential = exec_credential(&token, at());
        assert_eq!(
            credential["status"]["expirationTimestamp"],
            "2026-05-28T20:40:40Z"
        );
        assert_eq!(credential["apiVersion"], EXEC_VERSION);
    }

    /// Asks botocore for the same login.
    const BOTOCORE: &str = r#"
import base64, datetime, json, sys
import botocore.auth, botocore.compat, botocore.session
asked = json.load(sys.stdin)
at = datetime.datetime.fromtimestamp(asked["at"], datetime.timezone.utc)
frozen = type("Frozen", (datetime.datetime,), {
    "utcnow": classmethod(lambda cls: at.replace(tzinfo=None)),
    "now": classmethod(lambda cls, zone=None: at.astimezone(zone) if zone else at.replace(tzinfo=None)),
})
for module in (botocore.auth, botocore.compat):
    if hasattr(module, "datetime"):
        module.datetime = type("M", (), {"datetime": frozen, "timezone": datetime.timezone}) \
            if isinstance(module.datetime, type(datetime)) else frozen
    if hasattr(module, "get_current_datetime"):
        module.get_current_datetime = lambda remove_tzinfo=True: at.replace(tzinfo=None) if remove_tzinfo else at
session = botocore.session.Session()
session.set_credentials("AKIDEXAMPLE", asked["secret"], asked["session"])
sts = session.create_client("sts", region_name=asked["region"])
def header(params, context, **_):
    context["cluster"] = params.pop("ClusterName")
def add(request, **_):
    request.headers["x-k8s-aws-id"] = request.context["cluster"]
sts.meta.events.register("provide-client-params.sts.GetCallerIdentity", header)
sts.meta.events.register("before-sign.sts.GetCallerIdentity", add)
url = sts.generate_presigned_url("get_caller_identity", Params={"ClusterName": asked["cluster"]}, ExpiresIn=60, HttpMethod="GET")
print("k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("="))
"#;

    #[test]
    fn the_token_is_byte_for_byte_that_of_botocore() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};

        let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
        if !python.is_file() {
            assert!(std::env::var_os("CI").is_none(), "CI needs .venv: tools/setup.sh");
            eprintln!("skipped: there is no .venv with botocore");
            return;
        }
        let sessions = [None, Some("FwoGZXIvYXdzEJr//////////wEaDExample+/=")];
        for region in ["eu-west-2", "us-east-1", "cn-north-1", "us-gov-west-1"] {
            for session in sessions {
                let credentials = credentials(session);
                let ours = token(&credentials, "dataops-runner-london", region, at()).expect("signed");
                let asked = json!({
                    "at": 1_780_000_000, "secret": credentials.secret_access_key(), "session": session,
                    "region": region, "cluster": "dataops-runner-london",
                });
                let mut child = Command::new(&python)
                    .args(["-c", BOTOCORE])
                    // The user's own settings of AWS would lead elsewhere.
                    .env_clear()
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("python runs");
                let mut stdin = child.stdin.take().expect("piped");
                stdin.write_all(asked.to_string().as_bytes()).expect("written");
                drop(stdin);
                let output = child.wait_with_output().expect("python ends");
                assert!(output.status.success(), "botocore failed for {region}");
                let theirs = String::from_utf8(output.stdout).expect("text");
                let decoded = |token: &str| {
                    let text = token.trim_start_matches(PREFIX);
                    String::from_utf8(URL_SAFE_NO_PAD.decode(text).expect("base 64")).expect("text")
                };
                assert_eq!(decoded(ours.reveal()), decoded(theirs.trim()), "{region}");
                assert_eq!(ours.reveal(), theirs.trim());
            }
        }
    }
}
