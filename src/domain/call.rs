//! Why a call to a service gave no answer that can be used, and so what it may have left behind.

/// Why a call failed.
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
    /// No connection, no answer in time, or an error of the server: nobody knows what happened.
    #[error("{action}: {} does not answer: {cause}", who(action))]
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
    /// AWS answered with another error.
    #[error("{action}: {cause}")]
    Refused {
        /// The call, as IAM names it.
        action: &'static str,
        /// What kind of refusal.
        why: Refusal,
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

/// Returns who is asked by a call: the calls of a cluster are named for it.
fn who(action: &str) -> &'static str {
    if action.starts_with("kubernetes:") {
        "the cluster"
    } else {
        "AWS"
    }
}

/// Kinds of refusals that somebody branches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is there already.
    Exists,
    /// It is not there, or not visible yet.
    Missing,
    /// Something else must go, or become visible, first.
    NotYet,
    /// AWS has no capacity for it here and now.
    Capacity,
    /// A quota of the account.
    Quota,
    /// Too many calls.
    Throttled,
    /// The client token was used with other parameters: what it launched exists.
    TokenReused,
    /// The client token launched something that is gone.
    TokenSpent,
    /// Protected from this.
    Protected,
    /// A dry run would have gone through.
    DryRun,
    /// Anything else.
    Other,
}

impl CallError {
    /// Returns the kind of refusal; none where nothing was refused.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { why, .. } => Some(*why),
            _ => None,
        }
    }

    /// Whether nobody knows if it happened. Silence is not a refusal.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Malformed { .. })
    }

    /// Whether AWS could not be asked, as opposed to having said no.
    pub fn is_unchecked(&self) -> bool {
        matches!(
            self,
            Self::Credentials { .. } | Self::Unreachable { .. } | Self::Denied { .. }
        )
    }
}
