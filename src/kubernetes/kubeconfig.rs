//! The file with which other programs reach a cluster: <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>.
//!
//! It names `dataops-infra eks-token` as the plugin that signs in, so that there is no secret in it.
//!
//! A file of the user's is changed where our three entries stand and nowhere else, so that comments and the entries of others stay as
//! they are; what comes out is read again and compared before it is written. Only a file that is not written in blocks (JSON, say) is
//! written anew.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::login::EXEC_VERSION;

/// How a program reaches a cluster as the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Name of the cluster.
    pub cluster: String,
    /// Its region.
    pub region: String,
    /// Address of the API server.
    pub endpoint: String,
    /// Its certificate authority, base 64 of PEM.
    pub authority: String,
    /// AWS profile to sign in with; none: what the environment says.
    pub profile: Option<String>,
    /// Namespace to be in.
    pub namespace: Option<String>,
    /// What signs in: this program.
    pub plugin: PathBuf,
}

impl Login {
    /// Returns the name of the three entries.
    pub fn name(&self) -> String {
        format!("{}.{}.eks", self.cluster, self.region)
    }

    /// Returns the entry of the cluster.
    fn cluster(&self) -> Value {
        json!({ "server": self.endpoint, "certificate-authority-data": self.authority })
    }

    /// Returns the entry of the user.
    fn user(&self) -> Value {
        let mut exec = json!({
            "apiVersion": EXEC_VERSION,
            "command": self.plugin.to_string_lossy(),
            "args": ["eks-token", "--cluster-name", self.cluster, "--region", self.region],
            "interactiveMode": "Never",
            "provideClusterInfo": false,
        });
        if let Some(profile) = &self.profile {
            exec["env"] = json!([{ "name": "AWS_PROFILE", "value": profile }]);
        }
        json!({ "exec": exec })
    }

    /// Returns the entry that puts them together.
    fn context(&self) -> Value {
        let mut context = json!({ "cluster": self.name(), "user": self.name() });
        if let Some(namespace) = &self.namespace {
            context["namespace"] = json!(namespace);
        }
        context
    }
}

/// Returns a file with this cluster alone.
pub fn alone(login: &Login) -> String {
    let name = login.name();
    let file = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": login.cluster() }],
        "users": [{ "name": name, "user": login.user() }],
        "contexts": [{ "name": name, "context": login.context() }],
        "current-context": name,
    });
    // JSON is YAML, and every client reads it.
    format!("{file:#}\n")
}

