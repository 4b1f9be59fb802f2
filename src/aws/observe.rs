//! Reads what there is of deployments: one question per kind for all of them where AWS allows it.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream;

use super::clients::Clients;
use super::error::{CallError, classify};
use super::{alarm, dashboard, eks, instance, logs, parameter, role, security_group, tags, topic};
use crate::domain::deployment::eks::name::RoleOf;
use crate::domain::deployment::eks::objects;
use crate::domain::deployment::eks::observed::ObservedEks;
use crate::domain::deployment::name::{Host, IAM_PATH, Name, PREFIX, Place};
use crate::domain::deployment::observed::{
    Alarm, InstanceProfile, LogGroup, Observed, ReportParameter, Role, SecurityGroup, Tagged, Topic,
};
use crate::domain::deployment::owner::{ADDRESS, Tags};
use crate::domain::deployment::record::Record;

const IDENTITY: &str = "sts:GetCallerIdentity";

/// From so many deployments on, what exists is listed first, instead of asking for each.
const MANY: usize = 5;

/// Questions that are asked at the same time for many deployments.
const AT_ONCE: usize = 16;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Twelve digits.
    pub account: String,
    /// The identity.
    pub arn: String,
}

/// Returns who calls.
pub async fn caller(clients: &Clients) -> Result<Caller, CallError> {
    let answer = clients
        .sts
        .get_caller_identity()
        .send()
        .await
        .map_err(|error| classify(IDENTITY, &error))?;
    Ok(Caller {
        account: answer.account().unwrap_or_default().to_owned(),
        arn: answer.arn().unwrap_or_default().to_owned(),
    })
}

/// The records of deployments alone, with the versions of their parameters.
pub type Records = BTreeMap<Name, (String, i64)>;

/// Answers of the services about all deployments asked for.
struct Answers {
    parameters: Parameters,
    tags: BTreeMap<String, Tags>,
    roles: BTreeMap<Name, Option<Tagged<Role>>>,
    profiles: BTreeMap<Name, Option<Tagged<InstanceProfile>>>,
    instances: Vec<Tagged<crate::domain::deployment::observed::Instance>>,
    volumes: Vec<Tagged<crate::domain::deployment::observed::Volume>>,
    groups: Vec<Tagged<SecurityGroup>>,
    logs: BTreeMap<String, LogGroup>,
    alarms: BTreeMap<String, Alarm>,
    dashboards: BTreeMap<Name, Option<serde_json::Value>>,
    topics: BTreeMap<Name, Option<Topic>>,
}

/// Parameters of deployments, and whatever else was asked for in the same question.
pub type Parameters = BTreeMap<String, parameter::Parameter>;

/// Reads the parameters of deployments, and others by name, such as that of an image.
pub async fn parameters(
    clients: &Clients,
    names: &[Name],
    others: &[String],
) -> Result<Parameters, CallError> {
    let mut first: Vec<String> = names
        .iter()
        .flat_map(|name| [name.record(), name.token(), name.report(Host { number: None })])
        .collect();
    first.extend_from_slice(others);
    let mut parameters = parameter::read(clients, &first, false).await?;
    // Further hosts, which the record tells of.
    let mut more = Vec::new();
    for name in names {
        let text = parameters
            .get(&name.record())
            .map(|parameter| parameter.value.as_str());
        if let Some(Ok(record)) = text.map(|text| Record::read(name, text))
            && record.spec.count > 1
        {
            more.extend(
                Host::all(record.spec.count)
                    .into_iter()
                    .map(|host| name.report(host)),
            );
        }
    }
    if !more.is_empty() {
        parameters.extend(parameter::read(clients, &more, false).await?);
    }
    Ok(parameters)
}

/// Reads deployments of one account and region.
pub async fn observe(
    clients: &Clients,
    place: &Place,
    names: &[Name],
    parameters: Parameters,
) -> Result<BTreeMap<Name, Observed>, CallError> {
    observe_with(clients, place, names, parameters, &BTreeMap::new()).await
}

