//! Which AWS services can host the runner, which cannot, and why: knowledge as data, each statement with its source.
//!
//! `cli::explain` turns it into a page and a document; nothing here is computed.

use serde::Serialize;

/// What the runner is, whatever it runs on.
pub const RUNNER: &str = "The runner is one process that runs for months. It asks the platform for work over HTTPS and \
serves no requests itself. For each job it starts a container from the image that the job names, and it needs a large \
local disk for those images and for caches.";

const COMPARISON: &str =
    "https://docs.dataops.live/docs/administration/comparing-aws-services-for-hosting-dataops-runners/";
const OVERVIEW: &str = "https://docs.dataops.live/docs/administration/runner-overview";
const DOCKER_PREREQUISITES: &str = "https://docs.dataops.live/administration/docker-runner/prerequisites/";
const OLD_INSTALLATION: &str = "https://docs.dataops.live/docs/environment-management/runner-installation/";
const KUBERNETES_PREREQUISITES: &str =
    "https://docs.dataops.live/docs/administration/kubernetes-runner/prerequisites";
const KUBERNETES_TROUBLESHOOTING: &str =
    "https://docs.dataops.live/docs/administration/kubernetes-runner/troubleshooting/";
const GITLAB_FARGATE: &str = "https://docs.gitlab.com/runner/configuration/runner_autoscale_aws_fargate/";
const ECS_FARGATE: &str = "https://docs.aws.amazon.com/AmazonECS/latest/userguide/fargate-task-defs.html";
const ECS_FARGATE_DISK: &str =
    "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-storage.html";
const EKS_FARGATE: &str = "https://docs.aws.amazon.com/eks/latest/userguide/fargate.html";
const EKS_FARGATE_PODS: &str =
    "https://docs.aws.amazon.com/eks/latest/userguide/fargate-pod-configuration.html";
const APP_RUNNER: &str = "https://docs.aws.amazon.com/apprunner/latest/dg/architecture.html";
const APP_RUNNER_SCALING: &str = "https://docs.aws.amazon.com/apprunner/latest/dg/manage-autoscaling.html";
const APP_RUNNER_CLOSED: &str =
    "https://docs.aws.amazon.com/apprunner/latest/dg/apprunner-availability-change.html";
const BATCH: &str = "https://docs.aws.amazon.com/batch/latest/userguide/what-is-batch.html";
const BATCH_ENVIRONMENTS: &str =
    "https://docs.aws.amazon.com/batch/latest/userguide/compute_environments.html";
const LAMBDA: &str = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html";
const LAMBDA_DISK: &str = "https://docs.aws.amazon.com/lambda/latest/api/API_EphemeralStorage.html";
const BEANSTALK: &str = "https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/concepts.html";
const BEANSTALK_MANAGING: &str =
    "https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/using-features.managing.html";
const INFRACOST: &str = "https://github.com/infracost/infracost";

/// Whether a runner is hosted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// `plan` recommends it.
    Supported,
    /// The vendor describes it as possible with care; we do not recommend it.
    Limited,
    /// `up` refuses it.
    Refused,
}

/// What a statement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// DataOps.live says so.
    Vendor,
    /// Another public document says so.
    Document,
    /// It follows from the sources.
    Derived,
}

/// A statement and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// What is said.
    pub text: &'static str,
    /// What it rests on.
    pub basis: Basis,
    /// Addresses of the pages.
    pub sources: &'static [&'static str],
}

/// A setting the vendor names for a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// Its value.
    pub value: &'static str,
}

/// One way to use a service, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// Such as `EKS on Fargate`.
    pub name: &'static str,
    /// Whether a runner is hosted that way.
    pub standing: Standing,
    /// The case in a sentence.
    pub summary: &'static str,
    /// What holds for this case only.
    pub statements: &'static [Statement],
    /// What the vendor sets in this case.
    pub settings: &'static [Setting],
}

