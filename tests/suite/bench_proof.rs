//! Proof of the bench: each repair of moto and each rule of the proxy, seen through the real clients.

mod eks;
mod hosts;
mod kubernetes;
mod watch;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_cloudwatch::types::{
    ComparisonOperator, Datapoint, Dimension, MetricDatum, StandardUnit, StateValue, Statistic,
};
use aws_sdk_ec2::config::Credentials;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{ArchitectureValues, InstanceType, Reservation};
use dataops_infra::aws::error::{CallError, classify};
use serde_json::json;

use crate::bench::account::Account;
use crate::bench::call::Call;
use crate::bench::launcher::Bench;
use crate::bench::rule::Rule;
use crate::bench::{ended, program, root};

const UBUNTU: &str = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id";
const IMAGE: &str = "ami-00000000000024041";

/// Returns how clients reach an account.
pub async fn config(account: &Account) -> SdkConfig {
    config_as(account, "test").await
}

async fn config_as(account: &Account, key: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-west-2"))
        .endpoint_url(&account.url)
        .credentials_provider(Credentials::new(key, "test", None, None, "bench"))
        // As short as they may be: what counts is that there are retries.
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(20)))
        .load()
        .await
}

async fn ec2(account: &Account) -> aws_sdk_ec2::Client {
    aws_sdk_ec2::Client::new(&config(account).await)
}

fn launch(client: &aws_sdk_ec2::Client) -> RunInstancesFluentBuilder {
    client
        .run_instances()
        .image_id(IMAGE)
        .instance_type(InstanceType::C5Large)
        .min_count(1)
        .max_count(1)
}

async fn instances(client: &aws_sdk_ec2::Client) -> Vec<String> {
    let answer = client
        .describe_instances()
        .send()
        .await
        .expect("instances are listed");
    let all = answer.reservations().iter().flat_map(Reservation::instances);
    all.map(|instance| instance.instance_id().unwrap_or_default().to_owned())
        .collect()
}

/// The call is refused, with this code.
#[track_caller]
fn refused<T, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>, expected: &str) {
    let Err(error) = result else {
        panic!("is not refused with {expected}");
    };
    assert_eq!(code(&error), expected, "{:?}", error.message());
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    error.code().unwrap_or("none").to_owned()
}

#[tokio::test]
async fn one_client_token_is_one_instance() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = ec2(&account).await;
    let first = launch(&client)
        .client_token("one")
        .send()
        .await
        .expect("is launched");
    let again = launch(&client)
        .client_token("one")
        .send()
        .await
        .expect("is launched before");
    assert_eq!(
        first.instances()[0].instance_id(),
        again.instances()[0].instance_id()
    );
    assert_eq!(instances(&client).await.len(), 1);

    let other = launch(&client)
        .client_token("one")
        .instance_type(InstanceType::C5Xlarge)
        .send()
        .await;
    assert_eq!(
        code(&other.expect_err("is refused")),
        "IdempotentParameterMismatch"
    );
    assert_eq!(instances(&client).await.len(), 1);

    // A refused launch does not use the token up.
    let refused = launch(&client)
        .client_token("two")
        .image_id("ami-00000000000000000")
        .send()
        .await;
    assert_eq!(code(&refused.expect_err("is refused")), "InvalidAMIID.NotFound");
    launch(&client)
        .client_token("two")
        .send()
        .await
        .expect("is launched");
    launch(&client)
        .client_token("three")
        .send()
        .await
        .expect("is launched");
    assert_eq!(instances(&client).await.len(), 3);
}

#[tokio::test]
async fn a_lost_answer_and_the_retry_make_one_instance() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = ec2(&account).await;
    account.rule(Rule::on("ec2:RunInstances").times(1).lose());
    launch(&client)
        .send()
        .await
        .expect("the second attempt is answered");
    assert_eq!(account.answers("ec2:RunInstances"), [None, Some(200)]);
    assert_eq!(instances(&client).await.len(), 1);

    account.rule(Rule::on("ec2:RunInstances").times(1).reset());
    launch(&client)
        .send()
        .await
        .expect("the second attempt is answered");
    assert_eq!(instances(&client).await.len(), 2);

    // Lost for good: it runs, and only asking shows it.
    account.rule(Rule::on("ec2:RunInstances").lose());
    let lost = launch(&client).send().await.expect_err("nothing is heard");
    assert!(
        matches!(classify("ec2:RunInstances", &lost), CallError::Unreachable { .. }),
        "{lost:?}"
    );
    assert_eq!(instances(&client).await.len(), 3);
    let calls = account.calls_of("ec2:RunInstances");
    assert_eq!(calls.len(), 7);
    let token = |n: usize| &calls[n].parameters["ClientToken"];
    assert_eq!(
        [token(4), token(5)],
        [token(6), token(6)],
        "the SDK repeats its token"
    );
    assert_eq!(calls[0].parameters["InstanceType"], "c5.large");
    assert_eq!(
        (calls[0].region.as_str(), calls[0].service.as_str()),
        ("eu-west-2", "ec2")
    );
    assert!(calls.is_sorted_by_key(|call| call.at));
}

