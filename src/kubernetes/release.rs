//! What Helm keeps of a release: one secret for each revision
//! (<https://helm.sh/docs/topics/advanced/#storage-backends>), read without Helm.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::client::{APPLY, Ask, Cluster, READ};
use super::object::{self, Spot, query};
use crate::domain::call::CallError;
use crate::domain::deployment::eks::observed::Release;

/// Annotation with which a run says that its Helm is at work.
const BEAT: &str = "dataops-infra/alive";
/// As whom that is written: the server notes when.
const BEAT_MANAGER: &str = "dataops-infra-alive";
/// Seconds of silence after which a run is taken for gone.
pub const SILENCE: i64 = 90;
/// Bytes of a release that are read at most; the API server keeps no object of more than 1.5 MB.
const LARGEST: u64 = 64 << 20;

/// The newest revision of a release, as its secret is labelled.
#[derive(Clone, Debug)]
pub struct Head {
    /// `deployed`, `failed`, `pending-install`, …
    pub status: String,
    /// Where Helm keeps it.
    pub spot: Spot,
    /// Its secret without what is in it.
    secret: Value,
}

impl Head {
    /// Whether Helm says that it is at work on it.
    pub fn is_pending(&self) -> bool {
        self.status.starts_with("pending-") || self.status == "uninstalling"
    }

    /// Whether it is pending and nobody was seen at work on it for so many seconds.
    pub fn is_left(&self, silence: i64) -> bool {
        self.is_pending() && self.silent_seconds() > silence
    }

    /// Returns the seconds since somebody was last seen at work on it.
    pub fn silent_seconds(&self) -> i64 {
        let metadata = &self.secret["metadata"];
        let written = metadata["managedFields"].as_array().into_iter().flatten();
        let last = written
            .filter_map(|entry| entry["time"].as_str())
            .chain(metadata["creationTimestamp"].as_str())
            .filter_map(|time| time.parse::<jiff::Timestamp>().ok())
            .max();
        let now = jiff::Timestamp::now();
        last.map_or(i64::MAX, |last| now.as_second() - last.as_second())
    }
}

/// Finds the newest revision of a release; none: there is no such release.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn head(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<Head>, CallError> {
    let newest = secrets(cluster, namespace, name).await?.into_iter().next_back();
    Ok(newest.map(|secret| Head {
        status: text(&secret["metadata"]["labels"]["status"]),
        spot: Spot {
            api: "v1".to_owned(),
            kind: "Secret".to_owned(),
            namespace: Some(namespace.to_owned()),
            name: text(&secret["metadata"]["name"]),
        },
        secret,
    }))
}

/// Reads the newest revision of a release; none: there is no such release.
///
/// # Errors
///
/// The server does not answer or refuses, or Helm's own storage cannot be read.
pub async fn newest(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<Release>, CallError> {
    let Some(head) = head(cluster, namespace, name).await? else {
        return Ok(None);
    };
    // Another run may have removed it in between.
    let Some(whole) = object::read(cluster, &head.spot).await? else {
        return Ok(None);
    };
    let mut release = decoded(&whole["data"]["release"]).map_err(|cause| CallError::Malformed {
        action: READ,
        cause: format!("{}, in which Helm keeps its release: {cause}", head.spot),
    })?;
    release.status = head.status;
    Ok(Some(release))
}

/// Returns the newest revision that was deployed; none: none ever was.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn deployed(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<u32>, CallError> {
    let revisions = secrets(cluster, namespace, name).await?;
    let mut newest_first = revisions.iter().rev();
    let found = newest_first.find(|secret| secret["metadata"]["labels"]["status"] == "deployed");
    Ok(found.map(revision))
}

/// Reads the secrets of a release without what is in them, the newest last.
async fn secrets(cluster: &Cluster, namespace: &str, name: &str) -> Result<Vec<Value>, CallError> {
    let selector = query(&format!("owner=helm,name={name}"));
    let path = format!(
        "{}?labelSelector={selector}",
        object::list("v1", "Secret", Some(namespace))
    );
    let mut list = cluster
        .ask(Ask {
            metadata_only: true,
            ..Ask::read(&path)
        })
        .await?;
    let Value::Array(mut items) = list["items"].take() else {
        return Ok(Vec::new());
    };
    items.sort_by_key(revision);
    Ok(items)
}

