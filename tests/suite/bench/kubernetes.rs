//! A Kubernetes cluster for tests, and the platform that its runners talk to: `tools/k8sbench` and `tools/hostbench/gitlab`.
//!
//! The servers are real, nodes and what runs on them are played. What that cannot show is in ARCHITECTURE.md, "The cluster bench".

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{Headers, Request};
use super::{python_program, root, skip};

/// Exit code of a machine that cannot.
const CANNOT: i32 = 77;
/// Longest that something in the cluster may take; what is waited for takes a second or two where nothing else runs.
const PATIENCE: Duration = Duration::from_mins(2);

/// A process that says one line once it works, and ends when its standard input closes.
struct Process {
    child: Child,
    // Closed by the value's end, and by this process' own, however that ends.
    input: Option<ChildStdin>,
    line: String,
}

impl Process {
    /// Starts it; the reason where this machine cannot.
    fn start(command: &mut Command) -> Result<Self, String> {
        let mut child = command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Not inherited: who waits for the end of this process' output would wait for it too.
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let input = child.stdin.take().expect("stdin is a pipe");
        let mut said = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut errors = child.stderr.take().expect("stderr is a pipe");
        // Reads on until the end: a full pipe would stop it.
        let complaints = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut line = String::new();
        said.read_line(&mut line).expect("text");
        if let Some(reason) = line.strip_prefix("skipped: ") {
            assert_eq!(child.wait().expect("ended").code(), Some(CANNOT), "{line}");
            return Err(reason.trim().to_owned());
        }
        if line.is_empty() {
            child.wait().expect("ended");
            panic!("it does not start: {}", complaints.join().unwrap_or_default());
        }
        Ok(Self {
            child,
            input: Some(input),
            line,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends by itself, and cleans up.
        drop(self.input.take());
        for _ in 0..200 {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a call with JSON in and out, of a server such as `http://127.0.0.1:34567`.
fn call(url: &str, method: &str, path: &str, kind: &str, body: Option<&Value>) -> (u16, Value) {
    let server = url.strip_prefix("http://").expect("plain HTTP");
    let headers = [("Host", server), ("Content-Type", kind)];
    let request = Request {
        method: method.to_owned(),
        target: path.to_owned(),
        headers: Headers(
            headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        ),
        body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
    };
    let answer = request.send(server).expect("the bench answers");
    let text = answer.text();
    (
        answer.status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

/// Returns what was looked for as soon as it is there.
///
/// # Panics
///
/// When it is not there in time, with what it is.
#[track_caller]
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A cluster of our own, gone with the value.
pub struct Cluster {
    /// Such as `https://127.0.0.1:25000`.
    pub endpoint: String,
    /// PEM in base64, as EKS gives it.
    pub authority: String,
    /// Such as `http://127.0.0.1:40000`; `tools/k8sbench/main.py` lists what it takes.
    pub control: String,
    /// Of an administrator.
    pub admin_token: String,
    /// Helm 3, or what `DATAOPS_INFRA_HELM` names: Helm 4 in the slower tier (`tools/k8sbench/helm4/test`).
    pub helm: PathBuf,
    /// Helm 3, which packs charts.
    helm_3: PathBuf,
    /// Ids of the servers' processes.
    pub pids: Vec<u64>,
    /// Where the servers have their files.
    pub folder: PathBuf,
    _process: Process,
}

impl Cluster {
    /// Returns the one that all tests of this process share, or says why the test is skipped.
    ///
    /// Under nextest that is one for each test, which costs five seconds of a processor. Nothing is built here: `./test` does it.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        python_program("python")?;
        match SHARED.get_or_init(Self::started) {
            Ok(cluster) => Some(cluster),
            Err(reason) => {
                skip(reason);
                None
            }
        }
    }

    /// Starts one for whoever ends it.
    pub fn start() -> Option<Self> {
        python_program("python")?;
        Self::started().map_err(|reason| skip(&reason)).ok()
    }

    fn started() -> Result<Self, String> {
        let process = Process::start(Command::new(root().join("tools/k8sbench/serve")).arg("--look"))?;
        let said: Value = serde_json::from_str(&process.line).expect("a line of JSON");
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        let pids = said["pids"].as_object().expect("ids").values();
        Ok(Self {
            endpoint: text("endpoint"),
            authority: text("authority"),
            control: text("control"),
            admin_token: text("admin_token"),
            helm: std::env::var_os("DATAOPS_INFRA_HELM").map_or_else(|| text("helm").into(), PathBuf::from),
            helm_3: text("helm").into(),
            pids: pids.filter_map(Value::as_u64).collect(),
            folder: text("folder").into(),
            _process: process,
        })
    }

    /// Writes the file that `BENCH_EKS_CLUSTER` names for the emulator of AWS.
    pub fn file(&self, folder: &Path) -> PathBuf {
        self.file_to(&self.endpoint, folder)
    }

    /// As `file`, for programs that shall come by another way.
    fn file_to(&self, endpoint: &str, folder: &Path) -> PathBuf {
        let path = folder.join("cluster.json");
        let said = json!({"endpoint": endpoint, "authority": self.authority, "control": self.control});
        std::fs::write(&path, said.to_string()).expect("written");
        path
    }

    /// Returns the variable `PATH` with our Helm first.
    pub fn path(&self) -> std::ffi::OsString {
        let ours = self.helm.parent().expect("a folder").to_owned();
        let machine = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths(std::iter::once(ours).chain(std::env::split_paths(&machine))).expect("a path")
    }

    /// Makes a call of the control interface.
    #[track_caller]
    pub fn tell(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, said) = call(&self.control, method, path, "application/json", Some(body));
        assert_eq!(status, 200, "{method} {path}: {said}");
        said
    }

    /// From now on tokens of EKS for a cluster of this name are good; its nodes do the same.
    pub fn knows(&self, name: &str) {
        self.tell("PUT", &format!("/clusters/{name}"), &json!({}));
    }

    /// Sees to it that a node group has so many nodes.
    pub fn nodes(&self, cluster: &str, group: &str, count: u32, instance_type: &str) {
        let said = json!({"count": count, "instance_type": instance_type});
        self.tell("PUT", &format!("/nodes/{cluster}/{group}"), &said);
    }

    /// Says what containers do that are started from now on; see `tools/k8sbench/cluster/rules.py`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "reads as what it is: a rule, made for this"
    )]
    pub fn rule(&self, rule: Value) {
        self.tell("POST", "/rules", &rule);
    }

    /// Makes a call of the API server as administrator.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        call(&self.control, method, path, kind, body)
    }

    /// Returns an object or a list; none if there is none.
    pub fn get(&self, path: &str) -> Option<Value> {
        let (status, said) = self.api("GET", path, None);
        (status == 200).then_some(said)
    }

    /// Makes an object, below a path such as `/api/v1/namespaces`.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "reads as what it is: an object, made for this"
    )]
    pub fn make(&self, path: &str, object: Value) -> Value {
        let (status, said) = self.api("POST", path, Some(&object));
        assert_eq!(status, 200, "{path}: {said}");
        said
    }

