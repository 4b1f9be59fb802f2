//! As much HTTP/1.1 as a proxy on one machine needs: one message on each connection, its length known.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Moto is patient company, but a test must end.
const PATIENCE: Duration = Duration::from_mins(2);

/// What was asked.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Such as `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// In their order.
    pub headers: Headers,
    /// Empty if there was none.
    pub body: Vec<u8>,
}

/// What was answered.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// In their order.
    pub headers: Headers,
    /// Empty if there was none.
    pub body: Vec<u8>,
    /// Bytes of the body that are announced and never sent.
    pub missing: usize,
}

/// Names and values.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// Returns a value, whatever the case of its name; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        let mut all = self.0.iter();
        all.find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }

    /// Replaces a value or adds it.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

impl Request {
    /// Reads a request; none if the connection ends before it does, as probes and impatient clients do.
    pub fn read(stream: &TcpStream) -> Option<Self> {
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let (first, headers, body) = read_message(stream).ok()?;
        let mut words = first.split_whitespace();
        Some(Self {
            method: words.next()?.to_owned(),
            target: words.next()?.to_owned(),
            headers,
            body,
        })
    }

    /// Asks a server, such as `127.0.0.1:34567`.
    pub fn send(&self, server: &str) -> io::Result<Response> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let first = format!("{} {} HTTP/1.1", self.method, self.target);
        write_message(&mut stream, &first, &self.headers, &self.body, 0)?;
        let (first, headers, body) = read_message(&stream)?;
        let status = first.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        Ok(Response {
            status: status.ok_or_else(|| io::Error::other(first))?,
            headers,
            body,
            missing: 0,
        })
    }
}

impl Response {
    /// Answers; says whether there was still somebody to answer.
    pub fn write(&self, stream: &mut TcpStream) -> bool {
        let first = format!("HTTP/1.1 {} Said", self.status);
        write_message(stream, &first, &self.headers, &self.body, self.missing).is_ok()
    }

    /// Returns the answer of which the second half is lost.
    pub fn halved(mut self) -> Self {
        let kept = self.body.len() / 2;
        self.missing = self.body.len() - kept;
        self.body.truncate(kept);
        self
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn read_message(stream: &TcpStream) -> io::Result<(String, Headers, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let first = read_line(&mut reader)?;
    let mut headers = Headers::default();
    loop {
        let line = read_line(&mut reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.0.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut body = Vec::new();
    if let Ok(length) = headers.get("content-length").parse() {
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
    } else if first.starts_with("HTTP/") {
        reader.read_to_end(&mut body)?;
    }
    Ok((first, headers, body))
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn write_message(
    stream: &mut TcpStream,
    first: &str,
    headers: &Headers,
    body: &[u8],
    missing: usize,
) -> io::Result<()> {
    let mut head = format!("{first}\r\n");
    for (name, value) in &headers.0 {
        let ours = ["content-length", "connection", "transfer-encoding"];
        if !ours.iter().any(|other| name.eq_ignore_ascii_case(other)) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head += &format!(
        "Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len() + missing
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    stream.write_all(&bytes)
}