fn revision(secret: &Value) -> u32 {
    let text = secret["metadata"]["labels"]["version"].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Reads what Helm wrote: base 64, of base 64, of gzip, of JSON.
fn decoded(data: &Value) -> Result<Release, String> {
    let outer = STANDARD
        .decode(data.as_str().ok_or("it holds nothing")?)
        .map_err(|error| error.to_string())?;
    let inner = STANDARD.decode(outer).map_err(|error| error.to_string())?;
    let mut plain = Vec::new();
    if inner.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = GzDecoder::new(inner.as_slice()).take(LARGEST);
        unpacked
            .read_to_end(&mut plain)
            .map_err(|error| error.to_string())?;
    } else {
        plain = inner;
    }
    let release: Value = serde_json::from_slice(&plain).map_err(|error| error.to_string())?;
    let chart = &release["chart"]["metadata"];
    Ok(Release {
        status: text(&release["info"]["status"]),
        chart: format!("{}-{}", text(&chart["name"]), text(&chart["version"])),
        revision: release["version"].as_u64().unwrap_or(0) as u32,
        description: text(&release["info"]["description"]),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Says that Helm is at work on a revision, so that another run does not take it for left behind.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn beat(cluster: &Cluster, head: &Head) -> Result<(), CallError> {
    let path = format!("{}?fieldManager={BEAT_MANAGER}", head.spot.path());
    let now = jiff::Timestamp::now().to_string();
    let patch = json!({ "metadata": { "annotations": { BEAT: now } } });
    cluster
        .ask(Ask {
            action: APPLY,
            method: "PATCH",
            body: Some(("application/merge-patch+json", patch.to_string().into_bytes())),
            ..Ask::read(&path)
        })
        .await
        .map(|_| ())
}

/// Takes back a revision that a run began and left: Helm then goes on from the one before.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn forget(cluster: &Cluster, head: &Head) -> Result<(), CallError> {
    let mut secret = head.secret.clone();
    // Read as metadata alone, it names another kind.
    secret["apiVersion"] = json!("v1");
    secret["kind"] = json!("Secret");
    object::delete(cluster, &secret).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_helm_wrote_is_read() {
        let release = json!({
            "version": 3, "info": { "status": "deployed", "description": "dataops-infra abc" },
            "chart": { "metadata": { "name": "dataops-runner", "version": "1.2.3" } },
        });
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(release.to_string().as_bytes()).expect("packed");
        let data = STANDARD.encode(STANDARD.encode(packed.finish().expect("packed")));
        let read = decoded(&json!(data)).expect("read");
        assert_eq!(read.chart, "dataops-runner-1.2.3");
        assert_eq!((read.revision, read.status.as_str()), (3, "deployed"));
        assert_eq!(read.description, "dataops-infra abc");
        assert!(decoded(&json!("%")).is_err() && decoded(&Value::Null).is_err());
    }

    #[test]
    fn who_was_seen_last_counts() {
        let now = jiff::Timestamp::now().as_second();
        let at = |ago: i64| {
            jiff::Timestamp::from_second(now - ago)
                .expect("a time")
                .to_string()
        };
        let head = |secret: Value| Head {
            status: "pending-install".to_owned(),
            spot: Spot::of(&Value::Null),
            secret,
        };
        let made = json!({ "metadata": { "creationTimestamp": at(600) } });
        assert!((600..610).contains(&head(made.clone()).silent_seconds()));
        assert!(head(made.clone()).is_left(SILENCE));
        let mut seen = made;
        seen["metadata"]["managedFields"] = json!([{ "time": at(5) }, { "time": at(300) }]);
        assert!((5..10).contains(&head(seen.clone()).silent_seconds()));
        assert!(!head(seen).is_left(SILENCE));
        assert_eq!(head(json!({})).silent_seconds(), i64::MAX);
    }
}
