//! `export cloudformation` and `export user-data`: a deployment that others make.

use std::collections::BTreeMap;

use crate::cli::outcome::{Context, Exit, Failure, Format};
use crate::cli::question::{QuestionArgs, TargetArg, unanswerable};
use crate::domain::deployment::name::{Host, Name, Place};
use crate::domain::deployment::owner::Generation;
use crate::domain::deployment::record::{Phase, Record, SCHEMA};
use crate::domain::deployment::spec::{AlarmBasis, Disk, Docker, Image, SecretRef, Spec, Subnet, Token};
use crate::domain::deployment::user_data::scripts;
use crate::domain::disk::wave_gib;
use crate::domain::export::cloudformation::{LARGEST_BODY, template};
use crate::domain::host_script::Unrenderable;
use crate::domain::plan::document::early_gap;
use crate::domain::profile::Target;
use crate::domain::sizing::recommend::recommend;
use crate::domain::sizing::search::Families;
use crate::render::document;

pub(super) const CLOUDFORMATION: &str = "\
Examples:
  dataops-infra export cloudformation --name dataops-runner-london > runner.yaml
  dataops-infra export cloudformation --name workshop --workload proof-of-technology --output json
  dataops-infra export cloudformation --name runner --instance-type m6i.2xlarge --count 2

The template has the same role, network, host, alarms and dashboard as up makes, under the same
names, and works in every region. The token must be in an SSM parameter (SecureString) before the
stack is made. Deploy it with
  aws cloudformation deploy --stack-name NAME --template-file FILE --capabilities CAPABILITY_NAMED_IAM \\
    --parameter-overrides Vpc=VPC Subnet=SUBNET
status, up and down do not manage what a stack made: it belongs to CloudFormation.";

pub(super) const USER_DATA: &str = "\
Examples:
  dataops-infra export user-data --name dataops-runner-london --region eu-west-2 > user-data.sh
  dataops-infra export user-data --name runner --region us-east-1 --token-secret runner-token

The script holds no secret: the host reads the token itself, with the role of its instance. That
role needs what the one in export cloudformation has. The host reports to the SSM parameter
/dataops-infra/NAME/host.";

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub struct DeploymentArgs {
    /// Name of the deployment, the runner's agent name and its tag.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Instance type, instead of the recommended one.
    #[arg(long, value_name = "TYPE")]
    instance_type: Option<String>,
    /// Number of hosts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    count: Option<u32>,
    /// Jobs at a time on each host.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    concurrency: Option<u32>,
    /// Size of each disk.
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u32).range(8..=16_384))]
    disk_gib: Option<u32>,
    /// SSM parameter with the token [default: /dataops-infra/NAME/token].
    #[arg(long, value_name = "NAME|ARN", conflicts_with = "token_secret")]
    token_parameter: Option<String>,
    /// Secret in Secrets Manager with the token.
    #[arg(long, value_name = "NAME|ARN")]
    token_secret: Option<String>,
    /// KMS key of the disks.
    #[arg(long, value_name = "ARN")]
    kms_key: Option<String>,
    /// SNS topic of yours for the alarms, instead of one of the deployment.
    #[arg(long, value_name = "ARN")]
    topic: Option<String>,
    /// E-mail or https address that alarms go to; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    notify: Vec<String>,
    /// Tag on everything; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    tag: Vec<String>,
    /// Workload that decides the size.
    #[command(flatten)]
    question: QuestionArgs,
}

/// IOPS and MiB/s that gp3 brings at any size (<https://aws.amazon.com/ebs/pricing/>).
const GP3: (u32, u32) = (3000, 125);

/// Where the platform is unless told otherwise.
const PLATFORM: &str = "https://app.dataops.live";

/// Image of the runner and its tag
/// (<https://docs.dataops.live/docs/environment-management/runner-installation/>).
const RUNNER: (&str, &str) = ("dataopslive/dataops-runner", "latest");

/// Days that logs are kept.
const RETENTION_DAYS: u32 = 30;

/// Returns the template.
pub(super) fn cloudformation(args: &DeploymentArgs, context: &Context) -> Result<String, Failure> {
    let (name, spec) = wanted(args, context)?;
    let template = template(&name, &spec, None).map_err(|why| unusable(&why))?;
    let text = match context.format {
        Format::Json => document::json(&template),
        Format::Table | Format::Yaml | Format::Markdown => {
            document::readable_yaml(&template).map_err(|error| {
                Failure::new(Exit::Failed, "could not write the template as YAML").because(error)
            })?
        }
    };
    if text.len() > LARGEST_BODY {
        context.warn(format!(
            "the template has {} bytes: above {LARGEST_BODY} CloudFormation only takes it from S3 (deploy --s3-bucket)",
            text.len()
        ));
    }
    Ok(text)
}

/// Returns the script of the first host.
pub(super) fn user_data(args: &DeploymentArgs, context: &Context) -> Result<String, Failure> {
    let Some(region) = context.region.clone() else {
        return Err(Failure::new(
            Exit::BadInput,
            "the host asks AWS of one region, and no region is named",
        )
        .hint("--region eu-west-2, or AWS_REGION"));
    };
    let (name, spec) = wanted(args, context)?;
    let record = Record {
        schema: SCHEMA.to_owned(),
        // None that `up` makes: a host that others made is not to be taken for one of its own.
        generation: Generation::from_bytes([0; 8]),
        name,
        made_by: String::new(),
        created_at: String::new(),
        phase: Phase::Present,
        lease: None,
        launches: BTreeMap::new(),
        spec,
    };
    // No ARN is in a script but those of the user.
    let place = Place {
        account: String::new(),
        region,
    };
    let scripts = scripts(&record, &place, None).map_err(|why| unusable(&why))?;
    let first = Host::all(record.spec.count)[0].address("host");
    Ok(scripts.get(&first).cloned().unwrap_or_default())
}

