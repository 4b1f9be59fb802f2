//! What watches a host: alarms, dashboards, topics and logs; and the tags of everything.

use aws_sdk_cloudwatch::operation::put_metric_alarm::builders::PutMetricAlarmFluentBuilder;
use aws_sdk_cloudwatch::types::{
    ComparisonOperator, Metric, MetricDataQuery, MetricStat, StateValue, Statistic, Tag,
};
use aws_sdk_resourcegroupstagging::types::TagFilter;
use aws_sdk_ssm::types::ParameterType;

use super::{config, ec2, launch, refused};
use crate::bench::account::Account;

fn alarm(client: &aws_sdk_cloudwatch::Client, name: &str) -> PutMetricAlarmFluentBuilder {
    client
        .put_metric_alarm()
        .alarm_name(name)
        .evaluation_periods(2)
        .threshold(80.0)
        .comparison_operator(ComparisonOperator::GreaterThanThreshold)
}

fn busy(client: &aws_sdk_cloudwatch::Client, name: &str) -> PutMetricAlarmFluentBuilder {
    alarm(client, name)
        .namespace("AWS/EC2")
        .metric_name("CPUUtilization")
        .statistic(Statistic::Average)
        .period(300)
}

fn tag(key: &str) -> Tag {
    Tag::builder().key(key).value("ci").build()
}

#[tokio::test]
async fn alarms_are_kept_as_on_aws() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = aws_sdk_cloudwatch::Client::new(&config(&account).await);
    let one = async |name: &str| {
        let answer = client.describe_alarms().alarm_names(name).send().await;
        answer.expect("alarms").metric_alarms()[0].clone()
    };
    let tags = async |arn: &str| {
        let answer = client.list_tags_for_resource().resource_arn(arn).send().await;
        let tags = answer.expect("tags").tags().to_vec();
        tags.iter()
            .map(|tag| tag.key().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    busy(&client, "busy")
        .alarm_actions("arn:aws:sns:us-east-1:111111111111:nobody")
        .tags(tag("owner"))
        .send()
        .await
        .expect("is made");
    let made = one("busy").await;
    assert_eq!(made.state_value(), Some(&StateValue::InsufficientData));
    let arn = made.alarm_arn().expect("an ARN");
    client
        .set_alarm_state()
        .alarm_name("busy")
        .state_value(StateValue::Alarm)
        .state_reason("test")
        .send()
        .await
        .expect("is set");
    // What changed is in the history, and what was done: there is no such topic.
    let history = client.describe_alarm_history().alarm_name("busy").send().await;
    let history = history.expect("a history").alarm_history_items().to_vec();
    let summaries: Vec<&str> = history.iter().filter_map(|item| item.history_summary()).collect();
    assert_eq!(summaries.len(), 2, "{summaries:?}");
    assert!(
        summaries[0].starts_with("Failed to execute action arn:aws:sns:"),
        "{summaries:?}"
    );
    assert_eq!(summaries[1], "Alarm updated from INSUFFICIENT_DATA to ALARM");
    // The next one neither resets the state nor adds tags.
    busy(&client, "busy")
        .threshold(90.0)
        .tags(tag("more"))
        .send()
        .await
        .expect("is changed");
    let changed = one("busy").await;
    assert_eq!(
        (changed.threshold(), changed.state_value()),
        (Some(90.0), Some(&StateValue::Alarm))
    );
    assert_eq!(tags(arn).await, ["owner"]);
    client
        .tag_resource()
        .resource_arn(arn)
        .tags(tag("more"))
        .send()
        .await
        .expect("is tagged");
    assert_eq!(tags(arn).await, ["owner", "more"]);

    let query = MetricDataQuery::builder()
        .id("m1")
        .return_data(false)
        .metric_stat(
            MetricStat::builder()
                .metric(Metric::builder().namespace("CI").metric_name("Jobs").build())
                .period(60)
                .stat("Sum")
                .build(),
        );
    let double = MetricDataQuery::builder()
        .id("e1")
        .expression("m1 * 2")
        .return_data(true)
        .build();
    alarm(&client, "jobs")
        .metrics(query.build())
        .metrics(double)
        .send()
        .await
        .expect("no period of its own is needed");
    let jobs = one("jobs").await;
    assert_eq!(jobs.metrics().len(), 2, "{jobs:?}");

    // All or none, and the tags go with the alarm.
    let delete = client.delete_alarms().alarm_names("busy");
    refused(
        delete.clone().alarm_names("none").send().await,
        "ResourceNotFound",
    );
    one("busy").await;
    delete.send().await.expect("is deleted");
    busy(&client, "busy").send().await.expect("is made");
    assert!(tags(arn).await.is_empty());
}

#[tokio::test]
async fn alarms_that_aws_refuses_are_refused() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = aws_sdk_cloudwatch::Client::new(&config(&account).await);
    let any = || busy(&client, "any");
    for (right, alarm) in vec![
        (true, any().period(10)),
        (true, any().period(30)),
        (true, any().period(3600)),
        (false, any().period(7)),
        (false, any().period(90)),
        (false, any().set_period(None)),
        (false, any().set_statistic(None)),
        (true, any().set_statistic(None).extended_statistic("p99")),
        (false, any().extended_statistic("p99")),
        (false, any().set_threshold(None)),
        (true, any().datapoints_to_alarm(2)),
        (false, any().datapoints_to_alarm(3)),
        (true, any().period(60).evaluation_periods(1_440)),
        (false, any().period(60).evaluation_periods(1_441)),
        (true, any().period(3_600).evaluation_periods(168)),
        (false, any().period(3_600).evaluation_periods(169)),
        (true, any().alarm_name("n".repeat(255))),
        (false, any().alarm_name("n".repeat(256))),
        (false, any().treat_missing_data("sometimes")),
        (false, any().alarm_actions("mail me")),
    ] {
        let input = format!("{:?}", alarm.as_input());
        let put = alarm.send().await;
        assert_eq!(put.is_ok(), right, "{input}");
        if !right {
            refused(put, "ValidationError");
        }
    }
}

