//! Run Command: a script on a host through Systems Manager, and what came of it.
//!
//! Statuses and their meaning:
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html>. Nothing secret may stand in a
//! script: Systems Manager keeps it. A script may run twice, because `SendCommand` knows no client token.

use std::time::Duration;

use aws_sdk_ssm::types::InstanceInformationStringFilter;
use tokio::time::{Instant, sleep};

use super::clients::Clients;
use super::error::{CallError, Refusal, classify};

/// Sends a script.
pub const SEND: &str = "ssm:SendCommand";
/// Reads how far it is, and what it said.
pub const INVOCATION: &str = "ssm:GetCommandInvocation";
/// Takes back one that was not begun.
pub const CANCEL: &str = "ssm:CancelCommand";
/// Asks whether a host's agent answers.
pub const INFORMATION: &str = "ssm:DescribeInstanceInformation";

/// Characters of standard output that the answer holds
/// (<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html>).
const MOST_OUTPUT: usize = 24_000;

/// What the agent writes where it cuts output.
const CUT: &str = "output truncated---";

/// Characters of a comment.
const MOST_COMMENT: usize = 100;

/// Seconds that a host has to take a command before somebody asks whether its agent answers.
const UNTAKEN: Duration = Duration::from_secs(10);

/// Longest time between two looks.
const LOOK: Duration = Duration::from_secs(3);

/// What a script left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub exit: i32,
    /// What it wrote.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// Whether the end of `stdout` is missing.
    pub cut: bool,
}

impl Output {
    /// Returns the last line with something in it, where our scripts put their answer; none of an output that was cut.
    pub fn last_line(&self) -> Option<&str> {
        let mut lines = self.stdout.lines().rev();
        lines.find(|line| !line.trim().is_empty()).filter(|_| !self.cut)
    }
}

/// How far a command is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The host has not taken it; with what Systems Manager calls that.
    Untaken(String),
    /// It runs.
    Running,
    /// The script ended by itself, well or not.
    Ended(Output),
    /// It did not run, or not to its end, in a sentence.
    Lost(String),
}

/// Runs a script on a host and waits for its end.
///
/// # Errors
///
/// `Refused` where the host cannot be asked, or did not run the script to its end; `Unreachable` where the script was
/// sent and nobody knows how it ends.
pub async fn run(
    clients: &Clients,
    instance: &str,
    script: &str,
    within: Duration,
) -> Result<Output, CallError> {
    let command = send(clients, instance, script, within, "dataops-infra").await?;
    wait(clients, instance, &command, within, |_| {}).await
}

/// Waits for the end of a command; `tell` hears what is seen meanwhile.
///
/// # Errors
///
/// As `run`.
pub async fn wait(
    clients: &Clients,
    instance: &str,
    command: &str,
    within: Duration,
    tell: impl Fn(&str),
) -> Result<Output, CallError> {
    let began = Instant::now();
    // Delivery, the script, and what Systems Manager takes to say so.
    let budget = within + Duration::from_mins(1);
    let mut pause = Duration::from_millis(200);
    let mut asked = false;
    let mut last = "nothing yet".to_owned();
    loop {
        match look(clients, instance, command).await {
            Ok(State::Ended(output)) => return Ok(output),
            Ok(State::Lost(cause)) => {
                return Err(CallError::Refused {
                    action: INVOCATION,
                    why: Refusal::Other,
                    cause,
                });
            }
            Ok(State::Running) => "the script runs".clone_into(&mut last),
            Ok(State::Untaken(status)) => {
                last = format!("the host has not taken the command yet ({status})");
                if began.elapsed() >= UNTAKEN && !asked {
                    asked = true;
                    if let Ok(Ping::Offline(why)) = ping(clients, instance).await {
                        // Or it would run whenever the agent comes back.
                        cancel(clients, instance, command).await;
                        return Err(CallError::Refused {
                            action: SEND,
                            why: Refusal::Other,
                            cause: why,
                        });
                    }
                }
            }
            // A look that fails is no evidence of anything.
            Err(error) if error.is_silence() || error.refusal() == Some(Refusal::Throttled) => {
                last = format!("{last} ({error})");
            }
            Err(error) => return Err(error),
        }
        if began.elapsed() >= budget {
            cancel(clients, instance, command).await;
            return Err(CallError::Unreachable {
                action: INVOCATION,
                cause: format!(
                    "no end of the script after {} s; last seen: {last}",
                    began.elapsed().as_secs()
                ),
            });
        }
        tell(&last);
        sleep(pause).await;
        pause = pause.mul_f64(1.5).min(LOOK);
    }
}

