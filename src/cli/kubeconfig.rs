//! `dataops-infra kubeconfig`: how other programs reach the cluster of a deployment.

use std::path::PathBuf;

use super::deployment::args::WhichArgs;
use super::outcome::{Context, Ending};

const EXAMPLES: &str = "\
Examples:
  dataops-infra kubeconfig --name dataops-runner-london --region eu-west-2 --merge
  kubectl get pods
  dataops-infra kubeconfig --name dataops-runner-london > london.kubeconfig
  dataops-infra kubeconfig --name dataops-runner-london --to london.kubeconfig

There is no secret in it: whoever uses it signs in by `dataops-infra eks-token`
with AWS credentials of their own, and may do what the cluster lets them. Where
a file is there, --merge changes our entries and the current context, keeps
entries and comments of others, and leaves the former file beside it.

Exit codes: 0 done, 1 the file cannot be written, 2 wrong input, 3 refused: no
such deployment, none on EKS, a file that is there, 5 AWS could not be read.";

/// Arguments of `kubeconfig`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct KubeconfigArgs {
    /// Which deployment.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Write this file instead of stdout; one that is there is left alone without --merge.
    #[arg(long, value_name = "PATH")]
    pub to: Option<PathBuf>,
    /// Add to the file that is there [default: the first of KUBECONFIG, else ~/.kube/config].
    #[arg(long)]
    pub merge: bool,
}

