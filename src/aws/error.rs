//! The only place that reads AWS error codes.

use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

pub use crate::domain::call::{CallError, Refusal};

const DENIED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "UnauthorizedAccess",
];
const CREDENTIALS: &[&str] = &[
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// Codes that somebody branches on, by what they mean.
const REFUSALS: &[(Refusal, &[&str])] = &[
    (
        Refusal::Exists,
        &[
            "EntityAlreadyExists",
            "InvalidGroup.Duplicate",
            "InvalidPermission.Duplicate",
            "ParameterAlreadyExists",
            "ResourceAlreadyExistsException",
            "FileSystemAlreadyExists",
            "InvalidLaunchTemplateName.AlreadyExistsException",
            "MountTargetConflict",
        ],
    ),
    (
        Refusal::Missing,
        &[
            "FileSystemNotFound",
            "InvalidLaunchTemplateId.NotFound",
            "InvalidLaunchTemplateName.NotFoundException",
            "MountTargetNotFound",
            "SecurityGroupNotFound",
            "SubnetNotFound",
            "DashboardNotFoundError",
            "InvalidAMIID.NotFound",
            "InvalidGroup.NotFound",
            "InvalidInstanceID.NotFound",
            "InvalidPermission.NotFound",
            "InvalidSecurityGroupID.NotFound",
            "InvalidSecurityGroupRuleId.NotFound",
            "InvalidSubnetID.NotFound",
            "InvalidVolume.NotFound",
            "InvalidVpcID.NotFound",
            "NoSuchEntity",
            "NotFound",
            "NotFoundException",
            "ParameterNotFound",
            "ResourceNotFound",
            "ResourceNotFoundException",
            "InvalidResourceId",
            "NoSuchResourceException",
            "InvocationDoesNotExist",
            "InvalidVolumeModification.NotFound",
        ],
    ),
    (
        Refusal::NotYet,
        &[
            "ConcurrentModification",
            "ConcurrentModificationException",
            "DeleteConflict",
            "DependencyViolation",
            "EntityTemporarilyUnmodifiable",
            "FileSystemInUse",
            "IncorrectFileSystemLifeCycleState",
            "IncorrectInstanceState",
            "OperationAbortedException",
            "ResourceInUse",
            "ResourcePropagationDelayException",
        ],
    ),
    (
        Refusal::Capacity,
        &[
            "InsufficientFreeAddressesInSubnet",
            "InsufficientHostCapacity",
            "InsufficientInstanceCapacity",
            "Unsupported",
        ],
    ),
    (
        Refusal::Quota,
        &[
            "FileSystemLimitExceeded",
            "NetworkInterfaceLimitExceeded",
            "InstanceLimitExceeded",
            "LimitExceeded",
            "LimitExceededException",
            "ParameterLimitExceeded",
            "ResourceLimitExceeded",
            "ResourceLimitExceededException",
            "SecurityGroupLimitExceeded",
            "VcpuLimitExceeded",
            "VolumeLimitExceeded",
        ],
    ),
    (
        Refusal::Throttled,
        &[
            "PriorRequestNotComplete",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "Throttled",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
            "TooManyUpdates",
        ],
    ),
    (Refusal::TokenReused, &["IdempotentParameterMismatch"]),
    (Refusal::TokenSpent, &["IdempotentInstanceTerminated"]),
    (Refusal::Protected, &["OperationNotPermitted"]),
    (Refusal::DryRun, &["DryRunOperation"]),
];

/// What EKS says of a role or a principal that IAM has made and EKS does not see yet, or not with its policies.
///
/// The same words stand for one that will never be seen; how long to try is the engine's business.
const UNSEEN: &[&str] = &[
    "does not exist",
    "cannot be found",
    "could not be assumed",
    "error in role params",
    "managed policies associated",
    "policy must include",
    "invalid principal",
];

/// What EKS says of a cluster or of something in it that is busy, or not there yet.
const BUSY: &[&str] = &[
    "in progress",
    "currently",
    "not active",
    "not in active",
    "not in an active",
    "status is",
    "state is",
];

/// What EKS says of a change that would change nothing.
const UNCHANGED: &[&str] = &["already at the desired", "no changes needed"];

/// Whether EKS refuses because the caller may not do what EKS would do in the caller's name: it looks whether the caller may launch
/// what a launch template says, and tells that with a code that means much else.
fn is_denied(action: &str, message: Option<&str>) -> bool {
    action.starts_with("eks:") && message.is_some_and(|message| message.contains("not authorized to"))
}

/// Returns what kind of refusal a code of EKS is that means several things: the call and the words decide
/// (<https://docs.aws.amazon.com/eks/latest/APIReference/CommonErrors.html>, and the errors of each call there).
fn refusal_of_eks(action: &str, code: &str, message: &str) -> Option<Refusal> {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    let of_role = message.contains("role") || message.contains("principal");
    match code {
        "ResourceInUseException" if action.starts_with("eks:Create") && !says(BUSY) => Some(Refusal::Exists),
        "ResourceInUseException" => Some(Refusal::NotYet),
        "InvalidParameterException" | "InvalidRequestException" if says(UNCHANGED) => Some(Refusal::Exists),
        "InvalidParameterException" if of_role && says(UNSEEN) => Some(Refusal::NotYet),
        "InvalidRequestException" if says(BUSY) => Some(Refusal::NotYet),
        _ => None,
    }
}

/// Returns what kind of refusal a code is; none for one that is not listed.
fn refusal(action: &str, code: &str, message: &str) -> Option<Refusal> {
    if action.starts_with("eks:")
        && let Some(refusal) = refusal_of_eks(action, code, message)
    {
        return Some(refusal);
    }
    let listed = REFUSALS
        .iter()
        .find(|(_, codes)| codes.contains(&code))
        .map(|(refusal, _)| *refusal);
    // A profile that was just made is not known to EC2 for some seconds.
    let profile = code == "InvalidParameterValue" && message.to_lowercase().contains("instance profile");
    listed.or(profile.then_some(Refusal::NotYet))
}

/// Sorts an error of the SDK.
pub fn classify<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let chain = || DisplayErrorContext(error).to_string();
    match error {
        SdkError::ServiceError(context) => {
            let (code, message) = (context.err().code(), context.err().message());
            let cause = match (code, message) {
                (Some(code), Some(message)) => format!("{code}: {message}"),
                (Some(code), None) => code.to_owned(),
                (None, message) => message.unwrap_or("an error without a code").to_owned(),
            };
            let why = code.and_then(|code| refusal(action, code, message.unwrap_or_default()));
            match (code, why) {
                (Some(code), _) if DENIED.contains(&code) || is_denied(action, message) => {
                    CallError::Denied { action, cause }
                }
                (Some(code), _) if CREDENTIALS.contains(&code) => CallError::Credentials { action, cause },
                (_, Some(why)) => CallError::Refused { action, why, cause },
                // The server failed, before or after it did what was asked.
                (_, None) if context.raw().status().as_u16() >= 500 => CallError::Unreachable {
                    action,
                    cause: format!("{}, {cause}", context.raw().status().as_u16()),
                },
                _ => CallError::Refused {
                    action,
                    why: Refusal::Other,
                    cause,
                },
            }
        }
        SdkError::TimeoutError(_) => CallError::Unreachable {
            action,
            cause: "no answer in time".to_owned(),
        },
        SdkError::ResponseError(_) => CallError::Malformed {
            action,
            cause: causes(error),
        },
        // The SDK looks for credentials inside of the call, and reports their absence as a failed dispatch.
        _ if chain().to_ascii_lowercase().contains("credential") => CallError::Credentials {
            action,
            cause: none_found(&causes(error)),
        },
        _ => CallError::Unreachable {
            action,
            cause: causes(error),
        },
    }
}