/// Sends a script; returns the id of the command.
///
/// # Errors
///
/// The call failed; a host that Systems Manager does not know is refused.
pub async fn send(
    clients: &Clients,
    instance: &str,
    script: &str,
    within: Duration,
    comment: &str,
) -> Result<String, CallError> {
    let answer = clients
        .ssm
        .send_command()
        .document_name("AWS-RunShellScript")
        .instance_ids(instance)
        .comment(comment.chars().take(MOST_COMMENT).collect::<String>())
        .parameters("commands", vec![script.to_owned()])
        .parameters("executionTimeout", vec![within.as_secs().max(1).to_string()])
        .send()
        .await
        .map_err(|error| explained(classify(SEND, &error), instance))?;
    let id = answer.command().and_then(|command| command.command_id());
    id.map(str::to_owned).ok_or_else(|| CallError::Malformed {
        action: SEND,
        cause: "a command without an id".to_owned(),
    })
}

/// Says what `InvalidInstanceId` means, which names neither reason nor remedy.
fn explained(error: CallError, instance: &str) -> CallError {
    match error {
        CallError::Refused { action, cause, .. } if cause.starts_with("InvalidInstanceId") => {
            CallError::Refused {
                action,
                // An agent registers some time after its host has started.
                why: Refusal::NotYet,
                cause: format!(
                    "Systems Manager cannot reach {instance}: it does not run, or its agent has not registered ({cause})"
                ),
            }
        }
        other => other,
    }
}

/// Looks how far a command is.
///
/// # Errors
///
/// The call failed; that there is no such invocation yet is no failure.
pub async fn look(clients: &Clients, instance: &str, command: &str) -> Result<State, CallError> {
    let answer = clients
        .ssm
        .get_command_invocation()
        .command_id(command)
        .instance_id(instance)
        .send()
        .await
        .map_err(|error| classify(INVOCATION, &error));
    let answer = match answer {
        Err(error) if error.refusal() == Some(Refusal::Missing) => {
            return Ok(State::Untaken("no such invocation yet".to_owned()));
        }
        other => other?,
    };
    Ok(state(
        answer.status().map_or("", |status| status.as_str()),
        answer.status_details().unwrap_or_default(),
        answer.response_code(),
        answer.standard_output_content().unwrap_or_default(),
        answer.standard_error_content().unwrap_or_default(),
    ))
}

/// Sorts what Systems Manager says; the details are finer than the status, and the emulator's may be empty.
fn state(status: &str, details: &str, exit: i32, stdout: &str, stderr: &str) -> State {
    let output = |exit| {
        let length = stdout.chars().count();
        let tail: String = stdout.chars().skip(length.saturating_sub(40)).collect();
        State::Ended(Output {
            exit,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
            cut: length >= MOST_OUTPUT || tail.trim_end().to_lowercase().ends_with(CUT),
        })
    };
    let finer: String = details.chars().filter(char::is_ascii_alphanumeric).collect();
    let lost = |why: &str| State::Lost(format!("the script did not run to its end: {why}"));
    match (status, finer.as_str()) {
        (_, "Undeliverable") => lost("Systems Manager could not deliver it (Undeliverable)"),
        (_, "Terminated") => {
            lost("Systems Manager gave up after too many errors of the same command (Terminated)")
        }
        (_, "DeliveryTimedOut") => lost("the host's agent did not take it in time (DeliveryTimedOut)"),
        (_, "ExecutionTimedOut") => lost("it took too long and was ended (ExecutionTimedOut)"),
        (_, "InvalidPlatform") => lost("the host is of another platform (InvalidPlatform)"),
        (_, "AccessDenied") => lost("the host's role may not take it (AccessDenied)"),
        ("Success", _) => output(0),
        // Without an exit code of its own the script never began.
        ("Failed", _) if exit > 0 => output(exit),
        ("Failed", _) => State::Lost(format!("the script could not be run: {}", short(stderr))),
        ("Pending" | "Delayed", _) => State::Untaken(status.to_owned()),
        ("InProgress" | "Cancelling", _) => State::Running,
        ("TimedOut", _) => lost("it took too long (TimedOut)"),
        ("Cancelled", _) => lost("somebody cancelled it (Cancelled)"),
        ("Undeliverable" | "Terminated", _) => lost(status),
        ("", _) => State::Untaken("no status".to_owned()),
        (other, _) => lost(&format!("its status is {other}")),
    }
}