/// Reads deployments of one account and region; `clusters` are those of deployments on EKS that have no record yet.
pub async fn observe_with(
    clients: &Clients,
    place: &Place,
    names: &[Name],
    parameters: Parameters,
    clusters: &BTreeMap<Name, String>,
) -> Result<BTreeMap<Name, Observed>, CallError> {
    let on_eks: Vec<(Name, Option<Record>, String)> = names
        .iter()
        .filter_map(|name| {
            let text = parameters.get(&name.record()).map(|parameter| &parameter.value);
            let record = text.and_then(|text| Record::read(name, text).ok());
            let cluster = match &record {
                Some(record) => record.spec.eks.as_ref()?.cluster.clone(),
                None => clusters.get(name)?.clone(),
            };
            Some((name.clone(), record, cluster))
        })
        .collect();
    let read = on_eks.iter().map(|(name, record, cluster)| async move {
        let mut seen = eks::observe::observe(clients, place, name, cluster).await?;
        if let (Some(record), Some(cluster)) = (record, &seen.cluster) {
            let wanted = objects::wanted(record, place);
            seen.inside = eks::inside::observe(clients, place, record, &cluster.it, &wanted).await;
        }
        Ok::<_, CallError>((name.clone(), seen))
    });
    let (mut observed, read) =
        tokio::try_join!(hosts(clients, place, names, parameters), try_join_all(read),)?;
    for (name, seen) in read {
        if let Some(observed) = observed.get_mut(&name) {
            observed
                .strangers
                .retain(|(arn, tags)| !is_of_cluster(arn, tags, &name, place, &seen));
            observed.eks = Some(Box::new(seen));
        }
    }
    Ok(observed)
}

/// Whether something that carries our name has been looked at with its cluster, or is what nodes are made of.
fn is_of_cluster(arn: &str, tags: &Tags, name: &Name, place: &Place, seen: &ObservedEks) -> bool {
    let last = arn.rsplit_once('/').map_or("", |(_, id)| id);
    let within = seen.cluster.as_ref().is_some_and(|cluster| {
        let cluster = cluster.it.arn.rsplit_once('/').map_or("", |(_, name)| name);
        let mut parts = arn.split('/').skip(1);
        arn.contains(":eks:") && parts.next() == Some(cluster)
    });
    // Nodes, their volumes and interfaces go with the node group.
    let node = arn.contains(":ec2:") && tags.get(ADDRESS).map(String::as_str) == Some("nodes");
    within
        || node
        || seen.file_system.as_ref().is_some_and(|found| found.it.id == last)
        || seen.efs_group.as_ref().is_some_and(|group| group.it.id == last)
        || seen
            .launch_template
            .as_ref()
            .is_some_and(|template| template.it.id == last)
        || seen
            .log_groups
            .keys()
            .any(|group| arn.trim_end_matches(":*") == place.arn("logs", &format!("log-group:{group}")))
        || RoleOf::ALL.iter().any(|of| {
            let path = format!("role{IAM_PATH}{}", name.eks_role(&place.region, *of));
            arn == place.iam_arn(&path)
        })
}

/// Reads what deployments on EC2 have, and those on EKS as well.
async fn hosts(
    clients: &Clients,
    place: &Place,
    names: &[Name],
    parameters: Parameters,
) -> Result<BTreeMap<Name, Observed>, CallError> {
    let region = &place.region;
    let one = (names.len() == 1).then(|| names[0].clone());
    let prefix = |of: fn(&Name) -> String, all: &str| one.as_ref().map_or_else(|| all.to_owned(), of);
    let group_names: Vec<String> = names.iter().map(Name::security_group).collect();
    let log_prefix = prefix(Name::log_group, PREFIX);
    let alarm_prefix = prefix(Name::alarm_prefix, "dataops-infra/");
    let (tags, (roles, profiles), instances, volumes, groups, logs, alarms, dashboards, topics) = tokio::try_join!(
        tags::named(clients, names),
        identities(clients, region, names),
        instance::named(clients, names),
        instance::volumes(clients, names),
        security_group::named(clients, &group_names),
        logs::beginning(clients, &log_prefix),
        alarm::beginning(clients, &alarm_prefix),
        dashboards(clients, region, names),
        topics(clients, place, names),
    )?;
    let answers = Answers {
        parameters,
        tags,
        roles,
        profiles,
        instances,
        volumes,
        groups,
        logs,
        alarms,
        dashboards,
        topics,
    };
    let answers = &answers;
    let sorted = names
        .iter()
        .cloned()
        .map(|name| async move { sort(clients, place, &name, answers).await });
    let sorted: Vec<Result<(Name, Observed), CallError>> =
        stream::iter(sorted).buffer_unordered(AT_ONCE).collect().await;
    sorted.into_iter().collect()
}

type Identities = (
    BTreeMap<Name, Option<Tagged<Role>>>,
    BTreeMap<Name, Option<Tagged<InstanceProfile>>>,
);

