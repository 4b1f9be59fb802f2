//! `export iam-policy`: the least that a command needs.

use serde_json::json;

use crate::cli::outcome::{Answer, Context, Exit, Failure, Outcome, generated_by};
use crate::domain::deployment::name::Name;
use crate::domain::export::iam::{self, Command, MOST_CHARACTERS, Scope};
use crate::render::page::Page;

pub(super) const EXAMPLES: &str = "\
Examples:
  dataops-infra export iam-policy --for up > policy.json
  dataops-infra export iam-policy --for down --name dataops-runner-london --region eu-west-2
  dataops-infra export iam-policy --for up --target eks --cluster dataops
  dataops-infra export iam-policy --for plan --read-only
  dataops-infra export iam-policy --for up --output json   with the reason for each action

Without --name the policy is for all deployments, without --region (or
AWS_REGION) for all regions, without --account for the account that it is
attached in. Needs no account and no network.";

/// Commands that need nothing from AWS.
const OFFLINE: &[&str] = &[
    "simulate",
    "calibrate",
    "workload",
    "explain",
    "export",
    "completions",
    "man",
];

/// Arguments of `export iam-policy`.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// The command that the policy is for: plan (with catalog refresh), up, status, doctor, alarms, down,
    /// runner, upgrade, rotate-token or resize.
    #[arg(long = "for", value_name = "COMMAND")]
    command: String,
    /// What the deployments run on: ec2 or eks.
    #[arg(long, value_name = "TARGET", value_parser = ["ec2", "eks"], default_value = "ec2")]
    target: String,
    /// Only in this cluster, with --target eks.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Only for the deployment of this name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only in this account.
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// An SSM parameter of yours with a token or a login, by name or ARN; may be repeated.
    #[arg(long, value_name = "NAME|ARN")]
    parameter: Vec<String>,
    /// A secret of yours in Secrets Manager, by name or ARN; may be repeated. Without: all, to see that they exist.
    #[arg(long, value_name = "NAME|ARN")]
    secret: Vec<String>,
    /// A KMS key of yours for disks and token, by ARN; may be repeated.
    #[arg(long, value_name = "ARN")]
    kms_key: Vec<String>,
    /// For plan: leave out what plan --live asks AWS for by dry runs, which would allow to launch hosts.
    #[arg(long)]
    read_only: bool,
}

pub(super) fn run(args: &PolicyArgs, context: &Context) -> Outcome {
    let word = match args.command.as_str() {
        "catalog" => "plan",
        word => word,
    };
    let Some(command) = Command::find(word) else {
        return Err(no_policy(word));
    };
    let scope = scope(args, command, context)?;
    let policy = iam::policy(command, &scope);
    let mut notes = notes(command, &scope);
    for note in &notes {
        context.note(note);
    }
    if let Some(warning) = too_long(iam::characters(&policy)) {
        context.warn(&warning);
        notes.push(warning);
    }
    let mut page = Page::new();
    page.verbatim(format!("{policy:#}").lines());
    Ok(Answer {
        document: json!({
            "schema": "dataops-infra/iam-policy/v1",
            "generated_by": generated_by(),
            "for": command.word(),
            "target": args.target,
            "characters": iam::characters(&policy),
            "notes": notes,
            "reasons": iam::reasons(command, &scope),
            "policy": policy,
        }),
        page,
        exit: Exit::Done,
    })
}

fn no_policy(word: &str) -> Failure {
    let known = Command::ALL.map(Command::word).join(", ");
    if OFFLINE.contains(&word) {
        return Failure::new(
            Exit::Refused,
            format!("{word} makes no AWS calls and needs no policy"),
        );
    }
    let failure = Failure::new(
        Exit::BadInput,
        format!("unknown command '{word}' in --for: expected one of {known}"),
    );
    failure.hint("dataops-infra export iam-policy --for up")
}

