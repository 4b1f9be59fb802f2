//! The least IAM policy of each command, from one table.
//!
//! Names of ours are the scope wherever AWS lets a policy name what a call touches. Tags are the scope where ids are
//! random (EC2), and besides the name where something that exists is removed or handed over. What finishes a thing that
//! was made a moment before goes by name alone, because a policy may not see its tags yet.
//!
//! Which resources and condition keys an action knows is in the service authorization reference
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>);
//! `tests/suite/iam.rs` compares the table with the calls in `src/aws`, and the documents with that reference as cfn-lint
//! carries it. Resources and conditions were never tried against AWS itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::domain::deployment::eks::preflight::SERVICE_ROLES;
use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::owner::{DEPLOYMENT, KEPT};

/// Characters of a customer managed policy, white space not counted
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
pub const MOST_CHARACTERS: usize = 6144;

/// A command that has a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// `plan`, with `plan --live` and `catalog refresh`.
    Plan,
    /// `up`.
    Up,
    /// `status`.
    Status,
    /// `doctor`.
    Doctor,
    /// `alarms test`.
    Alarms,
    /// `down`.
    Down,
    /// `runner`.
    Runner,
    /// `upgrade`.
    Upgrade,
    /// `rotate-token`.
    RotateToken,
    /// `resize`.
    Resize,
}

impl Command {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Plan,
        Self::Up,
        Self::Status,
        Self::Doctor,
        Self::Alarms,
        Self::Down,
        Self::Runner,
        Self::Upgrade,
        Self::RotateToken,
        Self::Resize,
    ];

    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Up => "up",
            Self::Status => "status",
            Self::Doctor => "doctor",
            Self::Alarms => "alarms",
            Self::Down => "down",
            Self::Runner => "runner",
            Self::Upgrade => "upgrade",
            Self::RotateToken => "rotate-token",
            Self::Resize => "resize",
        }
    }

    /// Returns the command that is called so.
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.word() == word)
    }
}

/// What an action touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// Actions that know no resources.
    Everything,
    /// The same, in a service with one endpoint for all regions.
    EverythingAnywhere,
    /// Record, token and reports.
    Parameters,
    /// Parameters of the user's that a deployment refers to.
    TheirParameters,
    /// Parameters with Canonical's images; they belong to no account
    /// (<https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters.html>).
    PublicParameters,
    /// Parameters with the images of EKS's nodes; they belong to no account either.
    NodeImages,
    /// Secrets of the user's.
    TheirSecrets,
    /// The same where they are read: those that are named, and never all.
    NamedSecrets,
    /// Keys of the user's.
    TheirKeys,
    /// Roles below our path.
    Roles,
    /// The same to read: of a role that is not there IAM does not know the path, and asks for the name alone.
    RolesToRead,
    /// Instance profiles below our path.
    Profiles,
    /// The same to read.
    ProfilesToRead,
    /// The role that CloudWatch makes for itself.
    AlarmActionsRole,
    /// Log groups.
    LogGroups,
    /// Topics.
    Topics,
    /// Topics of the user's, which have any name.
    AnyTopics,
    /// Subscriptions of topics, whose ARNs begin with the topic's.
    Subscriptions,
    /// Alarms.
    Alarms,
    /// Dashboards, which belong to no region.
    Dashboards,
    /// Instances.
    Instances,
    /// Instances and root volumes, as a launch makes them.
    Hosts,
    /// What a launch uses besides.
    LaunchInputs,
    /// Security groups.
    SecurityGroups,
    /// Rules of security groups.
    Rules,
    /// VPCs.
    Vpcs,
    /// Volumes.
    Volumes,
    /// Snapshots, which belong to no account when they are made.
    Snapshots,
    /// Everything of EC2 that carries our tags.
    OwnedByTag,
    /// What a change of an instance's attributes touches.
    Attributes,
    /// The document that runs a shell script; it belongs to AWS.
    ShellDocument,
    /// Clusters.
    Clusters,
    /// Node groups.
    NodeGroups,
    /// Add-ons.
    Addons,
    /// Access entries.
    AccessEntries,
    /// Pod identity associations.
    PodIdentities,
    /// File systems.
    FileSystems,
    /// Launch templates.
    LaunchTemplates,
    /// What a mount target uses and makes.
    MountInputs,
    /// Network interfaces.
    Interfaces,
    /// Log groups that EKS and the CloudWatch agent write to.
    ClusterLogs,
    /// Roles that services make for themselves.
    ServiceRoles,
}

/// When an action is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// Always.
    Always,
    /// The request gives it our tag.
    TagGiven,
    /// The request marks it as kept.
    KeptGiven,
    /// It carries our tag.
    TagThere,
    /// The role goes to EC2 and nobody else
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html>).
    PassedToEc2,
    /// The role goes to the control plane, to nodes or to pods.
    PassedToEks,
    /// The launch is that of a template.
    ByTemplate,
    /// The tags come with the call that makes the template or the group.
    MadeWithTags,
    /// The role is one that EKS, its node groups or EFS make for themselves.
    ForEks,
    /// The tags come with the call that makes the thing
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html>).
    MadeByLaunch,
    /// The same of a copy that is kept.
    MadeBySnapshot,
    /// The role is the one for alarms with actions of EC2.
    ForAlarmActions,
    /// The grant goes to a service of AWS.
    GrantForAws,
    /// A service of AWS asks in the caller's name
    /// (<https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service>).
    ThroughAws,
}

/// How an action comes to be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The program calls it.
    Called,
    /// The program only asks whether it could; AWS wants the same permission for that
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html>, `DryRun`).
    DryRun,
    /// AWS wants it besides the call that is named, which no log of calls shows.
    Dependent(&'static str),
    /// The program calls it, and nobody needs a permission for it.
    Free,
}

/// A line of the table: an action on one kind of resource.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Such as `ec2:RunInstances`.
    pub action: &'static str,
    /// Commands that need it.
    pub commands: &'static [Command],
    /// On what.
    pub on: On,
    /// When.
    pub when: When,
    /// How it comes to be needed.
    pub need: Need,
    /// Whether a policy for one named deployment does without: it lists what all deployments have.
    pub only_many: bool,
    /// Whether it is for deployments on EKS alone.
    pub only_eks: bool,
    /// What for.
    pub why: &'static str,
    /// Page that says so, beyond the service authorization reference.
    pub source: Option<&'static str>,
}

use Command::{Alarms, Doctor, Down, Plan, Resize, RotateToken, Runner, Up, Upgrade};
use Need::{Called, Dependent, DryRun, Free};
use When::{
    Always, ByTemplate, ForAlarmActions, ForEks, GrantForAws, KeptGiven, MadeByLaunch, MadeBySnapshot,
    MadeWithTags, PassedToEc2, PassedToEks, TagGiven, TagThere, ThroughAws,
};

