//! `rotate-token`: stores the token as `up` does, then changes the runners as `upgrade` does.

use std::time::Duration;

use jiff::Timestamp;

use super::apply::{Stop, Work, apply};
use super::args::DeploymentArgs;
use super::calls::block_on;
use super::confirm::confirm;
use super::prepare::{Prepared, prepare};
use super::reach::reach;
use super::release;
use super::upgrade::{Change, ending, over};
use super::wants::{Group, How, groups};
use crate::cli::outcome::{Context, Ending as End, Exit, Failure};
use crate::cli::question::QuestionArgs;
use crate::cli::rotate_token::RotateArgs;
use crate::domain::deployment::record::Why;
use crate::domain::deployment::spec::Token;
use crate::domain::deployment::step::Step;
use crate::render::deployment as pages;
use crate::render::page::Page;
use crate::render::style::Style;
use crate::render::text;

/// Steps of `up` that a token needs; whatever else differs is not of this command.
const STEPS: &[&str] = &["record", "token", "role-policy"];

/// Runs the command.
pub fn run(args: &RotateArgs, context: &Context) -> End {
    block_on(rotate(args, context)).unwrap_or_else(End::Failed)
}

async fn rotate(args: &RotateArgs, context: &Context) -> Result<End, Failure> {
    let reached = reach(&args.which, context, "rotate-token").await?;
    let tokens = DeploymentArgs {
        token_file: args.token_file.clone(),
        token_env: args.token_env.clone(),
        token_parameter: args.token_parameter.clone(),
        token_secret: args.token_secret.clone(),
        ..DeploymentArgs::default()
    };
    if reached.record.spec.eks.is_some() {
        return release::over(&args.which, tokens, args.yes, context).await;
    }
    reached.all_run()?;
    let how = How::default();
    let mut found = groups(
        &args.which,
        &QuestionArgs::default(),
        &tokens,
        how,
        context,
        "rotate-token",
    )
    .await?;
    let Some(Group { ground, mut wants }) = found.pop() else {
        return Err(Failure::new(Exit::BadInput, "no deployment is meant"));
    };
    wants.retain(|want| want.meant.name == reached.name);
    // Only the token is changed, whatever else a file says.
    for want in &mut wants {
        let meant = &mut want.meant;
        meant.settings = crate::domain::settings::Settings {
            name: meant.settings.name.clone(),
            ..crate::domain::settings::Settings::default()
        };
    }
    let given = wants.iter().any(|want| want.token.is_some());
    if !given && reached.record.spec.token == Token::Ours {
        return Err(Failure::new(Exit::BadInput, "no token is given").hint(
            "--token-file FILE (- for standard input), --token-env VARIABLE, --token-parameter NAME or --token-secret NAME",
        ));
    }
    let (_, mut prepared) = prepare(&ground, wants, Timestamp::now()).await?;
    let Some((_, Ok(prepared))) = prepared.pop() else {
        return Err(Failure::new(
            Exit::Failed,
            "the deployment could not be read again",
        ));
    };
    if let Some(block) = prepared
        .ascent
        .blocks
        .iter()
        .find(|block| STEPS.contains(&block.address.as_str()))
    {
        return Err(Failure::new(
            Exit::Refused,
            format!("{} {}; nothing was changed", block.what, block.why),
        ));
    }
    store(&prepared, &ground, args.yes, context).await?;
    let reached = reach(&args.which, context, "rotate-token").await?;
    let change = Change {
        why: Why::Rotate,
        wanted: crate::domain::deployment::record::Record {
            pending: None,
            ..reached.record.clone()
        },
        again: "rotate-token".to_owned(),
        trial: false,
        ending: ending(args.jobs),
        yes: args.yes,
        schema: "dataops-infra/rotate-token/v1",
    };
    over(&reached, &change, context).await
}

/// Stores the token, and lets the host read it where it is.
async fn store(
    prepared: &Prepared,
    ground: &super::calls::Ground,
    yes: bool,
    context: &Context,
) -> Result<(), Failure> {
    let mut steps: Vec<Step> = prepared
        .ascent
        .steps
        .iter()
        .filter(|step| STEPS.contains(&step.address.as_str()))
        .cloned()
        .collect();
    let known: Vec<String> = steps.iter().map(|step| step.address.clone()).collect();
    for step in &mut steps {
        step.after.retain(|address| known.contains(address));
    }
    if steps.is_empty() {
        return Ok(());
    }
    if !context.quiet && !context.log.json {
        let mut page = Page::new();
        pages::steps(&mut page, format!("Store the token of {}", prepared.name), &steps);
        eprintln!("{}", text::render(&page, Style::of_stderr(context.log.colour)));
    }
    confirm(&format!("Store the token of {}?", prepared.name), "yes", yes)?;
    let stop = Stop::listen(context);
    let work = Work {
        ground: ground.clone(),
        place: prepared.place.clone(),
        name: prepared.name.clone(),
        record: prepared.ascent.record.clone(),
        steps,
        ids: prepared.ascent.ids.clone(),
        secret: prepared.secret.clone(),
    };
    let report = apply(vec![work], Duration::from_mins(5), &stop, context)
        .await
        .pop()
        .unwrap_or_default();
    if report.failed.is_empty() && !report.interrupted && report.skipped.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = report
        .failed
        .iter()
        .map(|(address, failed)| format!("{}: could not write {address}: {failed}", prepared.name))
        .chain(
            report
                .interrupted
                .then(|| format!("{}: interrupted", prepared.name)),
        )
        .collect();
    Err(Failure::new(
        Exit::Failed,
        format!("{}\nthe runner is as it was", lines.join("\n")),
    )
    .hint("the same command goes on from here"))
}
