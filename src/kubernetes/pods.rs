//! What pods do, and why they do not do what they should.

use futures_util::future::join_all;
use serde_json::Value;

use super::client::{Ask, Cluster};
use super::object::{all, list, query};
use crate::domain::call::CallError;
use crate::domain::deployment::eks::name::DEPLOYMENT_LABEL;
use crate::domain::deployment::eks::observed::Pod;
use crate::domain::deployment::eks::values::{PART_JOB, PART_LABEL};
use crate::domain::deployment::secret::Secret;

/// Annotation that Helm puts on everything of a release (<https://helm.sh/docs/chart_best_practices/labels/>).
const RELEASE: &str = "meta.helm.sh/release-name";
/// Lines of a log that are looked at.
const LINES: usize = 60;

/// What runs in the namespace of a deployment.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// What the release runs pods by: deployments and stateful sets.
    pub workloads: Vec<Value>,
    /// Pods of the release.
    pub pods: Vec<Value>,
    /// Job pods that have not ended.
    pub jobs: Vec<Value>,
}

impl Running {
    /// Returns the pods of the release in words of domain.
    pub fn told(&self) -> Vec<Pod> {
        self.pods.iter().map(told).collect()
    }

    /// Whether the release has as many ready pods as it should, and they are of its newest revision.
    pub fn is_ready(&self) -> bool {
        !self.workloads.is_empty()
            && self.workloads.iter().all(|workload| {
                let count = |field: &str| workload["status"][field].as_u64().unwrap_or(0);
                let wanted = workload["spec"]["replicas"].as_u64().unwrap_or(1);
                let seen = workload["status"]["observedGeneration"] == workload["metadata"]["generation"];
                // A ready pod of an earlier revision, which stays until a new one is ready, counts for nothing.
                let all_new =
                    count("updatedReplicas") >= wanted && count("replicas") <= count("updatedReplicas");
                seen && wanted > 0 && all_new && count("readyReplicas") >= wanted
            })
    }

    /// Says in one line what pods do.
    pub fn summary(&self) -> String {
        let lines: Vec<String> = self
            .pods
            .iter()
            .map(|pod| {
                let it = told(pod);
                match (&it.why, it.ready) {
                    (_, true) => format!("pod {} is ready", it.name),
                    (Some(why), false) => format!("pod {} is {}: {why}", it.name, it.phase),
                    (None, false) => format!("pod {} is {}", it.name, it.phase),
                }
            })
            .collect();
        if lines.is_empty() {
            self.why_no_pods().unwrap_or_else(|| "no pod yet".to_owned())
        } else {
            lines.join("; ")
        }
    }

    /// Says why there are no pods, where the cluster says so.
    fn why_no_pods(&self) -> Option<String> {
        self.workloads.iter().find_map(|workload| {
            let conditions = workload["status"]["conditions"].as_array()?;
            let failure = conditions
                .iter()
                .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")?;
            Some(format!("no pod can be made: {}", failure["message"].as_str()?))
        })
    }
}

/// Reads what runs.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn running(
    cluster: &Cluster,
    namespace: &str,
    release: &str,
    deployment: &str,
) -> Result<Running, CallError> {
    let within = Some(namespace);
    let (deployments, sets, pods) = (
        list("apps/v1", "Deployment", within),
        list("apps/v1", "StatefulSet", within),
        list("v1", "Pod", within),
    );
    let (deployments, sets, pods) = tokio::join!(
        all(cluster, &deployments, ""),
        all(cluster, &sets, ""),
        all(cluster, &pods, "")
    );
    let named = |mut objects: Vec<Value>, kind: &str| {
        // Objects in a list do not say what they are.
        for object in &mut objects {
            object["apiVersion"] = "apps/v1".into();
            object["kind"] = kind.into();
        }
        objects
    };
    let workloads: Vec<Value> = named(deployments?, "Deployment")
        .into_iter()
        .chain(named(sets?, "StatefulSet"))
        .filter(|workload| workload["metadata"]["annotations"][RELEASE] == release)
        .collect();
    let mut running = Running {
        workloads,
        ..Running::default()
    };
    for pod in pods? {
        let labels = &pod["metadata"]["labels"];
        if labels[PART_LABEL] == PART_JOB {
            let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            if labels[DEPLOYMENT_LABEL] == deployment && !ended {
                running.jobs.push(pod);
            }
        } else if running.workloads.iter().any(|workload| selects(workload, labels)) {
            running.pods.push(pod);
        }
    }
    Ok(running)
}