const ALL: &[Command] = &Command::ALL;
const PREFLIGHT: &[Command] = &[Plan, Up, Doctor];
/// Those that choose versions on EKS.
const VERSIONS: &[Command] = &[Plan, Up, Doctor, Upgrade];
const CHANGE: &[Command] = &[Up, Down];
/// Those that run scripts on hosts.
const ON_HOSTS: &[Command] = &[Up, Doctor, Down, Runner, Upgrade, RotateToken, Resize];
/// Those that wait for what a script on a host answers.
const ASKING: &[Command] = &[Up, Doctor, Runner, Upgrade, RotateToken, Resize];

const fn row(
    action: &'static str,
    commands: &'static [Command],
    on: On,
    when: When,
    need: Need,
    why: &'static str,
) -> Row {
    Row {
        action,
        commands,
        on,
        when,
        need,
        only_many: false,
        only_eks: false,
        why,
        source: None,
    }
}

const fn many(row: Row) -> Row {
    Row {
        only_many: true,
        ..row
    }
}

/// A line for deployments on EKS alone.
const fn eks(
    action: &'static str,
    commands: &'static [Command],
    on: On,
    when: When,
    need: Need,
    why: &'static str,
) -> Row {
    Row {
        only_eks: true,
        ..row(action, commands, on, when, need, why)
    }
}

const fn says(row: Row, source: &'static str) -> Row {
    Row {
        source: Some(source),
        ..row
    }
}

const TAG_ON_CREATE: &str =
    "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html";
const PUT_PARAMETER: &str =
    "https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html";
const CREATE_LOG_GROUP: &str =
    "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html";
const PUT_METRIC_ALARM: &str =
    "https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html";
const IAM_TAGS: &str = "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags_roles.html";
const SNS_TAGS: &str = "https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html";
const PASS_ROLE: &str = "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2.html";
const ALARM_ROLE: &str =
    "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-service-linked-roles.html";
const EBS_KEYS: &str = "https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html";
const POD_IDENTITY: &str = "https://docs.aws.amazon.com/eks/latest/userguide/add-ons-iam.html";
const PASS_EKS: &str = "https://docs.aws.amazon.com/step-functions/latest/dg/eks-iam.html";
const EKS_TEMPLATE: &str = "https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html";
const EKS_ROLES: &str = "https://docs.aws.amazon.com/eks/latest/userguide/using-service-linked-roles.html";
const EFS_ACTIONS: &str =
    "https://docs.aws.amazon.com/efs/latest/ug/access-control-managing-permissions.html";
const SSM_KEYS: &str = "https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html";

