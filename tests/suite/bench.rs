//! What the tests share: the Python environment, AWS accounts on a repaired moto, and the program itself.
//!
//! What an `Account` can show and what not is in ARCHITECTURE.md, "The bench".

#![allow(dead_code, reason = "which helpers are used depends on the features")]

pub mod account;
pub mod call;
mod cbor;
pub mod http;
pub mod kubernetes;
pub mod launcher;
pub mod policy;
pub mod rule;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// Returns the folder of the package.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Says why a test is skipped; in CI that is a failure.
#[expect(clippy::print_stdout, reason = "a skipped test must be seen to be skipped")]
pub fn skip(reason: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{reason}, which CI needs"
    );
    println!("skipped: {reason}");
}

/// Returns a program of the Python environment, or says why the test is skipped; in CI that is a failure.
pub fn python_program(name: &str) -> Option<PathBuf> {
    let venv = std::env::var_os("DATAOPS_INFRA_VENV").map_or_else(|| root().join(".venv"), PathBuf::from);
    let program = venv.join("bin").join(name);
    if program.exists() {
        return Some(program);
    }
    skip(&format!(
        "there is no {} (made from tools/requirements.txt)",
        program.display()
    ));
    None
}

/// An HTTP server on a port of its own that says what it is told to. Its threads end with the test process.
pub struct Stub {
    /// Such as `http://127.0.0.1:34567`.
    pub url: String,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// Starts the server; the function gets each body and how many came before, and returns status, type and body.
    pub fn start(said: impl Fn(&str, usize) -> (u16, &'static str, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (log, said) = (Arc::clone(&calls), Arc::new(said));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, said) = (Arc::clone(&log), Arc::clone(&said));
                std::thread::spawn(move || serve(stream, &log, &*said));
            }
        });
        Self { url, calls }
    }

    /// Returns the bodies received so far.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("no panic").clone()
    }
}

/// Reads one request and answers it; a connection that ends early was only a probe.
fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<String>>,
    said: &dyn Fn(&str, usize) -> (u16, &'static str, String),
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).ok()? > 0 && !line.trim().is_empty() {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok().filter(|body| !body.is_empty())?;
    let nth = {
        let mut log = log.lock().expect("no panic");
        log.push(body.clone());
        log.len() - 1
    };
    let (status, kind, text) = said(&body, nth);
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all((head + &text).as_bytes()).ok()
}

/// The program with nothing of this machine's environment but a place for files.
pub fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dataops-infra"));
    command
        .env_clear()
        .env("HOME", home)
        .env("DATAOPS_INFRA_CACHE_DIR", home.join("cache"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null());
    command
}

/// Returns the exit code, stdout and stderr.
pub fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}
