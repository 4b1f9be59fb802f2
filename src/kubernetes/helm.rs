//! Runs of the user's `helm`.
//!
//! Helm signs in by the program itself (`eks-token`), which a kubeconfig in a folder of its own names; there is no secret in it, nor
//! in the values. What Helm says is kept to its last lines, masked.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use super::kubeconfig::{self, Login};
use super::pods::mask;
use crate::domain::deployment::eks::spec::Chart;
use crate::domain::deployment::secret::Secret;

/// The program, as it is found in PATH.
pub const PROGRAM: &str = "helm";
/// The oldest that is known to install from registries by itself (<https://helm.sh/docs/topics/registries/>).
const OLDEST: (u32, u32) = (3, 8);
/// The newest that is known.
const NEWEST: u32 = 4;
/// Lines that are kept of what Helm says.
const LINES: usize = 80;
/// What stands before the reason why a release was not removed, in Helm's own log.
const UNINSTALL: &str = "uninstall: Failed to delete release:";
/// Revisions that Helm keeps.
const HISTORY: &str = "10";

/// Variables that would lead Helm elsewhere.
const LEADING: [&str; 12] = [
    "HELM_DRIVER",
    "HELM_KUBEAPISERVER",
    "HELM_KUBEASGROUPS",
    "HELM_KUBEASUSER",
    "HELM_KUBECAFILE",
    "HELM_KUBECONTEXT",
    "HELM_KUBEINSECURE_SKIP_TLS_VERIFY",
    "HELM_KUBETLS_SERVER_NAME",
    "HELM_KUBETOKEN",
    "HELM_DEBUG",
    "HELM_MAX_HISTORY",
    "HELM_NAMESPACE",
];

/// Why Helm cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not there.
    #[error("`helm` is not in PATH; it installs the vendor's chart (https://helm.sh/docs/intro/install/)")]
    Missing,
    /// It does not run.
    #[error("`helm` does not run: {0}")]
    Broken(String),
    /// It is another than we know.
    #[error("`helm` is {0}; 3.8 or later, or 4, is needed")]
    OtherVersion(String),
    /// A file for it cannot be written.
    #[error("files for `helm` cannot be written: {0}")]
    Files(String),
}

/// What Helm is asked to do.
#[derive(Clone, Debug)]
pub enum Task<'a> {
    /// Installs or upgrades a release.
    Upgrade {
        /// The chart.
        chart: &'a Chart,
        /// The values, the later before the earlier.
        values: Vec<Value>,
        /// What the release is described with.
        description: String,
        /// Seconds to wait.
        seconds: u32,
    },
    /// Removes a release.
    Uninstall {
        /// Seconds to wait.
        seconds: u32,
    },
    /// Goes back to a revision.
    Rollback {
        /// The revision.
        revision: u32,
        /// Seconds to wait.
        seconds: u32,
    },
}

/// Returns the version of the user's Helm.
///
/// # Errors
///
/// It is not there, or too old or new.
pub fn version() -> Result<String, Unusable> {
    version_of(Path::new(PROGRAM))
}

fn version_of(program: &Path) -> Result<String, Unusable> {
    let output = Command::new(program)
        .args(["version", "--template", "{{.Version}}"])
        .stdin(Stdio::null())
        .output()
        .map_err(missing)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Unusable::Broken(said.trim().chars().take(200).collect()));
    }
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if is_known(&version) {
        Ok(version)
    } else {
        Err(Unusable::OtherVersion(version.chars().take(40).collect()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn missing(error: std::io::Error) -> Unusable {
    if error.kind() == std::io::ErrorKind::NotFound {
        Unusable::Missing
    } else {
        Unusable::Broken(error.to_string())
    }
}

fn is_known(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    let mut number = || parts.next()?.parse::<u32>().ok();
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) >= OLDEST && major <= NEWEST,
        _ => false,
    }
}

/// Asks whether a chart can be reached, and returns its metadata as text.
///
/// # Errors
///
/// Helm cannot be used, or says why it cannot be reached.
pub fn show(chart: &Chart) -> Result<Result<String, String>, Unusable> {
    let output = Command::new(PROGRAM)
        .args(["show", "chart"])
        .args(reference(chart))
        .stdin(Stdio::null())
        .output()
        .map_err(missing)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(last_error(text(&output.stderr).lines()))
    })
}

