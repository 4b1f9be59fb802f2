//! What runs on a host: the user data that makes it a DataOps Runner, and the script that drains it before it goes.
//!
//! The scripts themselves are `templates/host/user-data.sh` (with `host.py` inside) and `drain.sh`; here values are checked,
//! quoted and put into their holes. The same values give the same bytes, and no secret is among them: the host reads the
//! token and the registry's login itself, with the role of its instance.
//!
//! # Stages
//!
//! The host reports each stage when it has reached it; `failed` names the stage that was not reached, with the end of the log.
//!
//! | stage | reached when |
//! | --- | --- |
//! | `boot` | the script runs, the metadata service answers, the role may write the report |
//! | `docker` | the Docker daemon answers with our settings; the folders and `/secrets` exist |
//! | `registered` | the token was read, the image pulled, `config.toml` has a runner's token and our settings |
//! | `online` | the service container runs, the runner's own `verify` succeeds, and the runner polls |
//!
//! A runner that polls in vain logs nothing, so "polls" means: its metrics show an answered question for jobs; or its log
//! does, as with debug logs; or within three minutes there were 20 seconds in which the container ran, did not restart, and
//! logged no error and no failed or forbidden request. `verify` runs in a throw-away container with the service's
//! configuration, as registering does.
//!
//! # Again
//!
//! cloud-init runs user data once. The script keeps a copy of itself, which a unit runs at each later boot and every two
//! minutes until it has succeeded: it goes on where an earlier run was cut off, brings back a container, a `daemon.json` or a
//! `config.toml` that was lost or spoilt (the spoilt one is kept beside it), and reports its stages anew. What is of no use
//! is not tried again: a token that the platform has refused is shown to it once an hour, another one at once; a runner that it does
//! not know any more waits for people. It lets be what somebody
//! decided since: a container whose restart policy is `no` (stage `stopped`), a runner that was taken off the platform, an
//! upgrade under way, the image of an upgrade, settings that were changed in `config.toml`.
//!
//! The script takes a lock, and does not register a second runner while `config.toml`, or the last good copy of it, has a
//! token for the platform. Registering with a token of the older kind makes a runner each time, so a registration whose answer
//! was lost is counted in `registering`: it is made again, three times at most, and the detail of `online` says that the
//! platform may list more of the name.
//!
//! `/var/log/dataops-infra.log` has all it said, `/var/lib/dataops-infra/bootstrapped` exists only after success. The login of
//! the registry is in memory (`/run/dataops-infra-login`) and read anew at each boot. The CloudWatch agent and the disk guard
//! may fail without keeping the runner offline; the detail of `online` says so.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use thiserror::Error;

pub use crate::domain::deployment::spec::SecretRef;

const USER_DATA: &str = include_str!("../../templates/host/user-data.sh");
pub(super) const HELPER: &str = include_str!("../../templates/host/host.py");
const DRAIN: &str = include_str!("../../templates/host/drain.sh");

/// The host's own programs and units, by the hole of `user-data.sh` that each fills.
const PROGRAMS: [(&str, &str); 7] = [
    ("HELPER", HELPER),
    ("DISK_GUARD", include_str!("../../templates/host/disk-guard.py")),
    (
        "DISK_GUARD_SERVICE",
        include_str!("../../templates/host/disk-guard.service"),
    ),
    (
        "DISK_GUARD_TIMER",
        include_str!("../../templates/host/disk-guard.timer"),
    ),
    (
        "REBOOT_WINDOW",
        include_str!("../../templates/host/reboot-window.sh"),
    ),
    (
        "REBOOT_WINDOW_SERVICE",
        include_str!("../../templates/host/reboot-window.service"),
    ),
    (
        "REBOOT_WINDOW_TIMER",
        include_str!("../../templates/host/reboot-window.timer"),
    ),
];

/// What EC2 takes as user data, compressed and before its encoding
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html>).
pub const MOST_BYTES: usize = 16_384;