#[tokio::test]
async fn alarms_come_in_pages() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = aws_sdk_cloudwatch::Client::new(&config(&account).await);
    let names: Vec<String> = (0..120).map(|n| format!("busy-{n:03}")).collect();
    for name in &names {
        busy(&client, name).send().await.expect("is made");
    }
    busy(&client, "other").send().await.expect("is made");
    for (records, expected) in [(None, vec![50, 50, 20]), (Some(100), vec![100, 20])] {
        let mut pages = client
            .describe_alarms()
            .alarm_name_prefix("busy-")
            .set_max_records(records)
            .into_paginator()
            .send();
        let (mut sizes, mut seen) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.expect("alarms");
            sizes.push(page.metric_alarms().len());
            let named = page.metric_alarms().iter().filter_map(|alarm| alarm.alarm_name());
            seen.extend(named.map(str::to_owned));
        }
        assert_eq!((sizes, &seen), (expected, &names));
    }
    let many = client.describe_alarms().max_records(101).send().await;
    refused(many, "ValidationError");
    let delete = |some: &[String]| client.delete_alarms().set_alarm_names(Some(some.to_vec())).send();
    refused(delete(&names[..101]).await, "ValidationError");
    delete(&names[..100]).await.expect("are deleted");
}

#[tokio::test]
async fn dashboards_are_spoken_in_cbor() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = aws_sdk_cloudwatch::Client::new(&config(&account).await);
    let get = || client.get_dashboard().dashboard_name("ci").send();
    let missing = get().await.expect_err("there is none").into_service_error();
    assert!(missing.is_dashboard_not_found_error(), "{missing:?}");
    let body = r#"{"widgets": []}"#;
    let put = |body: &str| {
        client
            .put_dashboard()
            .dashboard_name("ci")
            .dashboard_body(body)
            .send()
    };
    refused(put("{").await, "InvalidParameterInput");
    put(body).await.expect("a dashboard");
    assert_eq!(get().await.expect("it").dashboard_body(), Some(body));
    let listed = client
        .list_dashboards()
        .dashboard_name_prefix("c")
        .send()
        .await
        .expect("dashboards");
    let entry = &listed.dashboard_entries()[0];
    assert_eq!(entry.dashboard_name(), Some("ci"));
    assert!(entry.last_modified().is_some());
    let delete = || client.delete_dashboards().dashboard_names("ci").send();
    delete().await.expect("is deleted");
    refused(delete().await, "ResourceNotFound");
}