fn short(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("no reason is given").trim();
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Takes a command back, as far as that still goes: whoever gives up does so either way.
pub async fn cancel(clients: &Clients, instance: &str, command: &str) {
    let _ = clients
        .ssm
        .cancel_command()
        .command_id(command)
        .instance_ids(instance)
        .send()
        .await;
}

/// Whether a host's agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ping {
    /// It does.
    Online,
    /// It does not, in a sentence.
    Offline(String),
}

/// Asks Systems Manager whether a host's agent answers.
///
/// # Errors
///
/// The call failed.
pub async fn ping(clients: &Clients, instance: &str) -> Result<Ping, CallError> {
    let filter = InstanceInformationStringFilter::builder()
        .key("InstanceIds")
        .values(instance)
        .build()
        .map_err(|error| CallError::Malformed {
            action: INFORMATION,
            cause: error.to_string(),
        })?;
    let answer = clients
        .ssm
        .describe_instance_information()
        .filters(filter)
        .send()
        .await
        .map_err(|error| classify(INFORMATION, &error))?;
    let Some(found) = answer.instance_information_list().first() else {
        return Ok(Ping::Offline(format!(
            "the agent of {instance} has not registered with Systems Manager"
        )));
    };
    let status = found.ping_status().map_or("unknown", |status| status.as_str());
    Ok(match status {
        "Online" => Ping::Online,
        other => {
            let last = found.last_ping_date_time().and_then(super::parameter::rfc3339);
            let last = last.map_or_else(String::new, |at| format!("; it was last heard at {at}"));
            Ping::Offline(format!(
                "the agent of {instance} does not answer (PingStatus {other}){last}"
            ))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(state: &State) -> Option<i32> {
        match state {
            State::Ended(output) => Some(output.exit),
            _ => None,
        }
    }

    #[test]
    fn statuses_are_told_apart() {
        let seen = |status: &str, details: &str, code: i32| state(status, details, code, "x\n{}\n", "y");
        assert_eq!(exit(&seen("Success", "Success", 0)), Some(0));
        assert_eq!(exit(&seen("Failed", "Failed", 7)), Some(7));
        assert!(matches!(seen("Failed", "Failed", -1), State::Lost(why) if why.contains(": y")));
        for details in [
            "Undeliverable",
            "Terminated",
            "Delivery Timed Out",
            "Execution Timed Out",
            "AccessDenied",
        ] {
            assert!(
                matches!(seen("TimedOut", details, -1), State::Lost(_)),
                "{details}"
            );
            assert!(matches!(seen("Failed", details, -1), State::Lost(_)), "{details}");
        }
        for status in ["Cancelled", "TimedOut", "Undeliverable", "Terminated", "Novel"] {
            assert!(matches!(seen(status, "", -1), State::Lost(_)), "{status}");
        }
        for status in ["Pending", "Delayed", ""] {
            assert!(matches!(seen(status, status, -1), State::Untaken(_)), "{status}");
        }
        for status in ["InProgress", "Cancelling"] {
            assert_eq!(seen(status, status, -1), State::Running, "{status}");
        }
    }

    #[test]
    fn output_that_was_cut_has_no_last_line() {
        let of = |stdout: &str| match state("Success", "Success", 0, stdout, "") {
            State::Ended(output) => output,
            other => panic!("{other:?}"),
        };
        assert_eq!(of("a\n{\"b\":1}\n\n").last_line(), Some("{\"b\":1}"));
        assert_eq!(of("").last_line(), None);
        let long = of(&"é".repeat(MOST_OUTPUT));
        assert!(long.cut && long.last_line().is_none());
        assert!(!of(&"é".repeat(MOST_OUTPUT - 1)).cut);
        assert!(of("a\n---Output truncated---").cut);
    }
}
