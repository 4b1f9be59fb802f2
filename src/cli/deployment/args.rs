//! The options that describe a deployment.

use std::path::PathBuf;

use crate::cli::outcome::{Context, Exit, Failure};
use crate::cli::question::{QuestionArgs, TargetArg};
use crate::domain::settings::Settings;

/// Which deployments are meant.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Deployment")]
pub struct WhichArgs {
    /// Name of the deployment: the runner's name and its tag.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// File with one or many deployments [default: dataops-infra.yaml, if it is there].
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// The options of `up` and `plan --live`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Deployment")]
pub struct DeploymentArgs {
    /// Type of the hosts instead of the recommended one.
    #[arg(long, value_name = "TYPE")]
    pub instance_type: Option<String>,
    /// Number of hosts instead of the recommended one.
    #[arg(long, value_name = "N")]
    pub count: Option<String>,
    /// Jobs at once on each host instead of the recommended number.
    #[arg(long, value_name = "N")]
    pub concurrency: Option<String>,
    /// Size of each root volume instead of the recommended one.
    #[arg(long, value_name = "GIB")]
    pub disk_gib: Option<String>,
    /// Type to fall back to where AWS has no capacity; may be repeated.
    #[arg(long, value_name = "TYPE")]
    pub fallback_type: Vec<String>,
    /// VPC [default: the default VPC].
    #[arg(long, value_name = "VPC")]
    pub vpc: Option<String>,
    /// Subnets, in the order they are tried [default: those of the VPC].
    #[arg(long, value_name = "SUBNET", value_delimiter = ',')]
    pub subnets: Vec<String>,
    /// Zones that subnets may be in.
    #[arg(long, value_name = "ZONE", value_delimiter = ',')]
    pub zones: Vec<String>,
    /// Whether hosts get a public address [default: as the subnet says].
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub public_address: Option<String>,
    /// Image of the hosts.
    #[arg(long, value_name = "AMI")]
    pub ami: Option<String>,
    /// SSM parameter with the image [default: Canonical's of Ubuntu 24.04].
    #[arg(long, value_name = "PARAMETER")]
    pub ami_parameter: Option<String>,
    /// Key that volumes and the token are encrypted with [default: the account's].
    #[arg(long, value_name = "KEY")]
    pub kms_key: Option<String>,
    /// File with the runner's token; - for standard input [env: DATAOPS_INFRA_TOKEN holds the token itself].
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Environment variable with the runner's token.
    #[arg(long, value_name = "VARIABLE")]
    pub token_env: Option<String>,
    /// SSM parameter of yours with the runner's token.
    #[arg(long, value_name = "PARAMETER")]
    pub token_parameter: Option<String>,
    /// Secret of yours in Secrets Manager with the runner's token.
    #[arg(long, value_name = "SECRET")]
    pub token_secret: Option<String>,
    /// SSM parameter with the registry's login: {"username": …, "password": …}.
    #[arg(long, value_name = "PARAMETER")]
    pub registry_parameter: Option<String>,
    /// Secret in Secrets Manager with the registry's login.
    #[arg(long, value_name = "SECRET")]
    pub registry_secret: Option<String>,
    /// Address of the platform [default: app.dataops.live, over https].
    #[arg(long, value_name = "URL")]
    pub platform_url: Option<String>,
    /// Image of the runner [default: dataopslive/dataops-runner].
    #[arg(long, value_name = "IMAGE")]
    pub runner_image: Option<String>,
    /// Tag of the runner's image: latest, latest-next or another [default: latest].
    #[arg(long, value_name = "TAG")]
    pub channel: Option<String>,
    /// Where Docker comes from: docker (its own packages) or distribution.
    #[arg(long, value_name = "docker|distribution")]
    pub docker_packages: Option<String>,
    /// Mirror of Docker's package archive.
    #[arg(long, value_name = "URL")]
    pub docker_mirror: Option<String>,
    /// Mirror of Docker Hub; may be repeated.
    #[arg(long, value_name = "URL")]
    pub registry_mirror: Vec<String>,
    /// HTTP proxy of the hosts.
    #[arg(long, value_name = "URL")]
    pub http_proxy: Option<String>,
    /// File with certificates (PEM) that the hosts trust besides.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Topic of yours that alarms go to [default: one is made].
    #[arg(long, value_name = "ARN")]
    pub topic: Option<String>,
    /// Who is told of alarms: an e-mail or https address; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub notify: Vec<String>,
    /// Protect the hosts from being terminated.
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub termination_protection: Option<String>,
    /// Days that logs are kept [default: 30].
    #[arg(long, value_name = "DAYS")]
    pub log_retention_days: Option<String>,
    /// Lease: `down --expired` may remove the deployment after this time, such as 90m, 4h or 7d.
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<String>,
    /// Tag on everything that is made; may be repeated.
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub tags: Vec<String>,
    /// The cluster.
    #[command(flatten)]
    pub eks: EksArgs,
}

/// The options of a cluster.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "EKS")]
pub struct EksArgs {
    /// A cluster that exists, to be adopted [default: one is made].
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Version of Kubernetes of a cluster that is made [default: EKS's own, of those in standard support].
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Option<String>,
    /// Nodes at least instead of the recommended number.
    #[arg(long, value_name = "N")]
    pub min_nodes: Option<String>,
    /// Nodes at most instead of the recommended number.
    #[arg(long, value_name = "N")]
    pub max_nodes: Option<String>,
    /// Whether the API server can be reached from outside of the VPC [default: true].
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub public_endpoint: Option<String>,
    /// Range that may reach the API server from outside; may be repeated [default: all].
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub public_cidr: Vec<String>,
    /// Log of the control plane that is kept: api, audit, authenticator, controllerManager, scheduler; may be repeated.
    #[arg(long, value_name = "LOG", value_delimiter = ',')]
    pub cluster_log: Vec<String>,
    /// Key that secrets in the cluster are encrypted with; cannot be changed [default: EKS's own].
    #[arg(long, value_name = "KEY")]
    pub secrets_key: Option<String>,
    /// Role or user that may do everything in the cluster, besides you; may be repeated.
    #[arg(long, value_name = "ARN")]
    pub admin: Vec<String>,
    /// Who adds and takes away nodes [default: cluster-autoscaler, none where
    /// the number is fixed, cluster in Auto Mode].
    #[arg(long, value_name = "none|cluster-autoscaler|cluster")]
    pub autoscaler: Option<String>,
    /// File system of EFS for caches [default: one is made].
    #[arg(long, value_name = "FS")]
    pub file_system: Option<String>,
    /// How volumes come to be on the file system [default: static].
    #[arg(long, value_name = "static|dynamic|none")]
    pub storage: Option<String>,
    /// Namespace of the release [default: the deployment's name].
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Repository of the vendor's chart, https or oci.
    #[arg(long, value_name = "URL")]
    pub chart_repository: Option<String>,
    /// The vendor's chart: its name in the repository, or a folder or archive.
    #[arg(long, value_name = "CHART")]
    pub chart: Option<String>,
    /// Version of the chart [default: the newest, or the one in the path].
    #[arg(long, value_name = "VERSION")]
    pub chart_version: Option<String>,
    /// Secret in the namespace with vault.yml and vault.salt [default: the chart makes one].
    #[arg(long, value_name = "SECRET")]
    pub vault_secret: Option<String>,
    /// Policy that job pods have; may be repeated.
    #[arg(long, value_name = "ARN")]
    pub job_policy: Vec<String>,
}

impl EksArgs {
    /// Returns the options that have one value: key, flag and value.
    fn single(&self) -> [(&'static str, &'static str, Option<&String>); 13] {
        [
            ("eks.cluster", "--cluster", self.cluster.as_ref()),
            (
                "eks.version",
                "--kubernetes-version",
                self.kubernetes_version.as_ref(),
            ),
            ("eks.min_nodes", "--min-nodes", self.min_nodes.as_ref()),
            ("eks.max_nodes", "--max-nodes", self.max_nodes.as_ref()),
            (
                "eks.public_endpoint",
                "--public-endpoint",
                self.public_endpoint.as_ref(),
            ),
            ("eks.secrets_key", "--secrets-key", self.secrets_key.as_ref()),
            ("eks.autoscaler", "--autoscaler", self.autoscaler.as_ref()),
            ("eks.file_system", "--file-system", self.file_system.as_ref()),
            ("eks.storage", "--storage", self.storage.as_ref()),
            ("eks.namespace", "--namespace", self.namespace.as_ref()),
            (
                "eks.chart_repository",
                "--chart-repository",
                self.chart_repository.as_ref(),
            ),
            ("eks.chart", "--chart", self.chart.as_ref()),
            (
                "eks.chart_version",
                "--chart-version",
                self.chart_version.as_ref(),
            ),
        ]
    }

