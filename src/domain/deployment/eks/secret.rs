//! What the secrets of a deployment hold in the cluster.
//!
//! The texts are put together when a secret is sent, and nowhere else.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::values::TokenKind;
use crate::domain::deployment::secret::Secret;

/// Key of a token of the newer kind in the secret.
pub const TOKEN_KEY: &str = "runner-token";
/// Key of a registration token.
pub const REGISTRATION_KEY: &str = "runner-registration-token";
/// Key of a registry's login (<https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets>).
pub const LOGIN_KEY: &str = ".dockerconfigjson";
/// Docker Hub, as its clients name it in their configuration.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Data of a secret.
pub type Data = BTreeMap<String, Secret>;

/// Why a registry's login cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLogin {
    /// No JSON.
    #[error("the registry's login is no JSON object")]
    NoObject,
    /// A key is missing.
    #[error("the registry's login has no `{0}`")]
    Lacks(&'static str),
}

/// Returns what the token's secret holds: the chart wants both keys, one of them empty
/// (<https://docs.gitlab.com/runner/install/kubernetes_helm_chart_configuration/>).
pub fn token(token: &Secret) -> Data {
    let (full, empty) = match TokenKind::of(token.reveal()) {
        TokenKind::Authentication => (TOKEN_KEY, REGISTRATION_KEY),
        TokenKind::Registration => (REGISTRATION_KEY, TOKEN_KEY),
    };
    Data::from([
        (full.to_owned(), token.clone()),
        (empty.to_owned(), Secret::new("")),
    ])
}

/// Returns what the registry's secret holds, out of JSON with `username`, `password` and, for all but Docker Hub, `registry`.
///
/// # Errors
///
/// It is no such JSON; what it is, is not said.
pub fn login(text: &Secret, image: &str) -> Result<Data, NoLogin> {
    let login: Value = serde_json::from_str(text.reveal()).map_err(|_| NoLogin::NoObject)?;
    if !login.is_object() {
        return Err(NoLogin::NoObject);
    }
    let has = |key: &'static str| login[key].as_str().filter(|text| !text.is_empty());
    let user = has("username").ok_or(NoLogin::Lacks("username"))?;
    let password = has("password").ok_or(NoLogin::Lacks("password"))?;
    let registry = has("registry")
        .or_else(|| registry_of(image))
        .unwrap_or(DOCKER_HUB);
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let config = json!({ "auths": { registry: { "username": user, "password": password, "auth": auth } } });
    Ok(Data::from([(
        LOGIN_KEY.to_owned(),
        Secret::new(&config.to_string()),
    )]))
}

/// Returns the registry that an image names; none for Docker Hub.
fn registry_of(image: &str) -> Option<&str> {
    let (first, _) = image.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(first)
}

/// Returns the digest of what a secret holds; with the name of the secret in it, so that two of one content differ.
pub fn digest(name: &str, data: &Data) -> String {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    for (key, value) in data {
        hash.update(format!("\n{key} {}\n", value.reveal().len()));
        hash.update(value.reveal().as_bytes());
    }
    let digest = hash.finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the data of a secret as the API server gives it.
pub fn read(data: &Value) -> Data {
    let decoded = |value: &Value| {
        let bytes = STANDARD.decode(value.as_str()?).ok()?;
        Some(Secret::new(&String::from_utf8(bytes).ok()?))
    };
    let entries = data.as_object().into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), decoded(value)?)))
        .collect()
}

/// Returns data as the API server takes it.
pub fn written(data: &Data) -> Value {
    data.iter()
        .map(|(key, value)| (key.clone(), json!(STANDARD.encode(value.reveal()))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_token_has_its_key() {
        let new = token(&Secret::new("glrt-abc"));
        assert_eq!(new[TOKEN_KEY].reveal(), "glrt-abc");
        assert_eq!(new[REGISTRATION_KEY].reveal(), "");
        let old = token(&Secret::new("GR13-abc"));
        assert_eq!(old[TOKEN_KEY].reveal(), "");
        assert_eq!(old[REGISTRATION_KEY].reveal(), "GR13-abc");
        assert_eq!(read(&written(&old)), old);
    }

    #[test]
    fn another_token_is_another_digest() {
        let digests = ["glrt-abc", "glrt-abd", "abc"].map(|text| digest("x", &token(&Secret::new(text))));
        assert_ne!(digests[0], digests[1]);
        assert_ne!(digests[1], digests[2]);
        assert_eq!(digests[0], digest("x", &token(&Secret::new(" glrt-abc\n"))));
        assert_ne!(digests[0], digest("y", &token(&Secret::new("glrt-abc"))));
        assert!(!digests[0].contains("abc"));
    }

    #[test]
    fn a_login_names_its_registry() {
        let text = Secret::new(r#"{"username":"reader","password":"pass"}"#);
        let config = |image: &str| {
            let data = login(&text, image).expect("sound");
            serde_json::from_str::<Value>(data[LOGIN_KEY].reveal()).expect("JSON")
        };
        assert_eq!(
            config("dataopslive/dataops-runner")["auths"][DOCKER_HUB]["auth"],
            json!(STANDARD.encode("reader:pass"))
        );
        assert_eq!(
            config("hub.example:5000/runner")["auths"]["hub.example:5000"]["username"],
            "reader"
        );
        let named = Secret::new(r#"{"username":"a","password":"b","registry":"other.example"}"#);
        let data = login(&named, "hub.example/runner").expect("sound");
        assert!(data[LOGIN_KEY].reveal().contains("other.example"));
        for (text, why) in [
            ("glrt-abc", NoLogin::NoObject),
            ("[]", NoLogin::NoObject),
            (r#"{"username":"a"}"#, NoLogin::Lacks("password")),
        ] {
            assert_eq!(login(&Secret::new(text), "x"), Err(why));
        }
    }
}