fn scope(args: &PolicyArgs, command: Command, context: &Context) -> Result<Scope, Failure> {
    let wrong = |option: &str, value: &str, expected: &str| {
        Failure::new(Exit::BadInput, format!("{option} {value}: expected {expected}"))
    };
    let plain = |text: &str, more: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let name = args.name.as_deref().map(Name::new).transpose();
    let name = name.map_err(|error| Failure::new(Exit::BadInput, error.to_string()))?;
    let eks = args.target == "eks";
    if let Some(cluster) = &args.cluster {
        // What EKS takes as a name.
        if !plain(cluster, "-_") {
            return Err(wrong("--cluster", cluster, "the name of a cluster"));
        }
        if !eks {
            return Err(wrong("--cluster", cluster, "--target eks with it"));
        }
    }
    if let Some(region) = context.region.as_deref().filter(|region| !plain(region, "-")) {
        return Err(wrong("--region", region, "a region such as eu-west-2"));
    }
    let digits = |account: &str| account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
    if let Some(account) = args.account.as_deref().filter(|account| !digits(account)) {
        return Err(wrong("--account", account, "twelve digits"));
    }
    for (option, values) in [("--parameter", &args.parameter), ("--secret", &args.secret)] {
        if let Some(value) = values.iter().find(|value| !plain(value, "/_.:+=@-")) {
            return Err(wrong(option, value, "a name or an ARN"));
        }
    }
    // A policy that names an alias does not allow its key.
    let key = |value: &str| value.starts_with("arn:") && value.contains(":key/") && plain(value, ":/-");
    if let Some(value) = args.kms_key.iter().find(|value| !key(value)) {
        return Err(wrong(
            "--kms-key",
            value,
            "the ARN of a key, because IAM does not know keys by alias",
        )
        .hint(format!(
            "aws kms describe-key --key-id {value} --query KeyMetadata.Arn"
        )));
    }
    if args.read_only && command != Command::Plan {
        return Err(Failure::new(
            Exit::BadInput,
            format!("--read-only is for plan; {} needs what it needs", command.word()),
        ));
    }
    Ok(Scope {
        eks,
        cluster: args.cluster.clone(),
        name,
        region: context.region.clone(),
        account: args.account.clone(),
        parameters: args.parameter.clone(),
        secrets: args.secret.clone(),
        keys: args.kms_key.clone(),
        read_only: args.read_only,
    })
}

/// Returns what who attaches the policy should know.
fn notes(command: Command, scope: &Scope) -> Vec<String> {
    let mut notes = Vec::new();
    match command {
        Command::Plan => notes.push("plan works offline; only catalog refresh and plan --live call AWS".to_owned()),
        Command::Up => notes.push(
            "whoever has this policy may give roles below /dataops-infra/ any permission and run hosts with them; a \
             permissions boundary limits what such a role can do"
                .to_owned(),
        ),
        Command::Alarms => notes.push(
            "alarms test sends real messages to whoever listens to the topics of the alarms".to_owned(),
        ),
        Command::Runner | Command::Upgrade | Command::RotateToken | Command::Resize => notes.push(
            "whoever has this policy runs scripts of any content as root on hosts that carry the tag".to_owned(),
        ),
        Command::Doctor => notes.push(
            "a host is asked by a shell script, so whoever has this policy may run any on hosts of deployments; doctor \
             --fix needs what --for up prints besides, where alarms are put back"
                .to_owned(),
        ),
        Command::Status | Command::Down => {}
    }
    if command == Command::Plan && !scope.read_only {
        notes.push(
            "plan --live asks by dry runs whether you may launch, and AWS wants the permission to launch for that; \
             --read-only leaves it out"
                .to_owned(),
        );
    }
    if matches!(command, Command::Plan | Command::Up) && scope.parameters.is_empty() {
        notes.push(
            "a token in an SSM parameter of yours needs --parameter NAME, a disk key of yours --kms-key ARN"
                .to_owned(),
        );
    }
    notes
}

/// Says where a policy fits that is too long for a managed one.
fn too_long(characters: usize) -> Option<String> {
    (characters > MOST_CHARACTERS).then(|| {
        format!(
            "the policy has {characters} characters, and a managed policy takes {MOST_CHARACTERS}: put it into a role \
             as an inline policy, where 10240 fit, or leave out --account"
        )
    })
}
