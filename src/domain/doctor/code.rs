//! The checks by name: one table, from which codes, titles, severities and pages follow.

use std::fmt;

/// What a check is about, the first word of its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The machine that the program runs on.
    Machine,
    /// The account and region.
    Account,
    /// A deployment in AWS.
    Deployment,
    /// What is there and belongs to nothing.
    Leftover,
    /// The operating system of a host.
    Host,
    /// The runner on a host.
    Runner,
    /// The alarms of a deployment.
    Alarm,
    /// A deployment on EKS in AWS.
    Eks,
    /// What runs in the cluster.
    Cluster,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Machine,
        Self::Account,
        Self::Deployment,
        Self::Leftover,
        Self::Host,
        Self::Runner,
        Self::Alarm,
        Self::Eks,
        Self::Cluster,
    ];

    /// Returns the word that codes begin with.
    pub fn word(self) -> &'static str {
        match self {
            Self::Machine => "MACHINE",
            Self::Account => "ACCOUNT",
            Self::Deployment => "DEPLOYMENT",
            Self::Leftover => "LEFTOVER",
            Self::Host => "HOST",
            Self::Runner => "RUNNER",
            Self::Alarm => "ALARM",
            Self::Eks => "EKS",
            Self::Cluster => "CLUSTER",
        }
    }
}

/// How bad it is when a check does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is untidy, or costs money.
    Low,
    /// Jobs run, and the next trouble would go unseen or be harder to mend.
    Medium,
    /// Jobs do not run, or will soon not.
    High,
}

impl Severity {
    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What a check is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Once.
    Machine,
    /// Once for each account and region.
    Region,
    /// Once for each deployment.
    Deployment,
    /// Once for each host.
    Host,
    /// Once for each deployment on EKS.
    Cluster,
}

macro_rules! codes {
    ($($variant:ident $word:literal $area:ident $scope:ident $severity:ident $title:literal;)*) => {
        /// A check. Its text is stable: scripts and pages refer to it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All of them, in the order they are shown.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the text.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Returns what holds when the check is `ok`.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// Returns what it is about.
            pub fn area(self) -> Area {
                match self { $(Self::$variant => Area::$area,)* }
            }

            /// Returns what it is made for.
            pub fn scope(self) -> Scope {
                match self { $(Self::$variant => Scope::$scope,)* }
            }

            /// Returns how bad it is when it does not hold.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// Returns the page that explains it.
            pub fn page(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("../../../docs/checks/", $word, ".md")),)*
                }
            }
        }
    };
}