async fn identities(clients: &Clients, region: &str, names: &[Name]) -> Result<Identities, CallError> {
    let known = if names.len() >= MANY {
        Some(role::names(clients).await?)
    } else {
        None
    };
    let read = names.iter().cloned().map(|name| {
        let known = &known;
        async move {
            let full = name.role(region);
            let (ask_role, ask_profile) = match known {
                None => (true, true),
                Some((roles, profiles)) => (roles.contains(&full), profiles.contains(&full)),
            };
            let role = async {
                if ask_role {
                    role::role(clients, &full).await
                } else {
                    Ok(None)
                }
            };
            let profile = async {
                if ask_profile {
                    role::profile(clients, &full).await
                } else {
                    Ok(None)
                }
            };
            let (role, profile) = tokio::try_join!(role, profile)?;
            Ok::<_, CallError>((name, role, profile))
        }
    });
    let read: Vec<Result<_, CallError>> = stream::iter(read).buffer_unordered(AT_ONCE).collect().await;
    let mut roles = BTreeMap::new();
    let mut profiles = BTreeMap::new();
    for found in read {
        let (name, role, profile) = found?;
        roles.insert(name.clone(), role);
        profiles.insert(name, profile);
    }
    Ok((roles, profiles))
}

async fn dashboards(
    clients: &Clients,
    region: &str,
    names: &[Name],
) -> Result<BTreeMap<Name, Option<serde_json::Value>>, CallError> {
    let known = if names.len() >= MANY {
        Some(dashboard::names(clients, "dataops-infra-").await?)
    } else {
        None
    };
    let read = names.iter().cloned().map(|name| {
        let known = &known;
        async move {
            let full = name.dashboard(region);
            let there = known.as_ref().is_none_or(|known| known.contains(&full));
            let body = if there {
                dashboard::read(clients, &full).await?
            } else {
                None
            };
            Ok::<_, CallError>((name, body))
        }
    });
    let read: Vec<Result<_, CallError>> = stream::iter(read).buffer_unordered(AT_ONCE).collect().await;
    read.into_iter().collect()
}

async fn topics(
    clients: &Clients,
    place: &Place,
    names: &[Name],
) -> Result<BTreeMap<Name, Option<Topic>>, CallError> {
    let read = names.iter().cloned().map(|name| async move {
        let topic = topic::read(clients, &place.arn("sns", &name.topic())).await?;
        Ok::<_, CallError>((name, topic))
    });
    let read: Vec<Result<_, CallError>> = stream::iter(read).buffer_unordered(AT_ONCE).collect().await;
    read.into_iter().collect()
}

/// Picks what is of one deployment out of the answers; asks for tags that the common question did not bring.
async fn sort(
    clients: &Clients,
    place: &Place,
    name: &Name,
    answers: &Answers,
) -> Result<(Name, Observed), CallError> {
    let record = answers
        .parameters
        .get(&name.record())
        .map(|parameter| (Record::read(name, &parameter.value), parameter.version));
    let parameter_arn = |parameter: &str| place.arn("ssm", &format!("parameter{parameter}"));
    let known = |arn: &str| answers.tags.get(arn).cloned();

    let token = name.token();
    let token = async {
        match answers.parameters.get(&token) {
            None => Ok(None),
            Some(_) => Ok::<_, CallError>(Some(Tagged {
                it: (),
                tags: match known(&parameter_arn(&token)) {
                    Some(tags) => tags,
                    None => parameter::tags(clients, &token).await?,
                },
            })),
        }
    };
    let report_prefix = name.report(Host { number: None });
    let reports = answers
        .parameters
        .iter()
        .filter(|(parameter, _)| {
            let rest = parameter.strip_prefix(&report_prefix);
            rest.is_some_and(|rest| {
                rest.is_empty()
                    || rest
                        .strip_prefix('-')
                        .is_some_and(|number| number.parse::<u32>().is_ok())
            })
        })
        .map(|(parameter, read)| async move {
            let tags = match answers
                .tags
                .get(&place.arn("ssm", &format!("parameter{parameter}")))
            {
                Some(tags) => tags.clone(),
                None => parameter::tags(clients, parameter).await?,
            };
            let it = ReportParameter {
                text: read.value.clone(),
                modified_at: read.modified_at.clone(),
            };
            Ok::<_, CallError>((parameter.clone(), Tagged { it, tags }))
        });
    let log_group = name.log_group();
    let log_arn = place.arn("logs", &format!("log-group:{log_group}"));
    let logs = async {
        match answers.logs.get(&log_group) {
            None => Ok(None),
            Some(group) => Ok::<_, CallError>(Some(Tagged {
                it: group.clone(),
                tags: match known(&log_arn).or_else(|| known(&format!("{log_arn}:*"))) {
                    Some(tags) => tags,
                    None => logs::tags(clients, &log_arn).await?,
                },
            })),
        }
    };
    let topic_arn = place.arn("sns", &name.topic());
    let topic = async {
        match answers.topics.get(name).cloned().flatten() {
            None => Ok(None),
            Some(topic) => Ok::<_, CallError>(Some(Tagged {
                it: topic,
                tags: match known(&topic_arn) {
                    Some(tags) => tags,
                    None => topic::tags(clients, &topic_arn).await?,
                },
            })),
        }
    };
    let alarm_prefix = name.alarm_prefix();
    let alarms = answers
        .alarms
        .range(alarm_prefix.clone()..)
        .take_while(|(alarm, _)| alarm.starts_with(&alarm_prefix))
        .map(|(alarm, it)| async move {
            let arn = place.arn("cloudwatch", &format!("alarm:{alarm}"));
            let tags = match answers.tags.get(&arn) {
                Some(tags) => tags.clone(),
                None => alarm::tags(clients, &arn).await?,
            };
            Ok::<_, CallError>((alarm.clone(), Tagged { it: it.clone(), tags }))
        });
    let (token, logs, topic, reports, alarms) =
        tokio::try_join!(token, logs, topic, try_join_all(reports), async {
            // A tag question each, which only happens when the common question is behind.
            join_all(alarms)
                .await
                .into_iter()
                .collect::<Result<Vec<_>, CallError>>()
        },)?;

    let of = |tags: &Tags| {
        tags.get(crate::domain::deployment::owner::DEPLOYMENT)
            .map(String::as_str)
            == Some(name.as_str())
    };
    let instances: Vec<_> = answers
        .instances
        .iter()
        .filter(|it| of(&it.tags))
        .cloned()
        .collect();
    let volumes: Vec<_> = answers
        .volumes
        .iter()
        .filter(|it| of(&it.tags))
        .cloned()
        .collect();
    let security_groups: Vec<_> = answers
        .groups
        .iter()
        .filter(|group| group.it.name == name.security_group())
        .cloned()
        .collect();
    let observed = Observed {
        record_tags: known(&parameter_arn(&name.record())),
        record,
        reports: reports.into_iter().collect(),
        token,
        role: answers.roles.get(name).cloned().flatten(),
        instance_profile: answers.profiles.get(name).cloned().flatten(),
        security_groups,
        logs,
        topic,
        alarms: alarms.into_iter().collect(),
        dashboard: answers.dashboards.get(name).cloned().flatten(),
        instances,
        volumes,
        strangers: Vec::new(),
        eks: None,
    };
    let strangers = answers
        .tags
        .iter()
        .filter(|(_, tags)| of(tags))
        .filter(|(arn, _)| !is_known(arn, name, place, &observed))
        .map(|(arn, tags)| (arn.clone(), tags.clone()))
        .collect();
    Ok((
        name.clone(),
        Observed {
            strangers,
            ..observed
        },
    ))
}