    /// Returns the log of a container.
    pub fn log(&self, namespace: &str, pod: &str) -> String {
        let (_, said) = self.api(
            "GET",
            &format!("/api/v1/namespaces/{namespace}/pods/{pod}/log"),
            None,
        );
        let text = said["message"].as_str();
        text.map_or_else(|| said.to_string(), str::to_owned)
    }

    /// Returns reason and message of the events about an object.
    pub fn events(&self, namespace: &str, name: &str) -> Vec<(String, String)> {
        let path =
            format!("/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3D{name}");
        let found = self.get(&path).unwrap_or_default();
        let events = found["items"].as_array().cloned().unwrap_or_default();
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        events
            .iter()
            .map(|event| (text(event, "reason"), text(event, "message")))
            .collect()
    }
}

/// A way to the API server on which calls are disturbed; see `tools/k8sbench/cluster/front.py`.
pub struct Front {
    /// Such as `https://127.0.0.1:34567`; the authority is the cluster's.
    pub endpoint: String,
    cluster: &'static Cluster,
    path: String,
}

impl Front {
    /// Opens one.
    pub fn open(cluster: &'static Cluster) -> Self {
        let said = cluster.tell("POST", "/fronts", &json!({}));
        let text = |key: &str| said[key].as_str().expect("a text");
        Self {
            cluster,
            path: format!("/fronts/{}", text("name")),
            endpoint: text("endpoint").to_owned(),
        }
    }

    /// Writes the file that leads the programs of an account here; see [`Cluster::file`].
    pub fn file(&self, folder: &Path) -> PathBuf {
        self.cluster.file_to(&self.endpoint, folder)
    }

