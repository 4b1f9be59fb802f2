//! `plan --live`: the recommendation, and what `up` would change in an account.

use jiff::Timestamp;
use serde_json::json;

use super::calls::block_on;
use super::ends::worse;
use super::planned::Live;
use super::prepare::{Prepared, prepare};
use super::provision::refusal;
use super::wants::{How, groups};
use crate::cli::outcome::{Answer, Context, Ending, Exit, Failure};
use crate::cli::plan::{PlanArgs, write};
use crate::domain::deployment::step::Action;
use crate::domain::plan::document::PlanDocument;
use crate::render::deployment as pages;
use crate::render::page::Page;
use crate::render::plan::page;

/// Runs the command.
pub fn run(args: &PlanArgs, context: &Context) -> Ending {
    match block_on(preview(args, context)) {
        Ok(ending) => ending,
        Err(failure) => Ending::Failed(failure),
    }
}

async fn preview(args: &PlanArgs, context: &Context) -> Result<Ending, Failure> {
    let groups = groups(
        &args.which,
        &args.question,
        &args.deployment,
        How {
            wait: true,
            preview: true,
            ..How::default()
        },
        context,
        "plan --live",
    )
    .await?;
    let many = groups.iter().map(|group| group.wants.len()).sum::<usize>() > 1;
    if many && args.out.is_some() {
        return Err(Failure::new(
            Exit::BadInput,
            "a plan in a file is for one deployment, and several are meant",
        )
        .hint("add --name NAME"));
    }
    let mut pages = Page::new();
    let mut documents = Vec::new();
    let mut exit = Exit::Done;
    let mut failures: Vec<Failure> = Vec::new();
    for group in groups {
        let sizings: Vec<_> = group
            .wants
            .iter()
            .map(|want| std::sync::Arc::clone(&want.sizing))
            .collect();
        let (_, prepared) = prepare(&group.ground, group.wants, Timestamp::now()).await?;
        for ((name, one), sizing) in prepared.into_iter().zip(sizings) {
            let prepared = match one {
                Ok(prepared) => prepared,
                Err(failure) if many => {
                    exit = worse(exit, failure.exit);
                    pages.heading(name.as_str()).text(&failure.message);
                    documents.push(json!({ "name": name.as_str(), "error": failure.message }));
                    failures.push(failure);
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let plan = if many {
                None
            } else {
                Some(sizing.plan(&args.question.typed())?)
            };
            let blocked = refusal(&prepared);
            let changes = prepared
                .ascent
                .steps
                .iter()
                .any(|step| step.action != Action::Wait);
            if blocked.is_some() {
                exit = worse(exit, Exit::Refused);
            } else if args.detailed_exitcode && (changes || !prepared.ascent.stuck.is_empty()) {
                exit = worse(exit, Exit::Findings);
            }
            documents.push(document(plan.as_ref(), &prepared)?);
            if let Some(plan) = &plan {
                pages = page(plan);
            }
            set(&mut pages, &prepared);
            failures.extend(blocked);
        }
    }
    let single = documents.len() == 1 && !many;
    let document = if single {
        documents.pop().unwrap_or_default()
    } else {
        json!({
            "schema": "dataops-infra/plans/v1",
            "generated_by": crate::cli::outcome::generated_by(),
            "deployments": documents,
        })
    };
    if let (Some(path), true) = (&args.out, failures.is_empty()) {
        write(path, &document)?;
        context.note(format!(
            "the plan is in {}; apply exactly it with: dataops-infra up --plan {}",
            path.display(),
            path.display()
        ));
    }
    let answer = Answer {
        document,
        page: pages,
        exit,
    };
    if failures.is_empty() {
        return Ok(Ending::Answer(answer));
    }
    let messages: Vec<String> = failures.iter().map(|failure| failure.message.clone()).collect();
    let mut failure = Failure::new(exit, messages.join("\n"));
    failure.hint = failures.into_iter().find_map(|failure| failure.hint);
    Ok(Ending::Refused(answer, failure))
}

fn document(plan: Option<&PlanDocument>, prepared: &Prepared) -> Result<serde_json::Value, Failure> {
    let mut document = match plan {
        Some(plan) => serde_json::to_value(plan)
            .map_err(|error| Failure::new(Exit::Failed, "cannot set down the plan").because(error))?,
        None => json!({ "name": prepared.name.as_str(), "region": prepared.place.region }),
    };
    document["steps"] = json!(prepared.ascent.steps);
    document["preflight"] = json!(prepared.findings);
    document["in_the_way"] = json!(prepared.ascent.blocks);
    document["differs"] = prepared
        .ascent
        .stuck
        .iter()
        .map(|(address, difference)| json!({ "address": address, "difference": difference }))
        .collect::<Vec<_>>()
        .into();
    document["live"] = serde_json::to_value(Live::new(prepared))
        .map_err(|error| Failure::new(Exit::Failed, "cannot set down the plan").because(error))?;
    Ok(document)
}

fn set(page: &mut Page, prepared: &Prepared) {
    let what = if prepared.version.is_some() {
        "Would change"
    } else {
        "Would make"
    };
    pages::steps(
        page,
        format!(
            "{what} {} in {}, account {}",
            prepared.name, prepared.place.region, prepared.place.account
        ),
        &prepared.ascent.steps,
    );
    pages::findings(page, &prepared.findings, true);
    pages::blocks(page, &prepared.ascent.blocks);
    pages::stuck(page, &prepared.ascent.stuck);
}
