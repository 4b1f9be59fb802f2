//! An AWS account of a test's own: a proxy in front of moto that keeps a log and does what the test's rules say.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::call::{Call, Protocol};
use super::http::{Headers, Request, Response};
use super::launcher::Bench;
use super::rule::{Deed, Effect, Rule};

/// Code of the error that a client gets where moto does not know the call; no client tries that again.
const UNKNOWN_TO_MOTO: &str = "UnknownToMoto";

/// An account that nothing else uses, at an address of its own, gone with the value.
///
/// When it goes and moto did not know a call, the test fails and says which: see [`Account::unknown`].
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// Such as `http://127.0.0.1:34567`.
    pub url: String,
    address: String,
    proxy: Arc<Proxy>,
}

struct Proxy {
    account: String,
    /// Address of moto.
    moto: String,
    opened: Instant,
    closed: AtomicBool,
    rules: Mutex<Vec<Rule>>,
    log: Mutex<Vec<Call>>,
    unknown: Mutex<Vec<String>>,
    watchers: Mutex<Vec<(String, Arc<Watcher>)>>,
    in_flight: AtomicUsize,
    /// Key of who acts past the proxy.
    key: Arc<Mutex<String>>,
}

/// Told of calls.
type Watcher = dyn Fn(&Call) + Send + Sync;