    /// Says what happens to calls, after what was said before.
    pub fn rule(&self, rule: &Value) {
        self.cluster.tell("POST", &format!("{}/rules", self.path), rule);
    }

    /// Returns how often each rule has happened.
    pub fn hits(&self) -> Vec<u64> {
        let said = self
            .cluster
            .tell("GET", &format!("{}/rules", self.path), &json!({}));
        let hits = said.as_array().into_iter().flatten();
        hits.filter_map(Value::as_u64).collect()
    }

    /// From now on nothing is disturbed.
    pub fn heal(&self) {
        self.cluster
            .tell("DELETE", &format!("{}/rules", self.path), &json!({}));
    }

    /// Returns the names of all calls so far, such as `ours PATCH secrets/`.
    pub fn calls(&self) -> Vec<String> {
        let said = self
            .cluster
            .tell("GET", &format!("{}/calls", self.path), &json!({}));
        let calls = said.as_array().into_iter().flatten();
        calls.filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // A panic here would hide the one that may be under way.
        let _ = call(
            &self.cluster.control,
            "DELETE",
            &self.path,
            "application/json",
            None,
        );
    }
}

/// The fixture chart in a repository and in a registry of our own, gone with the value.
pub struct Charts {
    /// Such as `https://localhost:40000`.
    pub repository: String,
    /// Such as `oci://localhost:40001/charts`.
    pub registry: String,
    /// File with the certificate that the repository is trusted by.
    pub authority: PathBuf,
    _process: Process,
}

impl Charts {
    /// Starts them; the chart is packed by the Helm of a cluster.
    pub fn start(cluster: &Cluster) -> Option<Self> {
        let python = python_program("python")?;
        let mut command = Command::new(python);
        command
            .arg(root().join("tools/k8sbench/charts.py"))
            .arg("--helm")
            .arg(&cluster.helm_3);
        let process = Process::start(&mut command)
            .map_err(|reason| skip(&reason))
            .ok()?;
        let said: Value = serde_json::from_str(&process.line).expect("a line of JSON");
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        Some(Self {
            repository: text("repository"),
            registry: text("registry"),
            authority: text("authority").into(),
            _process: process,
        })
    }
}

/// A fake platform (GitLab) of our own, gone with the value.
pub struct Platform {
    /// Such as `http://127.0.0.1:34567`.
    pub url: String,
    _process: Process,
}

impl Platform {
    /// Starts one, or says why the test is skipped.
    pub fn start() -> Option<Self> {
        let python = python_program("python")?;
        let mut command = Command::new(python);
        command
            .arg(root().join("tools/hostbench/gitlab/server.py"))
            .arg("--until-eof");
        let process = Process::start(&mut command)
            .map_err(|reason| skip(&reason))
            .ok()?;
        let url = process.line.trim().to_owned();
        Some(Self {
            url,
            _process: process,
        })
    }

    /// Makes a call of its control interface, such as `POST jobs`; `tools/hostbench/gitlab/server.py` lists them.
    #[track_caller]
    pub fn tell(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, said) = call(
            &self.url,
            method,
            &format!("/bench/{path}"),
            "application/json",
            Some(body),
        );
        assert!(status < 300, "{method} {path}: {status} {said}");
        said
    }

    /// Makes a registration token of the older kind.
    pub fn registration_token(&self) -> String {
        let said = self.tell("POST", "registration-tokens", &json!({}));
        said["token"].as_str().expect("a token").to_owned()
    }

    /// Makes a runner; returns its token.
    pub fn runner(&self) -> String {
        let said = self.tell("POST", "runners", &json!({"run_untagged": true}));
        said["token"].as_str().expect("a token").to_owned()
    }

    /// Returns all runners.
    pub fn runners(&self) -> Vec<Value> {
        self.tell("GET", "runners", &json!({}))
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// Makes a job that takes so many seconds; returns its number.
    pub fn job(&self, seconds: u32) -> u64 {
        let said = self.tell("POST", "jobs", &json!({"duration": seconds}));
        said["id"].as_u64().expect("a number")
    }

    /// Returns the state of a job, such as `success`.
    pub fn job_state(&self, number: u64) -> String {
        let said = self.tell("GET", &format!("jobs/{number}"), &json!({}));
        said["status"].as_str().unwrap_or_default().to_owned()
    }
}
