//! `dataops-infra eks-token`: the login to a cluster, for programs.

use super::outcome::{Context, Ending};

const EXAMPLES: &str = "\
Examples:
  dataops-infra eks-token --cluster-name dataops-runner-london --region eu-west-2
  kubectl get pods          runs it, once `dataops-infra kubeconfig` has been run

The answer is an ExecCredential of client.authentication.k8s.io/v1beta1, the
same that `aws eks get-token` prints, so that no AWS CLI is needed. Nothing is
called: the token is signed with the credentials that all commands use. It is a
secret for a quarter of an hour, and goes to stdout and nowhere else.

Exit codes: 0 done, 2 wrong input, 5 there are no AWS credentials.";

/// Arguments of `eks-token`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct EksTokenArgs {
    /// Name of the cluster in EKS.
    #[arg(long, value_name = "CLUSTER")]
    pub cluster_name: String,
}

/// Runs the command.
#[cfg(not(feature = "aws"))]
pub fn run(_args: &EksTokenArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

/// Runs the command.
#[cfg(feature = "aws")]
pub fn run(args: &EksTokenArgs, context: &Context) -> Ending {
    use super::deployment::calls::{block_on, ground, unreadable};
    use super::outcome::{Exit, Failure};
    use crate::aws::eks::inside::token;
    use crate::kubernetes::login::exec_credential;

    let name = &args.cluster_name;
    // EKS's own rule (https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html).
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 100 || !name.chars().all(sound) {
        return Ending::Failed(Failure::new(
            Exit::BadInput,
            "`--cluster-name` is no name of a cluster in EKS: letters, digits, hyphens and underscores",
        ));
    }
    let asked = block_on(async {
        let ground = ground(context.region.as_deref(), context.aws_profile.as_deref(), context).await?;
        let at = std::time::SystemTime::now();
        let credentials = ground.clients.credentials.as_ref();
        let token = token(credentials, name, &ground.region, at)
            .await
            .map_err(|error| unreadable("the AWS credentials", error, "eks-token"))?;
        Ok(exec_credential(&token, at))
    });
    match asked {
        Ok(credential) => Ending::Raw(format!("{credential}\n").into_bytes()),
        Err(failure) => Ending::Failed(failure),
    }
}