fn selects(workload: &Value, labels: &Value) -> bool {
    let Some(wanted) = workload["spec"]["selector"]["matchLabels"].as_object() else {
        return false;
    };
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
}

/// Returns a pod in words of domain.
pub fn told(pod: &Value) -> Pod {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let ending = pod["metadata"]["deletionTimestamp"].is_string();
    Pod {
        name: text(&pod["metadata"]["name"]),
        phase: if ending {
            "Terminating".to_owned()
        } else {
            text(&pod["status"]["phase"])
        },
        ready: ready && !ending,
        restarts: statuses(pod)
            .map(|status| status["restartCount"].as_u64().unwrap_or(0) as u32)
            .sum(),
        why: why(pod),
        image: text(&pod["spec"]["containers"][0]["image"]),
    }
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten())
}

/// Returns why a pod is not what it should be, as far as the pod itself says.
fn why(pod: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let joined = |reason: &Value, message: &Value| {
        let (reason, message) = (text(reason), text(message));
        if message.is_empty() {
            reason
        } else {
            format!("{reason}: {message}")
        }
    };
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let unscheduled = conditions
        .clone()
        .find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False");
    if let Some(condition) = unscheduled {
        return Some(joined(&condition["reason"], &condition["message"]));
    }
    if pod["status"]["reason"].is_string() {
        return Some(joined(&pod["status"]["reason"], &pod["status"]["message"]));
    }
    for status in statuses(pod) {
        let waiting = &status["state"]["waiting"];
        let reason = waiting["reason"].as_str().unwrap_or_default();
        if !reason.is_empty() && !matches!(reason, "ContainerCreating" | "PodInitializing") {
            let ended = ended(&status["lastState"]["terminated"]);
            let said = joined(&waiting["reason"], &waiting["message"]);
            return Some(match ended {
                Some(ended) => format!("{said}; {ended}"),
                None => said,
            });
        }
        if status["ready"] != true
            && let Some(ended) =
                ended(&status["state"]["terminated"]).or_else(|| ended(&status["lastState"]["terminated"]))
        {
            return Some(ended);
        }
    }
    None
}

fn ended(terminated: &Value) -> Option<String> {
    let code = terminated["exitCode"].as_i64()?;
    let reason = terminated["reason"].as_str().unwrap_or("Error");
    // That it has done its work is no reason.
    (code != 0 || reason != "Completed").then(|| format!("it ended with exit code {code} ({reason})"))
}

/// Says for each pod that is not ready what the cluster knows of it: its own words, warnings, the end of its log.
///
/// What cannot be read is left out: the cause of a failure is looked for when something has failed already.
pub async fn causes(
    cluster: &Cluster,
    namespace: &str,
    running: &Running,
    secrets: &[Secret],
) -> Vec<String> {
    let asked = running
        .pods
        .iter()
        .map(|pod| (pod, told(pod)))
        .filter(|(_, it)| !it.ready)
        .map(|(pod, it)| async move {
            let (warning, log) = tokio::join!(
                warning(cluster, namespace, &it.name),
                log_end(cluster, namespace, pod, it.restarts > 0),
            );
            let mut said = format!("pod {} is {}", it.name, it.phase);
            if let Some(why) = &it.why {
                said += &format!(": {why}");
            }
            // Often it repeats what the pod itself says.
            if let Some((reason, message)) = warning.filter(|(_, message)| !said.contains(message.as_str())) {
                said += &format!("; the cluster says: {reason}: {message}");
            }
            if let Some(line) = log {
                said += &format!("; its log says: {line}");
            }
            mask(&said, secrets)
        });
    let mut said = join_all(asked).await;
    said.extend(running.why_no_pods().map(|why| mask(&why, secrets)));
    said
}