codes! {
    MachineNetwork "MACHINE-NETWORK" Machine Machine High "AWS answers this machine";
    MachineCredentials "MACHINE-CREDENTIALS" Machine Machine High "AWS accepts the credentials of this machine";
    MachineClock "MACHINE-CLOCK" Machine Machine High "the clock of this machine agrees with AWS";
    MachineTools "MACHINE-TOOLS" Machine Machine Low "the tools that remedies name are here";
    AccountPermissions "ACCOUNT-PERMISSIONS" Account Region Medium "the caller may read what the checks need";
    AccountQuotaVcpus "ACCOUNT-QUOTA-VCPUS" Account Region Medium "the quota of vCPUs has room";
    AccountQuotaDisk "ACCOUNT-QUOTA-DISK" Account Region Medium "the quota of gp3 storage has room";
    AccountNetwork "ACCOUNT-NETWORK" Account Region High "the subnets have addresses and a way out";
    AccountType "ACCOUNT-TYPE" Account Region Medium "the instance type is offered in the zones";
    AccountImage "ACCOUNT-IMAGE" Account Region Medium "the image of the hosts can be launched";
    DeploymentRecord "DEPLOYMENT-RECORD" Deployment Deployment High "there is a record of the deployment";
    DeploymentPhase "DEPLOYMENT-PHASE" Deployment Deployment Medium "the deployment is neither being removed nor expired";
    DeploymentOwner "DEPLOYMENT-OWNER" Deployment Deployment High "nothing of others stands under its names";
    DeploymentDrift "DEPLOYMENT-DRIFT" Deployment Deployment Medium "everything is as the record says";
    DeploymentToken "DEPLOYMENT-TOKEN" Deployment Deployment High "the runner's token is where a new host looks for it";
    DeploymentHost "DEPLOYMENT-HOST" Deployment Host High "the host runs";
    DeploymentStage "DEPLOYMENT-STAGE" Deployment Host High "the host reported that the runner is online";
    LeftoverAws "LEFTOVER-AWS" Leftover Deployment Low "nothing in AWS carries the name without belonging to it";
    LeftoverHost "LEFTOVER-HOST" Leftover Host Medium "no host runs without a registered runner";
    LeftoverRegistration "LEFTOVER-REGISTRATION" Leftover Host Low "no runner is registered without a host";
    HostReachable "HOST-REACHABLE" Host Host High "the host takes commands through Systems Manager";
    HostCloudInit "HOST-CLOUD-INIT" Host Host Medium "cloud-init ended without errors";
    HostBootstrap "HOST-BOOTSTRAP" Host Host High "the bootstrap of the host ran to its end";
    HostDocker "HOST-DOCKER" Host Host High "Docker answers and starts with the host";
    HostDockerApi "HOST-DOCKER-API" Host Host High "Docker still speaks the API of the runner";
    HostDiskSpace "HOST-DISK-SPACE" Host Host High "the disk has room";
    HostDiskInodes "HOST-DISK-INODES" Host Host High "the disk has inodes";
    HostDiskSize "HOST-DISK-SIZE" Host Host Medium "the file system has the size of the plan";
    HostMemory "HOST-MEMORY" Host Host High "memory is left";
    HostClock "HOST-CLOCK" Host Host High "the clock of the host is right and kept so";
    HostEgress "HOST-EGRESS" Host Host High "the host reaches the platform and the registries";
    HostDiskGuard "HOST-DISK-GUARD" Host Host Medium "the disk guard runs and is content";
    HostMetricsAgent "HOST-METRICS-AGENT" Host Host Medium "the CloudWatch agent runs";
    HostReboot "HOST-REBOOT" Host Host Low "no reboot is overdue";
    RunnerContainer "RUNNER-CONTAINER" Runner Host High "the runner's container is there and runs";
    RunnerRestarts "RUNNER-RESTARTS" Runner Host High "the runner's container does not restart again and again";
    RunnerRestartPolicy "RUNNER-RESTART-POLICY" Runner Host Medium "the container comes back after a reboot";
    RunnerImage "RUNNER-IMAGE" Runner Host Medium "the container runs the image of the plan";
    RunnerImageAge "RUNNER-IMAGE-AGE" Runner Host Low "the runner's image is not old";
    RunnerConfig "RUNNER-CONFIG" Runner Host High "config.toml is there, valid and closed to others";
    RunnerPlan "RUNNER-PLAN" Runner Host Medium "config.toml says what the plan says";
    RunnerToken "RUNNER-TOKEN" Runner Host High "the runner has a token of a kind that lasts";
    RunnerVerify "RUNNER-VERIFY" Runner Host High "the platform accepts the runner's token";
    RunnerPolling "RUNNER-POLLING" Runner Host High "the runner asks for jobs without errors";
    AlarmPresent "ALARM-PRESENT" Alarm Deployment Medium "all alarms of the plan are there, as planned";
    AlarmMetric "ALARM-METRIC" Alarm Deployment Medium "the exact metric of each alarm has arrived lately";
    AlarmActions "ALARM-ACTIONS" Alarm Deployment Medium "the actions of each alarm are enabled and can be taken";
    AlarmTopic "ALARM-TOPIC" Alarm Deployment Medium "the topic that alarms go to is there";
    AlarmSubscription "ALARM-SUBSCRIPTION" Alarm Deployment Medium "everybody who is to be told has confirmed";
    AlarmData "ALARM-DATA" Alarm Deployment Medium "no alarm is without data for long";
    AlarmState "ALARM-STATE" Alarm Deployment High "no alarm rings";
    EksCluster "EKS-CLUSTER" Eks Cluster High "the cluster is active";
    EksVersion "EKS-VERSION" Eks Cluster Medium "the version of Kubernetes is in standard support";
    EksNodes "EKS-NODES" Eks Cluster High "the node group is active";
    EksAddons "EKS-ADDONS" Eks Cluster High "all add-ons are active";
    EksStorage "EKS-STORAGE" Eks Cluster High "the file system can be mounted in every zone";
    ClusterReachable "CLUSTER-REACHABLE" Cluster Cluster High "the cluster can be read";
    ClusterNodes "CLUSTER-NODES" Cluster Cluster High "enough nodes are ready";
    ClusterRelease "CLUSTER-RELEASE" Cluster Cluster High "the release is deployed";
    ClusterRunner "CLUSTER-RUNNER" Cluster Cluster High "the runner's pod is ready and stays so";
}

impl Code {
    /// Returns the path of its page, from the root of the project.
    pub fn doc(self) -> String {
        format!("docs/checks/{}.md", self.word())
    }

    /// Whether the check is about being able to check: where it does not hold, the others could not be made.
    pub fn is_means(self) -> bool {
        matches!(
            self,
            Self::MachineNetwork | Self::MachineCredentials | Self::AccountPermissions
        )
    }

    /// Returns the checks that a word means: one by its code, or all of an area; small letters will do.
    ///
    /// # Errors
    ///
    /// The word means none; with the code that comes nearest.
    pub fn find(word: &str) -> Result<Vec<Self>, &'static str> {
        let word = word.trim().to_ascii_uppercase();
        if let Some(area) = Area::ALL.into_iter().find(|area| area.word() == word) {
            return Ok(Self::ALL
                .iter()
                .copied()
                .filter(|code| code.area() == area)
                .collect());
        }
        match Self::ALL.iter().find(|code| code.word() == word) {
            Some(code) => Ok(vec![*code]),
            None => {
                let near = |code: &&Self| (strsim::jaro_winkler(code.word(), &word) * 1000.0) as u32;
                let nearest = Self::ALL.iter().max_by_key(near);
                Err(nearest.map_or("MACHINE-CREDENTIALS", |code| code.word()))
            }
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
