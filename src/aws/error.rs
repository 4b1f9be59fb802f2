//! The only place that reads AWS error codes.

use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// Why a call gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody to call as, or AWS does not know the one we called as.
    #[error("{action}: no usable AWS credentials: {cause}")]
    Credentials {
        /// The call, as IAM names it: `ec2:DescribeInstanceTypes`.
        action: &'static str,
        /// What the SDK or AWS said.
        cause: String,
    },
    /// No connection, or no answer in time.
    #[error("{action}: AWS does not answer: {cause}")]
    Unreachable {
        /// The call, as IAM names it.
        action: &'static str,
        /// What the SDK said.
        cause: String,
    },
    /// The caller may not do this.
    #[error("{action}: not permitted: {cause}")]
    Denied {
        /// The call, as IAM names it: the permission that is missing.
        action: &'static str,
        /// What AWS said.
        cause: String,
    },
    /// AWS answered with another error, also after retries.
    #[error("{action}: {cause}")]
    Refused {
        /// The call, as IAM names it.
        action: &'static str,
        /// Code and message.
        cause: String,
    },
    /// AWS answered, but not with what it documents.
    #[error("{action}: the answer cannot be used: {cause}")]
    Malformed {
        /// The call, as IAM names it.
        action: &'static str,
        /// What is missing or wrong.
        cause: String,
    },
}

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

/// Sorts an error of the SDK.
pub fn classify<E, R>(action: &'static str, error: &SdkError<E, R>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
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
            match code {
                Some(code) if DENIED.contains(&code) => CallError::Denied { action, cause },
                Some(code) if CREDENTIALS.contains(&code) => CallError::Credentials { action, cause },
                _ => CallError::Refused { action, cause },
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
            cause: format!(
                "none found in the environment, the AWS files and the instance's role ({})",
                causes(error)
            ),
        },
        _ => CallError::Unreachable {
            action,
            cause: causes(error),
        },
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