/// Returns reason and message of the newest warning about a pod, or something else of that name.
pub async fn warning(cluster: &Cluster, namespace: &str, name: &str) -> Option<(String, String)> {
    let filter = query(&format!("involvedObject.name={name},type=Warning"));
    let events = list("v1", "Event", Some(namespace));
    let mut events = all(cluster, &events, &format!("fieldSelector={filter}"))
        .await
        .ok()?;
    events.sort_by_key(|event| {
        let time = |field: &str| event[field].as_str().map(str::to_owned);
        time("lastTimestamp")
            .or_else(|| time("eventTime"))
            .unwrap_or_default()
    });
    // That it backs off, or failed, says less than what it backs off from and why it failed.
    let says_why = |event: &&Value| {
        let message = event["message"].as_str().unwrap_or_default();
        event["reason"] != "BackOff" && !message.starts_with("Error: ") && !message.starts_with("Back-off")
    };
    let event = events.iter().rev().find(says_why).or(events.last())?;
    let message = event["message"].as_str()?.trim().to_owned();
    Some((event["reason"].as_str().unwrap_or("warning").to_owned(), message))
}

/// Returns the line at the end of a pod's log that says most.
async fn log_end(cluster: &Cluster, namespace: &str, pod: &Value, restarted: bool) -> Option<String> {
    let name = pod["metadata"]["name"].as_str()?;
    let container = pod["spec"]["containers"][0]["name"].as_str()?;
    if restarted
        && let Some(line) = lines(cluster, namespace, name, container, true)
            .await
            .ok()
            .and_then(|lines| telling(&lines))
    {
        return Some(line);
    }
    lines(cluster, namespace, name, container, false)
        .await
        .ok()
        .and_then(|lines| telling(&lines))
}

/// Reads the last lines of a container's log.
///
/// # Errors
///
/// The server or the node does not answer, or there is no log.
pub async fn lines(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<Vec<String>, CallError> {
    let path = format!(
        "{}/{pod}/log?container={container}&previous={previous}&tailLines={LINES}&limitBytes=65536",
        list("v1", "Pod", Some(namespace))
    );
    let text = cluster.text(Ask::read(&path)).await?;
    Ok(text.lines().map(plain).filter(|line| !line.is_empty()).collect())
}

/// What of a log is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Lines from the end; none: all.
    pub tail: Option<u32>,
    /// What is newer: a span such as `10m`, or a time.
    pub since: Option<String>,
}

impl Asked {
    fn query(&self) -> String {
        let mut query = String::new();
        if let Some(tail) = self.tail {
            query += &format!("&tailLines={tail}");
        }
        if let Some(since) = &self.since {
            query += &match seconds(since) {
                Some(seconds) => format!("&sinceSeconds={seconds}"),
                // The server takes whole seconds; what is told twice by that is left out by who asked.
                None => format!("&sinceTime={}", self::query(since)),
            };
        }
        query
    }
}

/// Returns the seconds of a span such as `1h30m`; none where it is none.
fn seconds(span: &str) -> Option<u64> {
    let (mut total, mut number) = (0_u64, String::new());
    for c in span.chars() {
        let unit = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    (number.is_empty() && total > 0).then_some(total)
}

/// Reads the log of a pod's first container, each line with its time.
///
/// # Errors
///
/// The server or the node does not answer, or there is no log.
pub async fn stamped(
    cluster: &Cluster,
    namespace: &str,
    pod: &Value,
    asked: &Asked,
) -> Result<Vec<(String, String)>, CallError> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let container = pod["spec"]["containers"][0]["name"].as_str().unwrap_or_default();
    let path = format!(
        "{}/{name}/log?container={container}&timestamps=true{}",
        list("v1", "Pod", Some(namespace)),
        asked.query()
    );
    let text = cluster.text(Ask::read(&path)).await?;
    let stamped = text.lines().filter_map(|line| {
        let (at, line) = line.split_once(' ').unwrap_or((line, ""));
        (!at.is_empty()).then(|| (at.to_owned(), plain(line)))
    });
    Ok(stamped.collect())
}