#[tokio::test]
async fn nonsense_is_not_launched_and_ubuntu_is_there() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = ec2(&account).await;
    let no_type = launch(&client)
        .instance_type(InstanceType::from("c5.huge"))
        .send()
        .await;
    assert_eq!(code(&no_type.expect_err("is refused")), "InvalidParameterValue");
    let no_key = launch(&client).key_name("none").send().await;
    assert_eq!(code(&no_key.expect_err("is refused")), "InvalidKeyPair.NotFound");

    let (status, parameter) = account.json("test", "ssm", "AmazonSSM.GetParameter", &json!({"Name": UBUNTU}));
    assert_eq!(
        (status, &parameter["Parameter"]["Value"]),
        (200, &json!(IMAGE)),
        "{parameter}"
    );
    let path = json!({"Path": "/aws/service/canonical", "Recursive": true});
    let (_, parameters) = account.json("test", "ssm", "AmazonSSM.GetParametersByPath", &path);
    assert_eq!(parameters["Parameters"][0]["Name"], UBUNTU);
    let (status, error) = account.json("test", "ssm", "AmazonSSM.GetParameter", &json!({"Name": "/none"}));
    assert_eq!((status, &error["__type"]), (400, &json!("ParameterNotFound")));

    let images = client
        .describe_images()
        .image_ids(IMAGE)
        .send()
        .await
        .expect("images");
    let image = &images.images()[0];
    assert_eq!(image.root_device_name(), Some("/dev/sda1"));
    assert_eq!(
        image.architecture().map(ArchitectureValues::as_str),
        Some("x86_64")
    );

    let arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
    let (status, policy) = account.query("test", "iam", "GetPolicy", &[("PolicyArn", arn)]);
    assert_eq!(status, 200, "{policy}");
    assert_eq!(
        account.calls_of("iam:GetPolicy")[0].parameters,
        json!({"PolicyArn": arn})
    );
}

#[tokio::test]
async fn cloudwatch_is_spoken_in_cbor() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = aws_sdk_cloudwatch::Client::new(&config(&account).await);
    client
        .put_metric_alarm()
        .alarm_name("busy")
        .namespace("AWS/EC2")
        .metric_name("CPUUtilization")
        .dimensions(Dimension::builder().name("InstanceId").value("i-1").build())
        .statistic(Statistic::Average)
        .period(300)
        .evaluation_periods(2)
        .threshold(80.5)
        .comparison_operator(ComparisonOperator::GreaterThanThreshold)
        .send()
        .await
        .expect("the alarm is made");
    let alarms = client
        .describe_alarms()
        .alarm_name_prefix("bu")
        .send()
        .await
        .expect("alarms");
    let alarm = &alarms.metric_alarms()[0];
    assert_eq!(
        (alarm.alarm_name(), alarm.threshold(), alarm.period()),
        (Some("busy"), Some(80.5), Some(300))
    );
    assert!(alarm.state_updated_timestamp().is_some(), "{alarm:?}");
    assert_eq!(
        account.calls_of("cloudwatch:PutMetricAlarm")[0].parameters["Threshold"],
        80.5
    );

    let missing = client
        .set_alarm_state()
        .alarm_name("none")
        .state_value(StateValue::Alarm)
        .state_reason("test")
        .send()
        .await;
    assert!(
        missing
            .expect_err("there is none")
            .into_service_error()
            .is_resource_not_found()
    );
    client
        .delete_alarms()
        .alarm_names("busy")
        .send()
        .await
        .expect("the alarm is deleted");
    let alarms = client.describe_alarms().send().await.expect("alarms");
    assert!(alarms.metric_alarms().is_empty());

    // The SDK compresses the second.
    let now = SystemTime::now();
    for points in [1, 900] {
        let datum = MetricDatum::builder()
            .metric_name("Jobs")
            .timestamp(now.into())
            .value(1.0)
            .unit(StandardUnit::Count);
        let data = vec![datum.build(); points];
        let put = client
            .put_metric_data()
            .namespace("Bench")
            .set_metric_data(Some(data));
        put.send().await.expect("the points are kept");
    }
    let puts = account.calls_of("cloudwatch:PutMetricData");
    assert_eq!(puts[0].parameters["MetricData"][0]["MetricName"], "Jobs");
    assert!(puts[1].parameters["gzip"].is_u64(), "{:?}", puts[1]);
    let metrics = client
        .list_metrics()
        .namespace("Bench")
        .send()
        .await
        .expect("metrics");
    assert_eq!(metrics.metrics()[0].metric_name(), Some("Jobs"));
    let statistics = client
        .get_metric_statistics()
        .namespace("Bench")
        .metric_name("Jobs")
        .start_time((now - Duration::from_mins(10)).into())
        .end_time((now + Duration::from_mins(10)).into())
        .period(3600)
        .statistics(Statistic::Sum)
        .send()
        .await
        .expect("statistics");
    let sum: f64 = statistics.datapoints().iter().filter_map(Datapoint::sum).sum();
    assert_eq!(sum, 901.0);

    let canned = json!({"MetricAlarms": [{"AlarmName": "canned", "StateUpdatedTimestamp": 1_700_000_000}]});
    account.rule(Rule::on("cloudwatch:DescribeAlarms").answer(&canned.to_string()));
    let alarms = client.describe_alarms().send().await.expect("alarms");
    let since = alarms.metric_alarms()[0]
        .state_updated_timestamp()
        .expect("a time");
    assert_eq!(since.secs(), 1_700_000_000);
}