/// Where the runner's container sees the certificate of `Docker::ca_certificate`.
const CA_IN_CONTAINER: &str = "/etc/gitlab-runner/certs/ca.crt";

/// Addresses of Docker's networks unless told otherwise: 256 small ones, none in the range of AWS's default VPC.
pub const ADDRESS_POOLS: &[AddressPool<'static>] = &[AddressPool {
    base: "172.17.0.0/16",
    size: 24,
}];

/// Pull policies unless told otherwise: a registry that is out of reach does not stop jobs whose image is there.
pub const PULL_POLICIES: &[&str] = &["always", "if-not-present"];

/// Where the packages of Docker come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages<'a> {
    /// Docker's own repository.
    Docker {
        /// A mirror of it, with its key as `gpg`.
        mirror: Option<&'a str>,
    },
    /// The distribution's `docker.io`.
    Distribution {
        /// A mirror of Ubuntu's archive, which replaces the sources of the image.
        mirror: Option<&'a str>,
    },
}

/// A range that Docker cuts its networks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPool<'a> {
    /// The range, as `172.17.0.0/16`.
    pub base: &'a str,
    /// The prefix length of each network.
    pub size: u8,
}

/// The way out for networks without a direct one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxy<'a> {
    /// `http://HOST:PORT`; one with a password is refused, because user data is no place for secrets.
    pub url: &'a str,
    /// Names and addresses that are reached directly; the host itself and the metadata service always are.
    pub exceptions: &'a [&'a str],
}

/// How Docker is installed and set up.
#[derive(Debug, Clone, Copy)]
pub struct Docker<'a> {
    /// Where its packages come from.
    pub packages: Packages<'a>,
    /// Mirrors of Docker Hub.
    pub registry_mirrors: &'a [&'a str],
    /// Ranges for its networks.
    pub address_pools: &'a [AddressPool<'a>],
    /// Size at which the log of a container is rotated, as `50m`.
    pub log_size: &'a str,
    /// Log files kept for each container.
    pub log_files: u32,
    /// The proxy of the host, of Docker, of the runner and of its jobs.
    pub proxy: Option<Proxy<'a>>,
    /// A further certificate authority in PEM, trusted by the host, by Docker and by the runner.
    pub ca_certificate: Option<&'a str>,
}

impl Default for Docker<'_> {
    fn default() -> Self {
        Self {
            packages: Packages::Docker { mirror: None },
            registry_mirrors: &[],
            address_pools: ADDRESS_POOLS,
            log_size: "50m",
            log_files: 3,
            proxy: None,
            ca_certificate: None,
        }
    }
}

/// Everything that a host is told.
#[derive(Debug, Clone)]
pub struct HostScript<'a> {
    /// Name of the deployment.
    pub deployment: &'a str,
    /// Its generation, which the reports carry.
    pub generation: &'a str,
    /// The AWS region of the host; empty: the host asks the metadata service, and for the domain of AWS too.
    pub region: &'a str,
    /// Name of the SSM parameter that the host writes its stages to.
    pub report_parameter: &'a str,
    /// Where the token of the runner is: the text itself, or JSON with the key `token`.
    pub token: SecretRef,
    /// Where the login of the registry is: JSON with `username` and `password`, and `registry` if the image does not tell it.
    pub registry: Option<SecretRef>,
    /// Address of the platform, with or without a slash at its end.
    pub platform_url: &'a str,
    /// Name of the runner, its container and its folder.
    pub agent_name: &'a str,
    /// Tag of the jobs it takes, with a registration token; with a `glrt-` token the platform decides.
    pub tag: &'a str,
    /// Image of the runner. A tag or a digest in it goes together with no channel.
    pub runner_image: &'a str,
    /// Tag of the image, `latest` or `latest-next`.
    pub channel: Option<&'a str>,
    /// Image of jobs that name none.
    pub default_job_image: &'a str,
    /// Jobs at a time, of the process and of the runner.
    pub concurrent: u32,
    /// Seconds between two questions for work.
    pub check_interval: u32,
    /// Pull policies of job images, in order.
    pub pull_policies: &'a [&'a str],
    /// Port of the runner's metrics. In the container they listen on all addresses, on the host only on loopback.
    pub metrics_port: Option<u16>,
    /// Docker's settings.
    pub docker: Docker<'a>,
    /// Log group that the CloudWatch agent writes to.
    pub log_group: &'a str,
}

