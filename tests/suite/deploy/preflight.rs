//! What must hold before the first create: each thing that does not is in one list, and nothing is changed.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::witness::{difference, made, mark, nothing_changed, word};
use super::world::{Ran, World};
use crate::bench::http::{Request, Response};
use crate::bench::rule::Rule;

/// A platform on this machine that says what it is told to, and remembers what it was asked.
pub struct Platform {
    /// Such as `http://127.0.0.1:34567`.
    pub url: String,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Platform {
    /// Starts one that answers each call with a status.
    pub fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = Request::read(&stream) else {
                    continue;
                };
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let line = format!("{} {}", request.method, request.target);
                log.lock().expect("no panic").push((line, body));
                let body = b"{}".to_vec();
                let answer = Response {
                    status,
                    body,
                    ..Response::default()
                };
                answer.write(&mut stream);
            }
        });
        Self { url, asked }
    }

    /// Returns method and path of each call, and its body.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// Returns a token as the platform makes them; put together here, so that nobody finds one in this file.
pub fn platform_token() -> String {
    ["glrt", "OfTheBench12345678"].join("-")
}

/// Returns the findings of a code, as (status, evidence and remedy).
fn findings<'a>(ran: &'a Ran, code: &str) -> Vec<(&'a str, String)> {
    let all = ran.json["preflight"].as_array().into_iter().flatten();
    all.filter(|finding| finding["code"] == code)
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap_or_default();
            (
                text("status"),
                format!("{}; {}", text("evidence"), text("remedy")),
            )
        })
        .collect()
}

/// Asserts that `up` is refused, changes nothing, and says all of this; `plan --live` says the same.
fn refused(world: &World, args: &[&str], says: &[&str]) -> Ran {
    let (from, before) = (mark(world), world.inventory());
    let up = world.up(args);
    assert_eq!(up.code, 3, "{up}");
    for text in says {
        assert!(up.stderr.contains(text), "`{text}` is not said: {up}");
    }
    assert_eq!(up.stderr.matches("error: ").count(), 1, "one list: {up}");
    assert!(up.stderr.contains("hint: "), "{up}");
    let live = plan(world, args);
    assert_eq!(live.code, 3, "{live}");
    nothing_changed(world, from);
    assert_eq!(difference(&world.inventory(), &before), "");
    up
}

/// Runs `plan --live` as `up` would be run.
pub fn plan(world: &World, args: &[&str]) -> Ran {
    world.start(plan_command(world, args)).ended()
}

/// Returns `plan --live` as `up` would be run.
pub fn plan_command(world: &World, args: &[&str]) -> std::process::Command {
    let up = world.up_command(args);
    let words: Vec<String> = up
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .filter(|word| !["up", "ec2", "--yes"].contains(&word.as_str()))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    world.command(&["plan", "--live"], &words)
}

#[test]
fn a_quota_that_is_too_small_is_named_with_the_number_to_ask_for() {
    let Some(world) = World::open() else {
        return;
    };
    let vcpus = |value: f64| {
        let quota = serde_json::json!({"Quota": {"QuotaCode": "L-1216C47A", "Value": value}});
        Rule::on("servicequotas:GetServiceQuota")
            .when(|call| call.parameters["QuotaCode"] == "L-1216C47A")
            .answer(&quota.to_string())
    };
    let used = r#"{"MetricDataResults": [{"Id": "used", "StatusCode": "Complete", "Values": [63.0]}]}"#;
    world.account.rule(vcpus(64.0));
    world
        .account
        .rule(Rule::on("cloudwatch:GetMetricData").answer(used));
    // 63 of 64 are in use and c5.large has two.
    let up = refused(&world, &[], &["quota-vcpus", "L-1216C47A", "--desired-value 65"]);
    assert_eq!(findings(&up, "quota-vcpus")[0].0, "blocked");
    world.account.heal();
    world.account.rule(vcpus(5.0));
    refused(
        &world,
        &["--instance-type", "c5.4xlarge"],
        &["L-1216C47A", "--desired-value 16"],
    );
    refused(&world, &["--count", "3"], &["L-1216C47A", "--desired-value 6"]);
    // Two of five: enough.
    let live = plan(&world, &[]);
    assert_eq!(live.code, 0, "{live}");
    assert_eq!(findings(&live, "quota-vcpus")[0].0, "ok", "{live}");
}