/// Throttled twice, then canned or real; denied; and an error of the service's own: in the words of each protocol.
#[tokio::test]
async fn each_client_understands_its_faults() {
    let Some(account) = Account::open() else {
        return;
    };
    let config = config(&account).await;
    let ec2 = aws_sdk_ec2::Client::new(&config);
    let eks = aws_sdk_eks::Client::new(&config);
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&config);
    let pricing = aws_sdk_pricing::Client::new(&config);
    account.rule(
        Rule::on("pricing:GetProducts")
            .skip(2)
            .times(1)
            .answer(r#"{"FormatVersion": "aws_v1", "PriceList": ["{}"]}"#),
    );

    macro_rules! understood {
        ($call:expr, $name:literal, $throttled:literal, $own:literal) => {
            account.rule(Rule::on($name).times(2).throttle());
            $call.send().await.expect("the third attempt is answered");
            assert_eq!(
                account.answers($name),
                [Some($throttled), Some($throttled), Some(200)]
            );

            account.heal();
            account.rule(Rule::on($name).times(1).deny());
            let error = $call.send().await.expect_err("is denied");
            assert!(
                matches!(classify($name, &error), CallError::Denied { .. }),
                "{error:?}"
            );
            account.rule(Rule::on($name).times(1).fail(400, $own));
            let error = $call.send().await.expect_err("is refused");
            assert_eq!(code(&error), $own);
            assert_eq!(
                account.calls_of($name).len(),
                5,
                "what is refused is not tried again"
            );
        };
    }
    understood!(
        pricing.get_products().service_code("AmazonEC2"),
        "pricing:GetProducts",
        400,
        "InvalidParameterException"
    );
    understood!(ec2.describe_vpcs(), "ec2:DescribeVpcs", 503, "VcpuLimitExceeded");
    understood!(
        eks.list_clusters(),
        "eks:ListClusters",
        429,
        "ResourceLimitExceeded"
    );
    understood!(
        cloudwatch.describe_alarms(),
        "cloudwatch:DescribeAlarms",
        400,
        "LimitExceeded"
    );

    // Query services have no client here.
    account.rule(Rule::on("iam:ListRoles").times(1).throttle());
    let (status, text) = account.query("test", "iam", "ListRoles", &[]);
    assert!(
        status == 400 && text.contains("<Code>Throttling</Code>"),
        "{text}"
    );

    // A fault of the server is tried again, and its code is kept.
    account.rule(Rule::on("ec2:RunInstances").fail(500, "InsufficientInstanceCapacity"));
    let error = launch(&ec2).send().await.expect_err("there is no room");
    assert_eq!(code(&error), "InsufficientInstanceCapacity");
    assert_eq!(account.calls_of("ec2:RunInstances").len(), 3);
}

