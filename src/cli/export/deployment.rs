//! `export cloudformation` and `export user-data`: a deployment that others make.

use crate::cli::deployment::args::{DeploymentArgs, WhichArgs};
use crate::cli::deployment::select::select;
use crate::cli::deployment::size;
use crate::cli::deployment::specify::{Site, certificates, specify};
use crate::cli::outcome::{Context, Exit, Failure, Format};
use crate::cli::question::{DEFAULT_REGION, QuestionArgs};
use crate::domain::deployment::name::{Host, Name, Place};
use crate::domain::deployment::record::Record;
use crate::domain::deployment::spec::{Image, SecretRef, Spec, Subnet, Token};
use crate::domain::deployment::user_data::scripts;
use crate::domain::export::cloudformation::{LARGEST_BODY, template};
use crate::domain::host_script::Unrenderable;
use crate::domain::settings::{Target, TokenSource};
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
  dataops-infra export user-data --name runner --region us-east-1 | gzip -9 > user-data.gz   (EC2 takes 16 KB)
  dataops-infra export user-data --name runner --region us-east-1 --token-secret runner-token

The script holds no secret: the host reads the token itself, with the role of
its instance. That role needs what the one in export cloudformation has. The
host reports to the SSM parameter /dataops-infra/NAME/host.";

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub struct ExportDeploymentArgs {
    /// Which deployment.
    #[command(flatten)]
    pub(super) which: WhichArgs,
    /// Workload that decides the size.
    #[command(flatten)]
    pub(super) question: QuestionArgs,
    /// The deployment.
    #[command(flatten)]
    pub(super) deployment: DeploymentArgs,
}

/// Returns the template.
pub(super) fn cloudformation(args: &ExportDeploymentArgs, context: &Context) -> Result<String, Failure> {
    let (name, spec, ca) = wanted(args, context)?;
    let template = template(&name, &spec, ca.as_deref()).map_err(|why| unusable(&why))?;
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
pub(super) fn user_data(args: &ExportDeploymentArgs, context: &Context) -> Result<String, Failure> {
    let Some(region) = context.region.clone() else {
        return Err(Failure::new(
            Exit::BadInput,
            "the host asks AWS of one region, and no region is named",
        )
        .hint("--region eu-west-2, or AWS_REGION"));
    };
    let (name, spec, ca) = wanted(args, context)?;
    let record = Record::unmade(name, spec);
    // No ARN is in a script but those of the user.
    let place = Place {
        account: String::new(),
        region,
    };
    let scripts = scripts(&record, &place, ca.as_deref()).map_err(|why| unusable(&why))?;
    let first = Host::all(record.spec.count)[0].address("host");
    Ok(scripts.get(&first).cloned().unwrap_or_default())
}

fn unusable(why: &Unrenderable) -> Failure {
    Failure::new(Exit::BadInput, why.to_string())
}

/// Returns what is wanted, as far as it can be known without an account.
fn wanted(args: &ExportDeploymentArgs, context: &Context) -> Result<(Name, Spec, Option<String>), Failure> {
    let flags = args.deployment.settings(&args.which, &args.question, context)?;
    let mut meant = select(&args.which, &flags, context, "export")?;
    let (Some(meant), true) = (meant.pop(), meant.is_empty()) else {
        return Err(Failure::new(
            Exit::BadInput,
            "one deployment is exported, and several are meant",
        )
        .hint("add --name NAME"));
    };
    let settings = &meant.settings;
    if settings.target == Some(Target::Eks) {
        return Err(
            Failure::new(Exit::Refused, "CloudFormation and user data are of EC2 hosts")
                .hint("dataops-infra export eksctl, helm-values or manifests"),
        );
    }
    let region = meant.region.as_deref().unwrap_or(DEFAULT_REGION);
    let size = size::question(settings, &args.question, region, context)?.answer()?;
    let token = match &settings.token {
        Some(TokenSource::Parameter(name)) => Token::Theirs(SecretRef::Parameter(name.clone())),
        Some(TokenSource::Secret(name)) => Token::Theirs(SecretRef::Secret(name.clone())),
        // What is exported holds no secret: the host looks for the token where `up` would have put it.
        Some(TokenSource::File(_) | TokenSource::Environment(_)) | None => Token::Ours,
    };
    let ca = certificates(settings)?;
    let site = Site {
        vpc: String::new(),
        subnets: vec![Subnet {
            id: String::new(),
            zone: String::new(),
        }],
        image: Image {
            id: String::new(),
            root_device: String::new(),
            parameter: None,
        },
    };
    let spec = specify(settings, None, size, Some(token), ca.as_deref(), site, None);
    Ok((meant.name, spec, ca))
}