#[test]
fn a_volume_quota_that_is_too_small_blocks() {
    let Some(world) = World::open() else {
        return;
    };
    let quota = r#"{"Quota": {"QuotaCode": "L-7A658B76", "Value": 0.1}}"#;
    let rule =
        Rule::on("servicequotas:GetServiceQuota").when(|call| call.parameters["QuotaCode"] == "L-7A658B76");
    world.account.rule(rule.answer(quota));
    refused(&world, &[], &["quota-gp3", "L-7A658B76", "ask for at least 1"]);
}

#[test]
fn a_quota_that_cannot_be_read_is_not_fine_and_blocks_nothing() {
    let Some(world) = World::open() else {
        return;
    };
    world
        .account
        .rule(Rule::on("servicequotas:GetServiceQuota").deny());
    world.account.rule(Rule::on("cloudwatch:GetMetricData").deny());
    world
        .account
        .rule(Rule::on("ec2:DescribeInstanceTypeOfferings").deny());
    world.account.rule(Rule::on("ec2:DescribeRouteTables").deny());
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    for code in ["quota-vcpus", "quota-gp3", "type-offered", "route-out"] {
        let [(status, said)] = &findings(&up, code)[..] else {
            panic!("one finding of {code}: {up}");
        };
        assert_eq!(*status, "unknown", "{code}");
        // On the way up it is said, not only written down.
        assert!(up.stderr.contains(code), "{code}, {said}: {up}");
    }
}

#[test]
fn a_type_that_is_not_offered_blocks() {
    let Some(world) = World::open() else {
        return;
    };
    let none = Rule::on("ec2:DescribeInstanceTypeOfferings").empty("instanceTypeOfferingSet");
    world.account.rule(none);
    refused(
        &world,
        &["--fallback-type", "m5.large"],
        &[
            "type-offered",
            "c5.large, m5.large is not offered",
            "--instance-type",
        ],
    );
}

#[test]
fn networks_that_do_not_do_are_refused() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let subnet = word(&made(&direct, "ec2", "DescribeSubnets", &[]), "subnetId");
    let vpc = word(
        &made(&direct, "ec2", "CreateVpc", &[("CidrBlock", "10.9.0.0/16")]),
        "vpcId",
    );
    let cut = [("VpcId", vpc.as_str()), ("CidrBlock", "10.9.0.0/24")];
    let other = word(&made(&direct, "ec2", "CreateSubnet", &cut), "subnetId");
    let both = format!("{subnet},{other}");
    refused(
        &world,
        &["--subnets", &both],
        &["different VPCs", &vpc, "name subnets of one VPC"],
    );
    refused(
        &world,
        &["--subnets", "subnet-0123456789abcdef0"],
        &["subnet-0123456789abcdef0 does not exist"],
    );
    refused(
        &world,
        &["--vpc", "vpc-0123456789abcdef0"],
        &["vpc-0123456789abcdef0 does not exist"],
    );
    refused(
        &world,
        &["--zones", "eu-west-2x"],
        &["no subnet is in eu-west-2x", "--subnets"],
    );
    // A VPC that leads nowhere is a warning: a proxy may be all that is needed.
    let live = plan(&world, &["--subnets", &other]);
    assert_eq!(live.code, 0, "{live}");
    let [(status, said)] = &findings(&live, "route-out")[..] else {
        panic!("one finding: {live}");
    };
    assert_eq!(*status, "warning");
    assert!(said.contains(&other) && said.contains("gateway"), "{said}");
    world
        .account
        .rule(Rule::on("ec2:DescribeSubnets").empty("subnetSet"));
    refused(&world, &[], &["no default VPC", "--vpc vpc-"]);
}