/// Returns the last line that tells of an error, else the last one.
fn telling(lines: &[String]) -> Option<String> {
    let bad = |line: &&String| {
        ["ERROR", "FATAL", "PANIC", "error", "forbidden"]
            .iter()
            .any(|word| line.contains(word))
    };
    lines.iter().rev().find(bad).or(lines.last()).cloned()
}

/// Takes colours and other control characters out of a line.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // A control sequence ends with a letter.
            let _ = rest.by_ref().find(char::is_ascii_alphabetic);
        } else if !c.is_control() {
            plain.push(c);
        }
    }
    let plain = plain.trim();
    plain.chars().take(400).collect()
}

/// What tokens begin with, and how long one is at least.
const TOKENS: [(&str, usize); 6] = [
    ("glrt-", 8),
    ("glrtr-", 8),
    ("GR1348941", 8),
    ("glpat-", 8),
    ("dckr_pat_", 8),
    ("k8s-aws-v1.", 8),
];

/// Takes secrets out of a text: those that are known, and what looks like one.
pub fn mask(text: &str, secrets: &[Secret]) -> String {
    let mut masked = text.to_owned();
    for secret in secrets.iter().map(Secret::reveal) {
        // What is that short is no secret, and would take words apart.
        if secret.len() >= 6 {
            masked = masked.replace(secret, "[masked]");
        }
    }
    for (prefix, least) in TOKENS {
        let mut from = 0;
        while let Some(found) = masked[from..].find(prefix) {
            let start = from + found + prefix.len();
            let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let length = masked[start..].find(|c| !part(c)).unwrap_or(masked.len() - start);
            if length >= least {
                masked.replace_range(start..start + length, "[masked]");
                from = start + "[masked]".len();
            } else {
                from = start;
            }
        }
    }
    masked
}

/// What a runner's log says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has started and asks for jobs; what it logs is none but jobs.
    Asks,
    /// Something is wrong, in its own words.
    Wrong(String),
    /// Nothing that is known.
    Nothing,
}

/// What the runner logs once it has started
/// (<https://gitlab.com/gitlab-org/gitlab-runner/-/blob/main/commands/multi.go>); that it asks for jobs in vain it does not log.
const STARTED: [&str; 3] = [
    "Starting multi-runner",
    "Configuration loaded",
    "Initializing executor providers",
];