/// Why there is no script for these values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unrenderable {
    /// Control characters have no place in a script, whatever their quotes.
    #[error("the {0} has control characters")]
    Control(&'static str),
    /// Not what the place is for.
    #[error("the {name} cannot be used: {why}")]
    Unusable {
        /// The value.
        name: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More than EC2 takes.
    #[error("the user data has {0} bytes when compressed; EC2 takes at most {MOST_BYTES}")]
    TooLong(usize),
}

/// Returns the user data of a host: one bash script.
///
/// # Errors
///
/// `Unrenderable` for values that no host could use, and for more than 16 KB when compressed; only a very long chain of
/// certificates does that.
pub fn user_data(host: &HostScript) -> Result<String, Unrenderable> {
    check(host)?;
    let docker = &host.docker;
    let (packages, mirror) = match docker.packages {
        Packages::Docker { mirror } => ("docker", mirror),
        Packages::Distribution { mirror } => ("distribution", mirror),
    };
    let image = match host.channel {
        Some(channel) => format!("{}:{channel}", host.runner_image),
        None => host.runner_image.to_owned(),
    };
    let options = host
        .metrics_port
        .map(|port| vec!["-p".to_owned(), format!("127.0.0.1:{port}:{port}")]);
    let ca = docker
        .ca_certificate
        .map(certificates)
        .transpose()?
        .unwrap_or_default();
    let token_call = secret_call("place of the token", &host.token, host.region)?;
    let registry_call = match &host.registry {
        Some(login) => secret_call("place of the registry's login", login, host.region)?,
        None => Vec::new(),
    };
    let mut environment = proxy_environment(docker.proxy);
    if docker.ca_certificate.is_some() {
        environment.push(format!("CI_SERVER_TLS_CA_FILE={CA_IN_CONTAINER}"));
    }
    let mut holes = vec![
        ("DEPLOYMENT", quote(host.deployment)),
        ("GENERATION", quote(host.generation)),
        ("REGION", quote(host.region)),
        (
            "DNS_SUFFIX",
            quote(if host.region.is_empty() {
                ""
            } else {
                dns_suffix(host.region)
            }),
        ),
        ("REPORT", quote(host.report_parameter)),
        ("URL", quote(host.platform_url.trim_end_matches('/'))),
        ("AGENT", quote(host.agent_name)),
        ("TAG", quote(host.tag)),
        ("REGISTRY", quote(registry_of(&image))),
        ("IMAGE", quote(&image)),
        ("JOB_IMAGE", quote(host.default_job_image)),
        ("SETTINGS", quote(&runner_settings(host).to_string())),
        ("PACKAGES", quote(packages)),
        ("MIRROR", quote(mirror.unwrap_or_default().trim_end_matches('/'))),
        ("PROXY", quote(docker.proxy.map_or("", |proxy| proxy.url))),
        ("CA", quote(&ca)),
        ("DAEMON_JSON", quote(&daemon_settings(docker).to_string())),
        ("AGENT_JSON", quote(&agent_settings(host.log_group).to_string())),
        (
            "METRICS",
            quote(&host.metrics_port.map(|port| port.to_string()).unwrap_or_default()),
        ),
        ("ENVIRONMENT", words(&environment)),
        ("OPTIONS", words(&options.unwrap_or_default())),
        ("TOKEN_CALL", words(&token_call)),
        ("REGISTRY_CALL", words(&registry_call)),
    ];
    let program = |text| compact(text, "\t").trim_end().to_owned();
    holes.extend(PROGRAMS.map(|(hole, text)| (hole, program(text))));
    let script = fill(&compact(USER_DATA, ""), &holes);
    let size = packed(&script).len();
    if size > MOST_BYTES {
        return Err(Unrenderable::TooLong(size));
    }
    Ok(script)
}

/// Returns user data as an instance gets it: compressed by gzip, which cloud-init undoes
/// (<https://cloudinit.readthedocs.io/en/latest/explanation/format.html>). The same script gives the same bytes.
pub fn packed(script: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing into memory does not fail.
    let written = encoder
        .write_all(script.as_bytes())
        .and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

/// Returns the script that drains a host: no new jobs, up to `seconds` for the running ones, then off the platform.
///
/// With 0 seconds jobs are aborted; those that are not done in time go on, and the runner stays registered. The last line
/// is JSON: `drained` (whether no job runs any more), `unregistered` (`runner`, `manager`, `gone` where its owner had
/// removed it, or `no`), `detail`. The exit code is always 0, also where no runner ever was, and it may run again.
pub fn drain(seconds: u32, agent_name: &str) -> String {
    let holes = [
        ("AGENT", quote(agent_name)),
        ("DRAIN_SECONDS", quote(&seconds.to_string())),
    ];
    fill(DRAIN, &holes)
}

/// Refuses what would be something else than it should: options, paths, addresses of others.
pub(super) fn check(host: &HostScript) -> Result<(), Unrenderable> {
    let docker = &host.docker;
    let mut texts = vec![
        ("deployment", host.deployment),
        ("generation", host.generation),
        ("region", host.region),
        ("report parameter", host.report_parameter),
        ("platform address", host.platform_url),
        ("agent name", host.agent_name),
        ("tag", host.tag),
        ("runner image", host.runner_image),
        ("channel", host.channel.unwrap_or_default()),
        ("job image", host.default_job_image),
        ("log group", host.log_group),
        ("log size", docker.log_size),
    ];
    texts.extend(host.pull_policies.iter().map(|policy| ("pull policy", *policy)));
    texts.extend(
        docker
            .address_pools
            .iter()
            .map(|pool| ("address pool", pool.base)),
    );
    for (name, text) in texts {
        if text.contains(char::is_control) {
            return Err(Unrenderable::Control(name));
        }
    }
    if !host.region.is_empty() {
        only("region", host.region, "-")?;
    }
    only("agent name", host.agent_name, "-_.")?;
    only("runner image", host.runner_image, "-_./:@")?;
    only("channel", host.channel.unwrap_or("latest"), "-_.")?;
    address("platform address", host.platform_url)?;
    if let Packages::Docker { mirror: Some(mirror) } | Packages::Distribution { mirror: Some(mirror) } =
        docker.packages
    {
        address("package mirror", mirror)?;
    }
    for mirror in docker.registry_mirrors {
        address("registry mirror", mirror)?;
    }
    if let Some(proxy) = docker.proxy {
        address("proxy", proxy.url)?;
        for name in proxy.exceptions {
            only("exception of the proxy", name.trim_start_matches('.'), "-_.:/*")?;
        }
    }
    let positive = |name, number| match number {
        0 => Err(Unrenderable::Unusable {
            name,
            why: "it is zero",
        }),
        _ => Ok(()),
    };
    positive("number of concurrent jobs", host.concurrent)?;
    positive("number of log files", docker.log_files)
}

/// Refuses what has other characters than ASCII letters, digits and these, and what looks like an option.
fn only(name: &'static str, text: &str, others: &str) -> Result<(), Unrenderable> {
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let why = "it must begin with a letter or a digit";
        return Err(Unrenderable::Unusable { name, why });
    }
    if text.contains(|c: char| !c.is_ascii_alphanumeric() && !others.contains(c)) {
        let why = "it has characters that do not belong there";
        return Err(Unrenderable::Unusable { name, why });
    }
    Ok(())
}

/// Refuses what is no web address, and one with a password in it.
fn address(name: &'static str, text: &str) -> Result<(), Unrenderable> {
    if text.contains(char::is_control) {
        return Err(Unrenderable::Control(name));
    }
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest.filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['))
    else {
        let why = "it must begin with https:// or http:// and a name";
        return Err(Unrenderable::Unusable { name, why });
    };
    if rest.contains('@') {
        let why = "a user or a password in it would be readable in the user data";
        return Err(Unrenderable::Unusable { name, why });
    }
    if rest.contains(|c: char| !c.is_ascii_graphic() || "\"'<>\\^`{|}$".contains(c)) {
        let why = "it has characters that do not belong there";
        return Err(Unrenderable::Unusable { name, why });
    }
    Ok(())
}

/// Returns the certificates of a PEM text without what stands around them.
fn certificates(pem: &str) -> Result<String, Unrenderable> {
    let name = "certificate";
    let mut kept = Vec::new();
    let mut inside = false;
    for line in pem.lines().map(str::trim) {
        if line.contains(char::is_control) {
            return Err(Unrenderable::Control(name));
        }
        inside |= line == "-----BEGIN CERTIFICATE-----";
        if line.contains("PRIVATE KEY") {
            let why = "a private key is no part of a certificate";
            return Err(Unrenderable::Unusable { name, why });
        }
        if inside {
            kept.push(line);
        }
        inside &= line != "-----END CERTIFICATE-----";
    }
    if kept.is_empty() || inside {
        let why = "it is not PEM";
        return Err(Unrenderable::Unusable { name, why });
    }
    Ok(kept.join("\n"))
}

/// Returns region, service, operation and body of the call that reads a secret.
pub(super) fn secret_call(
    name: &'static str,
    place: &SecretRef,
    region: &str,
) -> Result<Vec<String>, Unrenderable> {
    let (SecretRef::Parameter(id) | SecretRef::Secret(id)) = place;
    if id.contains(char::is_control) {
        return Err(Unrenderable::Control(name));
    }
    // An ARN says its region: what is asked elsewhere is not found.
    let region = match id.strip_prefix("arn:") {
        Some(rest) => rest.split(':').nth(2).unwrap_or_default(),
        None => region,
    };
    // Empty: the host's own.
    if !region.is_empty() || id.starts_with("arn:") {
        only(name, region, "-")?;
    }
    let (service, operation, body) = match place {
        SecretRef::Parameter(_) => (
            "ssm",
            "AmazonSSM.GetParameter",
            json!({ "Name": id, "WithDecryption": true }),
        ),
        SecretRef::Secret(_) => (
            "secretsmanager",
            "secretsmanager.GetSecretValue",
            json!({ "SecretId": id }),
        ),
    };
    Ok(vec![
        region.to_owned(),
        service.to_owned(),
        operation.to_owned(),
        body.to_string(),
    ])
}

pub(super) fn dns_suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

/// Returns the registry of an image, empty for Docker Hub: the first part if it looks like the name of a host.
pub(super) fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "",
    }
}