/// The table.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    // Who and where.
    row("sts:GetCallerIdentity", ALL, On::Everything, Always, Free, "the account is part of every name"),
    row("tag:GetResources", ALL, On::Everything, Always, Called, "finds what carries a deployment's tags"),
    // Catalog.
    row("ec2:DescribeInstanceTypes", &[Plan], On::Everything, Always, Called, "catalog refresh"),
    row("ec2:DescribeInstanceTypeOfferings", &[Plan, Up, Doctor, Resize], On::Everything, Always, Called,
        "which zones have the type"),
    row("pricing:GetProducts", &[Plan], On::EverythingAnywhere, Always, Called, "catalog refresh"),
    // Preflight.
    row("ec2:DescribeVpcs", PREFLIGHT, On::Everything, Always, Called, "the VPC is there"),
    row("ec2:DescribeSubnets", PREFLIGHT, On::Everything, Always, Called,
        "the subnets are there and have addresses"),
    row("ec2:DescribeRouteTables", PREFLIGHT, On::Everything, Always, Called, "there is a way out"),
    row("ec2:DescribeImages", PREFLIGHT, On::Everything, Always, Called, "the image fits the type"),
    row("servicequotas:GetServiceQuota", PREFLIGHT, On::Everything, Always, Called, "vCPUs that may run"),
    row("cloudwatch:GetMetricData", &[Plan, Up, Doctor, Alarms], On::Everything, Always, Called,
        "vCPUs that do run; figures of hosts"),
    row("secretsmanager:DescribeSecret", PREFLIGHT, On::TheirSecrets, Always, Called, "the secret is there"),
    row("ssm:GetParameters", PREFLIGHT, On::PublicParameters, Always, Called, "the current image"),
    row("ssm:GetParameters", PREFLIGHT, On::TheirParameters, Always, Called, "the token is there"),
    // Launching, and asking whether it could be.
    row("ec2:RunInstances", &[Plan], On::Hosts, TagGiven, DryRun, "whether the caller may launch"),
    row("ec2:RunInstances", &[Plan], On::LaunchInputs, Always, DryRun, "whether the caller may launch"),
    row("ec2:CreateSecurityGroup", &[Plan], On::SecurityGroups, TagGiven, DryRun, "whether the caller may"),
    row("ec2:CreateSecurityGroup", &[Plan], On::Vpcs, Always, DryRun, "whether the caller may"),
    row("ec2:RunInstances", &[Up], On::Hosts, TagGiven, Called, "launches hosts"),
    row("ec2:RunInstances", &[Up], On::LaunchInputs, Always, Called, "image, network and group of a host"),
    row("ec2:CreateSecurityGroup", &[Up], On::SecurityGroups, TagGiven, Called, "makes the group"),
    row("ec2:CreateSecurityGroup", &[Up], On::Vpcs, Always, Called, "in its VPC"),
    says(row("ec2:CreateTags", &[Plan, Up], On::OwnedByTag, MadeByLaunch, Dependent("ec2:RunInstances, ec2:CreateSecurityGroup"),
        "tags come with the call that makes the thing"), TAG_ON_CREATE),
    says(row("iam:PassRole", &[Plan, Up], On::Roles, PassedToEc2, Dependent("ec2:RunInstances"),
        "the host gets its role"), PASS_ROLE),
    // What there is.
    row("ec2:DescribeInstances", ALL, On::Everything, Always, Called, "hosts"),
    row("ec2:DescribeVolumes", ALL, On::Everything, Always, Called, "their volumes"),
    row("ec2:DescribeSecurityGroups", ALL, On::Everything, Always, Called, "the group"),
    row("ssm:GetParameters", ALL, On::Parameters, Always, Called, "record, token and reports"),
    row("ssm:ListTagsForResource", ALL, On::Parameters, Always, Called, "whose they are"),
    row("iam:GetRole", ALL, On::RolesToRead, Always, Called, "the role"),
    row("iam:GetRolePolicy", ALL, On::RolesToRead, Always, Called, "its policy"),
    row("iam:GetInstanceProfile", ALL, On::ProfilesToRead, Always, Called, "the instance profile"),
    many(row("iam:ListRoles", ALL, On::EverythingAnywhere, Always, Called, "from five deployments on")),
    many(row("iam:ListInstanceProfiles", ALL, On::EverythingAnywhere, Always, Called,
        "from five deployments on")),
    row("logs:DescribeLogGroups", ALL, On::Everything, Always, Called, "the log group"),
    row("logs:ListTagsForResource", ALL, On::LogGroups, Always, Called, "whose it is"),
    row("cloudwatch:DescribeAlarms", ALL, On::Everything, Always, Called, "alarms"),
    row("cloudwatch:ListTagsForResource", ALL, On::Alarms, Always, Called, "whose they are"),
    row("cloudwatch:GetDashboard", ALL, On::Dashboards, Always, Called, "the dashboard"),
    many(row("cloudwatch:ListDashboards", ALL, On::Everything, Always, Called, "from five deployments on")),
    row("sns:GetTopicAttributes", ALL, On::Topics, Always, Called, "the topic"),
    row("sns:ListSubscriptionsByTopic", ALL, On::Topics, Always, Called, "who is told"),
    row("sns:GetTopicAttributes", &[Doctor], On::AnyTopics, Always, Called, "a topic of the user's"),
    row("sns:ListSubscriptionsByTopic", &[Doctor], On::AnyTopics, Always, Called, "who is told by it"),
    row("sns:ListTagsForResource", ALL, On::Topics, Always, Called, "whose it is"),
    row("ec2:GetConsoleOutput", &[Up, Doctor], On::Instances, TagThere, Called, "why a host does not come up"),
    // What a host says, and what its alarms are fed with.
    // Parameters: one action makes them and writes over them, so only the name tells.
    row("ssm:PutParameter", &[Up, Down, Upgrade, RotateToken, Resize], On::Parameters, Always, Called, "record, token and reports"),
    says(row("ssm:AddTagsToResource", &[Up], On::Parameters, Always, Called,
        "PutParameter with tags wants it too"), PUT_PARAMETER),
    row("ssm:DeleteParameter", &[Down], On::Parameters, Always, Called,
        "a host may have made its report anew, without tags"),
    // Role and profile.
    row("iam:CreateRole", &[Up], On::Roles, TagGiven, Called, "the host's role"),
    says(row("iam:TagRole", &[Up], On::Roles, TagGiven, Called, "CreateRole with tags wants it too"), IAM_TAGS),
    row("iam:PutRolePolicy", &[Up, RotateToken], On::Roles, Always, Called, "what the host may do"),
    row("iam:UpdateAssumeRolePolicy", &[Up], On::Roles, TagThere, Called, "mends who may assume the role"),
    row("iam:CreateInstanceProfile", &[Up], On::Profiles, TagGiven, Called, "the role for EC2"),
    says(row("iam:TagInstanceProfile", &[Up], On::Profiles, TagGiven, Called,
        "CreateInstanceProfile with tags wants it too"), IAM_TAGS),
    row("iam:AddRoleToInstanceProfile", &[Up], On::Profiles, Always, Called, "the role for EC2"),
    says(row("iam:PassRole", &[Up], On::Roles, PassedToEc2, Dependent("iam:AddRoleToInstanceProfile"),
        "the profile gets its role"), PASS_ROLE),
    row("iam:RemoveRoleFromInstanceProfile", &[Down], On::Profiles, TagThere, Called,
        "before the profile goes"),
    row("iam:DeleteInstanceProfile", &[Down], On::Profiles, TagThere, Called, "the profile goes"),
    row("iam:DeleteRolePolicy", &[Down], On::Roles, TagThere, Called, "before the role goes"),
    row("iam:DeleteRole", &[Down], On::Roles, TagThere, Called, "the role goes"),
    // Security group.
    row("ec2:DescribeSecurityGroupRules", &[Up], On::Everything, Always, Called, "rules that somebody added"),
    row("ec2:RevokeSecurityGroupIngress", &[Up], On::SecurityGroups, TagThere, Called, "nothing comes in"),
    row("ec2:AuthorizeSecurityGroupEgress", &[Up], On::SecurityGroups, TagThere, Called, "everything goes out"),
    row("ec2:AuthorizeSecurityGroupEgress", &[Up], On::Rules, Always, Called, "the rule that this makes"),
    row("ec2:DeleteSecurityGroup", &[Down], On::SecurityGroups, TagThere, Called, "the group goes"),
    // Hosts.
    row("ec2:StopInstances", &[Resize], On::Instances, TagThere, Called, "before the type changes"),
    row("ec2:ModifyVolume", &[Resize], On::Volumes, TagThere, Called, "a larger disk"),
    row("ec2:DescribeVolumesModifications", &[Resize], On::Everything, Always, Called,
        "until the disk can be used in its new size"),
    row("ec2:StartInstances", &[Up, Resize], On::Instances, TagThere, Called, "starts a host that is stopped"),
    row("ec2:ModifyInstanceMetadataOptions", &[Up], On::Instances, TagThere, Called,
        "mends the metadata service"),
    row("ec2:ModifyInstanceAttribute", &[Up, Down, Resize], On::Attributes, TagThere, Called,
        "groups, protection, kept volumes"),
    row("ec2:CreateTags", &[Up], On::OwnedByTag, TagThere, Called, "mends tags"),
    row("ec2:CreateTags", &[Down], On::Volumes, TagThere, Called, "marks a volume as kept"),
    row("ec2:TerminateInstances", &[Down], On::Instances, TagThere, Called, "hosts go"),
    row("ec2:CreateSnapshot", &[Down], On::Volumes, TagThere, Called, "down --snapshot"),
    row("ec2:CreateSnapshot", &[Down], On::Snapshots, KeptGiven, Called, "down --snapshot"),
    says(row("ec2:CreateTags", &[Down], On::Snapshots, MadeBySnapshot, Dependent("ec2:CreateSnapshot"),
        "tags come with the call that makes the copy"), TAG_ON_CREATE),
    row("ssm:SendCommand", ON_HOSTS, On::Instances, TagThere, Called,
        "jobs finish, the runner is unregistered; work on the runner; what a host says of itself"),
    row("ssm:SendCommand", ON_HOSTS, On::ShellDocument, Always, Called, "by a shell script"),
    row("ssm:GetCommandInvocation", ON_HOSTS, On::Everything, Always, Called, "until they have"),
    row("ssm:DescribeInstanceInformation", ON_HOSTS, On::Everything, Always, Called,
        "whether the agent of a host answers that does not take its command"),
    row("ssm:CancelCommand", ASKING, On::Everything, Always, Called,
        "a command that is given up is not to run later"),
    // Log group.
    row("logs:CreateLogGroup", &[Up], On::LogGroups, TagGiven, Called, "the log group"),
    says(row("logs:TagResource", &[Up], On::LogGroups, TagGiven, Called,
        "CreateLogGroup with tags wants it too"), CREATE_LOG_GROUP),
    row("logs:TagResource", &[Down], On::LogGroups, TagThere, Called, "marks it as kept"),
    row("logs:UntagResource", CHANGE, On::LogGroups, TagThere, Called, "takes it over, or leaves it as data"),
    row("logs:PutRetentionPolicy", &[Up], On::LogGroups, Always, Called, "days that it keeps"),
    row("logs:DeleteLogGroup", &[Down], On::LogGroups, TagThere, Called, "the log group goes"),
    // Topic.
    row("sns:CreateTopic", &[Up], On::Topics, TagGiven, Called, "the topic"),
    says(row("sns:TagResource", &[Up], On::Topics, TagGiven, Called,
        "CreateTopic with tags wants it too"), SNS_TAGS),
    row("sns:Subscribe", &[Up], On::Topics, Always, Called, "who is told"),
    row("sns:Unsubscribe", &[Up], On::Subscriptions, Always, Called, "who is told no longer"),
    row("sns:DeleteTopic", &[Down], On::Topics, TagThere, Called, "the topic goes"),
    // Alarms and dashboard: one action makes them and writes over them.
    row("cloudwatch:ListMetrics", &[Doctor, Alarms], On::Everything, Always, Called,
        "under which dimensions a host publishes what an alarm misses"),
    row("cloudwatch:SetAlarmState", &[Alarms], On::Alarms, TagThere, Called, "drives an alarm, and back"),
    row("cloudwatch:DescribeAlarmHistory", &[Alarms], On::Alarms, Always, Called, "what came of it"),
    row("cloudwatch:PutMetricAlarm", &[Up, Alarms, Resize], On::Alarms, Always, Called,
        "alarms; a test takes the action that reboots off and puts it back"),
    says(row("cloudwatch:TagResource", &[Up, Resize], On::Alarms, TagGiven, Called,
        "PutMetricAlarm with tags wants it too"), PUT_METRIC_ALARM),
    says(row("iam:CreateServiceLinkedRole", &[Up], On::AlarmActionsRole, ForAlarmActions, Dependent("cloudwatch:PutMetricAlarm"),
        "the first alarm of an account that recovers or reboots makes CloudWatch's role"), ALARM_ROLE),
    row("cloudwatch:DeleteAlarms", &[Up, Down, Resize], On::Alarms, TagThere, Called,
        "alarms of former hosts and types, and all of them"),
    row("cloudwatch:PutDashboard", &[Up, Resize], On::Dashboards, Always, Called, "the dashboard"),
    row("cloudwatch:DeleteDashboards", &[Down], On::Dashboards, Always, Called, "a dashboard carries no tags"),
    // Preflight on EKS.
    eks("eks:DescribeClusterVersions", VERSIONS, On::Everything, Always, Called, "versions in standard support"),
    eks("eks:DescribeAddonVersions", VERSIONS, On::Everything, Always, Called, "versions of add-ons"),
    eks("eks:ListInsights", &[Upgrade], On::Clusters, Always, Called, "what the next version breaks"),
    eks("eks:DescribeInsight", &[Upgrade], On::Clusters, Always, Called, "what is to be done about it"),
    eks("ssm:GetParameters", &[Doctor, Upgrade], On::NodeImages, Always, Called, "the newest image for nodes"),
    eks("eks:ListClusters", PREFLIGHT, On::Everything, Always, Called, "how many there are, against the quota"),
    eks("ec2:DescribeAvailabilityZones", PREFLIGHT, On::Everything, Always, Called, "zones without control planes"),
    eks("iam:GetRole", PREFLIGHT, On::ServiceRoles, Always, Called, "whether AWS has made its roles already"),
    eks("secretsmanager:GetSecretValue", &[Up, RotateToken], On::NamedSecrets, Always, Called,
        "pods cannot read a secret of the user's, so it is put into the cluster"),
    // What there is on EKS.
    eks("eks:DescribeCluster", ALL, On::Clusters, Always, Called, "the cluster, and how to reach it"),
    eks("eks:ListNodegroups", ALL, On::Clusters, Always, Called, "what else is in the cluster"),
    eks("eks:ListFargateProfiles", ALL, On::Clusters, Always, Called, "what else is in the cluster"),
    eks("eks:ListAddons", ALL, On::Clusters, Always, Called, "add-ons"),
    eks("eks:ListAccessEntries", ALL, On::Clusters, Always, Called, "who may do something in the cluster"),
    eks("eks:ListPodIdentityAssociations", ALL, On::Clusters, Always, Called, "roles of pods"),
    eks("eks:DescribeNodegroup", ALL, On::NodeGroups, Always, Called, "the nodes"),
    eks("eks:DescribeAddon", ALL, On::Addons, Always, Called, "add-ons"),
    eks("eks:DescribeAccessEntry", ALL, On::AccessEntries, Always, Called, "whose they are"),
    eks("eks:ListAssociatedAccessPolicies", ALL, On::AccessEntries, Always, Called, "what they allow"),
    eks("eks:DescribePodIdentityAssociation", ALL, On::PodIdentities, Always, Called, "whose they are"),
    eks("elasticfilesystem:DescribeFileSystems", ALL, On::FileSystems, Always, Called, "the file system"),
    eks("elasticfilesystem:DescribeMountTargets", ALL, On::FileSystems, Always, Called, "its mount targets"),
    eks("ec2:DescribeLaunchTemplates", ALL, On::Everything, Always, Called, "the launch template"),
    eks("ec2:DescribeLaunchTemplateVersions", ALL, On::Everything, Always, Called, "what is in it"),
    eks("iam:ListAttachedRolePolicies", ALL, On::RolesToRead, Always, Called, "policies of the roles"),
    eks("logs:ListTagsForResource", ALL, On::ClusterLogs, Always, Called, "whose the cluster's log groups are"),
    // The cluster.
    eks("eks:CreateCluster", &[Up], On::Everything, TagGiven, Called, "the cluster"),
    eks("eks:UpdateClusterConfig", &[Up], On::Clusters, TagThere, Called, "endpoint, logs, support"),
    eks("eks:UpdateClusterVersion", &[Up, Upgrade], On::Clusters, TagThere, Called, "Kubernetes goes up a version"),
    eks("eks:DescribeUpdate", &[Up, Upgrade, Resize], On::Clusters, Always, Called, "until it has"),
    eks("eks:DescribeUpdate", &[Up, Upgrade, Resize], On::NodeGroups, Always, Called, "until the nodes are"),
    eks("eks:DescribeUpdate", &[Up, Upgrade, Resize], On::Addons, Always, Called, "until the add-on is"),
    eks("eks:DeleteCluster", &[Down], On::Clusters, TagThere, Called, "the cluster goes"),
    eks("eks:TagResource", &[Up], On::Clusters, TagGiven, Called, "CreateCluster with tags wants it too; mends tags"),
    eks("eks:TagResource", &[Up], On::NodeGroups, TagGiven, Called, "the same for node groups"),
    eks("eks:TagResource", &[Up], On::Addons, TagGiven, Called, "the same for add-ons"),
    eks("eks:TagResource", &[Up], On::AccessEntries, TagGiven, Called, "the same for access entries"),
    eks("eks:TagResource", &[Up], On::PodIdentities, TagGiven, Called, "the same for pod identities"),
    says(eks("iam:PassRole", &[Up, Upgrade], On::Roles, PassedToEks, Dependent("eks:CreateCluster, eks:CreateNodegroup, eks:CreateAddon, eks:UpdateAddon, eks:CreatePodIdentityAssociation"),
        "control plane, nodes and pods get their roles"), PASS_EKS),
    says(eks("iam:CreateServiceLinkedRole", &[Up], On::ServiceRoles, ForEks, Dependent("eks:CreateCluster, eks:CreateNodegroup, elasticfilesystem:CreateMountTarget"),
        "the first cluster of an account makes the roles of AWS's services"), EKS_ROLES),
    // Roles have policies of AWS's.
    eks("iam:AttachRolePolicy", &[Up], On::Roles, Always, Called, "policies of AWS's and of the user's"),
    eks("iam:DetachRolePolicy", CHANGE, On::Roles, TagThere, Called, "before the role goes"),
    // Nodes.
    eks("ec2:CreateLaunchTemplate", &[Up], On::LaunchTemplates, TagGiven, Called, "disk and metadata of nodes"),
    says(eks("ec2:CreateTags", &[Up], On::LaunchTemplates, MadeWithTags, Dependent("ec2:CreateLaunchTemplate"),
        "tags come with the call that makes the template"), TAG_ON_CREATE),
    eks("ec2:CreateLaunchTemplateVersion", &[Up, Resize], On::LaunchTemplates, TagThere, Called, "another disk or other tags"),
    eks("ec2:CreateTags", &[Up], On::LaunchTemplates, TagThere, Called, "mends tags"),
    eks("ec2:DeleteLaunchTemplate", &[Down], On::LaunchTemplates, TagThere, Called, "the launch template goes"),
    eks("eks:CreateNodegroup", &[Up], On::Clusters, TagGiven, Called, "the nodes"),
    says(eks("ec2:RunInstances", &[Up, Upgrade, Resize], On::Hosts, ByTemplate, Dependent("eks:CreateNodegroup, eks:UpdateNodegroupVersion"),
        "EKS looks whether the caller may launch what the template says"), EKS_TEMPLATE),
    says(eks("ec2:RunInstances", &[Up, Upgrade, Resize], On::LaunchInputs, ByTemplate, Dependent("eks:CreateNodegroup, eks:UpdateNodegroupVersion"),
        "image, network and group of a node"), EKS_TEMPLATE),
    says(eks("ec2:RunInstances", &[Up, Upgrade, Resize], On::LaunchTemplates, TagThere, Dependent("eks:CreateNodegroup, eks:UpdateNodegroupVersion"),
        "by our template alone"), EKS_TEMPLATE),
    eks("eks:UpdateNodegroupConfig", &[Up, Resize], On::NodeGroups, TagThere, Called, "limits of the nodes"),
    eks("eks:UpdateNodegroupVersion", &[Up, Upgrade, Resize], On::NodeGroups, TagThere, Called, "nodes of the newest template"),
    eks("eks:DeleteNodegroup", &[Down], On::NodeGroups, TagThere, Called, "the nodes go"),
    // Add-ons, people and pods.
    eks("eks:CreateAddon", &[Up], On::Clusters, TagGiven, Called, "add-ons"),
    says(eks("eks:UpdatePodIdentityAssociation", &[Up, Upgrade], On::PodIdentities, Always, Dependent("eks:UpdateAddon"),
        "roles of an add-on's pods"), POD_IDENTITY),
    eks("eks:UpdateAddon", &[Up, Upgrade], On::Addons, TagThere, Called, "their versions and settings"),
    eks("eks:DeleteAddon", &[Down], On::Addons, TagThere, Called, "add-ons go"),
    eks("eks:CreateAccessEntry", &[Up], On::Clusters, TagGiven, Called, "those who look after the cluster"),
    eks("eks:AssociateAccessPolicy", &[Up], On::AccessEntries, Always, Called, "may do everything in it"),
    eks("eks:DeleteAccessEntry", &[Down], On::AccessEntries, TagThere, Called, "access entries go"),
    // Those of add-ons are made by EKS and have no tags of ours.
    says(eks("eks:CreatePodIdentityAssociation", &[Up], On::Clusters, Always, Called, "roles of pods"), POD_IDENTITY),
    says(eks("eks:DeletePodIdentityAssociation", &[Down], On::PodIdentities, Always, Called,
        "and no longer; those of add-ons go with them"), POD_IDENTITY),
    // The file system.
    eks("elasticfilesystem:CreateFileSystem", &[Up], On::Everything, TagGiven, Called, "the file system for caches"),
    says(eks("elasticfilesystem:TagResource", &[Up], On::FileSystems, TagGiven, Called,
        "CreateFileSystem with tags wants it too"), EFS_ACTIONS),
    eks("elasticfilesystem:CreateMountTarget", &[Up], On::FileSystems, TagThere, Called, "its mount targets"),
    says(eks("ec2:CreateNetworkInterface", &[Up], On::MountInputs, Always, Dependent("elasticfilesystem:CreateMountTarget"),
        "a mount target is one"), EFS_ACTIONS),
    says(eks("ec2:DescribeNetworkInterfaces", CHANGE, On::Everything, Always, Dependent("elasticfilesystem:CreateMountTarget, elasticfilesystem:DeleteMountTarget"),
        "a mount target is one"), EFS_ACTIONS),
    says(eks("ec2:DeleteNetworkInterface", &[Down], On::Interfaces, Always, Dependent("elasticfilesystem:DeleteMountTarget"),
        "a mount target is one"), EFS_ACTIONS),
    eks("ec2:AuthorizeSecurityGroupIngress", &[Up], On::SecurityGroups, TagThere, Called, "NFS from the VPC"),
    eks("ec2:AuthorizeSecurityGroupIngress", &[Up], On::Rules, Always, Called, "the rule that this makes"),
    eks("elasticfilesystem:DeleteMountTarget", &[Down], On::FileSystems, TagThere, Called, "mount targets go"),
    eks("elasticfilesystem:DeleteFileSystem", &[Down], On::FileSystems, TagThere, Called, "the file system goes, where asked"),
    eks("elasticfilesystem:TagResource", &[Down], On::FileSystems, TagThere, Called, "or is marked as kept"),
    eks("elasticfilesystem:UntagResource", &[Down], On::FileSystems, TagThere, Called, "and is left as data"),
    // Log groups of the cluster.
    eks("logs:CreateLogGroup", &[Up], On::ClusterLogs, TagGiven, Called, "before EKS makes them without an end"),
    eks("logs:TagResource", &[Up], On::ClusterLogs, TagGiven, Called, "CreateLogGroup with tags wants it too"),
    eks("logs:PutRetentionPolicy", &[Up], On::ClusterLogs, Always, Called, "days that they keep"),
    eks("logs:DeleteLogGroup", &[Down], On::ClusterLogs, TagThere, Called, "they go"),
    // Keys of the user's; those of AWS need no permission of the caller's.
    says(row("kms:CreateGrant", &[Up, Resize], On::TheirKeys, GrantForAws, Dependent("ec2:RunInstances, ec2:StartInstances, eks:CreateCluster"),
        "volumes"), EBS_KEYS),
    says(row("kms:DescribeKey", &[Up], On::TheirKeys, Always, Dependent("ec2:RunInstances"),
        "volumes"), EBS_KEYS),
    says(row("kms:GenerateDataKeyWithoutPlaintext", &[Up], On::TheirKeys, ThroughAws, Dependent("ec2:RunInstances"),
        "volumes"), EBS_KEYS),
    says(row("kms:Decrypt", &[Up], On::TheirKeys, ThroughAws, Dependent("ec2:RunInstances, ssm:GetParameters"),
        "volumes and the token"), EBS_KEYS),
    says(row("kms:Encrypt", &[Up], On::TheirKeys, ThroughAws, Dependent("ssm:PutParameter"),
        "the token"), SSM_KEYS),
];