/// What to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Next {
    /// `ec2` or `eks`.
    pub target: &'static str,
    /// Why this one.
    pub why: &'static str,
    /// The command that plans it.
    pub command: &'static str,
}

/// A service and what is known about hosting the runner on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// As typed.
    pub name: &'static str,
    /// As AWS writes it.
    pub title: &'static str,
    /// Other names that are understood.
    pub aliases: &'static [&'static str],
    /// Whether a runner is hosted there.
    pub standing: Standing,
    /// The answer in a line.
    pub verdict: &'static str,
    /// What the runner would be in the words of the service.
    pub in_its_terms: &'static str,
    /// Why.
    pub reasons: &'static [Statement],
    /// Ways to use it that differ.
    pub cases: &'static [Case],
    /// What it costs to have, in work or money; for supported services.
    pub costs: &'static [Statement],
    /// What to use, or how to go on.
    pub next: Next,
    /// What would have to change before a refusal could become a yes.
    pub would_change: &'static [&'static str],
}

const fn vendor(text: &'static str, sources: &'static [&'static str]) -> Statement {
    Statement {
        text,
        basis: Basis::Vendor,
        sources,
    }
}

const fn document(text: &'static str, sources: &'static [&'static str]) -> Statement {
    Statement {
        text,
        basis: Basis::Document,
        sources,
    }
}

const fn derived(text: &'static str, sources: &'static [&'static str]) -> Statement {
    Statement {
        text,
        basis: Basis::Derived,
        sources,
    }
}

const fn setting(key: &'static str, value: &'static str) -> Setting {
    Setting { key, value }
}

const PLAN_EC2: &str = "dataops-infra plan --workload production --target ec2";
const PLAN_EKS: &str = "dataops-infra plan --workload kubernetes --target eks";

/// Every service that can be asked about: the supported ones, then the refused ones.
pub const SERVICES: &[Service] = &[
    EC2,
    EKS,
    ECS,
    FARGATE,
    APP_RUNNER_SERVICE,
    BATCH_SERVICE,
    LAMBDA_SERVICE,
    BEANSTALK_SERVICE,
];

const EC2: Service = Service {
    name: "ec2",
    title: "Amazon EC2",
    aliases: &["amazon-ec2", "instance", "vm"],
    standing: Standing::Supported,
    verdict: "The place to start: one host, Docker, and everything within reach.",
    in_its_terms: "A virtual machine with Docker on it. The runner is a container with a restart policy, and the \
                   jobs are its siblings on the same Docker engine.",
    reasons: &[
        vendor(
            "It is the vendor's most common set-up, and the one its engineers know best.",
            &[COMPARISON],
        ),
        vendor(
            "Nothing is hidden: the host, its disk, Docker and the logs can be reached directly, so faults are simple to find.",
            &[COMPARISON],
        ),
        vendor(
            "A compute-optimised instance with 300 GiB of disk is recommended: c5.large for a proof of technology, \
             c5.xlarge for production.",
            &[COMPARISON],
        ),
        derived(
            "It fits one to a few runners; each further one is another host of the same kind.",
            &[COMPARISON, OVERVIEW],
        ),
    ],
    cases: &[],
    costs: &[
        vendor(
            "Patches, scaling, security groups and keys are manual work unless they are automated.",
            &[COMPARISON],
        ),
        vendor(
            "Docker filling the disk is the most common reason for a runner to fail: alarm on it.",
            &[COMPARISON],
        ),
        document(
            "The installation pages ask for 16 GB of memory in production, c5.xlarge has 8 GiB; `plan` shows both and says how it chose.",
            &[DOCKER_PREREQUISITES, OLD_INSTALLATION],
        ),
    ],
    next: Next {
        target: "ec2",
        why: "the built-in profile for production is sized for it",
        command: PLAN_EC2,
    },
    would_change: &[],
};

const EKS: Service = Service {
    name: "eks",
    title: "Amazon EKS",
    aliases: &["amazon-eks", "kubernetes", "k8s"],
    standing: Standing::Supported,
    verdict: "For teams that already run Kubernetes or need many jobs at once in isolation.",
    in_its_terms: "A release of the vendor's Helm chart: one pod asks for work, and every job becomes a pod of its \
                   own on EC2 nodes.",
    reasons: &[
        vendor(
            "The vendor ships the runner as a Helm chart for EKS.",
            &[KUBERNETES_PREREQUISITES],
        ),
        vendor(
            "Nodes come and go with the load, and each job is isolated in a pod of its own.",
            &[COMPARISON],
        ),
        vendor(
            "What a cluster brings can be used: Helm, roles, network policies.",
            &[COMPARISON],
        ),
        vendor(
            "At least a c6i.large node with 300 GiB of gp3 disk is recommended.",
            &[COMPARISON],
        ),
    ],
    cases: &[],
    costs: &[
        document(
            "The control plane costs 0.10 dollars an hour, 73.00 a month of 730 hours, before the first node.",
            &[INFRACOST],
        ),
        derived(
            "Clusters for development, staging and production cost 219.00 dollars a month in control planes alone.",
            &[INFRACOST],
        ),
        vendor(
            "Knowledge of Kubernetes is required, and the vendor itself has less experience with EKS than with EC2.",
            &[COMPARISON],
        ),
        document(
            "Shared caches need EFS, and secrets and volume claims must exist before the chart is installed.",
            &[KUBERNETES_PREREQUISITES],
        ),
        derived(
            "A new cluster for one runner is dearer than a host: it is no choice for a first runner or a small budget.",
            &[COMPARISON, INFRACOST],
        ),
    ],
    next: Next {
        target: "eks",
        why: "the built-in profile for Kubernetes sizes the node group",
        command: PLAN_EKS,
    },
    would_change: &[],
};

const ECS: Service = Service {
    name: "ecs",
    title: "Amazon ECS",
    aliases: &["amazon-ecs", "ecs-ec2"],
    standing: Standing::Refused,
    verdict: "The vendor does not support it, and jobs would not run in the image that their pipeline names.",
    in_its_terms: "A service of one task that would have to start other tasks. The runner starts containers through \
                   Docker; ECS starts only what a task definition has fixed beforehand.",
    reasons: &[
        vendor(
            "The vendor lists ECS as unsupported for now, with the remark that it may come.",
            &[COMPARISON],
        ),
        document(
            "Jobs run in the image of the task definition; the `image:` of the pipeline is ignored. Every orchestrator \
             image would need a definition, and a runner, of its own.",
            &[GITLAB_FARGATE, COMPARISON],
        ),
        vendor(
            "The manager still needs an EC2 instance that runs all the time, so no host is saved.",
            &[COMPARISON],
        ),
        derived(
            "On the EC2 launch type the agent of ECS and the runner would both manage containers on one Docker engine, \
             and ECS would know nothing of the jobs' memory and disk.",
            &[COMPARISON],
        ),
    ],
    cases: &[],
    costs: &[],
    next: Next {
        target: "ec2",
        why: "the host that ECS would need anyway runs the runner by itself",
        command: PLAN_EC2,
    },
    would_change: &[
        "The vendor supports ECS, or ships an executor for it.",
        "That executor runs the image that each job names, without a task definition made by hand.",
    ],
};

const FARGATE: Service = Service {
    name: "fargate",
    title: "AWS Fargate",
    aliases: &[
        "aws-fargate",
        "ecs-fargate",
        "eks-fargate",
        "ecs-on-fargate",
        "eks-on-fargate",
    ],
    standing: Standing::Refused,
    verdict: "Refused on ECS; on EKS the vendor describes it as possible with care, and EC2 nodes serve better.",
    in_its_terms: "A task or a pod on a machine of its own that nobody can reach: without a Docker engine, without a \
                   disk that outlives it, without settings of the host.",
    reasons: &[
        vendor(
            "Work with much disk or network traffic is not served well, because the host cannot be tuned.",
            &[COMPARISON],
        ),
        derived(
            "Images are pulled anew for each task, because no two share a disk; a host keeps them warm.",
            &[ECS_FARGATE_DISK, EKS_FARGATE],
        ),
        derived(
            "Even the largest disk is smaller than the 300 GB recommended: 200 GiB for an ECS task, 175 GiB for a pod on EKS.",
            &[ECS_FARGATE_DISK, EKS_FARGATE_PODS, DOCKER_PREREQUISITES],
        ),
        vendor(
            "For work that runs all the time it costs more than EC2.",
            &[COMPARISON],
        ),
    ],
    cases: &[
        Case {
            name: "ECS on Fargate",
            standing: Standing::Refused,
            summary: "Not supported by the vendor; upstream has a driver for it that is no help here.",
            statements: &[
                document(
                    "GitLab's driver for it is kept up by its community, and the page that describes it says it is not meant for production.",
                    &[GITLAB_FARGATE],
                ),
                document(
                    "Its manager runs on an EC2 instance, so the host stays.",
                    &[GITLAB_FARGATE],
                ),
                document(
                    "Tasks cannot be privileged, and cannot mount a path or a Docker socket of a host.",
                    &[ECS_FARGATE],
                ),
                document(
                    "A task has 20 GiB of disk, 200 GiB at most, and its own image counts.",
                    &[ECS_FARGATE_DISK],
                ),
            ],
            settings: &[],
        },
        Case {
            name: "EKS on Fargate",
            standing: Standing::Limited,
            summary: "The vendor's chart can be made to run there with the settings below. Within these limits it works; \
                      this tool neither plans nor provisions it.",
            statements: &[
                vendor(
                    "Every job must ask for its processor and memory, and time-outs must grow, as in the settings below.",
                    &[KUBERNETES_TROUBLESHOOTING],
                ),
                vendor(
                    "Persistent volumes must be made by hand beforehand.",
                    &[KUBERNETES_TROUBLESHOOTING],
                ),
                document(
                    "EFS volumes work only when they are made statically; EBS volumes do not work at all.",
                    &[EKS_FARGATE],
                ),
                document(
                    "A pod has 20 GiB of disk by default and 175 GiB at most.",
                    &[EKS_FARGATE_PODS],
                ),
                document(
                    "No privileged containers, no host network, no DaemonSets: agents must become sidecars.",
                    &[EKS_FARGATE],
                ),
                document(
                    "Pods cannot reach the instance metadata service, so credentials need a role for the service account.",
                    &[EKS_FARGATE],
                ),
                document(
                    "Pods run in private subnets only, so a NAT gateway or endpoints are needed.",
                    &[EKS_FARGATE],
                ),
            ],
            settings: &[
                setting("cpu_request", "\"1\""),
                setting("memory_request", "\"1Gi\""),
                setting("maximumTimeout", "360"),
                setting("persistent volumes", "static"),
            ],
        },
    ],
    costs: &[],
    next: Next {
        target: "eks",
        why: "the same chart on EC2 nodes has none of these limits; without a cluster, take ec2",
        command: PLAN_EKS,
    },
    would_change: &[
        "Fargate offers 300 GiB of disk, and images that stay warm between jobs.",
        "The vendor supports it without a warning, and has the volumes made by the chart.",
    ],
};

const APP_RUNNER_SERVICE: Service = Service {
    name: "app-runner",
    title: "AWS App Runner",
    aliases: &["apprunner", "aws-app-runner"],
    standing: Standing::Refused,
    verdict: "It runs web services and gives processor time to requests; the runner serves none.",
    in_its_terms: "A web service without a single request. What the runner does is background work, and there is no \
                   place for that.",
    reasons: &[
        document(
            "It turns code or an image into a web service; nothing else is on offer.",
            &[APP_RUNNER],
        ),
        document(
            "Instances are scaled by the requests they serve at once; those that serve none are kept inactive.",
            &[APP_RUNNER_SCALING],
        ),
        derived(
            "A process that only asks for work would be throttled the whole time, and at least one instance would be billed for it.",
            &[APP_RUNNER_SCALING],
        ),
        derived(
            "There is no Docker engine and no lasting disk, so it could start no job.",
            &[APP_RUNNER],
        ),
        document(
            "New customers have not been able to sign up since 30 April 2026.",
            &[APP_RUNNER_CLOSED],
        ),
    ],
    cases: &[],
    costs: &[],
    next: Next {
        target: "ec2",
        why: "a process that runs for months wants a host that runs for months",
        command: PLAN_EC2,
    },
    would_change: &[
        "App Runner takes new customers again, and offers services that run without requests.",
        "Its instances can start containers, and keep a disk of some hundred GiB.",
    ],
};

const BATCH_SERVICE: Service = Service {
    name: "batch",
    title: "AWS Batch",
    aliases: &["aws-batch"],
    standing: Standing::Refused,
    verdict: "It is for jobs that start and end, and the runner does not end.",
    in_its_terms: "A job that never finishes, in a queue of its own, to take jobs from another queue.",
    reasons: &[
        document(
            "Its unit is a job with a definition that fixes the image; it is submitted, it runs, it ends.",
            &[BATCH],
        ),
        derived(
            "Queues and compute environments would be a second scheduler beside the platform's, and neither would know of the other.",
            &[BATCH_ENVIRONMENTS, OVERVIEW],
        ),
        derived(
            "When its capacity shrinks or a job is retried, a runner that holds ten jobs would go down with all of them.",
            &[BATCH_ENVIRONMENTS],
        ),
        derived(
            "What is good about it, capacity that goes to zero and Spot prices, belongs to a node group on EKS.",
            &[COMPARISON],
        ),
    ],
    cases: &[],
    costs: &[],
    next: Next {
        target: "eks",
        why: "a node group grows and shrinks with the jobs, which is what Batch would be wanted for",
        command: PLAN_EKS,
    },
    would_change: &["The platform hands each job to Batch itself, so that no runner stands in between."],
};

const LAMBDA_SERVICE: Service = Service {
    name: "lambda",
    title: "AWS Lambda",
    aliases: &["aws-lambda"],
    standing: Standing::Refused,
    verdict: "A function ends after 15 minutes, and a quarter of all pipelines take longer.",
    in_its_terms: "A function that is called for an event and must return. The runner would have to be started \
                   again every quarter of an hour, and lose its jobs each time.",
    reasons: &[
        document(
            "An invocation runs for 15 minutes at most and has 10,240 MB of memory at most.",
            &[LAMBDA],
        ),
        vendor(
            "Of the customers' pipelines 75 % end within about 15 minutes, so the rest would be cut off.",
            &[COMPARISON],
        ),
        document(
            "Its disk, /tmp, holds 10,240 MB at most: not even the 50 GB floor of the vendor.",
            &[LAMBDA_DISK, DOCKER_PREREQUISITES],
        ),
        derived(
            "A function has no Docker engine, so it cannot start the containers that jobs run in.",
            &[OLD_INSTALLATION],
        ),
    ],
    cases: &[],
    costs: &[],
    next: Next {
        target: "ec2",
        why: "a small host is the least that can run a job of any length",
        command: "dataops-infra plan --workload proof-of-technology --target ec2",
    },
    would_change: &["Functions run for hours and can start containers from any image."],
};

const BEANSTALK_SERVICE: Service = Service {
    name: "beanstalk",
    title: "AWS Elastic Beanstalk",
    aliases: &["elastic-beanstalk", "aws-elastic-beanstalk", "elasticbeanstalk"],
    standing: Standing::Refused,
    verdict: "It puts a layer for web applications around the same EC2 host, and the runner gains nothing.",
    in_its_terms: "A web application without a web server. The tier for workers takes messages from SQS, which the \
                   platform does not send.",
    reasons: &[
        document(
            "There are two tiers: one serves HTTP, the other takes messages from an SQS queue. The runner does neither.",
            &[BEANSTALK],
        ),
        document(
            "A new version or instance type replaces the instances, whatever jobs are running on them.",
            &[BEANSTALK_MANAGING],
        ),
        document(
            "Its resources may not be changed by other tools, or it loses track: disk, alarms and roles would have to go through it.",
            &[BEANSTALK_MANAGING],
        ),
        derived(
            "Underneath is the host that `ec2` plans directly, with one layer less to understand at three in the morning.",
            &[BEANSTALK, COMPARISON],
        ),
    ],
    cases: &[],
    costs: &[],
    next: Next {
        target: "ec2",
        why: "it is the same host without the layer",
        command: PLAN_EC2,
    },
    would_change: &[
        "Environments can hold a worker that takes its work from the platform, and are replaced only once its jobs are done.",
    ],
};

/// Returns the service of that name or alias, whatever the case, with blanks and underscores for dashes.
pub fn find(name: &str) -> Option<&'static Service> {
    let name = normalised(name);
    SERVICES
        .iter()
        .find(|service| service.name == name || service.aliases.contains(&name.as_str()))
}

/// Returns the names nearest to one that is not known, the best first; none if all are far off.
pub fn nearest(name: &str) -> Option<&'static str> {
    let name = normalised(name);
    let names = SERVICES.iter().flat_map(|service| {
        std::iter::once((service.name, service.name))
            .chain(service.aliases.iter().map(|alias| (*alias, service.name)))
    });
    names
        .map(|(alias, service)| (strsim::damerau_levenshtein(&name, alias), service))
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, service)| service)
}