/// Writes a file that nobody else may read, all of it or nothing.
///
/// # Errors
///
/// The system's.
pub fn write_private(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Made with rights for nobody else, and renamed into place.
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Why a file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum NotMerged {
    /// It is none of Kubernetes' clients.
    #[error("{path} is no kubeconfig: {why}")]
    NoKubeconfig {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Another program writes it.
    #[error("{0} is there: another program writes the file, or has left it behind")]
    Locked(String),
    /// The system refuses.
    #[error("{path} cannot be written")]
    Files {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// A file with our entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Its text.
    pub text: String,
    /// Whether it had to be written anew, without the comments it had.
    pub anew: bool,
}

/// The lists of a file, with the field that each entry holds.
const LISTS: [(&str, &str); 3] = [
    ("clusters", "cluster"),
    ("users", "user"),
    ("contexts", "context"),
];

/// Returns a file's text with our entries in it, and ours as the current one.
///
/// # Errors
///
/// The text is no kubeconfig, which is told.
pub fn merged(text: &str, login: &Login) -> Result<Merged, String> {
    if text.trim().is_empty() {
        return Ok(Merged {
            text: blocks(login),
            anew: false,
        });
    }
    let is: Value = serde_yaml::from_str(text).map_err(|error| {
        // The rest of its message repeats the text, which may hold secrets.
        let told = error.to_string();
        told.lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(120)
            .collect::<String>()
    })?;
    let mut should = is.clone();
    let Some(fields) = should.as_object_mut() else {
        return Err("it is no mapping".to_owned());
    };
    if fields.get("kind").is_some_and(|kind| kind != "Config") {
        return Err("its `kind` is not `Config`".to_owned());
    }
    let name = login.name();
    for (list, entry) in entries(login) {
        let there = fields.entry(list).or_insert(Value::Null);
        if there.is_null() {
            *there = json!([]);
        }
        let Some(there) = there.as_array_mut() else {
            return Err(format!("`{list}` is no list"));
        };
        there.retain(|other| other["name"] != name.as_str());
        there.insert(0, entry);
    }
    fields.insert("current-context".to_owned(), json!(name));
    for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        fields.entry(key).or_insert_with(|| json!(value));
    }
    // The order of entries is of no meaning to a client but where two have one name.
    if let Some(text) = edited(text, login)
        && serde_yaml::from_str::<Value>(&text).is_ok_and(|edited| same(&edited, &should))
    {
        return Ok(Merged { text, anew: false });
    }
    Ok(Merged {
        text: block(&should, 0),
        anew: true,
    })
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (one, other) => one == other,
    }
}

/// Returns our entries, each with its list.
fn entries(login: &Login) -> [(&'static str, Value); 3] {
    let values = [login.cluster(), login.user(), login.context()];
    let mut values = values.into_iter();
    LISTS.map(|(list, field)| {
        let mut entry = json!({ "name": login.name() });
        entry[field] = values.next().unwrap_or_default();
        (list, entry)
    })
}

/// Returns the text of a file with our entries alone, for people.
pub fn blocks(login: &Login) -> String {
    let mut file = json!({ "apiVersion": "v1", "kind": "Config", "current-context": login.name() });
    for (list, entry) in entries(login) {
        file[list] = json!([entry]);
    }
    block(&file, 0)
}

/// Changes the lines of our entries; none where the file is not written in blocks.
fn edited(text: &str, login: &Login) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let name = login.name();
    for (list, entry) in entries(login) {
        let head = match lines.iter().position(|line| is_key(line, list)) {
            Some(head) => {
                let rest = uncommented(lines[head].split_once(':')?.1);
                if !matches!(rest, "" | "[]" | "null" | "~") {
                    return None;
                }
                lines[head] = format!("{list}:");
                head
            }
            None => {
                lines.push(format!("{list}:"));
                lines.len() - 1
            }
        };
        let indent = match items(&lines, head).first() {
            Some((from, _)) => lines[*from].len() - lines[*from].trim_start().len(),
            None => 0,
        };
        for (from, to) in items(&lines, head).into_iter().rev() {
            let item: Value = serde_yaml::from_str(&lines[from..to].join("\n")).ok()?;
            if item[0]["name"] == name.as_str() {
                // Comments behind an entry are of what comes next.
                let own = lines[from..to]
                    .iter()
                    .rposition(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))?;
                lines.drain(from..=from + own);
            }
        }
        let item = block(&json!([entry]), indent);
        for (nth, line) in item.lines().enumerate() {
            lines.insert(head + 1 + nth, line.to_owned());
        }
    }
    let current = format!("current-context: {}", quoted(&name));
    match lines.iter().position(|line| is_key(line, "current-context")) {
        Some(nth) => lines[nth] = current,
        None => lines.push(current),
    }
    for (key, value) in [("kind", "Config"), ("apiVersion", "v1")] {
        if !lines.iter().any(|line| is_key(line, key)) {
            let first = lines
                .iter()
                .position(|line| !line.starts_with('#') && line != "---");
            lines.insert(first.unwrap_or(0), format!("{key}: {value}"));
        }
    }
    Some(lines.join("\n") + "\n")
}

fn is_key(line: &str, key: &str) -> bool {
    line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'))
}

/// Returns the rest of a line without the comment behind it.
fn uncommented(rest: &str) -> &str {
    let end = if rest.trim_start().starts_with('#') {
        Some(0)
    } else {
        rest.find(" #")
    };
    rest[..end.unwrap_or(rest.len())].trim()
}

/// Returns the lines of each entry of the list that begins at a line: the first, and the one behind the last.
fn items(lines: &[String], head: usize) -> Vec<(usize, usize)> {
    let mut items: Vec<(usize, usize)> = Vec::new();
    let mut indent = None;
    for (nth, line) in lines.iter().enumerate().skip(head + 1) {
        let inner = line.trim_start();
        if inner.is_empty() || inner.starts_with('#') {
            if let Some(last) = items.last_mut() {
                last.1 = nth + 1;
            }
            continue;
        }
        let here = line.len() - inner.len();
        let is_item = inner == "-" || inner.starts_with("- ");
        if is_item && here == *indent.get_or_insert(here) {
            items.push((nth, nth + 1));
        } else if here > indent.unwrap_or(0) {
            if let Some(last) = items.last_mut() {
                last.1 = nth + 1;
            }
        } else {
            break;
        }
    }
    items
}