/// Whether something that carries our name has been looked at already, or is what a snapshot or a network interface of ours is.
fn is_known(arn: &str, name: &Name, place: &Place, observed: &Observed) -> bool {
    let last = arn.rsplit_once('/').map_or("", |(_, id)| id);
    let parameter = |parameter: &str| arn == place.arn("ssm", &format!("parameter{parameter}"));
    observed.instances.iter().any(|it| it.it.id == last)
        || observed.volumes.iter().any(|it| it.it.id == last)
        || observed.security_groups.iter().any(|it| it.it.id == last)
        || parameter(&name.record())
        || parameter(&name.token())
        || observed.reports.keys().any(|report| parameter(report))
        || arn.trim_end_matches(":*") == place.arn("logs", &format!("log-group:{}", name.log_group()))
        || arn == place.arn("sns", &name.topic())
        || observed
            .alarms
            .keys()
            .any(|alarm| arn == place.arn("cloudwatch", &format!("alarm:{alarm}")))
        || ["instance-profile", "role"].iter().any(|kind| {
            let path = format!("{kind}{IAM_PATH}{}", name.role(&place.region));
            arn == place.iam_arn(&path)
        })
        // What has been removed meanwhile may still be listed for a while.
        || arn
            .strip_prefix(&place.arn("ssm", &format!("parameter{}", name.report(Host { number: None }))))
            .is_some_and(|rest| {
                let number = rest.strip_prefix('-').map(str::parse::<u32>);
                rest.is_empty() || matches!(number, Some(Ok(_)))
            })
}

/// Reads the records of all deployments of the region.
pub async fn records(clients: &Clients) -> Result<Records, CallError> {
    let tagged = tags::parameters(clients).await?;
    let names: Vec<Name> = tagged
        .keys()
        .filter_map(|arn| arn.rsplit_once(":parameter"))
        .filter_map(|(_, parameter)| parameter.strip_prefix(PREFIX)?.strip_suffix("/deployment"))
        .filter_map(|name| Name::new(name).ok())
        .collect();
    let parameters: Vec<String> = names.iter().map(Name::record).collect();
    let read = parameter::read(clients, &parameters, false).await?;
    Ok(names
        .into_iter()
        .filter_map(|name| {
            let parameter = read.get(&name.record())?;
            Some((name, (parameter.value.clone(), parameter.version)))
        })
        .collect())
}