fn normalised(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '_'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn statements(service: &Service) -> impl Iterator<Item = &Statement> {
        let cases = service.cases.iter().flat_map(|case| case.statements);
        service.reasons.iter().chain(service.costs).chain(cases)
    }

    #[test]
    fn names_and_aliases_lead_to_one_service_each() {
        let mut seen = BTreeMap::new();
        for service in SERVICES {
            for name in std::iter::once(&service.name).chain(service.aliases) {
                assert_eq!(seen.insert(*name, service.name), None, "{name}");
                assert_eq!(find(name).map(|found| found.name), Some(service.name), "{name}");
                assert_eq!(normalised(name), *name);
            }
        }
        assert_eq!(find(" Elastic Beanstalk ").map(|s| s.name), Some("beanstalk"));
        assert_eq!(find("EKS_Fargate").map(|s| s.name), Some("fargate"));
        assert_eq!(find("heroku"), None);
    }

    #[test]
    fn a_typing_error_finds_its_way() {
        assert_eq!(nearest("fargat"), Some("fargate"));
        assert_eq!(nearest("app-runer"), Some("app-runner"));
        assert_eq!(nearest("lamdba"), Some("lambda"));
        assert_eq!(nearest("ec3"), Some("ec2"));
        assert_eq!(nearest("mainframe"), None);
    }

    #[test]
    fn every_refusal_has_reasons_of_its_own_with_sources() {
        let mut seen = BTreeMap::new();
        for service in SERVICES {
            assert!(service.reasons.len() >= 3, "{}", service.name);
            for statement in statements(service) {
                let before = seen.insert(statement.text, service.name);
                assert_eq!(before, None, "{} is said twice", statement.text);
                assert!(!statement.sources.is_empty(), "{}", statement.text);
                for source in statement.sources {
                    assert!(source.starts_with("https://"), "{source}");
                }
                if statement.basis == Basis::Vendor {
                    let vendor = |source: &str| source.starts_with("https://docs.dataops.live/");
                    assert!(
                        statement.sources.iter().any(|source| vendor(source)),
                        "{}",
                        statement.text
                    );
                }
            }
            let refused = service.standing == Standing::Refused;
            assert_eq!(refused, !service.would_change.is_empty(), "{}", service.name);
            assert_eq!(refused, service.costs.is_empty(), "{}", service.name);
            assert!(
                service
                    .next
                    .command
                    .ends_with(&format!("--target {}", service.next.target))
            );
        }
    }
}
