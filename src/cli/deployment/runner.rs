//! `runner start|stop|restart|logs`: asks the hosts, and says what they did.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::apply::Stop;
use super::calls::block_on;
use super::confirm::confirm;
use super::reach::{Heard, Reached, Unheard, reach};
use super::runner_cluster;
use crate::aws::error::CallError;
use crate::cli::outcome::{Answer, Context, Ending as End, Exit, Failure, Format, generated_by};
use crate::cli::runner::{Action, LogsArgs, RunnerArgs, StopArgs};
use crate::domain::lifecycle::script::{Ending, Work};
use crate::render::page::{Page, Table};
use crate::render::style::Style;
use crate::render::text;

/// The schema's name.
const SCHEMA: &str = "dataops-infra/runner/v1";

/// Time between two questions for more of a log.
const FOLLOW: Duration = Duration::from_secs(3);

/// Runs the command.
pub fn run(args: &RunnerArgs, context: &Context) -> End {
    let ended = block_on(async {
        match &args.action {
            Action::Start(args) => {
                let reached = reach(&args.which, context, "runner start").await?;
                if reached.record.spec.eks.is_some() {
                    return runner_cluster::start(&reached, context).await;
                }
                change(&reached, &Work::Start, context).await
            }
            Action::Stop(args) => stop(args, Work::Stop, "stop", context).await,
            Action::Restart(args) => stop(args, Work::Restart, "restart", context).await,
            Action::Logs(args) => logs(args, context).await,
        }
    });
    ended.unwrap_or_else(End::Failed)
}

async fn stop(
    args: &StopArgs,
    work: impl Fn(Ending) -> Work,
    word: &'static str,
    context: &Context,
) -> Result<End, Failure> {
    let reached = reach(&args.which, context, &format!("runner {word}")).await?;
    if reached.record.spec.eks.is_some() {
        return runner_cluster::stop(&reached, args, word == "restart", context).await;
    }
    reached.all_run()?;
    let ending = if args.now {
        Ending::Now
    } else {
        Ending::Within(args.timeout * 60)
    };
    let jobs = match ending {
        Ending::Now => "aborts the jobs that run".to_owned(),
        Ending::Within(_) => format!(
            "takes no new jobs and finishes the running ones, {} minutes at most",
            args.timeout
        ),
    };
    let then = if word == "restart" {
        "then starts again"
    } else {
        "then stays stopped until `runner start`"
    };
    if !context.quiet && !context.log.json {
        let mut page = Page::new();
        page.heading(format!("{word} the runner of {}", reached.name));
        page.bullets(reached.hosts.iter().map(|there| {
            format!(
                "{} ({}): {jobs}, {then}",
                reached.name.host(there.host),
                there.it.id
            )
        }));
        eprintln!("{}", text::render(&page, Style::of_stderr(context.log.colour)));
    }
    let mut question = format!("{word} the runner of {}?", reached.name);
    question[..1].make_ascii_uppercase();
    confirm(&question, "yes", args.yes)?;
    change(&reached, &work(ending), context).await
}

async fn change(reached: &Reached, work: &Work, context: &Context) -> Result<End, Failure> {
    reached.all_run()?;
    let listening = Stop::listen(context);
    context.note(format!(
        "runner {} on {}; the host does it by itself once it has begun",
        work.word(),
        plural(reached.hosts.len())
    ));
    let heard = reached.ask_all(&reached.record, work, &listening).await;
    Ok(told(reached, work, &heard))
}

fn plural(hosts: usize) -> String {
    match hosts {
        1 => "1 host".to_owned(),
        many => format!("{many} hosts"),
    }
}

