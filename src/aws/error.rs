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
        ],
    ),
    (
        Refusal::Missing,
        &[
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
            "IncorrectInstanceState",
            "OperationAbortedException",
            "ResourceInUse",
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
            "InstanceLimitExceeded",
            "LimitExceeded",
            "LimitExceededException",
            "ParameterLimitExceeded",
            "ResourceLimitExceeded",
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

/// Returns what kind of refusal a code is; none for one that is not listed.
fn refusal(code: &str, message: &str) -> Option<Refusal> {
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
            let why = code.and_then(|code| refusal(code, message.unwrap_or_default()));
            match (code, why) {
                (Some(code), _) if DENIED.contains(&code) => CallError::Denied { action, cause },
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
    use super::none_found;

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