#[tokio::test]
async fn what_aws_shows_late_is_shown_late() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = ec2(&account).await;
    let launched = launch(&client).send().await.expect("is launched");
    let id = launched.instances()[0].instance_id().expect("an id").to_owned();
    let describe = "ec2:DescribeInstances";
    account.rule(
        Rule::on(describe)
            .times(1)
            .fail(400, "InvalidInstanceID.NotFound"),
    );
    account.rule(Rule::on(describe).times(1).empty("reservationSet"));
    account.rule(Rule::on(describe).times(2).pending());
    let mut seen = Vec::new();
    for _ in 0..5 {
        let asked = client.describe_instances().instance_ids(&id).send().await;
        seen.push(match asked {
            Err(error) => code(&error),
            Ok(answer) => match answer.reservations() {
                [] => "nothing".to_owned(),
                [one, ..] => {
                    let state = one.instances()[0].state().and_then(|state| state.name().cloned());
                    state.map_or_else(String::new, |name| name.as_str().to_owned())
                }
            },
        });
    }
    assert_eq!(
        seen,
        [
            "InvalidInstanceID.NotFound",
            "nothing",
            "pending",
            "pending",
            "running"
        ]
    );

    // The rule for the second call that names another type.
    let other = |call: &Call| call.parameters["InstanceType"] != "c5.large";
    account.rule(
        Rule::on("*")
            .when(other)
            .skip(1)
            .times(1)
            .fail(400, "Unsupported"),
    );
    launch(&client).send().await.expect("is launched");
    let larger = || launch(&client).instance_type(InstanceType::C5Xlarge);
    larger().send().await.expect("is launched");
    assert_eq!(
        code(&larger().send().await.expect_err("is refused")),
        "Unsupported"
    );
    larger().send().await.expect("is launched");

    // Too late for a client with less patience, whose second attempt then is in time.
    let hasty = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(2))
        .build();
    let hasty = aws_sdk_ec2::Client::from_conf(client.config().to_builder().timeout_config(hasty).build());
    account.rule(
        Rule::on("ec2:DescribeVpcs")
            .times(1)
            .delay(Duration::from_millis(2500)),
    );
    hasty
        .describe_vpcs()
        .send()
        .await
        .expect("the second attempt is in time");
    assert_eq!(account.calls_of("ec2:DescribeVpcs").len(), 2);
}

#[tokio::test]
async fn accounts_do_not_see_each_other() {
    let Some((one, other)) = Account::open().zip(Account::open()) else {
        return;
    };
    let (first, second) = (ec2(&one).await, ec2(&other).await);
    other.rule(Rule::on("ec2:DescribeVpcs").deny());
    let make = async |client: &aws_sdk_ec2::Client, count: usize| {
        for n in 0..count {
            // The same tokens in both, which are another account's business too.
            launch(client)
                .client_token(format!("token {n}"))
                .send()
                .await
                .expect("is launched");
        }
        instances(client).await
    };
    let (ours, theirs) = tokio::join!(make(&first, 3), make(&second, 5));
    assert_eq!((ours.len(), theirs.len()), (3, 5));
    assert!(ours.iter().all(|id| !theirs.contains(id)));
    assert_eq!((one.calls().len(), other.calls().len()), (4, 6));
    first
        .describe_vpcs()
        .send()
        .await
        .expect("no rule of this account");
    second.describe_vpcs().send().await.expect_err("is denied");
    assert_ne!(one.id, other.id);
}

#[tokio::test]
async fn what_moto_does_not_know_fails_the_test_by_name() {
    let Some(account) = Account::open() else {
        return;
    };
    let config = config(&account).await;
    let error = aws_sdk_ec2::Client::new(&config)
        .describe_volume_status()
        .send()
        .await;
    assert_eq!(code(&error.expect_err("moto does not know it")), "UnknownToMoto");
    let error = aws_sdk_eks::Client::new(&config)
        .list_eks_anywhere_subscriptions()
        .send()
        .await;
    assert_eq!(code(&error.expect_err("moto does not know it")), "UnknownToMoto");
    let error = aws_sdk_cloudwatch::Client::new(&config)
        .describe_anomaly_detectors()
        .send()
        .await;
    assert_eq!(code(&error.expect_err("moto does not know it")), "UnknownToMoto");
    assert_eq!(account.calls().len(), 3, "none is tried again");
    let unknown = account.unknown();
    let names = [
        "ec2:DescribeVolumeStatus: 500",
        "eks:GET /eks-anywhere-subscriptions: 500",
        "cloudwatch:DescribeAnomalyDetectors: 500",
    ];
    for (name, said) in names.iter().zip(&unknown) {
        assert!(said.starts_with(name), "{unknown:#?}");
    }
    drop(account);

    let account = Account::open().expect("there was one");
    account.query("test", "ec2", "DescribeVolumeStatus", &[]);
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(account)));
    let said = dropped
        .expect_err("the test fails")
        .downcast::<String>()
        .expect("with a text");
    assert!(said.contains("ec2:DescribeVolumeStatus"), "{said}");
}