/// Returns what the lines of a runner's log say of it.
pub fn heard(lines: &[String]) -> Heard {
    let started = |line: &String| STARTED.iter().any(|words| line.contains(words));
    let is_wrong = |line: &&String| {
        line.starts_with("ERROR")
            || line.starts_with("FATAL")
            || line.starts_with("PANIC")
            || line.contains("level=error")
            || line.contains("level=fatal")
            || line.contains("... forbidden")
            || line.contains("is not healthy")
    };
    // A job that failed is no failure of the runner.
    let of_jobs = |line: &&String| line.contains("job=") || line.contains("Job failed");
    let from = lines.iter().rposition(started);
    let after = &lines[from.unwrap_or(0)..];
    let wrong = after.iter().rposition(|line| is_wrong(&line) && !of_jobs(&line));
    let job = after
        .iter()
        .rposition(|line| line.contains("received") || line.contains("job="));
    match (from, wrong) {
        // A job that came since says that it was overcome.
        (_, Some(wrong)) if job.is_none_or(|job| job < wrong) => Heard::Wrong(after[wrong].clone()),
        (Some(_), _) => Heard::Asks,
        (None, _) => Heard::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_state_of_a_pod_says_why() {
        let pod = |status: Value| json!({ "metadata": { "name": "x" }, "status": status });
        let cases = [
            (
                json!({ "phase": "Pending", "conditions": [
                    { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" },
                ] }),
                Some("Unschedulable: 0/1 nodes"),
            ),
            (
                json!({ "phase": "Pending", "containerStatuses": [
                    { "state": { "waiting": { "reason": "ImagePullBackOff", "message": "back-off" } } },
                ] }),
                Some("ImagePullBackOff: back-off"),
            ),
            (
                json!({ "phase": "Running", "containerStatuses": [{
                    "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                    "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } },
                }] }),
                Some("CrashLoopBackOff; it ended with exit code 137 (OOMKilled)"),
            ),
            (
                json!({ "phase": "Failed", "reason": "Evicted", "message": "disk" }),
                Some("Evicted: disk"),
            ),
            (
                json!({ "phase": "Pending", "containerStatuses": [
                    { "state": { "waiting": { "reason": "ContainerCreating" } } },
                ] }),
                None,
            ),
        ];
        for (status, why) in cases {
            assert_eq!(told(&pod(status)).why.as_deref(), why);
        }
        let ready = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        assert!(told(&pod(ready.clone())).ready);
        let mut ending = pod(ready);
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(told(&ending).phase, "Terminating");
        assert!(!told(&ending).ready);
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let secret = Secret::new("old-kind-token");
        let line = format!(
            "token=old-kind-token, {}{} and glrt- alone",
            "glrt-", "abcdefgh_-12.x"
        );
        assert_eq!(
            mask(&line, &[secret]),
            "token=[masked], glrt-[masked] and glrt- alone"
        );
        assert_eq!(mask("abc", &[Secret::new("b"), Secret::new("")]), "abc");
    }

    #[test]
    fn the_line_that_tells_is_chosen_without_colours() {
        let lines = [
            "\u{1b}[31;1mERROR: Verifying runner... is removed\u{1b}[0;m",
            "retrying",
            "",
        ];
        let lines: Vec<String> = lines
            .into_iter()
            .map(plain)
            .filter(|line| !line.is_empty())
            .collect();
        assert_eq!(
            telling(&lines).as_deref(),
            Some("ERROR: Verifying runner... is removed")
        );
        assert_eq!(telling(&["only".to_owned()]).as_deref(), Some("only"));
        assert_eq!(telling(&[]), None);
    }

    #[test]
    fn a_ready_pod_of_an_earlier_revision_makes_no_release_ready() {
        let of = |replicas: u32, updated: u32, ready: u32| {
            let workload = json!({
                "metadata": { "generation": 2 }, "spec": { "replicas": 1 },
                "status": { "observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready },
            });
            let running = Running {
                workloads: vec![workload],
                ..Running::default()
            };
            running.is_ready()
        };
        assert!(of(1, 1, 1));
        assert!(!of(2, 1, 1), "the old one is ready");
        assert!(!of(1, 0, 1) && !of(1, 1, 0));
        assert!(!Running::default().is_ready());
    }

    #[test]
    fn a_span_is_told_from_a_time() {
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("1h30m"), Some(5400));
        for other in ["", "10", "m", "2026-01-31T08:00:00Z", "99999999999999999999h"] {
            assert_eq!(seconds(other), None, "{other}");
        }
        let asked = |since: &str| Asked {
            tail: Some(5),
            since: Some(since.to_owned()),
        };
        assert_eq!(asked("10m").query(), "&tailLines=5&sinceSeconds=600");
        assert_eq!(
            asked("2026-01-31T08:00:00Z").query(),
            "&tailLines=5&sinceTime=2026-01-31T08%3A00%3A00Z"
        );
    }

    #[test]
    fn a_runner_is_heard_from_its_last_start() {
        let of = |lines: &[&str]| heard(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        let refused = "ERROR: Checking for jobs... forbidden runner=abc status=POST https://x: 403 Forbidden";
        assert_eq!(of(&["Registration attempt 1 of 30"]), Heard::Nothing);
        assert_eq!(of(&["Configuration loaded builds=0"]), Heard::Asks);
        assert_eq!(
            of(&["Configuration loaded builds=0", refused]),
            Heard::Wrong(refused.to_owned())
        );
        assert_eq!(of(&[refused, "Starting multi-runner from x"]), Heard::Asks);
        assert_eq!(
            of(&[
                "Configuration loaded",
                "ERROR: Job failed: exit code 1 job=7 project=1"
            ]),
            Heard::Asks
        );
        assert_eq!(
            of(&[
                "Configuration loaded",
                refused,
                "Checking for jobs... received job=8"
            ]),
            Heard::Asks
        );
        let fatal = "FATAL: concurrent needs to be greater than 0";
        assert_eq!(of(&[fatal]), Heard::Wrong(fatal.to_owned()));
    }
}
