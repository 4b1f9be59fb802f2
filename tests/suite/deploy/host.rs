//! Hosts that boot in no time: each instance that is launched says at once how far it is, as its script would.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::xml;
use crate::bench::account::Direct;

/// How hosts behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// They come online.
    Online,
    /// They fail at a stage, with the last lines of their log.
    Failed(&'static str, &'static str),
    /// They say nothing.
    Silent,
}

/// The hosts of an account.
pub struct Hosts {
    direct: Direct,
    manner: Mutex<Manner>,
    booted: Mutex<BTreeSet<String>>,
    /// Reports so far, which count as seconds.
    reports: AtomicUsize,
}

impl Hosts {
    /// Watches an account.
    pub fn new(direct: Direct) -> Arc<Self> {
        Arc::new(Self {
            direct,
            manner: Mutex::new(Manner::Online),
            booted: Mutex::default(),
            reports: AtomicUsize::new(0),
        })
    }

    /// From now on hosts behave so.
    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// Lets all hosts speak anew.
    pub fn reboot(&self) {
        self.booted.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.boot();
    }

    /// Boots instances that have not booted yet.
    pub fn boot(&self) {
        let manner = self.manner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Of an account with thousands of instances only those that could be hosts.
        let hosts = [
            ("Filter.1.Name", "tag-key"),
            ("Filter.1.Value.1", "dataops-infra:generation"),
        ];
        let (_, text) = self.direct.query("ec2", "DescribeInstances", &hosts);
        for instance in instances(&text) {
            if instance["instanceState"]["name"] != "running" {
                continue;
            }
            let id = instance["instanceId"].as_str().unwrap_or_default().to_owned();
            let mut booted = self.booted.lock().unwrap_or_else(PoisonError::into_inner);
            if booted.insert(id.clone()) {
                drop(booted);
                self.report(&id, &manner);
            }
        }
    }

    /// Writes what a host says to where its script says, over what is there.
    fn report(&self, id: &str, manner: &Manner) {
        let script = user_data(&self.direct, id);
        let Some((parameter, generation)) = setting(&script, "REPORT").zip(setting(&script, "GENERATION"))
        else {
            return;
        };
        let second = self.reports.fetch_add(1, Ordering::Relaxed) % 60;
        let mut report =
            json!({"at": format!("2026-01-01T00:00:{second:02}Z"), "generation": generation, "instance": id});
        match manner {
            Manner::Silent => return,
            Manner::Online => report["stage"] = "online".into(),
            Manner::Failed(stage, detail) => {
                report["stage"] = "failed".into();
                report["failed_stage"] = (*stage).into();
                report["detail"] = (*detail).into();
            }
        }
        let put =
            json!({"Name": parameter, "Value": report.to_string(), "Type": "String", "Overwrite": true});
        let (status, answer) = self.direct.json("ssm", "AmazonSSM.PutParameter", &put);
        assert_eq!(status, 200, "{answer}");
    }
}

/// Returns the instances of an answer of `DescribeInstances`.
pub fn instances(text: &str) -> Vec<Value> {
    xml::list(&xml::read(text), "reservationSet")
        .iter()
        .flat_map(|reservation| xml::list(reservation, "instancesSet"))
        .collect()
}

/// Returns the script of an instance.
pub fn user_data(direct: &Direct, id: &str) -> String {
    let asked = [("InstanceId", id), ("Attribute", "userData")];
    let (_, text) = direct.query("ec2", "DescribeInstanceAttribute", &asked);
    let answer = xml::read(&text);
    let encoded = xml::find(&answer, "value").and_then(Value::as_str);
    encoded.map(unpacked).unwrap_or_default()
}

/// Returns what cloud-init makes of user data: compressed or not.
pub fn unpacked(encoded: &str) -> String {
    let bytes = STANDARD.decode(encoded.trim()).unwrap_or_default();
    let mut plain = String::new();
    if GzDecoder::new(bytes.as_slice())
        .read_to_string(&mut plain)
        .is_ok()
    {
        return plain;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the value of a line such as `REPORT='/a/b'`.
fn setting(script: &str, name: &str) -> Option<String> {
    let value = script
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['\'', '"']).to_owned())
}

#[test]
fn user_data_is_read() {
    assert_eq!(unpacked("UkVQT1JUPScvYSc="), "REPORT='/a'");
    assert_eq!(setting("A=1\nREPORT='/a'", "REPORT").as_deref(), Some("/a"));
}