#[tokio::test]
async fn enforced_actions_are_named_as_in_policies() {
    // Enforcement is switched for the whole process.
    let Some(bench) = Bench::start() else {
        return;
    };
    let account = Account::on(&bench);
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["cloudwatch:DescribeAlarms", "eks:ListClusters"], "Resource": "*"},
    ]});
    account.query("test", "iam", "CreateUser", &[("UserName", "ci")]);
    let policy = [
        ("UserName", "ci"),
        ("PolicyName", "ci"),
        ("PolicyDocument", &policy.to_string()),
    ];
    account.query("test", "iam", "PutUserPolicy", &policy);
    let (_, made) = account.query("test", "iam", "CreateAccessKey", &[("UserName", "ci")]);
    let key = made
        .split_once("<AccessKeyId>")
        .and_then(|(_, rest)| rest.split_once('<'))
        .expect("a key")
        .0;
    bench.enforce_policies();

    let config = config_as(&account, key).await;
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&config);
    cloudwatch.describe_alarms().send().await.expect("is allowed");
    let eks = aws_sdk_eks::Client::new(&config);
    eks.list_clusters()
        .send()
        .await
        .expect("is allowed, though there is no body to sign");

    let denied = |error: CallError| assert!(matches!(error, CallError::Denied { .. }), "{error}");
    let error = cloudwatch.list_metrics().send().await.expect_err("is denied");
    denied(classify("cloudwatch:ListMetrics", &error));
    let error = eks
        .describe_cluster()
        .name("ci")
        .send()
        .await
        .expect_err("is denied");
    denied(classify("eks:DescribeCluster", &error));
    let error = aws_sdk_ec2::Client::new(&config)
        .describe_vpcs()
        .send()
        .await
        .expect_err("is denied");
    denied(classify("ec2:DescribeVpcs", &error));
}

#[test]
fn the_program_is_pointed_at_an_account() {
    let Some(account) = Account::open() else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let mut command = program(home.path());
    command.args(["catalog", "refresh", "--region", "eu-west-2"]);
    account.rule(Rule::on("*").deny());
    let (code, _, stderr) = ended(&account.used_by(&mut command).output().expect("runs"));
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("not permitted"), "{stderr}");
    assert!(!account.calls().is_empty());

    // Killed in the middle: the deed is done, and nobody is there to hear of it.
    account.heal();
    let (say, heard) = std::sync::mpsc::channel();
    account.rule(
        Rule::on("ec2:DescribeInstanceTypeOfferings")
            .times(1)
            .lose()
            .and_then(move |call| {
                let _ = say.send(call.name());
            }),
    );
    account.rule(Rule::on("*").answer("{}"));
    let mut child = account
        .used_by(&mut command)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let name = heard
        .recv_timeout(Duration::from_mins(1))
        .expect("the call is made");
    child.kill().expect("is killed");
    assert!(!child.wait().expect("has ended").success());
    assert_eq!(name, "ec2:DescribeInstanceTypeOfferings");
}

/// Says whether a process is there and not only waiting to be collected.
fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

fn ends(pid: u32) -> bool {
    let began = Instant::now();
    while runs(pid) && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    !runs(pid)
}

/// Set for the process that `nothing_is_left_behind` kills.
const HOLD: &str = "DATAOPS_INFRA_TEST_HOLDS_A_BENCH";

#[test]
fn holds_a_bench_until_killed() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let bench = Bench::shared().expect("the one who asks has looked");
    eprintln!("holding {}", bench.pid());
    std::thread::sleep(Duration::from_mins(1));
}

#[test]
fn nothing_is_left_behind() {
    let Some(bench) = Bench::start() else {
        return;
    };
    eprintln!("the bench starts in {:?}", bench.took);
    let pid = bench.pid();
    assert!(!Path::new("/proc").exists() || runs(pid));
    drop(bench);
    assert!(!runs(pid));

    let mut holder = Command::new(std::env::current_exe().expect("this test"))
        .args([
            "bench_proof::holds_a_bench_until_killed",
            "--exact",
            "--nocapture",
        ])
        .env(HOLD, "yes")
        .current_dir(root())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(holder.stderr.take().expect("stderr is a pipe")).lines();
    let mut said = lines.map_while(Result::ok);
    let pid = said.find_map(|line| line.strip_prefix("holding ").map(str::to_owned));
    let pid = pid
        .and_then(|pid| pid.parse().ok())
        .expect("the holder says what it holds");
    assert!(!Path::new("/proc").exists() || runs(pid));
    holder.kill().expect("is killed");
    holder.wait().expect("has ended");
    assert!(ends(pid), "the launcher outlives the test");
}