/// Says in a sentence how a host did.
fn sentence(work: &Work, heard: &Heard) -> String {
    let Some(said) = heard.answer().filter(|said| said.ok) else {
        return heard.why();
    };
    let mut text = match (work, said.was.as_deref()) {
        (Work::Start, Some("running")) => "ran already, and asks for jobs".to_owned(),
        (Work::Start, _) => "started, and asks for jobs".to_owned(),
        (Work::Stop(_), Some("running")) if said.drained == Some(true) => {
            "finished its jobs and stopped".to_owned()
        }
        (Work::Stop(_), Some("running")) => "stopped; running jobs were aborted".to_owned(),
        (Work::Stop(_), _) => "was stopped already".to_owned(),
        _ => "restarted, and asks for jobs".to_owned(),
    };
    if !said.detail.is_empty() {
        text.push_str("; ");
        text.push_str(&said.detail);
    }
    text
}

fn told(reached: &Reached, work: &Work, heard: &[Heard]) -> End {
    let done = heard.iter().all(Heard::is_done);
    let interrupted = heard
        .iter()
        .any(|one| matches!(one.said, Err(Unheard::Interrupted)));
    let status = match (done, interrupted, work) {
        (true, _, Work::Stop(_)) => "stopped",
        (true, ..) => "running",
        (_, true, _) => "interrupted",
        _ => "failed",
    };
    let next: Vec<String> = match (done, work) {
        (true, Work::Stop(_)) => vec![reached.command("runner start"), reached.command("status")],
        (true, _) => vec![reached.command("runner logs"), reached.command("status")],
        (false, _) => vec![
            reached.command(&format!("runner {}", work.word())),
            reached.command("runner logs"),
        ],
    };
    let document = json!({
        "schema": SCHEMA,
        "generated_by": generated_by(),
        "name": reached.name.as_str(),
        "region": reached.ground.region,
        "account": reached.place.account,
        "action": work.word(),
        "status": status,
        "hosts": heard.iter().map(Heard::document).collect::<Vec<_>>(),
        "next": next,
    });
    let mut page = Page::new();
    let mut table = Table::new(&["host", "instance", "runner"]);
    for one in heard {
        table.row([
            reached.name.host(one.there.host),
            one.there.it.id.clone(),
            sentence(work, one),
        ]);
    }
    page.heading(format!("{} in {}: {status}", reached.name, reached.ground.region));
    page.table(table);
    page.heading("Next").verbatim(next);
    let answer = Answer {
        document,
        page,
        exit: if done { Exit::Done } else { Exit::Failed },
    };
    if done {
        return End::Answer(answer);
    }
    let lines: Vec<String> = heard
        .iter()
        .filter(|one| !one.is_done())
        .map(|one| {
            format!(
                "{}: could not {} the runner: {}",
                reached.name.host(one.there.host),
                work.word(),
                one.why()
            )
        })
        .collect();
    End::Refused(
        answer,
        Failure::new(Exit::Failed, lines.join("\n")).hint(hint(reached, work, heard)),
    )
}

/// Says what helps after a host did not do what it was asked for.
fn hint(reached: &Reached, work: &Work, heard: &[Heard]) -> String {
    let again = reached.command(&format!("runner {}", work.word()));
    let stage = heard.iter().find_map(|one| one.answer()?.stage.as_deref());
    let denied = heard
        .iter()
        .any(|one| matches!(one.said, Err(Unheard::Call(CallError::Denied { .. }))));
    match stage {
        _ if denied => {
            "the caller needs what `dataops-infra export iam-policy --for runner` prints".to_owned()
        }
        Some("drain") => format!("`{again}` goes on waiting; with --now running jobs are aborted"),
        Some("verify" | "poll" | "container") => format!("`{}` shows why", reached.command("runner logs")),
        _ => format!("`{again}` may be run again"),
    }
}

/// Checks a time as Docker takes it: a span or a moment.
fn since(text: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":.+-".contains(c);
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.len() <= 40 && text.chars().all(plain) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::BadInput,
        format!("--since {text}: expected a span such as 10m, or a time such as 2026-01-31T08:00:00Z"),
    ))
}

