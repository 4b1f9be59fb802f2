//! The name of a deployment, and the names in AWS that follow from it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name: with prefix and region it must fit a role's 64 characters.
pub const LONGEST: usize = 40;

/// The name of a deployment: the runner's agent name and its tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a name is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name of a deployment: expected 3 to {LONGEST} lower-case letters, digits and hyphens, beginning with a \
     letter and not ending with a hyphen"
)]
pub struct NotAName(String);

impl Name {
    /// Checks a name.
    pub fn new(text: &str) -> Result<Self, NotAName> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let sound = (3..=LONGEST).contains(&text.len())
            && text.chars().all(plain)
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-');
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAName(
                text.chars().filter(|c| !c.is_control()).take(80).collect(),
            ))
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NotAName;
    fn try_from(text: String) -> Result<Self, NotAName> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a deployment is: what names and ARNs depend on besides its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Twelve digits.
    pub account: String,
    /// Such as `eu-west-2`.
    pub region: String,
}

impl Place {
    /// Returns the partition, the second part of an ARN.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>.
    pub fn partition(&self) -> &'static str {
        match self.region.as_str() {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }

    /// Returns the ARN of something in this region and account.
    pub fn arn(&self, service: &str, rest: &str) -> String {
        format!(
            "arn:{}:{service}:{}:{}:{rest}",
            self.partition(),
            self.region,
            self.account
        )
    }

    /// Returns the ARN of something of IAM, which knows no regions.
    pub fn iam_arn(&self, rest: &str) -> String {
        format!("arn:{}:iam::{}:{rest}", self.partition(), self.account)
    }
}

/// Path of our roles and instance profiles; policies are scoped by it.
pub const IAM_PATH: &str = "/dataops-infra/";

/// Beginning of our parameters and log groups.
pub const PREFIX: &str = "/dataops-infra/";

/// Name of the role's only policy.
pub const ROLE_POLICY: &str = "host";

/// The names in AWS of what a deployment has.
impl Name {
    /// Returns the parameter with the record.
    pub fn record(&self) -> String {
        format!("{PREFIX}{self}/deployment")
    }

    /// Returns the parameter with the token.
    pub fn token(&self) -> String {
        format!("{PREFIX}{self}/token")
    }

    /// Returns the parameter with a host's report.
    pub fn report(&self, host: Host) -> String {
        format!("{PREFIX}{self}/host{}", host.suffix())
    }

    /// Returns the role and the instance profile; IAM has no regions, so the name has.
    pub fn role(&self, region: &str) -> String {
        format!("dataops-{self}-{region}")
    }

    /// Returns the security group.
    pub fn security_group(&self) -> String {
        format!("dataops-infra-{self}")
    }

    /// Returns the log group.
    pub fn log_group(&self) -> String {
        format!("{PREFIX}{self}")
    }

    /// Returns the topic.
    pub fn topic(&self) -> String {
        format!("dataops-infra-{self}")
    }

    /// Returns the beginning of the names of all alarms.
    pub fn alarm_prefix(&self) -> String {
        format!("dataops-infra/{self}/")
    }

    /// Returns an alarm of a host.
    pub fn alarm(&self, host: Host, alarm: &str) -> String {
        match host.number {
            None => format!("dataops-infra/{self}/{alarm}"),
            Some(number) => format!("dataops-infra/{self}/{number}/{alarm}"),
        }
    }

    /// Returns the dashboard; dashboards are listed across regions, so the name has one.
    pub fn dashboard(&self, region: &str) -> String {
        format!("dataops-infra-{self}-{region}")
    }

    /// Returns what a host is called, in its `Name` tag and on the platform.
    pub fn host(&self, host: Host) -> String {
        format!("{self}{}", host.suffix())
    }
}

/// One of the hosts of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    /// From 1 where there are several; none for the only one.
    pub number: Option<u32>,
}

impl Host {
    /// Returns the hosts of a deployment that has so many.
    pub fn all(count: u32) -> Vec<Self> {
        if count <= 1 {
            vec![Self { number: None }]
        } else {
            (1..=count).map(|number| Self { number: Some(number) }).collect()
        }
    }

    /// Returns what is added to addresses and names: nothing, or `-2`.
    pub fn suffix(self) -> String {
        self.number.map(|number| format!("-{number}")).unwrap_or_default()
    }

    /// Returns an address of this host, such as `host` or `wait-2`.
    pub fn address(self, what: &str) -> String {
        format!("{what}{}", self.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["abc", "dataops-runner-london", "a23", &"a".repeat(40)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "1ab",
            "-ab",
            "ab-",
            "Abc",
            "a_b",
            "a/b",
            "a b",
            &"a".repeat(41),
            "aé1",
        ] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_names_fit_a_role() {
        let name = Name::new(&"a".repeat(LONGEST)).expect("sound");
        assert!(name.role("ap-southeast-1").len() <= 64);
    }

    #[test]
    fn partitions_follow_the_region() {
        let arn = |region: &str| {
            Place {
                account: "1".repeat(12),
                region: region.to_owned(),
            }
            .arn("sns", "x")
        };
        assert_eq!(arn("cn-north-1"), "arn:aws-cn:sns:cn-north-1:111111111111:x");
        assert_eq!(arn("eu-west-2"), "arn:aws:sns:eu-west-2:111111111111:x");
    }
}