/// A panic in another thread of the proxy is no reason for one here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Account {
    /// Opens an account on the bench that all tests of this process share; none if there is no Python environment.
    pub fn open() -> Option<Self> {
        Bench::shared().map(Self::on)
    }

    /// Opens an account on a bench.
    pub fn on(bench: &Bench) -> Self {
        static OPENED: AtomicUsize = AtomicUsize::new(1);
        let nth = OPENED.fetch_add(1, Ordering::Relaxed);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let proxy = Arc::new(Proxy {
            account: format!("{:012}", 100_000_000_000 + nth),
            moto: bench.address.clone(),
            opened: Instant::now(),
            closed: AtomicBool::new(false),
            rules: Mutex::default(),
            log: Mutex::default(),
            unknown: Mutex::default(),
            watchers: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            key: Arc::new(Mutex::new("test".to_owned())),
        });
        let account = Self {
            id: proxy.account.clone(),
            url: format!("http://{address}"),
            address,
            proxy: Arc::clone(&proxy),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if proxy.closed.load(Ordering::Relaxed) {
                    return;
                }
                let proxy = Arc::clone(&proxy);
                std::thread::spawn(move || proxy.serve(stream));
            }
        });
        account
    }

    /// Adds a rule, after those that are there.
    pub fn rule(&self, rule: Rule) {
        locked(&self.proxy.rules).push(rule);
    }

    /// Says how long things take on EKS and EFS, what fails, and where the API server is: see `tools/bench/repairs/knobs.py`.
    pub fn knobs(&self, said: &Value) {
        self.direct().bench("PUT", "/bench/knobs", said.to_string());
    }

    /// Returns what there is of EKS, EFS and launch templates: see `tools/bench/repairs/inventory.py`.
    pub fn inventory(&self) -> Value {
        self.direct().inventory()
    }

    /// Adds a rule, before those that are there.
    pub fn rule_first(&self, rule: Rule) {
        locked(&self.proxy.rules).insert(0, rule);
    }

    /// Forgets all rules.
    pub fn heal(&self) {
        locked(&self.proxy.rules).clear();
    }

    /// Calls a function after each call of a name that moto has heard of, whatever the rules do to its answer.
    pub fn after(&self, name: &str, told: impl Fn(&Call) + Send + Sync + 'static) {
        locked(&self.proxy.watchers).push((name.to_owned(), Arc::new(told)));
    }

    /// Returns a way to moto that knows neither rules nor log.
    pub fn direct(&self) -> Direct {
        Direct {
            account: self.id.clone(),
            moto: self.proxy.moto.clone(),
            key: Arc::clone(&self.proxy.key),
        }
    }

    /// From now on whoever acts past the proxy has this key, also where the way there was taken before.
    pub fn act_past_with(&self, key: &str) {
        key.clone_into(&mut locked(&self.proxy.key));
    }

    /// Waits until what a client that was killed had begun is done.
    pub fn settle(&self) {
        while self.proxy.in_flight.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns all calls so far, in the order they came.
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.proxy.log).clone()
    }

    /// Returns the calls of one name, such as `ec2:RunInstances`.
    pub fn calls_of(&self, name: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.name() == name);
        calls
    }

    /// Returns the statuses answered to calls of one name; none where the answer was lost.
    pub fn answers(&self, name: &str) -> Vec<Option<u16>> {
        self.calls_of(name).iter().map(|call| call.answer).collect()
    }

    /// Returns the calls that moto did not know, with what it said, and forgets them: who asks does not fail for them.
    pub fn unknown(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.proxy.unknown))
    }

    /// Sets a program up to use this account and nothing else.
    pub fn used_by<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// Makes a call of a query service for which there is no client, with a key; returns status and answer.
    pub fn query(
        &self,
        key: &str,
        service: &str,
        operation: &str,
        parameters: &[(&str, &str)],
    ) -> (u16, String) {
        let body = form(service, operation, parameters);
        self.plain(key, service, FORM, "", &body)
    }

    /// Makes a call of a JSON service for which there is no client, such as `AmazonSSM.GetParameter`.
    pub fn json(&self, key: &str, service: &str, target: &str, parameters: &Value) -> (u16, Value) {
        let body = parameters.to_string();
        let (status, text) = self.plain(key, service, "application/x-amz-json-1.1", target, &body);
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    fn plain(&self, key: &str, service: &str, kind: &str, target: &str, body: &str) -> (u16, String) {
        let request = signed(&self.address, key, service, kind, target, body);
        let answer = request.send(&self.address).expect("the bench answers");
        (answer.status, answer.text())
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Returns the body of a call of a query service.
fn form(service: &str, operation: &str, parameters: &[(&str, &str)]) -> String {
    let version = match service {
        "iam" => "2010-05-08",
        "sts" => "2011-06-15",
        "sns" => "2010-03-31",
        "monitoring" => "2010-08-01",
        _ => "2016-11-15",
    };
    let mut body = format!("Action={operation}&Version={version}");
    for (name, value) in parameters {
        body += &format!("&{name}=");
        // Everything is encoded: simpler than to know what need not be.
        value.bytes().for_each(|byte| body += &format!("%{byte:02X}"));
    }
    body
}

/// Returns a call of which moto sees service and region.
fn signed(host: &str, key: &str, service: &str, kind: &str, target: &str, body: &str) -> Request {
    let signature = format!(
        "AWS4-HMAC-SHA256 Credential={key}/20260101/eu-west-2/{service}/aws4_request, \
         SignedHeaders=host, Signature=none"
    );
    let headers = [
        ("Host", host),
        ("Authorization", &signature),
        ("Content-Type", kind),
    ];
    let mut headers = Headers(
        headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
    );
    if !target.is_empty() {
        headers.set("X-Amz-Target", target);
    }
    Request {
        method: "POST".to_owned(),
        target: "/".to_owned(),
        headers,
        body: body.as_bytes().to_vec(),
    }
}

/// A way to the account past the proxy: for who looks at it, and for what acts in it besides the program.
#[derive(Clone)]
pub struct Direct {
    account: String,
    moto: String,
    key: Arc<Mutex<String>>,
}

impl Direct {
    /// Returns the twelve digits of the account.
    pub fn account_id(&self) -> String {
        self.account.clone()
    }

    /// Makes a call of a query service; CloudWatch is `monitoring` here.
    pub fn query(&self, service: &str, operation: &str, parameters: &[(&str, &str)]) -> (u16, String) {
        self.send(service, FORM, "", &form(service, operation, parameters))
    }

    /// Makes a call of a JSON service, such as `AmazonSSM.GetParameter`.
    pub fn json(&self, service: &str, target: &str, parameters: &Value) -> (u16, Value) {
        let kind = "application/x-amz-json-1.1";
        let (status, text) = self.send(service, kind, target, &parameters.to_string());
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Returns what there is of EKS, EFS and launch templates: see `tools/bench/repairs/inventory.py`.
    pub fn inventory(&self) -> Value {
        let text = self.bench("GET", "/bench/inventory", String::new());
        serde_json::from_str(&text).expect("an inventory is JSON")
    }

    /// Says or asks something of the bench itself.
    fn bench(&self, method: &str, target: &str, body: String) -> String {
        let headers = [("Host", &self.moto), ("x-moto-account-id", &self.account)];
        let request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Headers(
                headers
                    .map(|(name, value)| (name.to_owned(), value.clone()))
                    .to_vec(),
            ),
            body: body.into_bytes(),
        };
        let answer = request.send(&self.moto).expect("the bench answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// As `query`, signed at a time such as `20260101T000000Z`.
    pub fn query_at(
        &self,
        at: &str,
        service: &str,
        operation: &str,
        parameters: &[(&str, &str)],
    ) -> (u16, String) {
        let body = form(service, operation, parameters);
        self.send_at(Some(at), service, FORM, "", &body)
    }

    /// As `json`, signed at a time.
    pub fn json_at(&self, at: &str, service: &str, target: &str, parameters: &Value) -> (u16, Value) {
        let kind = "application/x-amz-json-1.1";
        let (status, text) = self.send_at(Some(at), service, kind, target, &parameters.to_string());
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    fn send(&self, service: &str, kind: &str, target: &str, body: &str) -> (u16, String) {
        self.send_at(None, service, kind, target, body)
    }

    fn send_at(
        &self,
        at: Option<&str>,
        service: &str,
        kind: &str,
        target: &str,
        body: &str,
    ) -> (u16, String) {
        let key = locked(&self.key).clone();
        let mut request = signed(&self.moto, &key, service, kind, target, body);
        request.headers.set("x-moto-account-id", &self.account);
        if let Some(at) = at {
            request.headers.set("X-Amz-Date", at);
        }
        let answer = request.send(&self.moto).expect("moto answers");
        (answer.status, answer.text())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.proxy.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(&self.address);
        let unknown = self.unknown();
        assert!(
            unknown.is_empty() || std::thread::panicking(),
            "moto does not know, so the test needs a canned answer for: {unknown:#?}"
        );
    }
}

impl Proxy {
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let request = Request::read(&stream)?;
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let served = self.served(stream, request);
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        served
    }

    fn served(&self, mut stream: TcpStream, request: Request) -> Option<()> {
        let call = Call::of(&request, self.opened.elapsed());
        let nth = {
            let mut log = locked(&self.log);
            log.push(call.clone());
            log.len() - 1
        };
        let deed = locked(&self.rules).iter_mut().find_map(|rule| rule.take(&call));
        let Deed { effect, then } = deed.unwrap_or(Deed {
            effect: Arc::new(Effect::Pass),
            then: None,
        });
        let answer = self.answer(&effect, &call, request);
        if let Some(answer) = &answer {
            // Before it is sent, so that who has the answer finds it in the log.
            locked(&self.log)[nth].answer = Some(answer.status);
        }
        if let Some(then) = then {
            then(&call);
        }
        match answer {
            Some(answer) => answer.write(&mut stream).then_some(()),
            None => stream.shutdown(Shutdown::Both).ok(),
        }
    }

    /// Returns the answer to a call, none if the connection is to end without.
    fn answer(&self, effect: &Effect, call: &Call, request: Request) -> Option<Response> {
        let protocol = call.protocol;
        match effect {
            Effect::Pass => Some(self.forward(call, request)),
            Effect::Fail(status, code, message) => Some(protocol.error(*status, code, message)),
            Effect::Throttle => Some(protocol.throttled()),
            Effect::Deny => Some(protocol.denied(&call.name())),
            Effect::Reset => None,
            Effect::Lose => {
                self.forward(call, request);
                None
            }
            Effect::Half => Some(self.forward(call, request).halved()),
            Effect::Delay(by) => {
                std::thread::sleep(*by);
                Some(self.forward(call, request))
            }
            Effect::Answer(text) => Some(protocol.answer(200, text)),
            Effect::Rewrite(change) => {
                let mut answer = self.forward(call, request);
                assert!(
                    protocol != Protocol::Cbor,
                    "answers in CBOR are canned, not rewritten"
                );
                answer.body = change(answer.text()).into_bytes();
                Some(answer)
            }
        }
    }

    /// Asks moto, and says what it does not know or words wrongly as AWS would.
    fn forward(&self, call: &Call, mut request: Request) -> Response {
        request.headers.set("x-moto-account-id", &self.account);
        let answer = match request.send(&self.moto) {
            Ok(answer) => answer,
            Err(error) => return self.not_known(call, &format!("no answer from moto: {error}")),
        };
        let kind = answer.headers.get("content-type");
        let is_html = kind.starts_with("text/html") && !answer.text().starts_with("<?xml");
        if answer.status >= 400 && is_html && !answer.text().contains("<Code>") {
            return self.not_known(call, &format!("{} {}", answer.status, answer.text()));
        }
        // Moto's enforcement of policies has one wording for all services.
        if answer.status == 403 && answer.text().contains("<Code>AccessDenied</Code>") {
            return call.protocol.denied(&call.name());
        }
        let watchers = locked(&self.watchers).clone();
        for (name, told) in watchers {
            if name == call.name() {
                told(call);
            }
        }
        answer
    }

    fn not_known(&self, call: &Call, why: &str) -> Response {
        let text = format!("{}: {why}", call.name());
        locked(&self.unknown).push(text.clone());
        call.protocol.error(400, UNKNOWN_TO_MOTO, &text)
    }
}
