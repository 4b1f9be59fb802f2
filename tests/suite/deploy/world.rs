//! An account, a place for files, and the program with what it needs to make a deployment there.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::host::{Hosts, Manner};
use super::inventory::{self, Inventory};
use crate::bench::account::{Account, Direct};
use crate::bench::call::Call;
use crate::bench::launcher::Bench;
use crate::bench::program;
use crate::bench::rule::Rule;

/// Name of the deployment, where a test says no other.
pub const NAME: &str = "runner-one";
/// Where everything is.
pub const REGION: &str = "eu-west-2";
/// Longest that a run may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// What is said to `up` where a test says nothing else; nothing is simulated then.
const SIZE: &[(&str, &str)] = &[
    ("--workload", "production"),
    ("--instance-type", "c5.large"),
    ("--concurrency", "4"),
    ("--disk-gib", "300"),
];

/// An account with hosts that boot, and the program to use it with.
pub struct World {
    /// The account, for rules and calls.
    pub account: Account,
    home: TempDir,
    hosts: Arc<Hosts>,
    attempts: &'static str,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// What it printed, read as JSON; null where it is none.
    pub json: Value,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit {} after {:?}\n{}\n{}",
            self.code, self.took, self.stdout, self.stderr
        )
    }
}

/// A run under way.
pub struct Running {
    child: Child,
    folder: TempDir,
    began: Instant,
}

impl World {
    /// Opens an account on the bench of this process; none if there is no Python environment.
    pub fn open() -> Option<Self> {
        Bench::shared().map(Self::on)
    }