/// Returns a value as YAML in blocks; texts are quoted as in JSON, which YAML reads.
fn block(value: &Value, indent: usize) -> String {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match value {
                Value::Object(inner) if !inner.is_empty() => {
                    format!("{pad}{}:\n{}", plain_key(key), block(value, indent + 2))
                }
                Value::Array(inner) if !inner.is_empty() => {
                    format!("{pad}{}:\n{}", plain_key(key), block(value, indent))
                }
                other => format!("{pad}{}: {}\n", plain_key(key), scalar(other)),
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::Object(_) | Value::Array(_) => {
                    let inner = block(item, indent + 2);
                    format!("{pad}- {}", inner.trim_start())
                }
                other => format!("{pad}- {}\n", scalar(other)),
            })
            .collect(),
        other => format!("{pad}{}\n", scalar(other)),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn plain_key(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if !key.is_empty() && key.chars().all(plain) && key.starts_with(|c: char| c.is_ascii_alphabetic()) {
        key.to_owned()
    } else {
        quoted(key)
    }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It had our entries already.
    Unchanged,
    /// It was made.
    Made,
    /// It was changed; with where the former one is, and whether it lost its comments.
    Changed {
        /// The former file.
        backup: PathBuf,
        /// Whether it was written anew.
        anew: bool,
    },
}

/// Writes our entries into a file, which may be there.
///
/// # Errors
///
/// The file is no kubeconfig, another program writes it, or the system refuses.
pub fn merge_into(path: &Path, login: &Login) -> Result<Written, NotMerged> {
    let files = |source| NotMerged::Files {
        path: path.display().to_string(),
        source,
    };
    // A link stays one: what it leads to is written.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(files)?;
    }
    let _lock = Lock::take(&target)?;
    let former = match std::fs::read_to_string(&target) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(files(error)),
    };
    let merged =
        merged(former.as_deref().unwrap_or_default(), login).map_err(|why| NotMerged::NoKubeconfig {
            path: path.display().to_string(),
            why,
        })?;
    let Some(former) = former else {
        write_private(&target, merged.text.as_bytes()).map_err(files)?;
        return Ok(Written::Made);
    };
    if former == merged.text {
        return Ok(Written::Unchanged);
    }
    let backup = beside(&target, "dataops-infra-backup");
    write_private(&backup, former.as_bytes()).map_err(files)?;
    write_private(&target, merged.text.as_bytes()).map_err(files)?;
    Ok(Written::Changed {
        backup,
        anew: merged.anew,
    })
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    PathBuf::from(name)
}

/// The lock that Kubernetes' own clients take: a file beside
/// (<https://github.com/kubernetes/client-go/blob/master/tools/clientcmd/loader.go>).
struct Lock(PathBuf);

