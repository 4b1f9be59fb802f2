//! `export eksctl`, `helm-values` and `manifests`: a deployment on EKS that others make.

use serde_json::{Value, json};

use super::deployment::ExportDeploymentArgs;
use crate::cli::deployment::select::select;
use crate::cli::deployment::size;
use crate::cli::deployment::specify::{Site, cluster, node_image, specify};
use crate::cli::outcome::{Context, Exit, Failure, Format};
use crate::cli::question::{DEFAULT_REGION, TargetArg};
use crate::domain::deployment::eks::addons;
use crate::domain::deployment::eks::choose::ClusterFacts;
use crate::domain::deployment::eks::spec::StorageMode;
use crate::domain::deployment::eks::values::values;
use crate::domain::deployment::name::Place;
use crate::domain::deployment::record::Record;
use crate::domain::deployment::spec::{Subnet, Token};
use crate::domain::export::{eksctl, manifests};
use crate::render::document;

pub(super) const EKSCTL: &str = "\
Examples:
  dataops-infra export eksctl --name dataops-runner-singapore --region ap-southeast-1 \\
      --workload kubernetes > cluster.yaml
  dataops-infra export eksctl --name runner --instance-type c6i.large --disk-gib 300 \\
      --min-nodes 2 --max-nodes 4 --region eu-west-2 --kubernetes-version 1.34

The ClusterConfig has the nodes, add-ons, access and roles of the cluster that
up eks makes. eksctl makes no file system. Use it with
  eksctl create cluster -f cluster.yaml
up, status and down do not manage what eksctl made; up eks --cluster NAME adopts it.";

pub(super) const HELM_VALUES: &str = "\
Examples:
  dataops-infra export helm-values --name dataops-runner-singapore --region ap-southeast-1 \\
      --workload kubernetes > dataops-values.yml
  helm upgrade --install NAME CHART --namespace NAME --values dataops-values.yml

The values hold no secret: the chart reads the token from the secret that export
manifests has.";

pub(super) const MANIFESTS: &str = "\
Examples:
  dataops-infra export manifests --name dataops-runner-singapore --region ap-southeast-1 \\
      --workload kubernetes > before.yaml
  FILE_SYSTEM_ID=fs-0a1b2c3d RUNNER_TOKEN=$(cat token) envsubst < before.yaml | kubectl apply -f -

Namespace, service account, secrets, storage and Cluster Autoscaler: what must
be there before the chart. ${NAMES} stand for what is not known here.";

/// Returns the `ClusterConfig`.
pub(super) fn eksctl(args: &ExportDeploymentArgs, context: &Context) -> Result<String, Failure> {
    let (record, place) = wanted(args, context)?;
    let config = eksctl::config(&record.name, &record.spec, &place).unwrap_or_default();
    let eks = record.spec.eks.as_deref();
    if eks.is_some_and(|eks| eks.storage.file_system.is_none() && eks.storage.mode != StorageMode::None) {
        context.note("eksctl makes no file system: make one of EFS with a mount target in each zone");
    }
    if let Some(key) = eks.and_then(|eks| eks.secrets_key.as_deref())
        && !key.starts_with("arn:")
    {
        return Err(Failure::new(
            Exit::BadInput,
            format!("eksctl takes the ARN of a key, and `{key}` is none"),
        )
        .hint("--secrets-key arn:aws:kms:REGION:ACCOUNT:key/ID"));
    }
    written(&config, context)
}

/// Returns the values of the chart.
pub(super) fn helm_values(args: &ExportDeploymentArgs, context: &Context) -> Result<String, Failure> {
    let (record, _) = wanted(args, context)?;
    let values = record.spec.eks.as_deref().map(|eks| values(&record, eks));
    written(&values.unwrap_or_default(), context)
}

/// Returns the manifests.
pub(super) fn manifests(args: &ExportDeploymentArgs, context: &Context) -> Result<String, Failure> {
    let (record, place) = wanted(args, context)?;
    let manifests = manifests::manifests(&record, &place);
    for (name, what) in manifests::open(&manifests) {
        context.note(format!("{name} stands for {what}"));
    }
    match context.format {
        Format::Json => written(
            &json!({ "apiVersion": "v1", "kind": "List", "items": manifests }),
            context,
        ),
        Format::Table | Format::Yaml | Format::Markdown => {
            let documents: Result<Vec<String>, Failure> = manifests
                .iter()
                .map(|manifest| written(manifest, context))
                .collect();
            Ok(documents?.join("---\n"))
        }
    }
}

fn written(document: &Value, context: &Context) -> Result<String, Failure> {
    match context.format {
        Format::Json => Ok(document::json(document)),
        Format::Table | Format::Yaml | Format::Markdown => document::readable_yaml(document)
            .map_err(|error| Failure::new(Exit::Failed, "could not write YAML").because(error)),
    }
}

/// Returns what is wanted, as far as it can be known without an account.
fn wanted(args: &ExportDeploymentArgs, context: &Context) -> Result<(Record, Place), Failure> {
    let mut question = args.question.clone();
    if *question.target.get_or_insert(TargetArg::Eks) != TargetArg::Eks {
        return Err(Failure::new(
            Exit::Refused,
            "eksctl, helm-values and manifests are of a cluster",
        )
        .hint("dataops-infra export cloudformation or user-data"));
    }
    let mut flags = args.deployment.settings(&args.which, &question, context)?;
    // Nothing is installed, so nothing must say from where.
    let chart = flags.eks.chart.take();
    let mut meant = select(&args.which, &flags, context, "export")?;
    let (Some(meant), true) = (meant.pop(), meant.is_empty()) else {
        return Err(Failure::new(
            Exit::BadInput,
            "one deployment is exported, and several are meant",
        )
        .hint("add --name NAME"));
    };
    let mut settings = meant.settings;
    settings.eks.chart = chart
        .or(settings.eks.chart)
        .or_else(|| Some("./chart".to_owned()));
    let region = meant.region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
    let size = size::question(&settings, &question, &region, context)?.answer()?;
    // EKS has a version of its own for each of these; who applies this gets the newest then.
    let facts = ClusterFacts {
        addons: addons::ALL.map(|name| (name.to_owned(), String::new())).into(),
        ..ClusterFacts::default()
    };
    let eks = cluster(&meant.name, &settings, None, &size, &facts)?;
    let site = Site {
        vpc: settings.vpc.clone().unwrap_or_default(),
        subnets: settings
            .subnets
            .iter()
            .map(|id| Subnet {
                id: id.clone(),
                zone: String::new(),
            })
            .collect(),
        image: node_image(),
    };
    let spec = specify(&settings, None, size, Some(Token::Ours), None, site, eks);
    let record = Record::unmade(meant.name, spec);
    // Policies take any account where nobody says which.
    let place = Place {
        account: "*".to_owned(),
        region,
    };
    Ok((record, place))
}