/// Actions on hosts, besides those on resources that only hosts have.
const HOST_ACTIONS: &[&str] = &[
    "ec2:DescribeImages",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeVolumesModifications",
    "ec2:RevokeSecurityGroupIngress",
    "ssm:CancelCommand",
    "ssm:DescribeInstanceInformation",
    "ssm:GetCommandInvocation",
];

/// Whether a line is for deployments on EC2 alone. What stands under a name of ours is read for both.
fn only_ec2(row: &Row) -> bool {
    let on_hosts = matches!(
        row.on,
        On::AlarmActionsRole
            | On::Attributes
            | On::Hosts
            | On::Instances
            | On::LaunchInputs
            | On::Profiles
            | On::PublicParameters
            | On::ShellDocument
            | On::Snapshots
            | On::Volumes
    );
    !row.only_eks && (on_hosts || row.when == PassedToEc2 || HOST_ACTIONS.contains(&row.action))
}

/// What a policy is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// For deployments on EKS instead of those on EC2.
    pub eks: bool,
    /// One cluster, where the deployments are on EKS.
    pub cluster: Option<String>,
    /// One deployment.
    pub name: Option<Name>,
    /// One region.
    pub region: Option<String>,
    /// One account, twelve digits.
    pub account: Option<String>,
    /// Parameters of the user's: names or ARNs.
    pub parameters: Vec<String>,
    /// Secrets of the user's: names or ARNs; none: all, because only their names and dates are read.
    pub secrets: Vec<String>,
    /// Keys of the user's: ARNs.
    pub keys: Vec<String>,
    /// Leaves out what `plan` is only to ask for: AWS would let it launch hosts with that.
    pub read_only: bool,
}

