//! From options and file to the deployments that are meant.

use std::path::{Path, PathBuf};

use super::args::WhichArgs;
use crate::cli::outcome::{Context, Exit, Failure};
use crate::domain::deployment::name::Name;
use crate::domain::settings::{self, Settings};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "dataops-infra.yaml";

/// A deployment that is meant: its name, where, and what the user said of it.
#[derive(Clone, Debug)]
pub struct Meant {
    /// Its name.
    pub name: Name,
    /// Its region; none: AWS' own files say.
    pub region: Option<String>,
    /// AWS profile.
    pub profile: Option<String>,
    /// What the user said.
    pub settings: Settings,
}

/// Reads the file that is named, or the one in the working directory.
///
/// # Errors
///
/// It cannot be read, or it is wrong.
pub fn file(which: &WhichArgs) -> Result<Option<(PathBuf, Vec<Settings>)>, Failure> {
    let (path, named) = match &which.file {
        Some(path) => (path.clone(), true),
        None => (PathBuf::from(DEFAULT_FILE), false),
    };
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => return Ok(None),
        Err(error) => {
            return Err(
                Failure::new(Exit::BadInput, format!("cannot read {}", path.display())).because(error),
            );
        }
    };
    let shown = path.display().to_string();
    let all = settings::parse_bytes(&bytes, &shown).map_err(|errors| {
        let count = errors.problems.len();
        let lines: Vec<String> = errors.problems.iter().map(ToString::to_string).collect();
        Failure::new(Exit::BadInput, lines.join("\n")).hint(format!(
            "{count} {} in {shown}; nothing was done",
            if count == 1 { "problem" } else { "problems" }
        ))
    })?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let all = all
        .into_iter()
        .map(|settings| settings.resolved_against(&folder))
        .collect();
    Ok(Some((path, all)))
}

/// Returns the deployments that are meant; flags win over the file, and the file over the environment.
///
/// A region of the file wins over `AWS_REGION`: a file for several regions would else make all of them in one.
///
/// # Errors
///
/// None is named, the name is not in the file that was named, or what is said of one contradicts itself.
pub fn select(
    which: &WhichArgs,
    flags: &Settings,
    context: &Context,
    command: &str,
) -> Result<Vec<Meant>, Failure> {
    let read = file(which)?;
    let chosen: Vec<Settings> = match (&read, &which.name) {
        (None, None) => {
            return Err(Failure::new(
                Exit::BadInput,
                format!("no deployment is named, and there is no {DEFAULT_FILE}"),
            )
            .hint(format!("dataops-infra {command} --name dataops-runner-london")));
        }
        (None, Some(_)) => vec![flags.clone()],
        (Some((_, all)), None) => all.iter().map(|one| flags.clone().over(one.clone())).collect(),
        (Some((path, all)), Some(name)) => {
            let fits: Vec<Settings> = all
                .iter()
                .filter(|one| one.name.as_deref() == Some(name.as_str()))
                .map(|one| flags.clone().over(one.clone()))
                .collect();
            if fits.is_empty() && which.file.is_some() {
                let names: Vec<&str> = all.iter().filter_map(|one| one.name.as_deref()).collect();
                return Err(Failure::new(
                    Exit::BadInput,
                    format!(
                        "{} has no deployment {name}; it has {}",
                        path.display(),
                        names.join(", ")
                    ),
                ));
            }
            if fits.is_empty() {
                vec![flags.clone()]
            } else {
                fits
            }
        }
    };
    chosen
        .into_iter()
        .map(|settings| meant(settings, context))
        .collect()
}

fn meant(settings: Settings, context: &Context) -> Result<Meant, Failure> {
    let found = settings::contradictions(&settings);
    if !found.is_empty() {
        let lines: Vec<String> = found
            .iter()
            .map(|one| format!("{}; expected {}", one.message, one.expected))
            .collect();
        return Err(Failure::new(Exit::BadInput, lines.join("\n")));
    }
    let Some(name) = &settings.name else {
        return Err(
            Failure::new(Exit::BadInput, "the deployment in the file has no name")
                .hint("add `name:` or --name"),
        );
    };
    let name = Name::new(name).map_err(|error| Failure::new(Exit::BadInput, error.to_string()))?;
    Ok(Meant {
        region: settings.region.clone().or_else(|| context.region.clone()),
        profile: settings.profile.clone().or_else(|| context.aws_profile.clone()),
        name,
        settings,
    })
}