/// Returns the arguments that name a chart.
fn reference(chart: &Chart) -> Vec<String> {
    let mut arguments = match &chart.repository {
        Some(registry) if registry.starts_with("oci://") => {
            vec![format!("{}/{}", registry.trim_end_matches('/'), chart.name)]
        }
        Some(repository) => vec![chart.name.clone(), "--repo".to_owned(), repository.clone()],
        None => vec![chart.name.clone()],
    };
    if let Some(version) = &chart.version {
        arguments.extend(["--version".to_owned(), version.clone()]);
    }
    arguments
}

/// A run of Helm that was begun; it is ended where nobody waits for it any more.
#[derive(Debug)]
pub struct Run {
    child: Child,
    said: Arc<Mutex<VecDeque<String>>>,
    /// Kubeconfig and values, gone with the run.
    folder: TempDir,
    readers: Vec<std::thread::JoinHandle<()>>,
    masked: Vec<Secret>,
}

impl Drop for Run {
    fn drop(&mut self) {
        // Nobody is left who could be told that this failed.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Run {
    /// Begins a run; texts of `masked` are not told.
    ///
    /// # Errors
    ///
    /// Helm cannot be used.
    pub fn begin(
        program: &Path,
        login: &Login,
        namespace: &str,
        release: &str,
        task: &Task<'_>,
        masked: Vec<Secret>,
    ) -> Result<Self, Unusable> {
        version_of(program)?;
        let files = |error: std::io::Error| Unusable::Files(error.to_string());
        // Made with rights for nobody else.
        let folder = tempfile::Builder::new()
            .prefix("dataops-infra-helm-")
            .tempdir()
            .map_err(files)?;
        let config = folder.path().join("kubeconfig");
        kubeconfig::write_private(&config, kubeconfig::alone(login).as_bytes()).map_err(files)?;
        let mut command = Command::new(program);
        for name in LEADING {
            command.env_remove(name);
        }
        command
            .env("KUBECONFIG", &config)
            .args(arguments(namespace, release, task, |nth, values| {
                let path = folder.path().join(format!("values-{nth}.json"));
                kubeconfig::write_private(&path, values.to_string().as_bytes()).map_err(files)?;
                Ok(path)
            })?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(missing)?;
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child
                .stdout
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        let readers = pipes
            .into_iter()
            .flatten()
            .map(|pipe| keep(pipe, &said))
            .collect();
        Ok(Self {
            child,
            said,
            folder,
            readers,
            masked,
        })
    }

    /// Returns how it ended; none: it runs.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            for reader in self.readers.drain(..) {
                // A reader that panicked has kept what it read before.
                let _ = reader.join();
            }
        }
        Ok(status)
    }

    /// Asks it to end: it marks the release as failed, and ends.
    pub fn end(&self) {
        // What has ended meanwhile cannot be asked, and need not.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// Kills it where it was asked and does not end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Returns what Helm said went wrong; what was killed does not say so itself.
    pub fn error(&self, status: ExitStatus) -> String {
        let said = self.said.lock().map(|said| said.clone()).unwrap_or_default();
        let folder = self.folder.path().to_string_lossy().into_owned();
        let error = last_error(said.iter().map(String::as_str));
        let error = mask(&error.replace(&folder, "…"), &self.masked);
        match status.code() {
            Some(_) => error,
            None => format!("{error}; it was killed ({status})"),
        }
    }
}

