//! From the arguments to the exit code: parse, dispatch, print.

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind as Usage};
use clap::{CommandFactory as _, FromArgMatches as _};

use super::args::{Cli, Command};
use super::outcome::{Answer, Context, Ending, Exit, Failure, Format};
use super::{
    alarms, calibrate, catalog, completions, doctor, down, eks_token, explain, export, kubeconfig, man, plan,
    resize, rotate_token, runner, simulate, status, up, upgrade, workload,
};
use crate::render::log::{Log, Message};
use crate::render::style::Style;
use crate::render::{document, markdown, text};

/// Runs the program with the arguments as the system gave them, the program's name first.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let no_color = arguments.iter().any(|argument| argument == "--no-color");
    let cli = match parse(arguments.to_vec(), no_color) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, arguments),
    };
    let context = cli.global.resolve(|name| std::env::var(name).ok());
    let style = Style::of_stdout(cli.global.no_color);
    let log = context.log;
    match dispatch(&cli.command, &context) {
        Ending::Answer(answer) => match show(&answer, &context, style) {
            Ok(()) => code(answer.exit),
            Err(failure) => fail(&failure, log),
        },
        Ending::Raw(bytes) => match print(&bytes) {
            Ok(()) => code(Exit::Done),
            Err(failure) => fail(&failure, log),
        },
        Ending::Written(bytes, exit) => match print(&bytes) {
            Ok(()) => code(exit),
            Err(failure) => fail(&failure, log),
        },
        Ending::Refused(answer, refusal) => match show(&answer, &context, style) {
            Ok(()) => fail(&refusal, log),
            Err(failure) => fail(&failure, log),
        },
        Ending::Failed(failure) => fail(&failure, log),
    }
}

/// Calls the command.
fn dispatch(command: &Command, context: &Context) -> Ending {
    match command {
        Command::Plan(args) => plan::run(args, context),
        Command::Simulate(args) => simulate::run(args, context).into(),
        Command::Calibrate(args) => calibrate::run(args, context),
        Command::Workload(args) => workload::run(args, context),
        Command::Catalog(args) => catalog::run(args, context).into(),
        Command::Explain(args) => explain::run(args, context).into(),
        Command::Up(args) => up::run(args, context),
        Command::Status(args) => status::run(args, context),
        Command::Doctor(args) => doctor::run(args, context),
        Command::Alarms(args) => alarms::run(args, context),
        Command::Down(args) => down::run(args, context),
        Command::Runner(args) => runner::run(args, context),
        Command::Upgrade(args) => upgrade::run(args, context),
        Command::Resize(args) => resize::run(args, context),
        Command::RotateToken(args) => rotate_token::run(args, context),
        Command::Kubeconfig(args) => kubeconfig::run(args, context),
        Command::EksToken(args) => eks_token::run(args, context),
        Command::Export(args) => export::run(args, context),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}

/// Parses the arguments.
///
/// `up SERVICE` of a service that is refused answers with the reasons, whatever else was asked for: what follows
/// the service and is not known is left out, so that a script written for a later version learns the same.
fn parse(mut arguments: Vec<OsString>, no_color: bool) -> Result<Cli, clap::Error> {
    loop {
        let mut command = Cli::command();
        if no_color {
            command = command.color(clap::ColorChoice::Never);
        }
        let error = match command.try_get_matches_from(&arguments) {
            Ok(matches) => return Cli::from_arg_matches(&matches),
            Err(error) => error,
        };
        let unknown = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(unknown)) if error.kind() == Usage::UnknownArgument => unknown.clone(),
            _ => return Err(error),
        };
        let given = |argument: &OsString| {
            let argument = argument.to_string_lossy();
            match unknown.strip_prefix("--") {
                Some(_) => argument.split('=').next() == Some(unknown.as_str()),
                // One letter, perhaps among others behind the same dash.
                None => {
                    argument.starts_with('-')
                        && !argument.starts_with("--")
                        && argument.contains(unknown.trim_start_matches('-'))
                }
            }
        };
        match up::service_position(&arguments)
            .and_then(|from| Some(from + arguments[from..].iter().position(given)?))
        {
            Some(position) => arguments.remove(position),
            None => return Err(error),
        };
    }
}

/// Ends with help, the version, or what is wrong with the arguments.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let json = arguments
        .windows(2)
        .any(|pair| pair[0] == "--log-format" && pair[1] == "json")
        || arguments.iter().any(|argument| argument == "--log-format=json");
    if json && error.use_stderr() {
        let text = error.render().to_string();
        let message = text.split("\n\n").next().unwrap_or_default();
        let message = match error.kind() {
            // Its text would be the whole help.
            Usage::DisplayHelpOnMissingArgumentOrSubcommand => "no command is given".to_owned(),
            _ => message.strip_prefix("error: ").unwrap_or(message).to_owned(),
        };
        let log = Log { json, colour: false };
        log.say(&Message {
            level: "error",
            chain: &[message],
            hint: Some("dataops-infra --help"),
            exit_code: Some(Exit::BadInput as u8),
        });
    } else {
        // Nobody is left to tell when this fails: the reader has gone.
        let _ = error.print();
    }
    code(if error.use_stderr() {
        Exit::BadInput
    } else {
        Exit::Done
    })
}

/// Prints an answer in the format that was asked for.
fn show(answer: &Answer, context: &Context, style: Style) -> Result<(), Failure> {
    let text = match context.format {
        Format::Table => text::render(&answer.page, style),
        Format::Markdown => markdown::render(&answer.page),
        Format::Json => document::json(&answer.document),
        Format::Yaml => document::yaml(&answer.document).map_err(|error| {
            Failure::new(Exit::Failed, "could not write the answer as YAML").because(error)
        })?,
    };
    print(text.as_bytes())
}

/// Writes to stdout; a reader that has seen enough, such as `head`, is no failure.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, "could not write the answer to stdout").because(error))
        }
        _ => Ok(()),
    }
}

fn fail(failure: &Failure, log: Log) -> ExitCode {
    failure.print(log);
    code(failure.exit)
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}
