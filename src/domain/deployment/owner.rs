//! Whose something is: tags, the generation, and the tokens that follow from it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::name::Name;

/// Tags, ordered, because order can be seen.
pub type Tags = BTreeMap<String, String>;

/// Tag with the deployment's name.
pub const DEPLOYMENT: &str = "dataops-infra:deployment";
/// Tag with the generation.
pub const GENERATION: &str = "dataops-infra:generation";
/// Tag with the address within the deployment.
pub const ADDRESS: &str = "dataops-infra:address";
/// Tag with the end of the lease, RFC 3339.
pub const EXPIRES: &str = "dataops-infra:expires";
/// Tag on what `down --keep-data` left, with the generation it was of.
pub const KEPT: &str = "dataops-infra:kept";

/// Identity of one life of a deployment: made with its record, gone with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Generation(String);

impl Generation {
    /// Makes one of eight random bytes.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Returns the text, 16 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the client token of a launch.
    ///
    /// A run that was interrupted computes the same again; another try of a host that is gone (`launch`) or a fallback
    /// (`rung`) has another, because AWS refuses a token with other parameters or of a terminated instance.
    pub fn client_token(&self, address: &str, launch: u32, rung: u32) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{}/{address}/{launch}/{rung}", self.0));
        let digest: String = hash
            .finalize()
            .iter()
            .take(20)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("dataops-infra-{digest}")
    }
}

impl TryFrom<String> for Generation {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let hexadecimal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if text.len() == 16 && text.chars().all(hexadecimal) {
            Ok(Self(text))
        } else {
            Err("a generation is 16 hexadecimal digits".to_owned())
        }
    }
}

impl From<Generation> for String {
    fn from(generation: Generation) -> Self {
        generation.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A deployment in one of its lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The deployment.
    pub name: Name,
    /// The life.
    pub generation: Generation,
}

impl Owner {
    /// Returns the tags of something at an address, without those of the user.
    pub fn tags(&self, address: &str) -> Tags {
        Tags::from([
            (DEPLOYMENT.to_owned(), self.name.to_string()),
            (GENERATION.to_owned(), self.generation.to_string()),
            (ADDRESS.to_owned(), address.to_owned()),
        ])
    }

    /// Whether tags say that something at an address is of this deployment in this life.
    ///
    /// The address is part of the proof: a copy of all tags on another kind of thing says another one.
    pub fn owns(&self, tags: &Tags, address: &str) -> bool {
        self.tags(address)
            .iter()
            .all(|(key, value)| tags.get(key) == Some(value))
    }
}

/// Says in words what tags tell of an owner.
pub fn told(tags: &Tags) -> String {
    match (tags.get(DEPLOYMENT), tags.get(GENERATION)) {
        (None, None) => "carries no tag of ours".to_owned(),
        (Some(name), None) => format!("is tagged for {name} but with no generation"),
        (None, Some(_)) => "carries a generation but no name".to_owned(),
        (Some(name), Some(generation)) => format!("is tagged for {name}, generation {generation}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            name: Name::new("abc").expect("sound"),
            generation: Generation::from_bytes([0xab; 8]),
        }
    }

    #[test]
    fn ownership_needs_all_three_tags() {
        let owner = owner();
        let tags = owner.tags("topic");
        assert!(owner.owns(&tags, "topic"));
        assert!(!owner.owns(&tags, "logs"));
        for key in [DEPLOYMENT, GENERATION, ADDRESS] {
            let mut fewer = tags.clone();
            fewer.remove(key);
            assert!(!owner.owns(&fewer, "topic"), "{key}");
        }
    }

    #[test]
    fn client_tokens_differ_and_are_short_enough() {
        let generation = owner().generation;
        let tokens: std::collections::BTreeSet<String> =
            [("host", 0, 0), ("host", 1, 0), ("host", 0, 1), ("host-1", 0, 0)]
                .map(|(address, launch, rung)| generation.client_token(address, launch, rung))
                .into();
        assert_eq!(tokens.len(), 4);
        assert!(
            tokens.iter().all(|token| token.len() <= 64),
            "EC2 allows 64 characters"
        );
        assert_eq!(
            generation.client_token("host", 0, 0),
            generation.client_token("host", 0, 0)
        );
    }
}