impl Scope {
    fn place(&self) -> Place {
        let any = || "*".to_owned();
        Place {
            account: self.account.clone().unwrap_or_else(any),
            region: self.region.clone().unwrap_or_else(any),
        }
    }

    /// Returns ARNs of something; none: there is nothing of the kind in this scope.
    fn resources(&self, on: On) -> Vec<String> {
        let place = self.place();
        let name = self.name.as_ref().map_or("*", Name::as_str);
        let ours = |service: &str, rest: &str| vec![place.arn(service, rest)];
        let ec2 = |kinds: &[&str]| {
            kinds
                .iter()
                .map(|kind| place.arn("ec2", &format!("{kind}/*")))
                .collect()
        };
        // Of AWS, or of nobody yet.
        let nobody = |service: &str, rest: &str| {
            format!("arn:{}:{service}:{}::{rest}", place.partition(), place.region)
        };
        // On EKS there are several, which end with what they are for.
        let end = if self.eks { "*" } else { "" };
        let identity = match &self.name {
            Some(name) => format!("{}{end}", name.role(&place.region)),
            None => "*".to_owned(),
        };
        let cluster = self.cluster.as_deref().unwrap_or("*");
        // With the path, and without, as IAM asks where it knows of none.
        let identities = |kind: &str| match &self.name {
            Some(_) => vec![place.iam_arn(&format!("{kind}/*{identity}"))],
            None => vec![place.iam_arn(&format!("{kind}/dataops-*"))],
        };
        let theirs = |service: &str, kind: &str, names: &[String], end: &str| -> Vec<String> {
            let arn = |text: &String| {
                if text.starts_with("arn:") {
                    text.clone()
                } else {
                    place.arn(service, &format!("{kind}{}{end}", text.trim_start_matches('/')))
                }
            };
            names.iter().map(arn).collect()
        };
        match on {
            On::Everything | On::EverythingAnywhere => vec!["*".to_owned()],
            On::Parameters => ours(
                "ssm",
                &match &self.name {
                    Some(name) => format!("parameter/dataops-infra/{name}/*"),
                    None => "parameter/dataops-infra/*".to_owned(),
                },
            ),
            On::TheirParameters => theirs("ssm", "parameter/", &self.parameters, ""),
            On::PublicParameters => vec![nobody("ssm", "parameter/aws/service/canonical/*")],
            On::NodeImages => vec![nobody("ssm", "parameter/aws/service/eks/optimized-ami/*")],
            On::TheirSecrets if self.secrets.is_empty() => ours("secretsmanager", "secret:*"),
            On::TheirSecrets | On::NamedSecrets => {
                theirs("secretsmanager", "secret:", &self.secrets, "-??????")
            }
            On::TheirKeys => self.keys.clone(),
            On::Roles => vec![place.iam_arn(&format!("role/dataops-infra/{identity}"))],
            On::RolesToRead => identities("role"),
            On::Profiles => vec![place.iam_arn(&format!("instance-profile/dataops-infra/{identity}"))],
            On::ProfilesToRead => identities("instance-profile"),
            On::AlarmActionsRole => {
                let role = "AWSServiceRoleForCloudWatchEvents";
                vec![place.iam_arn(&format!("role/aws-service-role/events.amazonaws.com/{role}"))]
            }
            // A log group is asked for with and without `:*` at its end.
            On::LogGroups => match &self.name {
                Some(name) => ["", ":*"]
                    .map(|end| place.arn("logs", &format!("log-group:{}{end}", name.log_group())))
                    .to_vec(),
                None => ours("logs", "log-group:/dataops-infra/*"),
            },
            On::Topics => ours("sns", &format!("dataops-infra-{name}")),
            On::AnyTopics => ours("sns", "*"),
            On::Subscriptions => ["", ":*"]
                .map(|end| place.arn("sns", &format!("dataops-infra-{name}{end}")))
                .to_vec(),
            On::Alarms => ours(
                "cloudwatch",
                &match &self.name {
                    Some(name) => format!("alarm:{}*", name.alarm_prefix()),
                    None => "alarm:dataops-infra/*".to_owned(),
                },
            ),
            On::Dashboards => {
                let dashboard = match &self.name {
                    Some(name) => name.dashboard(&place.region),
                    None => "dataops-infra-*".to_owned(),
                };
                vec![format!(
                    "arn:{}:cloudwatch::{}:dashboard/{dashboard}",
                    place.partition(),
                    place.account
                )]
            }
            On::Instances => ec2(&["instance"]),
            On::Hosts => ec2(&["instance", "volume"]),
            On::LaunchInputs => {
                let mut arns = vec![nobody("ec2", "image/*"), nobody("ec2", "snapshot/*")];
                arns.extend::<Vec<String>>(ec2(&["network-interface", "security-group", "subnet"]));
                arns
            }
            On::SecurityGroups => ec2(&["security-group"]),
            On::Rules => ec2(&["security-group-rule"]),
            On::Vpcs => ec2(&["vpc"]),
            On::Volumes => ec2(&["volume"]),
            On::Snapshots => vec![nobody("ec2", "snapshot/*")],
            On::OwnedByTag | On::Attributes => ec2(&["instance", "security-group", "volume"]),
            On::ShellDocument => vec![nobody("ssm", "document/AWS-RunShellScript")],
            On::Clusters => ours("eks", &format!("cluster/{cluster}")),
            On::NodeGroups => match &self.name {
                Some(name) => ours("eks", &format!("nodegroup/{cluster}/{}/*", name.node_group())),
                None => ours("eks", &format!("nodegroup/{cluster}/*")),
            },
            On::Addons => ours("eks", &format!("addon/{cluster}/*")),
            On::AccessEntries => ours("eks", &format!("access-entry/{cluster}/*")),
            On::PodIdentities => ours("eks", &format!("podidentityassociation/{cluster}/*")),
            On::FileSystems => ours("elasticfilesystem", "file-system/*"),
            On::LaunchTemplates => ec2(&["launch-template"]),
            On::MountInputs => ec2(&["network-interface", "security-group", "subnet"]),
            On::Interfaces => ec2(&["network-interface"]),
            On::ClusterLogs => ["aws/eks", "aws/containerinsights"]
                .map(|writer| place.arn("logs", &format!("log-group:/{writer}/{cluster}/*")))
                .to_vec(),
            // Which they are is in the condition; four names twice are a tenth of what a policy may hold.
            On::ServiceRoles => vec![place.iam_arn("role/aws-service-role/*/AWSServiceRoleFor*")],
        }
    }