#[tokio::test]
async fn mail_waits_for_a_click() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = aws_sdk_sns::Client::new(&config(&account).await);
    let tag = |value: &str| {
        let tag = aws_sdk_sns::types::Tag::builder().key("owner").value(value);
        tag.build().expect("a tag")
    };
    let create = || client.create_topic().name("ci");
    let made = create().tags(tag("ci")).send().await.expect("a topic");
    let topic = made.topic_arn().expect("an ARN");
    let again = create().tags(tag("ci")).send().await.expect("the same topic");
    assert_eq!(again.topic_arn(), Some(topic));
    refused(create().tags(tag("other")).send().await, "InvalidParameter");
    let tags = client.list_tags_for_resource().resource_arn(topic).send().await;
    assert_eq!(tags.expect("tags").tags(), [tag("ci")]);

    let subscribe = |protocol: &str, endpoint: &str| {
        client
            .subscribe()
            .topic_arn(topic)
            .protocol(protocol)
            .endpoint(endpoint)
    };
    let by_mail = || subscribe("email", "ci@example.com");
    let waits = by_mail().send().await.expect("waits");
    assert_eq!(waits.subscription_arn(), Some("pending confirmation"));
    let asked = by_mail().return_subscription_arn(true).send().await;
    let asked = asked.expect("the same one");
    assert!(asked.subscription_arn().is_some_and(|arn| arn.starts_with(topic)));
    let queue = format!("arn:aws:sqs:eu-west-2:{}:ci", account.id);
    subscribe("sqs", &queue).send().await.expect("is subscribed");
    refused(subscribe("pigeon", "coop 3").send().await, "InvalidParameter");
    refused(subscribe("email", "nobody").send().await, "InvalidParameter");
    let listed = client.list_subscriptions_by_topic().topic_arn(topic).send().await;
    let listed = listed.expect("subscriptions");
    let mut arns: Vec<_> = listed
        .subscriptions()
        .iter()
        .map(|one| one.subscription_arn().unwrap_or_default())
        .collect();
    arns.sort_unstable();
    assert_eq!(arns[0], "PendingConfirmation");
    assert!(arns.len() == 2 && arns[1].starts_with(topic), "{arns:?}");
    let pending = client.unsubscribe().subscription_arn(arns[0]).send().await;
    refused(pending, "InvalidParameter");
    client
        .unsubscribe()
        .subscription_arn(arns[1])
        .send()
        .await
        .expect("is removed");
}

#[tokio::test]
async fn log_groups_and_secrets_have_tags() {
    let Some(account) = Account::open() else {
        return;
    };
    let config = config(&account).await;
    let client = aws_sdk_cloudwatchlogs::Client::new(&config);
    let create = || client.create_log_group().log_group_name("/dataops-infra/ci");
    create().tags("owner", "ci").send().await.expect("a group");
    refused(create().send().await, "ResourceAlreadyExistsException");
    let retain = |days: i32| {
        client
            .put_retention_policy()
            .log_group_name("/dataops-infra/ci")
            .retention_in_days(days)
            .send()
    };
    refused(retain(8).await, "InvalidParameterException");
    retain(30).await.expect("is set");
    let groups = client
        .describe_log_groups()
        .log_group_name_prefix("/dataops-infra/")
        .send()
        .await
        .expect("groups");
    let group = &groups.log_groups()[0];
    assert_eq!(group.retention_in_days(), Some(30));
    let arn = group.log_group_arn().expect("an ARN");
    let tags = async || {
        let answer = client.list_tags_for_resource().resource_arn(arn).send().await;
        answer.expect("tags").tags().cloned().unwrap_or_default()
    };
    assert_eq!(tags().await["owner"], "ci");
    client
        .delete_log_group()
        .log_group_name("/dataops-infra/ci")
        .send()
        .await
        .expect("is deleted");
    create().send().await.expect("a group");
    assert!(tags().await.is_empty());

    let client = aws_sdk_secretsmanager::Client::new(&config);
    let tag = aws_sdk_secretsmanager::types::Tag::builder()
        .key("owner")
        .value("ci");
    client
        .create_secret()
        .name("ci/token")
        .secret_string("a secret text")
        .tags(tag.build())
        .send()
        .await
        .expect("a secret");
    let describe = |name: &str| client.describe_secret().secret_id(name).send();
    let secret = describe("ci/token").await.expect("a secret");
    assert_eq!(secret.tags()[0].key(), Some("owner"));
    refused(describe("none").await, "ResourceNotFoundException");
}

