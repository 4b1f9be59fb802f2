//! `catalog refresh` against moto for EC2 and a canned price list, which moto does not have.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bench::account::Account;
use crate::bench::{Stub, ended, program};

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

fn price_list(mood: Mood) -> Stub {
    Stub::start(move |body, nth| {
        let call: Value = serde_json::from_str(body).expect("JSON");
        let error = |kind: &str| (400, json!({"__type": kind, "message": "said the price list"}));
        let (status, answer) = match mood {
            Mood::Throttled if nth == 0 => error("ThrottlingException"),
            Mood::Denied => error("AccessDeniedException"),
            Mood::FailsLate if call["NextToken"].is_string() => error("ExpiredNextTokenException"),
            Mood::Empty => (200, json!({"FormatVersion": "aws_v1", "PriceList": []})),
            _ => (200, page(&call)),
        };
        (status, "application/x-amz-json-1.1", answer.to_string())
    })
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
    let Some(account) = Account::open() else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("cache").join("catalog-eu-west-2.json");

    let prices = price_list(Mood::Throttled);
    let (code, stdout, stderr) = ended(
        &refresh(home.path(), &account.url, &prices.url)
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
    let calls: Vec<Value> = prices
        .calls()
        .iter()
        .map(|body| serde_json::from_str(body).expect("JSON"))
        .collect();
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
        let prices = price_list(mood);
        let (code, stdout, stderr) = ended(
            &refresh(home.path(), &account.url, &prices.url)
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

/// What EC2 does.
#[derive(Clone, Copy, PartialEq)]
enum Ec2 {
    /// Answers in two pages, after one refusal for too many requests.
    TwoPages,
    /// Does not permit the offerings.
    DeniesOfferings,
    /// Leaves out what we need to know.
    Partial,
}

/// EC2 with three types, of which two are offered. moto has no pages, so it cannot show that we read them.
fn ec2(mood: Ec2) -> Stub {
    let type_item = move |name: &str, vcpus: u32| {
        let memory = if mood == Ec2::Partial {
            ""
        } else {
            "<sizeInMiB>4096</sizeInMiB>"
        };
        format!(
            "<item><instanceType>{name}</instanceType><currentGeneration>false</currentGeneration>\
             <vCpuInfo><defaultVCpus>{vcpus}</defaultVCpus><defaultThreadsPerCore>2</defaultThreadsPerCore></vCpuInfo>\
             <memoryInfo>{memory}</memoryInfo><ebsInfo><ebsOptimizedInfo><baselineBandwidthInMbps>650\
             </baselineBandwidthInMbps></ebsOptimizedInfo></ebsInfo><networkInfo><networkPerformance>Up to 10 Gigabit\
             </networkPerformance><maximumNetworkInterfaces>3</maximumNetworkInterfaces><ipv4AddressesPerInterface>10\
             </ipv4AddressesPerInterface></networkInfo></item>"
        )
    };
    let offer = |name: &str| {
        format!(
            "<item><instanceType>{name}</instanceType><locationType>region</locationType><location>eu-west-2</location></item>"
        )
    };
    let error = |status, code: &str| {
        let body = format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>said EC2</Message></Error></Errors><RequestID>1</RequestID></Response>"
        );
        (status, "text/xml", body)
    };
    Stub::start(move |body, nth| {
        let second = body.contains("NextToken=two");
        let next = if second { "" } else { "<nextToken>two</nextToken>" };
        if body.contains("Action=DescribeInstanceTypeOfferings") {
            if mood == Ec2::DeniesOfferings {
                return error(403, "UnauthorizedOperation");
            }
            let items = offer(if second { "c5.xlarge" } else { "c5.large" });
            let name = "DescribeInstanceTypeOfferingsResponse";
            let set = "instanceTypeOfferingSet";
            return (
                200,
                "text/xml",
                format!("<{name}><{set}>{items}</{set}>{next}</{name}>"),
            );
        }
        if nth == 0 {
            return error(503, "RequestLimitExceeded");
        }
        let items = if second {
            type_item("c5.xlarge", 4) + &type_item("c5.2xlarge", 8)
        } else {
            type_item("c5.large", 2) + &type_item("t2.large", 2)
        };
        let (name, set) = ("DescribeInstanceTypesResponse", "instanceTypeSet");
        (
            200,
            "text/xml",
            format!("<{name}><{set}>{items}</{set}>{next}</{name}>"),
        )
    })
}

#[test]
fn every_page_of_ec2_is_read_and_what_is_not_offered_is_left_out() {
    let home = tempfile::tempdir().expect("a folder");
    let (instances, prices) = (ec2(Ec2::TwoPages), price_list(Mood::Throttled));
    let (code, stdout, stderr) = ended(
        &refresh(home.path(), &instances.url, &prices.url)
            .output()
            .expect("runs"),
    );
    assert_eq!(code, 0, "{stderr}");
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(
        (&answer["types"], &answer["priced"]),
        (&json!(2), &json!(2)),
        "{answer}"
    );
    assert!(
        instances
            .calls()
            .iter()
            .any(|body| body.contains("MaxResults=100&") || body.ends_with("MaxResults=100"))
    );

    for (mood, expected, words) in [
        (
            Ec2::DeniesOfferings,
            5,
            "ec2:DescribeInstanceTypeOfferings: not permitted: UnauthorizedOperation",
        ),
        (Ec2::Partial, 1, "no x86-64 instance type is offered in eu-west-2"),
    ] {
        let instances = ec2(mood);
        let (code, _, stderr) = ended(
            &refresh(home.path(), &instances.url, &prices.url)
                .output()
                .expect("runs"),
        );
        assert_eq!(code, expected, "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}