#[test]
fn subnets_without_addresses_and_without_a_way_out() {
    let Some(world) = World::open() else {
        return;
    };
    let full = Rule::on("ec2:DescribeSubnets").rewrite(|text| {
        let mut parts = text.split("<availableIpAddressCount>");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.split_once('<').unwrap_or_default().1;
            out += &format!("<availableIpAddressCount>0<{rest}");
        }
        out
    });
    world.account.rule(full);
    refused(&world, &[], &["free-addresses", "0 free", "--subnets"]);
    world.account.heal();
    world
        .account
        .rule(Rule::on("ec2:DescribeRouteTables").empty("routeTableSet"));
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    assert_eq!(findings(&up, "route-out")[0].0, "warning", "{up}");
    assert!(up.stderr.contains("route-out"), "{up}");
}

#[test]
fn images_that_do_not_do_are_refused() {
    let Some(world) = World::open() else {
        return;
    };
    refused(
        &world,
        &["--ami", "ami-0123456789abcdef0"],
        &["image: ", "does not exist", "--ami"],
    );
    refused(
        &world,
        &["--ami-parameter", "/no/image"],
        &["/no/image", "does not exist", "--ami-parameter"],
    );
    let arm = |text: String| text.replace("<architecture>x86_64<", "<architecture>arm64<");
    world.account.rule(Rule::on("ec2:DescribeImages").rewrite(arm));
    refused(&world, &[], &["image: ", "it is for arm64"]);
    world.account.heal();
    // The bench has one image, whose root needs little; here it needs more than the disk has.
    let large = |text: String| text.replace("<volumeSize>8<", "<volumeSize>900<");
    world.account.rule(Rule::on("ec2:DescribeImages").rewrite(large));
    refused(
        &world,
        &[],
        &["image: ", "its root needs 900 GiB, the disk has 300"],
    );
}

#[test]
fn rights_that_are_missing_are_found_by_dry_runs() {
    let Some(world) = World::open() else {
        return;
    };
    for action in ["ec2:RunInstances", "ec2:CreateSecurityGroup"] {
        world.account.rule(
            Rule::on(action)
                .when(|call| call.parameters["DryRun"] == "true")
                .deny(),
        );
        let up = refused(
            &world,
            &[],
            &["permission: ", action, "dataops-infra export iam-policy --for up"],
        );
        assert!(
            findings(&up, "permission")
                .iter()
                .any(|(status, _)| *status == "blocked"),
            "{up}"
        );
        world.account.heal();
    }
    // A dry run that says nothing proves nothing.
    let rule = Rule::on("ec2:RunInstances").when(|call| call.parameters["DryRun"] == "true");
    world.account.rule(rule.fail(500, "InternalError"));
    let live = plan(&world, &[]);
    assert_eq!(live.code, 0, "{live}");
    assert!(
        findings(&live, "permission")
            .iter()
            .any(|(status, _)| *status == "unknown"),
        "{live}"
    );
}

#[test]
fn secrets_of_the_user_must_be_there() {
    let Some(world) = World::open() else {
        return;
    };
    refused(
        &world,
        &["--token-parameter", "/no/token"],
        &["secret: ", "/no/token does not exist"],
    );
    refused(
        &world,
        &["--token-secret", "no-token"],
        &["secret: ", "no-token does not exist"],
    );
    let both = [
        "--registry-parameter",
        "/no/login",
        "--token-parameter",
        "/no/token",
    ];
    refused(
        &world,
        &both,
        &["/no/token does not exist", "/no/login does not exist"],
    );
    // Not allowed to look: the host will.
    world
        .account
        .rule(Rule::on("secretsmanager:DescribeSecret").deny());
    let live = plan(&world, &["--token-secret", "no-token"]);
    assert_eq!(live.code, 0, "{live}");
    assert_eq!(findings(&live, "secret")[0].0, "unknown", "{live}");
}

