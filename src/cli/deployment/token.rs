//! Reads the runner's token from where the user keeps it; it is never an argument.

use std::io::Read as _;

use crate::cli::outcome::{Exit, Failure};
use crate::domain::deployment::secret::Secret;
use crate::domain::deployment::spec::{SecretRef, Token};
use crate::domain::settings::{Settings, TokenSource};

/// Environment variable with the token, when nothing else is said.
const VARIABLE: &str = "DATAOPS_INFRA_TOKEN";

/// Longest token; GitLab's have some dozens of characters.
const LONGEST: usize = 1024;

/// Returns where the token will be, and the token where it is given.
///
/// `stdin` says that standard input holds it.
///
/// # Errors
///
/// It cannot be read, or it is none.
pub fn token(settings: &Settings, stdin: bool) -> Result<(Token, Option<Secret>), Failure> {
    if stdin {
        let mut bytes = Vec::new();
        std::io::stdin()
            .take(LONGEST as u64 + 16)
            .read_to_end(&mut bytes)
            .map_err(|error| {
                Failure::new(Exit::BadInput, "cannot read the token from standard input").because(error)
            })?;
        return Ok((Token::Ours, Some(checked(&bytes, "standard input")?)));
    }
    match &settings.token {
        Some(TokenSource::Parameter(name)) => Ok((Token::Theirs(SecretRef::Parameter(name.clone())), None)),
        Some(TokenSource::Secret(name)) => Ok((Token::Theirs(SecretRef::Secret(name.clone())), None)),
        Some(TokenSource::File(path)) => {
            let shown = path.display().to_string();
            let bytes = std::fs::read(path).map_err(|error| {
                Failure::new(Exit::BadInput, format!("cannot read the token from {shown}")).because(error)
            })?;
            Ok((Token::Ours, Some(checked(&bytes, &shown)?)))
        }
        Some(TokenSource::Environment(name)) => {
            let text = std::env::var(name).map_err(|_| {
                Failure::new(
                    Exit::BadInput,
                    format!("the environment variable {name}, which the token is in, is not set"),
                )
            })?;
            Ok((Token::Ours, Some(checked(text.as_bytes(), name)?)))
        }
        None => match std::env::var(VARIABLE) {
            Ok(text) if !text.trim().is_empty() => {
                Ok((Token::Ours, Some(checked(text.as_bytes(), VARIABLE)?)))
            }
            _ => Ok((Token::Ours, None)),
        },
    }
}

fn checked(bytes: &[u8], source: &str) -> Result<Secret, Failure> {
    let wrong = |why: &str| {
        Err(Failure::new(
            Exit::BadInput,
            format!("the token in {source} cannot be used: {why}"),
        ))
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return wrong("it is no text");
    };
    let secret = Secret::new(text);
    if secret.is_empty() {
        return wrong("it is empty");
    }
    if secret.reveal().len() > LONGEST {
        return wrong("it is longer than any token");
    }
    if secret
        .reveal()
        .chars()
        .any(|c| c.is_whitespace() || c.is_control())
    {
        return wrong("there is white space in it; expected the token alone");
    }
    Ok(secret)
}
