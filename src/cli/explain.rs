//! `dataops-infra explain`.

use serde_json::json;

use super::outcome::{Answer, Context, Exit, Failure, Outcome, generated_by};
use crate::domain::explain::{self, Basis, RUNNER, SERVICES, Service, Standing, Statement};
use crate::render::page::{Page, Table};

const EXAMPLES: &str = "\
Examples:
  dataops-infra explain
  dataops-infra explain fargate
  dataops-infra explain eks --output markdown > why-eks.md";

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// The service, such as ecs, fargate, app-runner, batch, lambda, beanstalk, ec2 or eks; all are listed without it.
    pub service: Option<String>,
}

/// Runs the command.
pub fn run(args: &ExplainArgs, _context: &Context) -> Outcome {
    match &args.service {
        None => Ok(index()),
        Some(name) => find(name).map(explanation),
    }
}

/// Returns the service, or a failure that names the nearest one.
pub(super) fn find(name: &str) -> Result<&'static Service, Failure> {
    explain::find(name).ok_or_else(|| {
        let known: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
        let message = format!("unknown service '{name}': expected one of {}", known.join(", "));
        let failure = Failure::new(Exit::BadInput, message);
        match explain::nearest(name) {
            Some(nearest) => failure.hint(format!(
                "did you mean '{nearest}'? Try: dataops-infra explain {nearest}"
            )),
            None => failure.hint("dataops-infra explain"),
        }
    })
}

/// Returns all services in a table.
fn index() -> Answer {
    let mut table = Table::new(&["service", "standing", "verdict"]);
    for service in SERVICES {
        table.row([service.name, word(service.standing), service.verdict]);
    }
    let mut page = Page::new();
    page.table(table)
        .text("More about one of them: dataops-infra explain SERVICE");
    let services: Vec<_> = SERVICES
        .iter()
        .map(|service| {
            json!({
                "service": service.name,
                "title": service.title,
                "aliases": service.aliases,
                "standing": service.standing,
                "verdict": service.verdict,
            })
        })
        .collect();
    Answer {
        document: json!({
            "schema": "dataops-infra/explanations/v1",
            "generated_by": generated_by(),
            "services": services,
        }),
        page,
        exit: Exit::Done,
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Supported => "supported",
        Standing::Limited => "limited",
        Standing::Refused => "refused",
    }
}

/// Returns what is known about a service.
pub(super) fn explanation(service: &Service) -> Answer {
    Answer {
        document: json!({
            "schema": "dataops-infra/explanation/v1",
            "generated_by": generated_by(),
            "service": service.name,
            "title": service.title,
            "aliases": service.aliases,
            "standing": service.standing,
            "verdict": service.verdict,
            "runner": RUNNER,
            "in_its_terms": service.in_its_terms,
            "reasons": service.reasons,
            "cases": service.cases,
            "costs": service.costs,
            "next": service.next,
            "would_change": service.would_change,
        }),
        page: page(service),
        exit: Exit::Done,
    }
}

/// Pages cited, in the order of their first use.
#[derive(Default)]
struct Sources(Vec<&'static str>);

impl Sources {
    /// Returns a statement with what it rests on: `… [vendor 1, 2]`.
    fn cite(&mut self, statement: &Statement) -> String {
        let numbers: Vec<String> = statement
            .sources
            .iter()
            .map(|source| {
                let known = self.0.iter().position(|known| known == source);
                let position = known.unwrap_or_else(|| {
                    self.0.push(source);
                    self.0.len() - 1
                });
                (position + 1).to_string()
            })
            .collect();
        let basis = match statement.basis {
            Basis::Vendor => "vendor",
            Basis::Document => "document",
            Basis::Derived => "derived",
        };
        format!("{} [{basis} {}]", statement.text, numbers.join(", "))
    }

    fn cite_all(&mut self, statements: &[Statement]) -> Vec<String> {
        statements.iter().map(|statement| self.cite(statement)).collect()
    }
}

fn page(service: &Service) -> Page {
    let supported = service.standing == Standing::Supported;
    let mut sources = Sources::default();
    let mut page = Page::new();
    page.heading(format!("{}: {}", service.title, word(service.standing)))
        .text(service.verdict)
        .heading("What the runner is")
        .text(RUNNER)
        .text(format!("In terms of {}: {}", service.title, service.in_its_terms))
        .heading(if supported { "When it fits" } else { "Why not" })
        .bullets(sources.cite_all(service.reasons));
    for case in service.cases {
        page.heading(format!("{}: {}", case.name, word(case.standing)))
            .text(case.summary)
            .bullets(sources.cite_all(case.statements));
        if !case.settings.is_empty() {
            page.pairs(case.settings.iter().map(|setting| (setting.key, setting.value)));
        }
    }
    if !service.costs.is_empty() {
        page.heading("What it costs")
            .bullets(sources.cite_all(service.costs));
    }
    page.heading(if supported { "Next" } else { "What to use" })
        .text(format!("{}: {}.", service.next.target, service.next.why))
        .verbatim([format!("  {}", service.next.command)]);
    if !service.would_change.is_empty() {
        page.heading("What would have to change")
            .bullets(service.would_change.iter().copied());
    }
    page.heading("Sources")
        .text("vendor: DataOps.live says so; document: another public page says so; derived: it follows from them.")
        .pairs(
            sources
                .0
                .iter()
                .enumerate()
                .map(|(n, source)| ((n + 1).to_string(), *source)),
        );
    page
}
