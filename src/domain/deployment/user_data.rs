//! The script of each host, from the record.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::name::{Host, Name, Place};
use super::record::Record;
use super::spec::{SecretRef, Token};
use crate::domain::host_script::{self, Docker, HostScript, Packages, Proxy, Unrenderable, user_data};

/// Image of jobs that name none, as the vendor's page has it
/// (<https://docs.dataops.live/docs/environment-management/runner-installation/>).
const JOB_IMAGE: &str = "dataopslive/dataops-utils-runner";

/// Port of the runner's metrics, on loopback (<https://docs.gitlab.com/runner/monitoring/>).
const METRICS_PORT: u16 = 9252;

/// Returns the digest that the record keeps of certificates.
pub fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the scripts by address.
///
/// # Errors
///
/// A value cannot be used in a script, or the script is too long.
pub fn scripts(
    record: &Record,
    place: &Place,
    ca: Option<&str>,
) -> Result<BTreeMap<String, String>, Unrenderable> {
    Host::all(record.spec.count)
        .into_iter()
        .map(|host| {
            let script = described(record, place, host, ca, user_data)?;
            Ok((host.address("host"), script))
        })
        .collect()
}

/// Describes a host as its scripts need it, to a function that makes something of it.
pub fn described<T>(
    record: &Record,
    place: &Place,
    host: Host,
    ca: Option<&str>,
    make: impl FnOnce(&HostScript) -> T,
) -> T {
    let spec = &record.spec;
    let name: &Name = &record.name;
    let mirrors: Vec<&str> = spec.docker.registry_mirrors.iter().map(String::as_str).collect();
    let mirror = spec.docker.mirror.as_deref();
    let agent = name.host(host);
    let report = name.report(host);
    let log_group = name.log_group();
    make(&HostScript {
        deployment: name.as_str(),
        generation: record.generation.as_str(),
        region: &place.region,
        report_parameter: &report,
        token: match &spec.token {
            Token::Ours => SecretRef::Parameter(name.token()),
            Token::Theirs(reference) => reference.clone(),
        },
        registry: spec.registry.clone(),
        platform_url: &spec.platform_url,
        agent_name: &agent,
        tag: name.as_str(),
        runner_image: &spec.runner_image,
        channel: Some(&spec.channel),
        default_job_image: JOB_IMAGE,
        concurrent: spec.concurrency,
        check_interval: spec.check_interval,
        pull_policies: host_script::PULL_POLICIES,
        metrics_port: Some(METRICS_PORT),
        docker: Docker {
            packages: if spec.docker.distribution {
                Packages::Distribution { mirror }
            } else {
                Packages::Docker { mirror }
            },
            registry_mirrors: &mirrors,
            proxy: spec
                .docker
                .proxy
                .as_deref()
                .map(|url| Proxy { url, exceptions: &[] }),
            ca_certificate: ca,
            ..Docker::default()
        },
        log_group: &log_group,
    })
}