async fn logs(args: &LogsArgs, context: &Context) -> Result<End, Failure> {
    if let Some(text) = &args.since {
        since(text)?;
    }
    let reached = reach(&args.which, context, "runner logs").await?;
    if reached.record.spec.eks.is_some() {
        return runner_cluster::logs(&reached, args, context).await;
    }
    reached.all_run()?;
    let listening = Stop::listen(context);
    let first = Work::Logs {
        tail: Some(args.tail),
        since: args.since.clone(),
    };
    let mut heard = reached.ask_all(&reached.record, &first, &listening).await;
    readable(&reached, &heard)?;
    if !args.follow {
        return Ok(shown(&reached, &heard));
    }
    let many = reached.hosts.len() > 1;
    loop {
        for one in &heard {
            print(one, many, &reached, context)?;
        }
        tokio::select! {
            () = tokio::time::sleep(FOLLOW) => {}
            () = listening.asked() => return Ok(End::Raw(Vec::new())),
        }
        let more = heard.iter().map(|one| {
            let work = Work::Logs {
                // Where nothing was logged so far, what is new is in its last lines.
                tail: None,
                since: Some(one.answer().and_then(|said| said.last.clone()))
                    .flatten()
                    .or_else(|| Some("10s".to_owned())),
            };
            let (reached, listening) = (&reached, &listening);
            async move { reached.ask(&reached.record, &one.there, &work, listening).await }
        });
        let next = futures_util::future::join_all(more).await;
        if next
            .iter()
            .any(|one| matches!(one.said, Err(Unheard::Interrupted)))
        {
            return Ok(End::Raw(Vec::new()));
        }
        readable(&reached, &next)?;
        heard = next;
    }
}

/// Fails where a log cannot be read.
fn readable(reached: &Reached, heard: &[Heard]) -> Result<(), Failure> {
    let lines: Vec<String> = heard
        .iter()
        .filter(|one| !one.is_done())
        .map(|one| {
            format!(
                "{}: the log cannot be read: {}",
                reached.name.host(one.there.host),
                one.why()
            )
        })
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    let unchecked = heard
        .iter()
        .any(|one| matches!(&one.said, Err(Unheard::Call(error)) if error.is_unchecked()));
    let exit = if unchecked { Exit::Unknown } else { Exit::Failed };
    Err(Failure::new(exit, lines.join("\n")).hint(hint(
        reached,
        &Work::Logs {
            tail: None,
            since: None,
        },
        heard,
    )))
}

fn lines(heard: &Heard) -> &[String] {
    heard.said.as_ref().map_or(&[], |(_, lines)| lines)
}

fn shown(reached: &Reached, heard: &[Heard]) -> End {
    let many = heard.len() > 1;
    let mut page = Page::new();
    for one in heard {
        let name = reached.name.host(one.there.host);
        if many {
            page.heading(name.clone());
        }
        if one.answer().is_some_and(|said| said.cut == Some(true)) {
            page.text("Earlier lines are left out, because Run Command returns no more.");
        }
        page.verbatim(lines(one).iter().cloned());
    }
    let hosts: Vec<Value> = heard
        .iter()
        .map(|one| {
            let mut value = one.document();
            value["log"] = json!(lines(one));
            value
        })
        .collect();
    let document = json!({
        "schema": "dataops-infra/runner-logs/v1",
        "generated_by": generated_by(),
        "name": reached.name.as_str(),
        "region": reached.ground.region,
        "hosts": hosts,
    });
    End::Answer(Answer {
        document,
        page,
        exit: Exit::Done,
    })
}

/// Writes lines as they come; a reader that has gone ends it.
fn print(heard: &Heard, many: bool, reached: &Reached, context: &Context) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let name = reached.name.host(heard.there.host);
    for line in lines(heard) {
        let line = match context.format {
            Format::Json => json!({ "host": name, "line": line }).to_string(),
            _ if many => format!("{name}: {line}"),
            _ => line.clone(),
        };
        if let Err(error) = writeln!(stdout, "{line}") {
            return Err(Failure::new(Exit::Failed, "could not write to stdout").because(error));
        }
    }
    let _ = stdout.flush();
    Ok(())
}