/// Returns what is never reached through the proxy.
fn exceptions(proxy: Proxy) -> String {
    let mut names = vec!["localhost", "127.0.0.1", "169.254.169.254"];
    names.extend(proxy.exceptions);
    names.join(",")
}

/// Returns the proxy as environment, in capitals and not: programs differ.
fn proxy_environment(proxy: Option<Proxy>) -> Vec<String> {
    let Some(proxy) = proxy else { return Vec::new() };
    let (url, except) = (proxy.url, exceptions(proxy));
    let named = [("HTTP_PROXY", url), ("HTTPS_PROXY", url), ("NO_PROXY", &except)];
    let capitals = named.iter().map(|(name, value)| format!("{name}={value}"));
    let small = named
        .iter()
        .map(|(name, value)| format!("{}={value}", name.to_lowercase()));
    capitals.chain(small).collect()
}

/// Returns what is set in `config.toml`: at the top, in the runner, and in its Docker section.
pub(super) fn runner_settings(host: &HostScript) -> Value {
    let mut top = json!({ "concurrent": host.concurrent, "check_interval": host.check_interval });
    if let Some(port) = host.metrics_port {
        top["listen_address"] = json!(format!(":{port}"));
    }
    let mut runner = json!({ "limit": host.concurrent });
    let environment = proxy_environment(host.docker.proxy);
    if !environment.is_empty() {
        runner["environment"] = json!(environment);
    }
    let docker = json!({
        "volumes": ["/app:/local_config:rw", "/agent_cache:/agent_cache:rw", "/secrets:/secrets:ro"],
        "pull_policy": host.pull_policies,
    });
    json!([top, runner, docker])
}