fn unusable(why: &Unrenderable) -> Failure {
    Failure::new(Exit::BadInput, why.to_string())
}

/// Returns what is wanted, as far as it can be known without an account.
fn wanted(args: &DeploymentArgs, context: &Context) -> Result<(Name, Spec), Failure> {
    let wrong = |text: String| Failure::new(Exit::BadInput, text);
    let name = Name::new(&args.name).map_err(|error| wrong(error.to_string()))?;
    let mut tags = BTreeMap::new();
    for tag in &args.tag {
        let (key, value) = tag
            .split_once('=')
            .filter(|(key, _)| {
                !key.is_empty() && !key.starts_with("aws:") && !key.starts_with("dataops-infra:")
            })
            .ok_or_else(|| wrong(format!("--tag {tag}: expected KEY=VALUE, and a key of your own")))?;
        tags.insert(key.to_owned(), value.to_owned());
    }
    let told = |address: &&String| !address.starts_with("https://") && !address.contains('@');
    if let Some(address) = args.notify.iter().find(told) {
        return Err(wrong(format!(
            "--notify {address}: expected an e-mail or an https address"
        )));
    }
    let token = match (&args.token_parameter, &args.token_secret) {
        (Some(parameter), _) => Token::Theirs(SecretRef::Parameter(parameter.clone())),
        (None, Some(secret)) => Token::Theirs(SecretRef::Secret(secret.clone())),
        (None, None) => Token::Ours,
    };
    let size = size(args, context)?;
    let spec = Spec {
        workload: size.workload,
        asked: String::new(),
        instance_type: size.instance_type,
        fallback_types: Vec::new(),
        count: size.count,
        concurrency: size.concurrency,
        check_interval: size.check_interval,
        disk: Disk {
            gib: size.gib,
            iops: GP3.0,
            throughput: GP3.1,
            kms_key: args.kms_key.clone(),
        },
        image: Image {
            id: String::new(),
            root_device: String::new(),
            parameter: None,
        },
        vpc: String::new(),
        subnets: vec![Subnet {
            id: String::new(),
            zone: String::new(),
        }],
        public_address: None,
        token,
        registry: None,
        platform_url: PLATFORM.to_owned(),
        runner_image: RUNNER.0.to_owned(),
        channel: RUNNER.1.to_owned(),
        docker: Docker::default(),
        topic: args.topic.clone(),
        notify: args.notify.clone(),
        termination_protection: false,
        log_retention_days: RETENTION_DAYS,
        tags,
        alarms: size.alarms,
    };
    Ok((name, spec))
}

struct Size {
    workload: String,
    instance_type: String,
    count: u32,
    concurrency: u32,
    check_interval: u32,
    gib: u32,
    alarms: AlarmBasis,
}

/// Answers the question; what the user says goes before what is recommended.
fn size(args: &DeploymentArgs, context: &Context) -> Result<Size, Failure> {
    let mut question = args.question.clone();
    if question.target == Some(TargetArg::Eks) {
        return Err(Failure::new(
            Exit::Refused,
            "only EC2 hosts can be exported in this version",
        ));
    }
    question.target = Some(TargetArg::Ec2);
    let mut asked = question.ask(context)?;
    debug_assert_eq!(asked.target, Target::Ec2);
    if let Some(wanted) = &args.instance_type {
        // The search then has one type to choose from; what it cannot host it says.
        asked.families = Families::Any;
        asked.catalog.types.retain(|instance| instance.name == *wanted);
        if asked.catalog.types.is_empty() {
            return Err(Failure::new(
                Exit::BadInput,
                format!(
                    "--instance-type {wanted} is no type that the catalog of {} knows as a host",
                    asked.catalog.region
                ),
            )
            .hint("dataops-infra catalog show"));
        }
    }
    let profile = &asked.loaded.profile;
    let basis = |days_to_full, burstable| AlarmBasis {
        wave_gib: (wave_gib(&profile.disk) * 10.0).round() / 10.0,
        days_to_full,
        burstable,
    };
    let check_interval = profile.runner.check_interval_s.round().max(1.0) as u32;
    if let (Some(name), Some(concurrency), Some(gib)) = (&args.instance_type, args.concurrency, args.disk_gib)
    {
        let instance = asked.catalog.get(name);
        return Ok(Size {
            workload: profile.name.clone(),
            instance_type: name.clone(),
            count: args.count.unwrap_or(1),
            concurrency,
            check_interval,
            gib,
            alarms: basis(
                0,
                instance.is_some_and(|instance| instance.burstable_baseline.is_some()),
            ),
        });
    }
    let question = asked.question();
    let answer = recommend(&question).map_err(|why| unanswerable(&asked, &why))?;
    let instance = answer.offer.instance;
    Ok(Size {
        workload: profile.name.clone(),
        instance_type: instance.name.clone(),
        count: args.count.unwrap_or(answer.chosen.count),
        concurrency: args
            .concurrency
            .unwrap_or_else(|| answer.evaluation.layout.per_host()),
        check_interval,
        gib: args.disk_gib.unwrap_or(answer.disk.gib),
        alarms: basis(early_gap(&answer), instance.burstable_baseline.is_some()),
    })
}