#[tokio::test]
async fn tags_find_what_is_there() {
    let Some(account) = Account::open() else {
        return;
    };
    let config = config(&account).await;
    let tagging = aws_sdk_resourcegroupstagging::Client::new(&config);
    let ec2 = ec2(&account).await;
    let specification = |kind| {
        let tag = aws_sdk_ec2::types::Tag::builder().key("owner").value("ci");
        aws_sdk_ec2::types::TagSpecification::builder()
            .resource_type(kind)
            .tags(tag.build())
            .build()
    };
    let instance = async || {
        let answer = launch(&ec2)
            .tag_specifications(specification(aws_sdk_ec2::types::ResourceType::Instance))
            .tag_specifications(specification(aws_sdk_ec2::types::ResourceType::Volume))
            .send()
            .await
            .expect("is launched");
        answer.instances()[0].instance_id().expect("an id").to_owned()
    };
    instance().await;
    let ended = instance().await;
    ec2.terminate_instances()
        .instance_ids(ended)
        .send()
        .await
        .expect("is ended");
    ec2.create_security_group()
        .group_name("ci")
        .description("ci")
        .tag_specifications(specification(aws_sdk_ec2::types::ResourceType::SecurityGroup))
        .send()
        .await
        .expect("a group");
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&config);
    busy(&cloudwatch, "ci")
        .tags(tag("owner"))
        .send()
        .await
        .expect("is made");
    let owner = aws_sdk_sns::types::Tag::builder()
        .key("owner")
        .value("ci")
        .build();
    aws_sdk_sns::Client::new(&config)
        .create_topic()
        .name("ci")
        .tags(owner.expect("a tag"))
        .send()
        .await
        .expect("a topic");
    let owner = aws_sdk_ssm::types::Tag::builder()
        .key("owner")
        .value("ci")
        .build();
    aws_sdk_ssm::Client::new(&config)
        .put_parameter()
        .name("/dataops-infra/ci/host")
        .r#type(ParameterType::String)
        .value("{}")
        .tags(owner.expect("a tag"))
        .send()
        .await
        .expect("a parameter");
    aws_sdk_cloudwatchlogs::Client::new(&config)
        .create_log_group()
        .log_group_name("/dataops-infra/ci")
        .tags("owner", "ci")
        .send()
        .await
        .expect("a log group");

    let filtered = |value: Option<&str>| {
        let filter = TagFilter::builder().key("owner");
        tagging.get_resources().tag_filters(
            filter
                .set_values(value.map(|value| vec![value.to_owned()]))
                .build(),
        )
    };
    for (value, per_page, expected) in [
        (None, 50, vec![7]),
        (Some("ci"), 3, vec![3, 3, 1]),
        (Some("other"), 50, vec![0]),
    ] {
        let mut pages = filtered(value)
            .resources_per_page(per_page)
            .into_paginator()
            .send();
        let (mut sizes, mut kinds) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.expect("resources");
            sizes.push(page.resource_tag_mapping_list().len());
            for resource in page.resource_tag_mapping_list() {
                let arn = resource.resource_arn().unwrap_or_default();
                let rest = arn.splitn(6, ':').skip(2).collect::<Vec<_>>();
                kinds.push(format!(
                    "{}:{}",
                    rest[0],
                    rest[3].split(['/', ':']).next().unwrap_or_default()
                ));
                assert_eq!(resource.tags()[0].value(), "ci");
            }
        }
        assert_eq!(sizes, expected);
        if value.is_none() {
            assert_eq!(
                kinds,
                [
                    "cloudwatch:alarm",
                    "ec2:instance",
                    "ec2:security-group",
                    "ec2:volume",
                    "logs:log-group",
                    "sns:ci",
                    "ssm:parameter"
                ]
            );
        }
    }
    let last = filtered(None).send().await.expect("resources");
    assert_eq!(last.pagination_token(), Some(""));
    for wrong in [0, 101] {
        refused(
            filtered(None).resources_per_page(wrong).send().await,
            "InvalidParameterException",
        );
    }
}

#[tokio::test]
async fn a_thousand_tagged_resources_are_listed_quickly() {
    let Some(account) = Account::open() else {
        return;
    };
    let config = config(&account).await;
    let ec2 = ec2(&account).await;
    let specification = |kind| {
        let tag = aws_sdk_ec2::types::Tag::builder().key("owner").value("ci");
        aws_sdk_ec2::types::TagSpecification::builder()
            .resource_type(kind)
            .tags(tag.build())
            .build()
    };
    launch(&ec2)
        .min_count(500)
        .max_count(500)
        .tag_specifications(specification(aws_sdk_ec2::types::ResourceType::Instance))
        .tag_specifications(specification(aws_sdk_ec2::types::ResourceType::Volume))
        .send()
        .await
        .expect("are launched");
    let client = aws_sdk_resourcegroupstagging::Client::new(&config);
    let mut pages = client
        .get_resources()
        .resources_per_page(100)
        .into_paginator()
        .send();
    let began = std::time::Instant::now();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.expect("resources").resource_tag_mapping_list().len());
    }
    assert_eq!(sizes, [100; 10]);
    eprintln!("a thousand in {:?}", began.elapsed());
}
