//! The process behind the bench: moto with the repairs of `tools/bench/repairs`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use super::http::{Headers, Request};
use super::{python_program, root};

/// A moto of our own. It ends with the value, and with this process, however that ends: its standard input closes then.
pub struct Bench {
    child: Child,
    /// Such as `127.0.0.1:34567`.
    pub address: String,
    /// How long the start took.
    pub took: Duration,
}

impl Bench {
    /// Returns the one that all tests of this process share; none if there is no Python environment.
    ///
    /// Under nextest that is one for each test: the start takes a second, less than sharing over processes would be worth.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Bench>> = OnceLock::new();
        // Asked each time, because each test says that it is skipped.
        python_program("python")?;
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Starts one for whoever changes what all accounts share.
    pub fn start() -> Option<Self> {
        let began = Instant::now();
        let mut child = Command::new(python_program("python")?)
            .arg(root().join("tools/bench/launcher.py"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Not inherited: who waits for the end of this process' output would wait for the launcher too.
            .stderr(Stdio::piped())
            .spawn()
            .expect("the launcher starts");
        let mut said = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        // The value first, so that a launcher that says nothing is ended too.
        let mut bench = Self {
            child,
            address: String::new(),
            took: Duration::ZERO,
        };
        let mut errors = bench.child.stderr.take().expect("stderr is a pipe");
        // Reads on until the launcher ends: a full pipe would stop it. What goes wrong later is in its answers.
        let complaints = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let (say, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = said.read_line(&mut line);
            let _ = say.send(line);
        });
        let line = heard.recv_timeout(Duration::from_secs(90)).unwrap_or_default();
        let Some(address) = line.trim().strip_prefix("http://") else {
            drop(bench);
            panic!(
                "the launcher does not start: {}",
                complaints.join().unwrap_or_default()
            );
        };
        address.clone_into(&mut bench.address);
        bench.took = began.elapsed();
        Some(bench)
    }

    /// From now on keys may do what their policies say, in all accounts, and unknown keys nothing.
    pub fn enforce_policies(&self) {
        let request = Request {
            method: "POST".to_owned(),
            target: "/moto-api/reset-auth".to_owned(),
            headers: Headers(vec![("Host".to_owned(), self.address.clone())]),
            // Calls that are still free. Not as a form, which moto answers with an error.
            body: b"0".to_vec(),
        };
        let answer = request.send(&self.address).expect("the bench answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Returns the id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
