//! `doctor --on-host`: the same facts, gathered here, without AWS.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{DoctorArgs, Tried, answer, consent};
use crate::cli::outcome::{Answer, Context, Failure};
use crate::domain::doctor::check::{Check, Subject};
use crate::domain::doctor::code::{Area, Code};
use crate::domain::doctor::facts::{self, HostFacts};
use crate::domain::doctor::fix::Fix;
use crate::domain::doctor::scene::{Scene, Wanted};
use crate::domain::doctor::{host, runner};

/// Seconds that the program may take beyond what each fact may.
const MORE: u64 = 5;

pub(super) fn run(args: &DoctorArgs, codes: &BTreeSet<Code>, context: &Context) -> Result<Answer, Failure> {
    let (checks, agent) = look(args, codes);
    let fixes: BTreeSet<Fix> = checks.iter().filter_map(|check| check.fix).collect();
    let fixes: Vec<Fix> = fixes
        .into_iter()
        .filter(|fix| fix.shell(&agent).is_some())
        .collect();
    let heading = "Checks on this host";
    if !args.fix || fixes.is_empty() {
        return Ok(answer(&checks, &[], heading));
    }
    let shown: Vec<(String, String)> = fixes
        .iter()
        .map(|fix| {
            (
                "here".to_owned(),
                format!("{} ({})", fix.says(), fix.shell(&agent).unwrap_or_default()),
            )
        })
        .collect();
    consent(&shown, args, context)?;
    let tried: Vec<Tried> = fixes
        .iter()
        .map(|fix| Tried {
            place: "here".to_owned(),
            says: fix.says().to_owned(),
            error: mend(&fix.shell(&agent).unwrap_or_default(), args.timeout).err(),
        })
        .collect();
    let (checks, _) = look(args, codes);
    Ok(answer(&checks, &tried, heading))
}

/// Makes all checks of a host that need no AWS; also returns the name of the runner.
fn look(args: &DoctorArgs, codes: &BTreeSet<Code>) -> (Vec<Check>, String) {
    let ours = |code: &Code| {
        let here = matches!(code.area(), Area::Host | Area::Runner | Area::Leftover)
            && !matches!(code, Code::HostReachable | Code::LeftoverAws);
        here && codes.contains(code)
    };
    match gather(args) {
        Ok(facts) => {
            let told = facts.wanted.known().cloned().unwrap_or_default();
            let scene = Scene {
                subject: Subject {
                    deployment: told.deployment.clone(),
                    ..Subject::default()
                },
                wanted: Wanted::of_host(&told),
                ..Scene::default()
            };
            let mut checks = host::checks(&scene, &facts);
            checks.extend(runner::checks(&scene, &facts));
            host::not_yet(&scene, &facts, &mut checks);
            checks.retain(|check| ours(&check.code));
            checks.sort_by_key(|check| check.code);
            (checks, told.agent)
        }
        Err(why) => {
            let unknown = |code: &Code| Check::unknown(*code, why.clone());
            (
                Code::ALL.iter().filter(|code| ours(code)).map(unknown).collect(),
                String::new(),
            )
        }
    }
}

fn gather(args: &DoctorArgs) -> Result<HostFacts, String> {
    let mut question = facts::question(args.timeout, None);
    if let Some(root) = &args.root {
        question["root"] = root.display().to_string().into();
    }
    let mut command = Command::new("python3");
    command.args(["-", &question.to_string()]);
    let (ended, stdout, stderr) = ended(command, facts::PROGRAM, args.timeout + MORE)
        .map_err(|error| format!("python3 cannot be run: {error}"))?;
    let Some(_) = ended else {
        return Err(format!("did not answer within {} s", args.timeout + MORE));
    };
    facts::read(&stdout).map_err(|why| {
        let complaint = stderr.lines().rev().find(|line| !line.trim().is_empty());
        complaint.map_or(why.clone(), |line| format!("{why} ({})", line.trim()))
    })
}

/// Runs a command with something to read; none instead of its exit code where it took too long and was ended.
fn ended(mut command: Command, input: &str, within: u64) -> std::io::Result<(Option<i32>, String, String)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take();
    let input = input.to_owned();
    std::thread::spawn(move || {
        // Who does not read to the end has its reasons.
        stdin.map(|mut stdin| stdin.write_all(input.as_bytes()))
    });
    let reading = [drain(child.stdout.take()), drain(child.stderr.take())];
    let code = wait(&mut child, Duration::from_secs(within))?;
    if code.is_none() {
        let _ = child.kill();
        let _ = child.wait();
        return Ok((None, String::new(), String::new()));
    }
    let mut texts = reading.map(|thread| thread.join().unwrap_or_default());
    let stderr = std::mem::take(&mut texts[1]);
    Ok((code, std::mem::take(&mut texts[0]), stderr))
}

fn drain(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(4_000_000).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, within: Duration) -> std::io::Result<Option<i32>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code().unwrap_or(-1)));
        }
        if began.elapsed() > within {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn mend(shell: &str, within: u64) -> Result<(), String> {
    let mut command = Command::new("sh");
    command.args(["-c", shell]);
    match ended(command, "", within.max(60)) {
        Ok((Some(0), ..)) => Ok(()),
        Ok((Some(code), _, stderr)) => {
            let line = stderr.lines().rev().find(|line| !line.trim().is_empty());
            Err(format!(
                "exit code {code}: {}",
                line.unwrap_or("no reason is given").trim()
            ))
        }
        Ok((None, ..)) => Err("it took too long".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