    fn condition(&self, on: On, when: When) -> Option<Value> {
        let tagged = |key: &str| match &self.name {
            Some(name) => json!({ "StringEquals": { (key): name.as_str() } }),
            None => json!({ "Null": { (key): "false" } }),
        };
        let suffix = if self.place().partition() == "aws-cn" {
            ".cn"
        } else {
            ""
        };
        match when {
            Always => match (&self.region, on) {
                (Some(region), On::Everything) => {
                    Some(json!({ "StringEquals": { "aws:RequestedRegion": region } }))
                }
                _ => None,
            },
            TagGiven => Some(tagged(&format!("aws:RequestTag/{DEPLOYMENT}"))),
            KeptGiven => Some(json!({ "Null": { (format!("aws:RequestTag/{KEPT}")): "false" } })),
            TagThere => Some(tagged(&format!("aws:ResourceTag/{DEPLOYMENT}"))),
            PassedToEc2 => Some(json!({ "StringEquals": {
                "iam:PassedToService": format!("ec2.amazonaws.com{suffix}")
            } })),
            PassedToEks => Some(json!({ "StringEquals": { "iam:PassedToService": [
                format!("ec2.amazonaws.com{suffix}"), "eks.amazonaws.com", "pods.eks.amazonaws.com"
            ] } })),
            ByTemplate => Some(json!({ "StringLike": {
                "ec2:LaunchTemplate": self.place().arn("ec2", "launch-template/*")
            } })),
            MadeWithTags => Some(json!({ "StringEquals": { "ec2:CreateAction": "CreateLaunchTemplate" } })),
            ForEks => {
                let services = SERVICE_ROLES.map(|(_, service)| service);
                Some(json!({ "StringEquals": { "iam:AWSServiceName": services } }))
            }
            MadeByLaunch => Some(json!({ "StringEquals": {
                "ec2:CreateAction": ["CreateSecurityGroup", "RunInstances"]
            } })),
            MadeBySnapshot => Some(json!({ "StringEquals": { "ec2:CreateAction": "CreateSnapshot" } })),
            ForAlarmActions => {
                Some(json!({ "StringEquals": { "iam:AWSServiceName": "events.amazonaws.com" } }))
            }
            ThroughAws => Some(json!({ "StringLike": {
                "kms:ViaService": ["ec2.*.amazonaws.com*", "ssm.*.amazonaws.com*"]
            } })),
            GrantForAws => Some(json!({ "Bool": { "kms:GrantIsForAWSResource": "true" } })),
        }
    }

