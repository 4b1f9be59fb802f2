//! `catalog refresh` against moto for EC2 and a canned price list, which moto does not have.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::bench::{Moto, ended, program};

/// What the price list does.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// Throttles the first call, then answers in three pages.
    Throttled,
    /// Denies every call.
    Denied,
    /// Knows nothing.
    Empty,
    /// Fails on the second page.
    FailsLate,
}

/// A price list on a port of its own. Its threads end with the test process.
struct PriceList {
    url: String,
    calls: Arc<Mutex<Vec<Value>>>,
}

impl PriceList {
    fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&log);
                std::thread::spawn(move || answer(stream, mood, &log));
            }
        });
        Self { url, calls }
    }

    fn calls(&self) -> Vec<Value> {
        self.calls.lock().expect("no panic").clone()
    }
}

fn answer(mut stream: TcpStream, mood: Mood, log: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line.trim() != "" {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() || length == 0 {
        return;
    }
    let call: Value = serde_json::from_slice(&body).expect("JSON");
    let nth = {
        let mut log = log.lock().expect("no panic");
        log.push(call.clone());
        log.len()
    };
    let late = mood == Mood::FailsLate && call["NextToken"].is_string();
    let error = |kind: &str| (400, json!({"__type": kind, "message": "said the price list"}));
    let (status, body) = match mood {
        Mood::Throttled if nth == 1 => error("ThrottlingException"),
        Mood::Denied => error("AccessDeniedException"),
        _ if late => error("ExpiredNextTokenException"),
        Mood::Empty => (200, json!({"FormatVersion": "aws_v1", "PriceList": []})),
        _ => (200, page(&call)),
    };
    let body = body.to_string();
    let mut head = String::new();
    let _ = write!(
        head,
        "HTTP/1.1 {status} Said\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body.as_bytes());
}

/// Instance prices in three pages, everything else in one.
fn page(call: &Value) -> Value {
    let filter = |field: &str| {
        let filters = call["Filters"].as_array().expect("filters").iter();
        filters
            .clone()
            .find(|filter| filter["Field"] == field)
            .map(|filter| filter["Value"].clone())
    };
    let instance = |name: &str, dollars: &str| {
        let attributes = json!({
            "instanceType": name, "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA",
            "capacitystatus": "Used", "operation": "RunInstances", "usagetype": format!("EUW2-BoxUsage:{name}"),
        });
        document("Compute Instance", &attributes, "Hrs", dollars)
    };
    let usage = |family, usage: &str, unit, dollars| {
        document(
            family,
            &json!({"usagetype": usage, "volumeApiName": "gp3"}),
            unit,
            dollars,
        )
    };
    let (documents, next) = if filter("operatingSystem").is_some() {
        match call["NextToken"].as_str() {
            None => (
                vec![
                    instance("c5.large", "0.1010000000"),
                    instance("c5.xlarge", "0.2020000000"),
                ],
                Some("page 2"),
            ),
            Some("page 2") => (
                // A type with two prices is worse than one with none; a graviton type is not listed at all.
                vec![
                    instance("c6i.large", "0.1010000000"),
                    instance("m5.large", "0.1"),
                    instance("m5.large", "0.2"),
                    instance("c6g.large", "0.08"),
                ],
                Some("page 3"),
            ),
            Some(_) => (
                vec![instance("t3a.xlarge", "0.1699000000"), "not JSON".to_owned()],
                None,
            ),
        }
    } else if filter("volumeApiName").is_some() {
        let documents = vec![
            usage("Storage", "EUW2-EBS:VolumeUsage.gp3", "GB-Mo", "0.0928000000"),
            usage(
                "System Operation",
                "EUW2-EBS:VolumeP-IOPS.gp3",
                "IOPS-Mo",
                "0.0058000000",
            ),
            usage(
                "Provisioned Throughput",
                "EUW2-EBS:VolumeP-Throughput.gp3",
                "GiBps-mo",
                "47.5136000000",
            ),
        ];
        (documents, None)
    } else if call["ServiceCode"] == "AmazonEKS" {
        (
            vec![usage(
                "Compute",
                "EUW2-AmazonEKS-Hours:perCluster",
                "Hours",
                "0.1000000000",
            )],
            None,
        )
    } else {
        let documents = vec![
            usage("NAT Gateway", "EUW2-NatGateway-Hours", "Hrs", "0.0500000000"),
            usage("NAT Gateway", "EUW2-NatGateway-Bytes", "GB", "0.0500000000"),
        ];
        (documents, None)
    };
    let mut page = json!({"FormatVersion": "aws_v1", "PriceList": documents});
    if let Some(next) = next {
        page["NextToken"] = next.into();
    }
    page
}

fn document(family: &str, attributes: &Value, unit: &str, dollars: &str) -> String {
    json!({
        "product": {"productFamily": family, "sku": "ABC", "attributes": attributes},
        "terms": {"OnDemand": {"ABC.1": {"priceDimensions": {"ABC.1.1": {
            "unit": unit, "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": dollars},
        }}}}},
    })
    .to_string()
}

fn refresh(home: &Path, ec2: &str, prices: &str) -> Command {
    let mut command = program(home);
    command
        .args(["catalog", "refresh", "--region", "eu-west-2", "--output", "json"])
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_ENDPOINT_URL_EC2", ec2)
        .env("AWS_ENDPOINT_URL_PRICING", prices);
    command
}

#[test]
fn a_region_is_read_whole_or_the_old_table_stays() {
    let Some(moto) = Moto::start() else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("cache").join("catalog-eu-west-2.json");

    let prices = PriceList::start(Mood::Throttled);
    let (code, stdout, stderr) = ended(
        &refresh(home.path(), &moto.url, &prices.url)
            .output()
            .expect("runs"),
    );
    assert_eq!(code, 0, "{stderr}");
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(answer["priced"], 4, "{answer}");
    assert!(
        answer["types"].as_u64().is_some_and(|types| types > 300),
        "{answer}"
    );
    assert_eq!(
        answer["services_read"],
        json!([
            "gp3-storage",
            "gp3-iops",
            "gp3-throughput",
            "eks-control-plane",
            "nat-gateway",
            "nat-gateway-data"
        ])
    );
    let calls = prices.calls();
    assert_eq!(
        calls.len(),
        1 + 3 + 1 + 1 + 1,
        "one throttled, three pages, three single ones"
    );
    assert_eq!(calls[0], calls[1], "the throttled call is made again");
    for call in &calls {
        let filters = call["Filters"].as_array().expect("filters");
        let region = json!({"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-2"});
        assert!(filters.contains(&region), "{call}");
        assert_eq!(call["MaxResults"], 100);
    }

    let written = std::fs::read(&file).expect("written");
    let kept: Value = serde_json::from_slice(&written).expect("JSON");
    assert!(
        kept["fetched_at"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{}",
        kept["fetched_at"]
    );
    let (code, stdout, stderr) = {
        let mut command = program(home.path());
        command.args([
            "catalog",
            "show",
            "--region",
            "eu-west-2",
            "--output",
            "json",
            "--family",
            "c5,c6i,m5,t3a",
        ]);
        ended(&command.output().expect("runs"))
    };
    assert_eq!((code, stderr.as_str()), (0, ""), "fresh prices need no note");
    let shown: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(shown["origin"], file.display().to_string());
    let row = |name: &str| {
        let mut types = shown["types"].as_array().expect("types").iter();
        types
            .find(|row| row["instance_type"] == name)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(row("c5.xlarge")["price"]["amount"], "0.202");
    assert_eq!(row("c5.xlarge")["price"]["region"], "eu-west-2");
    assert_eq!(row("c5.xlarge")["vcpus"], 4);
    assert_eq!(row("c5.xlarge")["max_pods"], 58);
    assert_eq!(row("c5.xlarge")["thread_speed"]["basis"], "assumed");
    assert_eq!(row("t3a.xlarge")["burstable_baseline"], 0.4);
    assert_eq!(
        row("m5.large")["price"],
        Value::Null,
        "two different prices are none"
    );
    assert_eq!(row("c5.2xlarge")["price"], Value::Null);
    assert_eq!(shown["services"]["gp3-storage"]["amount"], "0.0928");
    assert_eq!(shown["services"]["gp3-throughput"]["amount"], "0.0464");
    assert_eq!(shown["services"]["cloudwatch-alarm"]["region"], "us-east-1");

    for (mood, expected, words) in [
        (
            Mood::Denied,
            5,
            "pricing:GetProducts: not permitted: AccessDeniedException",
        ),
        (Mood::Empty, 1, "no Linux on-demand price for eu-west-2"),
        (Mood::FailsLate, 1, "ExpiredNextTokenException"),
    ] {
        let prices = PriceList::start(mood);
        let (code, stdout, stderr) = ended(
            &refresh(home.path(), &moto.url, &prices.url)
                .output()
                .expect("runs"),
        );
        assert_eq!((code, stdout.as_str()), (expected, ""), "{stderr}");
        assert!(stderr.contains(words) && stderr.contains("hint:"), "{stderr}");
        assert_eq!(std::fs::read(&file).expect("still there"), written, "{words}");
    }
    let left = std::fs::read_dir(home.path().join("cache"))
        .expect("readable")
        .count();
    assert_eq!(left, 1, "no temporary file is left");
}

#[test]
fn what_could_not_be_asked_is_unknown_and_nothing_is_written() {
    let home = tempfile::tempdir().expect("a folder");
    // Nobody listens on port 1.
    let closed = "http://127.0.0.1:1";
    let (code, stdout, stderr) = ended(&refresh(home.path(), closed, closed).output().expect("runs"));
    assert_eq!((code, stdout.as_str()), (5, ""), "{stderr}");
    assert!(stderr.contains("AWS does not answer"), "{stderr}");

    let mut command = refresh(home.path(), closed, closed);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    let (code, _, stderr) = ended(&command.output().expect("runs"));
    assert_eq!(code, 5, "{stderr}");
    assert!(
        stderr.contains("no usable AWS credentials") && stderr.contains("--profile"),
        "{stderr}"
    );
    assert!(!home.path().join("cache").join("catalog-eu-west-2.json").exists());
}

#[test]
fn a_cache_that_cannot_be_written_is_found_before_aws_is_asked() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("cache"), "a file").expect("written");
    let closed = "http://127.0.0.1:1";
    let (code, _, stderr) = ended(&refresh(home.path(), closed, closed).output().expect("runs"));
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("could not write") && stderr.contains("DATAOPS_INFRA_CACHE_DIR"),
        "{stderr}"
    );
}