/// Returns Docker's `daemon.json`.
fn daemon_settings(docker: &Docker) -> Value {
    let pools = docker.address_pools.iter();
    let mut settings = json!({
        "log-driver": "json-file",
        "log-opts": { "max-size": docker.log_size, "max-file": docker.log_files.to_string() },
        "default-address-pools": pools.map(|pool| json!({ "base": pool.base, "size": pool.size })).collect::<Vec<_>>(),
    });
    if !docker.registry_mirrors.is_empty() {
        settings["registry-mirrors"] = json!(docker.registry_mirrors);
    }
    if let Some(proxy) = docker.proxy {
        settings["proxies"] =
            json!({ "http-proxy": proxy.url, "https-proxy": proxy.url, "no-proxy": exceptions(proxy) });
    }
    settings
}

/// Returns the configuration of the CloudWatch agent.
///
/// The alarms name exactly these dimensions: `InstanceId` and `path` for the disk, `InstanceId` for memory, `InstanceId` and
/// `cpu` for the processor. The roll-ups keep them free of the file system's type, and of the device, which may change at reboot.
pub(crate) fn agent_settings(log_group: &str) -> Value {
    json!({
        "agent": { "metrics_collection_interval": 60 },
        "metrics": {
            "namespace": "CWAgent",
            "append_dimensions": { "InstanceId": "${aws:InstanceId}" },
            "aggregation_dimensions": [["InstanceId", "path"], ["InstanceId"], ["InstanceId", "cpu"]],
            "metrics_collected": {
                "cpu": { "measurement": ["usage_active"], "totalcpu": true },
                "mem": { "measurement": ["used_percent"] },
                "disk": { "measurement": ["used_percent", "inodes_free"], "resources": ["/"], "drop_device": true },
            },
        },
        "logs": { "logs_collected": { "files": { "collect_list": [{
            "file_path": "/var/log/dataops-infra.log",
            "log_group_name": log_group,
            "log_stream_name": "{instance_id}",
        }] } } },
    })
}

/// Returns a text without lines of comments and with each level of indentation as `indent`: user data is short of room.
pub(super) fn compact(text: &str, indent: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let code = line.trim_start_matches(' ');
        let comment = code.starts_with('#') && !code.starts_with("#!");
        if code.is_empty() || comment {
            continue;
        }
        out.push_str(&indent.repeat((line.len() - code.len()) / 4));
        out.push_str(code);
        out.push('\n');
    }
    out
}

/// Returns a value as one word of the shell, whatever is in it.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn words(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
    quoted.join(" ")
}

/// Returns the template with each `@@NAME@@` filled in, in one pass: a value that looks like a hole is not one.
pub(super) fn fill(template: &str, holes: &[(&str, String)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("@@") {
        out.push_str(before);
        let (name, after) = after.split_once("@@").unwrap_or((after, ""));
        let value = holes.iter().find(|(hole, _)| *hole == name);
        out.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
#[path = "host_script/tests.rs"]
mod tests;