    /// Whether a line of the table is in the policy of a command.
    fn has(&self, row: &Row, command: Command) -> bool {
        row.commands.contains(&command)
            && row.need != Free
            && (if self.eks { !only_ec2(row) } else { !row.only_eks })
            && !(row.only_many && self.name.is_some())
            && !(self.read_only && is_launch(row))
            && !self.resources(row.on).is_empty()
    }
}

/// Whether a line is there for asking whether a launch would be permitted.
fn is_launch(row: &Row) -> bool {
    row.need == DryRun || matches!(row.need, Dependent(_))
}

/// Returns the lines that the policy of a command is made of.
pub fn rows(command: Command, scope: &Scope) -> Vec<&'static Row> {
    TABLE.iter().filter(|row| scope.has(row, command)).collect()
}

/// Returns the actions that a command needs, those included that need no permission.
pub fn actions(command: Command) -> BTreeSet<&'static str> {
    let needed = TABLE.iter().filter(|row| row.commands.contains(&command));
    needed.map(|row| row.action).collect()
}

/// Returns what a statement is called that holds this line.
///
/// Lines with the same condition share a statement where each kind of resource has one pattern among them, because an
/// action is only ever asked for on its own kinds: nothing is allowed by that which the lines do not say.
fn sid(row: &Row) -> String {
    let named = matches!(
        row.on,
        On::Parameters
            | On::LogGroups
            | On::Topics
            | On::Subscriptions
            | On::Alarms
            | On::Dashboards
            | On::Roles
            | On::Profiles
            | On::Clusters
            | On::NodeGroups
            | On::Addons
            | On::AccessEntries
            | On::PodIdentities
            | On::FileSystems
    );
    let made = matches!(row.on, On::Hosts | On::LaunchTemplates | On::SecurityGroups);
    let owned = matches!(
        row.on,
        On::Instances | On::LaunchTemplates | On::SecurityGroups | On::OwnedByTag | On::Attributes
    );
    let group = match (row.on, row.when) {
        (_, Always | TagGiven | TagThere) if named => "Ours".to_owned(),
        (_, TagGiven) if made => "Ours".to_owned(),
        (_, TagThere) if owned => "Ours".to_owned(),
        (On::RolesToRead | On::ProfilesToRead, _) => "Identities".to_owned(),
        (on, _) => format!("{on:?}"),
    };
    match row.when {
        Always => group,
        when => format!("{group}{when:?}"),
    }
}