    /// Returns the options that may be repeated: key, flag and values.
    fn several(&self) -> [(&'static str, &'static str, &[String]); 4] {
        [
            ("eks.public_cidrs", "--public-cidr", &self.public_cidr),
            ("eks.log_types", "--cluster-log", &self.cluster_log),
            ("eks.admins", "--admin", &self.admin),
            ("eks.job_policies", "--job-policy", &self.job_policy),
        ]
    }
}

impl DeploymentArgs {
    /// Returns the options as settings.
    ///
    /// # Errors
    ///
    /// An option has a value that it cannot have.
    pub fn settings(
        &self,
        which: &WhichArgs,
        question: &QuestionArgs,
        context: &Context,
    ) -> Result<Settings, Failure> {
        let mut settings = Settings::default();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let token_file = path(&self.token_file).filter(|file| file != "-");
        let ca_file = path(&self.ca_file);
        let target = question.target.map(TargetArg::word).map(str::to_owned);
        let single: [(&str, &str, Option<&String>); 33] = [
            ("target", "--target", target.as_ref()),
            (
                "eks.vault_secret",
                "--vault-secret",
                self.eks.vault_secret.as_ref(),
            ),
            ("name", "--name", which.name.as_ref()),
            ("region", "--region", context.region_flag.as_ref()),
            ("profile", "--profile", context.profile_flag.as_ref()),
            ("workload", "--workload", question.workload.as_ref()),
            ("instance_type", "--instance-type", self.instance_type.as_ref()),
            ("count", "--count", self.count.as_ref()),
            ("concurrency", "--concurrency", self.concurrency.as_ref()),
            ("disk_gib", "--disk-gib", self.disk_gib.as_ref()),
            ("vpc", "--vpc", self.vpc.as_ref()),
            ("public_address", "--public-address", self.public_address.as_ref()),
            ("ami", "--ami", self.ami.as_ref()),
            ("ami_parameter", "--ami-parameter", self.ami_parameter.as_ref()),
            ("kms_key", "--kms-key", self.kms_key.as_ref()),
            ("token.file", "--token-file", token_file.as_ref()),
            ("token.environment", "--token-env", self.token_env.as_ref()),
            (
                "token.parameter",
                "--token-parameter",
                self.token_parameter.as_ref(),
            ),
            ("token.secret", "--token-secret", self.token_secret.as_ref()),
            (
                "registry.parameter",
                "--registry-parameter",
                self.registry_parameter.as_ref(),
            ),
            (
                "registry.secret",
                "--registry-secret",
                self.registry_secret.as_ref(),
            ),
            ("platform_url", "--platform-url", self.platform_url.as_ref()),
            ("runner_image", "--runner-image", self.runner_image.as_ref()),
            ("channel", "--channel", self.channel.as_ref()),
            (
                "docker.packages",
                "--docker-packages",
                self.docker_packages.as_ref(),
            ),
            ("docker.mirror", "--docker-mirror", self.docker_mirror.as_ref()),
            ("docker.proxy", "--http-proxy", self.http_proxy.as_ref()),
            ("docker.ca_file", "--ca-file", ca_file.as_ref()),
            ("topic", "--topic", self.topic.as_ref()),
            (
                "termination_protection",
                "--termination-protection",
                self.termination_protection.as_ref(),
            ),
            (
                "log_retention_days",
                "--log-retention-days",
                self.log_retention_days.as_ref(),
            ),
            ("ttl", "--ttl", self.ttl.as_ref()),
            ("families", "--families", None),
        ];
        let families: Vec<String> = question
            .families
            .iter()
            .flat_map(|families| families.split(',').map(|family| family.trim().to_owned()))
            .collect();
        let several: [(&str, &str, &[String]); 9] = [
            ("set", "--set", &question.set),
            ("families", "--families", &families),
            ("fallback_types", "--fallback-type", &self.fallback_type),
            ("subnets", "--subnets", &self.subnets),
            ("zones", "--zones", &self.zones),
            (
                "docker.registry_mirrors",
                "--registry-mirror",
                &self.registry_mirror,
            ),
            ("notify", "--notify", &self.notify),
            ("tags", "--tag", &self.tags),
            ("name", "--name", &[]),
        ];
        let mut tokens = Vec::new();
        for (key, flag, value) in single.into_iter().chain(self.eks.single()) {
            if let Some(value) = value {
                if key.starts_with("token.") {
                    tokens.push(flag);
                }
                put(&mut settings, key, flag, value)?;
            }
        }
        for (key, flag, values) in several.into_iter().chain(self.eks.several()) {
            for value in values {
                put(&mut settings, key, flag, value)?;
            }
        }
        if question.strict_minimums {
            settings.strict_minimums = Some(true);
        }
        if self
            .token_file
            .as_ref()
            .is_some_and(|file| file.as_os_str() == "-")
        {
            tokens.push("--token-file");
        }
        if tokens.len() > 1 {
            return Err(Failure::new(
                Exit::BadInput,
                format!(
                    "{} name different tokens: expected one of them",
                    tokens.join(" and ")
                ),
            ));
        }
        Ok(settings)
    }
}

fn put(settings: &mut Settings, key: &str, flag: &str, value: &str) -> Result<(), Failure> {
    settings.put(key, value).map_err(|refusal| {
        let mut message = format!("{flag}: {}", refusal.message);
        if let Some(expected) = &refusal.expected {
            message.push_str(&format!("; expected {expected}"));
        }
        let failure = Failure::new(Exit::BadInput, message);
        match refusal.suggestion {
            Some(suggestion) => failure.hint(suggestion),
            None => failure,
        }
    })
}