    /// Opens an account on a bench.
    pub fn on(bench: &Bench) -> Self {
        let account = Account::on(bench);
        let home = tempfile::tempdir().expect("a folder");
        // As long as a real one, and recognised as none.
        std::fs::write(home.path().join("token"), "runner-token-of-the-bench").expect("a file");
        let hosts = Hosts::new(account.direct());
        let booting = Arc::clone(&hosts);
        account.after("ec2:RunInstances", move |_| booting.boot());
        let started = Arc::clone(&hosts);
        account.after("ec2:StartInstances", move |_| started.reboot());
        let again = Arc::clone(&hosts);
        account.after("ssm:SendCommand", move |call| {
            if call.parameters["Parameters"]
                .to_string()
                .contains(r#"\"do\":\"again\""#)
            {
                again.reboot();
            }
        });
        Self {
            account,
            home,
            hosts,
            attempts: "1",
        }
    }

    /// Lets the SDK try again by itself, as it does outside of tests; else each fault reaches the program.
    pub fn with_retries(mut self) -> Self {
        self.attempts = "3";
        self
    }

    /// From now on hosts behave so.
    pub fn hosts(&self, manner: Manner) {
        self.hosts.behave(manner);
    }

    /// Lets all hosts speak anew, as they behave now.
    pub fn reboot(&self, manner: Manner) {
        self.hosts.behave(manner);
        self.hosts.reboot();
    }

    /// Waits until a call of a name has been made as often.
    pub fn until(&self, name: &str, times: usize) {
        let began = Instant::now();
        while self.account.calls_of(name).len() < times {
            assert!(began.elapsed() < PATIENCE, "{name} is not called {times} times");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Returns a way to the account past rules and log.
    pub fn direct(&self) -> Direct {
        self.account.direct()
    }

    /// Returns the folder in which the program runs.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Takes stock of everything in the account that could be ours.
    pub fn inventory(&self) -> Inventory {
        inventory::take(&self.direct())
    }

    /// Returns all instances that were ever launched, as (id, state).
    pub fn launched(&self) -> Vec<(String, String)> {
        inventory::launched(&self.direct())
    }

    /// Returns the program in this account; `--output json`, the region and the name are added where they are not said.
    pub fn command(&self, words: &[&str], args: &[&str]) -> Command {
        let mut command = program(self.home.path());
        command.current_dir(self.folder()).args(words).args(args);
        for (flag, value) in [("--name", NAME), ("--region", REGION), ("--output", "json")] {
            let other = args.iter().any(|arg| {
                *arg == flag || (flag == "--name" && ["--file", "--expired", "--all", "--plan"].contains(arg))
            });
            if !other {
                command.args([flag, value]);
            }
        }
        self.account.used_by(&mut command);
        command.env("AWS_MAX_ATTEMPTS", self.attempts);
        command
    }

    /// Returns `up ec2`, with a size and a token where none are said.
    pub fn up_command(&self, args: &[&str]) -> Command {
        let mut all = args.to_vec();
        for (flag, value) in SIZE {
            if !args.contains(flag) {
                all.extend([*flag, *value]);
            }
        }
        let token = self.home.path().join("token").display().to_string();
        if !args.iter().any(|arg| arg.starts_with("--token")) {
            all.extend(["--token-file", &token]);
        }
        all.push("--yes");
        self.command(&["up", "ec2"], &all)
    }

    /// Returns `down`.
    pub fn down_command(&self, args: &[&str]) -> Command {
        self.command(&["down"], &[args, &["--yes"]].concat())
    }

    /// Runs `up ec2`.
    pub fn up(&self, args: &[&str]) -> Ran {
        self.start(self.up_command(args)).ended()
    }

    /// Runs `down`.
    pub fn down(&self, args: &[&str]) -> Ran {
        self.start(self.down_command(args)).ended()
    }

    /// Runs `status`.
    pub fn status(&self, args: &[&str]) -> Ran {
        self.start(self.command(&["status"], args)).ended()
    }

    /// Starts a run.
    pub fn start(&self, mut command: Command) -> Running {
        command.current_dir(self.folder());
        Self::start_reading(command, Stdio::null())
    }

    /// Starts a run that reads something.
    pub fn start_reading(mut command: Command, stdin: Stdio) -> Running {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name| File::create(folder.path().join(name)).expect("a file");
        let child = command
            .stdin(stdin)
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("starts");
        Running {
            child,
            folder,
            began: Instant::now(),
        }
    }

    /// Runs the program and kills it (`kill -9`) where the rule's deed is done; it is dead before the deed's answer.
    pub fn killed(&self, command: Command, rule: Rule) -> Ran {
        let (reached, dead) = (Meeting::new(), Meeting::new());
        let (say, wait) = (reached.0, dead.1);
        let wait = std::sync::Mutex::new(wait);
        self.account.rule_first(rule.and_then(move |_: &Call| {
            let _ = say.send(());
            if let Ok(wait) = wait.lock() {
                // Ends without a word where nobody kills any more.
                let _ = wait.recv_timeout(PATIENCE);
            }
        }));
        let mut running = self.start(command);
        while reached.1.recv_timeout(Duration::from_millis(10)).is_err() {
            if running.has_ended() {
                break;
            }
        }
        running.kill();
        let ran = running.ended();
        drop(dead.0);
        self.account.settle();
        ran
    }
}

/// Two ends of a channel, to meet at a moment.
struct Meeting(Sender<()>, Receiver<()>);

impl Meeting {
    fn new() -> Self {
        let (say, heard) = channel();
        Self(say, heard)
    }
}

impl Running {
    /// Says whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("can be asked").is_some()
    }

    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it: it cannot do anything any more.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Sends a signal, such as `INT`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{name} is sent");
    }

    /// Waits for its end.
    pub fn ended(self) -> Ran {
        self.ended_within(PATIENCE)
    }

    /// Waits for its end, and kills it where it takes longer.
    pub fn ended_within(mut self, patience: Duration) -> Ran {
        while !self.has_ended() {
            if self.began.elapsed() > patience {
                self.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.child.wait().expect("has ended");
        let text = |name| {
            let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let stdout = text("stdout");
        Ran {
            code: status.code().unwrap_or(-1),
            json: serde_json::from_str(&stdout).unwrap_or_default(),
            stdout,
            stderr: text("stderr"),
            took: self.began.elapsed(),
        }
    }
}