/// Returns the arguments; `file` writes values and returns where they are.
fn arguments(
    namespace: &str,
    release: &str,
    task: &Task<'_>,
    file: impl Fn(usize, &Value) -> Result<PathBuf, Unusable>,
) -> Result<Vec<String>, Unusable> {
    let text = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let mut arguments = match task {
        Task::Upgrade {
            chart,
            values,
            description,
            ..
        } => {
            let mut arguments = text(&["upgrade", "--install", release]);
            arguments.extend(reference(chart));
            arguments.extend(text(&["--description", description, "--history-max", HISTORY]));
            for (nth, values) in values.iter().enumerate() {
                let path = file(nth, values)?;
                arguments.extend(["--values".to_owned(), path.to_string_lossy().into_owned()]);
            }
            arguments
        }
        // What could not be removed, and why, is told nowhere else.
        Task::Uninstall { .. } => text(&["uninstall", release, "--debug"]),
        Task::Rollback { revision, .. } => text(&["rollback", release, &revision.to_string()]),
    };
    let (Task::Upgrade { seconds, .. } | Task::Uninstall { seconds } | Task::Rollback { seconds, .. }) = task;
    arguments.extend(text(&[
        "--namespace",
        namespace,
        "--wait",
        "--timeout",
        &format!("{seconds}s"),
    ]));
    Ok(arguments)
}

/// Keeps the last lines of a pipe.
fn keep(pipe: Box<dyn Read + Send>, said: &Arc<Mutex<VecDeque<String>>>) -> std::thread::JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Ok(mut said) = said.lock() {
                said.push_back(line);
                if said.len() > LINES {
                    said.pop_front();
                }
            }
        }
    })
}

/// Returns the line that says what went wrong, else the last one.
fn last_error<'a>(lines: impl DoubleEndedIterator<Item = &'a str> + Clone) -> String {
    let found = lines
        .clone()
        .rev()
        .find(|line| line.to_lowercase().starts_with("error:"))
        .or_else(|| lines.clone().rev().find(|line| !line.trim().is_empty()))
        .unwrap_or("it says nothing");
    let found = found.trim_start_matches("Error: ").trim();
    let cause = lines
        .rev()
        .find_map(|line| line.split_once(UNINSTALL))
        .map(|(_, cause)| cause.trim());
    let told = match cause {
        Some(cause) => format!("{found}: {cause}"),
        None => found.to_owned(),
    };
    told.chars().filter(|c| !c.is_control()).take(800).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_are_told_apart() {
        for known in ["v3.8.0", "v3.10.1", "v3.19.0+gabc", "v4.0.0-rc.1", "4.2.3"] {
            assert!(is_known(known), "{known}");
        }
        for other in ["v2.17.0", "v3.7.2", "v5.0.0", "", "helm"] {
            assert!(!is_known(other), "{other}");
        }
    }

    #[test]
    fn arguments_name_chart_values_and_time() {
        let chart = Chart {
            repository: Some("https://charts.example.com".to_owned()),
            name: "dataops-runner".to_owned(),
            version: Some("1.2.3".to_owned()),
        };
        let task = Task::Upgrade {
            chart: &chart,
            values: vec![json!({ "a": 1 }), json!({})],
            description: "dataops-infra d1".to_owned(),
            seconds: 600,
        };
        let arguments = arguments("ns", "abc", &task, |nth, _| Ok(format!("v{nth}").into())).expect("sound");
        assert_eq!(
            arguments.join(" "),
            "upgrade --install abc dataops-runner --repo https://charts.example.com --version 1.2.3 --description \
             dataops-infra d1 --history-max 10 --values v0 --values v1 --namespace ns --wait --timeout 600s"
        );
        let registry = Chart {
            repository: Some("oci://registry.example.com/charts/".to_owned()),
            version: None,
            ..chart
        };
        assert_eq!(
            reference(&registry),
            ["oci://registry.example.com/charts/dataops-runner"]
        );
    }

    #[test]
    fn the_line_that_says_why_is_found() {
        let said = [
            "Release \"abc\" does not exist. Installing it now.",
            "Error: timed out waiting",
            "",
        ];
        assert_eq!(last_error(said.into_iter()), "timed out waiting");
        assert_eq!(last_error(["", "odd", ""].into_iter()), "odd");
        assert_eq!(last_error([].into_iter()), "it says nothing");
        let removal = [
            "client.go:478: [debug] Starting delete for \"abc\" Deployment",
            "uninstall.go:132: [debug] uninstall: Failed to delete release: [deployments.apps \"abc\" is forbidden]",
            "Error: failed to delete release: abc",
            "helm.go:84: [debug] failed to delete release: abc",
        ];
        assert_eq!(
            last_error(removal.into_iter()),
            "failed to delete release: abc: [deployments.apps \"abc\" is forbidden]"
        );
    }
}