/// Returns where there are no credentials, and which of the places said more than that it has none.
///
/// The SDK lists the places it tried, one a line; those that are not in use are no news.
fn none_found(causes: &str) -> String {
    let nothing = "none found in the environment, the AWS files and the instance's role";
    let told: Vec<&str> = match causes.split_once("Attempted:") {
        None => vec![causes],
        Some((_, places)) => places
            .lines()
            .map(|line| line.trim().trim_end_matches(')'))
            .filter(|line| !line.is_empty() && !line.contains("was not enabled"))
            .collect(),
    };
    if told.is_empty() {
        nothing.to_owned()
    } else {
        format!("{nothing} ({})", told.join("; "))
    }
}

/// Returns the innermost causes, which are the ones that say something: "dispatch failure" alone does not.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = cause.source();
    }
    if texts.is_empty() {
        return error.to_string();
    }
    let from = texts.len().saturating_sub(2);
    texts[from..].join(": ")
}

#[cfg(test)]
mod tests {
    use super::{Refusal, is_denied, none_found, refusal};

    #[test]
    fn what_eks_means_is_in_the_call_and_in_its_words() {
        for (action, code, message, expected) in [
            (
                "eks:CreateCluster",
                "ResourceInUseException",
                "Cluster already exists with name: a",
                Refusal::Exists,
            ),
            (
                "eks:DeleteCluster",
                "ResourceInUseException",
                "Cluster has nodegroups attached",
                Refusal::NotYet,
            ),
            (
                "eks:CreateNodegroup",
                "ResourceInUseException",
                "Cluster a currently has an update in progress",
                Refusal::NotYet,
            ),
            (
                "eks:CreateCluster",
                "InvalidParameterException",
                "Role with arn: arn:aws:iam::1:role/a, could not be assumed because it does not exist or the trusted \
                 entity is not correct",
                Refusal::NotYet,
            ),
            (
                "eks:CreateAccessEntry",
                "InvalidParameterException",
                "The specified principalArn is invalid: invalid principal.",
                Refusal::NotYet,
            ),
            (
                "eks:UpdateClusterConfig",
                "InvalidParameterException",
                "Cluster is already at the desired configuration with endpointPrivateAccess: true",
                Refusal::Exists,
            ),
            (
                "eks:CreateAddon",
                "InvalidRequestException",
                "Cluster status is CREATING",
                Refusal::NotYet,
            ),
            (
                "eks:CreateCluster",
                "ResourceLimitExceededException",
                "Too many clusters",
                Refusal::Quota,
            ),
        ] {
            assert_eq!(refusal(action, code, message), Some(expected), "{message}");
        }
        let subnet = "The subnet ID 'subnet-1' does not exist";
        assert_eq!(
            refusal("eks:CreateCluster", "InvalidParameterException", subnet),
            None
        );
        assert_eq!(refusal("ssm:PutParameter", "ResourceInUseException", "a"), None);
        let denied = Some("You are not authorized to launch instances with this launch template.");
        assert!(is_denied("eks:CreateNodegroup", denied) && !is_denied("ec2:RunInstances", denied));
    }

    #[test]
    fn places_without_credentials_are_no_news() {
        let said = "no credentials found in chain. Attempted:\nEnvironment: the credential provider was not \
                    enabled: not set\nProfile: profile `work` was not defined\nEcs: the credential provider was not enabled)";
        let text = none_found(said);
        assert!(
            text.ends_with("role (Profile: profile `work` was not defined)"),
            "{text}"
        );
        assert!(!none_found("chain. Attempted:\nEcs: the credential provider was not enabled").contains('('));
        assert!(none_found("the token has expired").contains("(the token has expired)"));
    }
}