/// Runs the command.
#[cfg(not(feature = "aws"))]
pub fn run(_args: &KubeconfigArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

/// Runs the command.
#[cfg(feature = "aws")]
pub fn run(args: &KubeconfigArgs, context: &Context) -> Ending {
    let login = super::deployment::calls::block_on(with_aws::login(args, context));
    match login.and_then(|login| with_aws::write(args, &login)) {
        Ok(ending) => ending,
        Err(failure) => Ending::Failed(failure),
    }
}

#[cfg(feature = "aws")]
mod with_aws {
    use std::path::{Path, PathBuf};

    use serde_json::json;

    use super::KubeconfigArgs;
    use crate::aws::eks::inside;
    use crate::aws::parameter;
    use crate::cli::deployment::calls::unreadable;
    use crate::cli::deployment::reach::one;
    use crate::cli::outcome::{Answer, Context, Ending, Exit, Failure, generated_by};
    use crate::domain::deployment::record::Record;
    use crate::kubernetes::kubeconfig::{self, Login, NotMerged, Written};
    use crate::render::page::Page;

    /// The schema's name.
    const SCHEMA: &str = "dataops-infra/kubeconfig/v1";

    /// Finds the cluster of the deployment.
    pub(super) async fn login(args: &KubeconfigArgs, context: &Context) -> Result<Login, Failure> {
        let (name, ground) = one(&args.which, context, "kubeconfig").await?;
        let asked = [name.record()];
        let read = parameter::read(&ground.clients, &asked, false)
            .await
            .map_err(|error| unreadable("the record of the deployment", error, "status"))?;
        let Some(read) = read.get(&asked[0]) else {
            return Err(Failure::new(
                Exit::Refused,
                format!("there is no deployment {name} in {}", ground.region),
            )
            .hint("dataops-infra status --all lists those of the region"));
        };
        let record = Record::read(&name, &read.value)
            .map_err(|error| Failure::new(Exit::Refused, error.to_string()))?;
        let Some(eks) = record.spec.eks.as_deref() else {
            return Err(Failure::new(
                Exit::Refused,
                format!("{name} runs on hosts of EC2; there is no cluster to reach"),
            )
            .hint(format!(
                "dataops-infra runner logs --name {name} shows what it logs"
            )));
        };
        let mut login = inside::login_of(&ground.clients, &eks.cluster, &ground.region)
            .await
            .map_err(|error| unreadable(&format!("the cluster {}", eks.cluster), error, "status"))?;
        login.namespace = Some(eks.namespace.clone());
        login.plugin = program(&login.plugin, std::env::var_os("PATH").as_deref());
        Ok(login)
    }

    /// Returns the program's name where PATH leads to it: a later version in its place is meant as well.
    pub(super) fn program(own: &Path, path: Option<&std::ffi::OsStr>) -> PathBuf {
        let own = std::fs::canonicalize(own).unwrap_or_else(|_| own.to_owned());
        let name = Path::new("dataops-infra");
        let first = path
            .into_iter()
            .flat_map(std::env::split_paths)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file());
        match first.and_then(|file| std::fs::canonicalize(file).ok()) {
            Some(found) if found == own => name.to_owned(),
            _ => own,
        }
    }

    /// Writes the file, or says what would be in it.
    pub(super) fn write(args: &KubeconfigArgs, login: &Login) -> Result<Ending, Failure> {
        let path = match (&args.to, args.merge) {
            (None, false) => return Ok(Ending::Raw(kubeconfig::blocks(login).into_bytes())),
            (Some(path), merge) => {
                if !merge && path.symlink_metadata().is_ok() {
                    return Err(Failure::new(
                        Exit::Refused,
                        format!("{} is there and was left alone", path.display()),
                    )
                    .hint("add --merge to add to it, or name another file"));
                }
                path.clone()
            }
            (None, true) => usual(
                std::env::var_os("KUBECONFIG").as_deref(),
                std::env::var_os("HOME").as_deref(),
            )
            .ok_or_else(|| {
                Failure::new(Exit::BadInput, "there is neither KUBECONFIG nor HOME")
                    .hint("name a file with --to")
            })?,
        };
        let written = kubeconfig::merge_into(&path, login).map_err(|error| match error {
            NotMerged::NoKubeconfig { .. } => Failure::new(Exit::Refused, error.to_string())
                .hint("the file was left alone; mend it, or name another one with --to"),
            NotMerged::Locked(ref lock) => {
                let hint = format!("if no other program is at work, remove {lock} and run the command again");
                Failure::new(Exit::Failed, error.to_string()).hint(hint)
            }
            NotMerged::Files { path, source } => {
                Failure::new(Exit::Failed, format!("{path} cannot be written")).because(source)
            }
        })?;
        Ok(Ending::Answer(answer(&path, login, &written)))
    }

    /// Returns the file that Kubernetes' clients write to.
    pub(super) fn usual(
        kubeconfig: Option<&std::ffi::OsStr>,
        home: Option<&std::ffi::OsStr>,
    ) -> Option<PathBuf> {
        let named = kubeconfig
            .into_iter()
            .flat_map(std::env::split_paths)
            .find(|path| !path.as_os_str().is_empty());
        named.or_else(|| {
            let home = home.filter(|home| !home.is_empty())?;
            Some(Path::new(home).join(".kube/config"))
        })
    }

    fn answer(path: &Path, login: &Login, written: &Written) -> Answer {
        let (word, backup, anew) = match written {
            Written::Unchanged => ("unchanged", None, false),
            Written::Made => ("made", None, false),
            Written::Changed { backup, anew } => ("changed", Some(backup.display().to_string()), *anew),
        };
        let mut page = Page::new();
        let name = login.name();
        page.text(match word {
            "unchanged" => format!("{} has the context {name} already.", path.display()),
            _ => format!("{} was {word}: its current context is {name}.", path.display()),
        });
        if let Some(backup) = &backup {
            page.text(format!("The former file is {backup}"));
        }
        if anew {
            page.text(
                "It was not written in blocks, so it was written anew; comments are in the former one.",
            );
        }
        Answer {
            document: json!({
                "schema": SCHEMA,
                "generated_by": generated_by(),
                "file": path.display().to_string(),
                "result": word,
                "context": name,
                "cluster": login.cluster,
                "region": login.region,
                "namespace": login.namespace,
                "backup": backup,
                "written_anew": anew,
            }),
            page,
            exit: Exit::Done,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_usual_file_is_that_of_kubectl() {
            let of = |config: Option<&str>, home: Option<&str>| {
                usual(config.map(std::ffi::OsStr::new), home.map(std::ffi::OsStr::new))
            };
            assert_eq!(of(Some("/a:/b"), Some("/h")), Some(PathBuf::from("/a")));
            assert_eq!(of(Some(":/b"), Some("/h")), Some(PathBuf::from("/b")));
            assert_eq!(of(Some(""), Some("/h")), Some(PathBuf::from("/h/.kube/config")));
            assert_eq!(of(None, None), None);
        }

        #[test]
        fn the_plugin_is_named_where_path_leads_to_it() {
            let folder = tempfile::tempdir().expect("a folder");
            let own = folder.path().join("dataops-infra");
            std::fs::write(&own, "").expect("written");
            let path = folder.path().as_os_str();
            assert_eq!(program(&own, Some(path)), PathBuf::from("dataops-infra"));
            let other = folder.path().join("other");
            std::fs::write(&other, "").expect("written");
            let other = std::fs::canonicalize(other).expect("there");
            assert_eq!(program(&other, Some(path)), other);
            assert_eq!(program(&other, None), other);
        }
    }
}