impl Lock {
    fn take(target: &Path) -> Result<Self, NotMerged> {
        let path = beside(target, "lock");
        match std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
        {
            Ok(_) => Ok(Self(path)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(NotMerged::Locked(path.display().to_string()))
            }
            Err(source) => Err(NotMerged::Files {
                path: path.display().to_string(),
                source,
            }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nobody is left who could be told that this failed.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn login() -> Login {
        Login {
            cluster: "abc".to_owned(),
            region: "eu-west-2".to_owned(),
            endpoint: "https://x.example".to_owned(),
            authority: "YWJj".to_owned(),
            profile: None,
            namespace: Some("dataops".to_owned()),
            plugin: PathBuf::from("dataops-infra"),
        }
    }

    const THEIRS: &str = "\
# my clusters
apiVersion: v1
kind: Config
clusters:
# the big one
- cluster:
    server: https://big.example
  name: big   # do not touch
contexts:
- context: {cluster: big, user: me}
  name: big
# who I am
users:
- name: me
  user:
    token: a-token-of-mine
current-context: big
preferences: {}
";

    #[test]
    fn an_empty_file_gets_ours_alone() {
        let text = merged("", &login()).expect("sound").text;
        insta::assert_snapshot!(text, @r#"
        apiVersion: "v1"
        kind: "Config"
        current-context: "abc.eu-west-2.eks"
        clusters:
        - name: "abc.eu-west-2.eks"
          cluster:
            server: "https://x.example"
            certificate-authority-data: "YWJj"
        users:
        - name: "abc.eu-west-2.eks"
          user:
            exec:
              apiVersion: "client.authentication.k8s.io/v1beta1"
              command: "dataops-infra"
              args:
              - "eks-token"
              - "--cluster-name"
              - "abc"
              - "--region"
              - "eu-west-2"
              interactiveMode: "Never"
              provideClusterInfo: false
        contexts:
        - name: "abc.eu-west-2.eks"
          context:
            cluster: "abc.eu-west-2.eks"
            user: "abc.eu-west-2.eks"
            namespace: "dataops"
        "#);
        let read: Value = serde_yaml::from_str(&text).expect("YAML");
        let same: Value = serde_json::from_str(&alone(&login())).expect("JSON");
        assert!(super::same(&read, &same));
    }

    #[test]
    fn what_others_wrote_stays_as_it_is() {
        let one = merged(THEIRS, &login()).expect("sound");
        assert!(!one.anew);
        let lost = |line: &&str| !one.text.lines().any(|other| other == *line);
        assert_eq!(
            THEIRS.lines().filter(lost).collect::<Vec<_>>(),
            ["current-context: big"]
        );
        let read: Value = serde_yaml::from_str(&one.text).expect("YAML");
        assert_eq!(read["clusters"].as_array().map(Vec::len), Some(2));
        assert_eq!(read["current-context"], "abc.eu-west-2.eks");
        // Once more changes nothing, and another address only ours.
        assert_eq!(merged(&one.text, &login()).expect("sound"), one);
        let mut moved = login();
        moved.endpoint = "https://y.example".to_owned();
        let two = merged(&one.text, &moved).expect("sound");
        assert_eq!(
            two.text,
            one.text.replace("https://x.example", "https://y.example")
        );
    }

    #[test]
    fn a_file_that_is_not_in_blocks_is_written_anew() {
        let json = r#"{"apiVersion":"v1","kind":"Config","clusters":[{"name":"big","cluster":{"server":"s"}}],"users":null}"#;
        let one = merged(json, &login()).expect("sound");
        assert!(one.anew);
        let read: Value = serde_yaml::from_str(&one.text).expect("YAML");
        assert_eq!(read["clusters"][1]["name"], "big");
        for (empty, anew) in [
            ("clusters: []\nusers: ~\n", false),
            ("clusters:\n", false),
            ("# nothing\nclusters: [ ]\n", true),
        ] {
            let one = merged(empty, &login()).expect("sound");
            assert_eq!(one.anew, anew, "{empty}");
            let read: Value = serde_yaml::from_str(&one.text).expect("YAML");
            assert_eq!(read["kind"], "Config");
        }
    }

    #[test]
    fn what_is_no_kubeconfig_is_left_alone() {
        for text in ["[1]", "kind: Pod", "clusters: big", "a: [", "\"just text\""] {
            assert!(merged(text, &login()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_is_private_backed_up_and_locked() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = folder.path().join("real");
        let link = folder.path().join("config");
        std::fs::write(&real, THEIRS).expect("written");
        symlink(&real, &link).expect("linked");
        let backup = beside(
            &std::fs::canonicalize(&real).expect("there"),
            "dataops-infra-backup",
        );
        let written = merge_into(&link, &login()).expect("merged");
        assert_eq!(
            written,
            Written::Changed {
                backup: backup.clone(),
                anew: false
            }
        );
        assert_eq!(std::fs::read_to_string(&backup).expect("there"), THEIRS);
        assert!(link.symlink_metadata().expect("there").is_symlink());
        for path in [&real, &backup] {
            let mode = std::fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(merge_into(&link, &login()).expect("merged"), Written::Unchanged);
        let lock = beside(&std::fs::canonicalize(&real).expect("there"), "lock");
        std::fs::write(&lock, "").expect("written");
        let mut moved = login();
        moved.endpoint = String::new();
        assert!(matches!(merge_into(&link, &moved), Err(NotMerged::Locked(_))));
        std::fs::remove_file(&lock).expect("removed");
        let new = folder.path().join("deeper/config");
        assert_eq!(merge_into(&new, &login()).expect("made"), Written::Made);
    }
}