/// Returns the policy document of a command.
pub fn policy(command: Command, scope: &Scope) -> Value {
    let mut statements: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in rows(command, scope) {
        statements.entry(sid(row)).or_default().push(row);
    }
    let statements: Vec<Value> = statements
        .into_iter()
        .map(|(sid, rows)| {
            let actions: BTreeSet<&str> = rows.iter().map(|row| row.action).collect();
            let resources: BTreeSet<String> = rows.iter().flat_map(|row| scope.resources(row.on)).collect();
            let mut statement = Map::new();
            statement.insert("Sid".to_owned(), json!(sid));
            statement.insert("Effect".to_owned(), json!("Allow"));
            statement.insert("Action".to_owned(), json!(actions));
            statement.insert("Resource".to_owned(), json!(resources));
            let condition = rows.first().and_then(|row| scope.condition(row.on, row.when));
            if let Some(condition) = condition {
                statement.insert("Condition".to_owned(), condition);
            }
            Value::Object(statement)
        })
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Returns the characters of a document as IAM counts them: without white space.
pub fn characters(policy: &Value) -> usize {
    policy.to_string().chars().filter(|c| !c.is_whitespace()).count()
}

/// Returns what is to be said of each action of a policy.
pub fn reasons(command: Command, scope: &Scope) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    rows(command, scope)
        .into_iter()
        .filter(|row| seen.insert((row.action, row.on, row.when)))
        .map(|row| {
            let mut reason = json!({
                "action": row.action,
                "sid": sid(row),
                "why": row.why,
            });
            match row.need {
                Dependent(of) => reason["needed_besides"] = json!(of),
                DryRun => reason["dry_run"] = json!(true),
                Called | Free => {}
            }
            if let Some(source) = row.source {
                reason["source"] = json!(source);
            }
            reason
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Command::Status;
    use super::*;

    fn scope(name: Option<&str>) -> Scope {
        Scope {
            name: name.map(|name| Name::new(name).expect("sound")),
            region: Some("eu-west-2".to_owned()),
            account: Some("1".repeat(12)),
            ..Scope::default()
        }
    }

    #[test]
    fn policies_fit_a_managed_policy() {
        for command in Command::ALL {
            for scope in [
                Scope::default(),
                scope(None),
                scope(Some("dataops-runner-london")),
            ] {
                let size = characters(&policy(command, &scope));
                assert!(size <= MOST_CHARACTERS, "{}: {size}", command.word());
            }
        }
    }

    #[test]
    fn policies_on_eks_fit_a_managed_policy_but_for_up() {
        for command in Command::ALL {
            let scope = Scope {
                eks: true,
                cluster: Some("dataops-runner-london".to_owned()),
                ..scope(Some("dataops-runner-london"))
            };
            let size = characters(&policy(command, &scope));
            // What a role's inline policies hold.
            let most = if command == Up { 10_240 } else { MOST_CHARACTERS };
            assert!(size <= most, "{}: {size}", command.word());
        }
    }

    #[test]
    fn a_name_narrows_every_resource_that_has_one() {
        let text = policy(Up, &scope(Some("abc"))).to_string();
        for part in [
            "parameter/dataops-infra/abc/*",
            "role/dataops-infra/dataops-abc-eu-west-2",
            "log-group:/dataops-infra/abc\"",
            "111111111111:dataops-infra-abc\"",
            "alarm:dataops-infra/abc/*",
            "dashboard/dataops-infra-abc-eu-west-2",
            "\"aws:RequestTag/dataops-infra:deployment\":\"abc\"",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("iam:ListRoles"));
    }

    #[test]
    fn reading_commands_hold_no_change() {
        let changes = |command, scope: &Scope| {
            let reads = ["Get", "List", "Describe"];
            let mut actions: Vec<&str> = rows(command, scope).iter().map(|row| row.action).collect();
            actions.retain(|action| {
                let verb = action.split_once(':').map_or("", |(_, verb)| verb);
                !reads.iter().any(|read| verb.starts_with(read))
            });
            actions
        };
        assert!(changes(Status, &Scope::default()).is_empty());
        // A host is asked by a command, which is also how `--fix` mends one.
        let asks: BTreeSet<&str> = changes(Doctor, &Scope::default()).into_iter().collect();
        assert_eq!(asks, BTreeSet::from(["ssm:CancelCommand", "ssm:SendCommand"]));
        assert!(!changes(Plan, &Scope::default()).is_empty());
        let read_only = Scope {
            read_only: true,
            ..Scope::default()
        };
        assert_eq!(changes(Plan, &read_only), Vec::<&str>::new());
    }

    #[test]
    fn china_has_its_own_partition_and_service_names() {
        let scope = Scope {
            region: Some("cn-north-1".to_owned()),
            ..Scope::default()
        };
        let text = policy(Up, &scope).to_string();
        assert!(text.contains("ec2.amazonaws.com.cn") && !text.contains("arn:aws:"));
    }
}