#[test]
fn everything_that_blocks_is_in_one_list() {
    let Some(world) = World::open() else {
        return;
    };
    let quota = r#"{"Quota": {"Value": 0.1}}"#;
    world
        .account
        .rule(Rule::on("servicequotas:GetServiceQuota").answer(quota));
    let none = Rule::on("ec2:DescribeInstanceTypeOfferings").empty("instanceTypeOfferingSet");
    world.account.rule(none);
    world.account.rule(
        Rule::on("ec2:RunInstances")
            .when(|call| call.parameters["DryRun"] == "true")
            .deny(),
    );
    world.account.rule(
        Rule::on("ec2:CreateSecurityGroup")
            .when(|call| call.parameters["DryRun"] == "true")
            .deny(),
    );
    let args = ["--ami", "ami-0123456789abcdef0", "--token-parameter", "/no/token"];
    let says = [
        "quota-vcpus: ",
        "quota-gp3: ",
        "type-offered: ",
        "image: ",
        "permission: ",
        "secret: ",
    ];
    let up = refused(&world, &args, &says);
    let blocked = up.json["preflight"].as_array().into_iter().flatten();
    let blocked = blocked.filter(|finding| finding["status"] == "blocked");
    assert_eq!(blocked.count(), 7, "{up}");
}

#[test]
fn a_token_that_the_platform_rejects_blocks() {
    let Some(world) = World::open() else {
        return;
    };
    let token = world.folder().join("platform-token");
    std::fs::write(&token, platform_token()).expect("a file");
    let token = token.display().to_string();
    for status in [401, 403] {
        let platform = Platform::start(status);
        let args = ["--token-file", token.as_str(), "--platform-url", &platform.url];
        let up = refused(&world, &args, &["token: ", &platform.url, &status.to_string()]);
        assert!(!up.to_string().contains(&platform_token()), "{up}");
        // Once by `up`, once by `plan --live`; nothing was entered, so nothing is removed.
        let lines: Vec<String> = platform.asked().into_iter().map(|(line, _)| line).collect();
        assert_eq!(
            lines,
            ["POST /api/v4/runners/verify", "POST /api/v4/runners/verify"]
        );
    }
}

#[test]
fn a_token_that_the_platform_accepts_leaves_no_manager_behind() {
    let Some(world) = World::open() else {
        return;
    };
    let token = world.folder().join("platform-token");
    std::fs::write(&token, platform_token()).expect("a file");
    let token = token.display().to_string();
    let platform = Platform::start(200);
    let args = ["--token-file", token.as_str(), "--platform-url", &platform.url];
    let up = world.up(&args);
    assert_eq!(up.code, 0, "{up}");
    assert_eq!(findings(&up, "token")[0].0, "ok", "{up}");
    let asked = platform.asked();
    let lines: Vec<&str> = asked.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(
        lines,
        ["POST /api/v4/runners/verify", "DELETE /api/v4/runners/managers"]
    );
    let system = |body: &str| {
        body.split('&')
            .find(|part| part.starts_with("system_id="))
            .map(str::to_owned)
    };
    assert!(system(&asked[0].1).is_some());
    assert_eq!(
        system(&asked[0].1),
        system(&asked[1].1),
        "the same entry is removed"
    );
    // Stored and so accepted before: nobody is asked again.
    let again = world.up(&args);
    assert_eq!(again.json["status"], "unchanged", "{again}");
    assert_eq!(platform.asked().len(), 2);
}

#[test]
fn a_platform_that_does_not_answer_blocks_nothing() {
    let Some(world) = World::open() else {
        return;
    };
    let token = world.folder().join("platform-token");
    std::fs::write(&token, platform_token()).expect("a file");
    let token = token.display().to_string();
    let platform = Platform::start(502);
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    for url in [&platform.url, &nobody] {
        let live = plan(&world, &["--token-file", &token, "--platform-url", url]);
        assert_eq!(live.code, 0, "{live}");
        assert_eq!(findings(&live, "token")[0].0, "unknown", "{live}");
    }
}

#[test]
fn what_was_found_is_a_document() {
    let Some(world) = World::open() else {
        return;
    };
    let live = plan(&world, &[]);
    assert_eq!(live.code, 0, "{live}");
    for finding in live.json["preflight"].as_array().into_iter().flatten() {
        assert!(
            finding["evidence"].as_str().is_some_and(|text| !text.is_empty()),
            "{finding}"
        );
        let remedy: &Value = &finding["remedy"];
        assert_eq!(finding["status"] == "ok", remedy.is_null(), "{finding}");
    }
}
