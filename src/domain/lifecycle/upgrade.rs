//! What an upgrade does next, from what its hosts say.
//!
//! The hosts are the record of how far it is: each keeps a mark from before the first change until after the last, and
//! finds by looking what was done. So a run that was killed is repeated, and ends where the first would have ended.

use super::said::Said;
use crate::domain::deployment::record::Why;

/// What there is on the hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No second runner anywhere.
    Settled,
    /// Second runners of what is asked for, on some hosts or all.
    Begun,
    /// Second runners of something else.
    Another(String),
}

/// Says what there is, as the hosts see it.
pub fn standing(why: Why, image: &str, hosts: &[&Said]) -> Standing {
    let word = match why {
        Why::Upgrade => "upgrade",
        Why::Rotate => "rotate",
        Why::Nodes => "nodes",
    };
    let mut marks = hosts.iter().filter_map(|said| said.upgrade.as_ref()).peekable();
    if marks.peek().is_none() {
        return Standing::Settled;
    }
    match marks.find(|mark| mark.image != image || mark.why != word) {
        Some(other) if other.why == word => Standing::Another(format!("the upgrade to {}", other.image)),
        Some(other) if other.why == "rotate" => Standing::Another("another token".to_owned()),
        Some(other) => Standing::Another(format!("the upgrade to {}", other.image)),
        None => Standing::Begun,
    }
}

/// What follows after second runners were put beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// Every host had it already.
    Nothing,
    /// All of them poll.
    Good,
    /// One is no good: those that are good go too, and every first one goes on.
    Bad,
    /// A host did not say; what it has done is seen by the next run.
    Unknown,
}

/// Says what follows from the answers; none is a host that gave no answer.
pub fn tried(answers: &[Option<&Said>]) -> Tried {
    if answers.iter().any(|answer| answer.is_some_and(|said| !said.ok)) {
        Tried::Bad
    } else if answers.iter().any(Option::is_none) {
        Tried::Unknown
    } else if answers
        .iter()
        .all(|answer| answer.is_some_and(|said| said.nothing == Some(true)))
    {
        Tried::Nothing
    } else {
        Tried::Good
    }
}

/// Says in a sentence what went off the platform with the first runner.
pub fn unregistered(how: Option<&str>) -> &'static str {
    match how {
        Some("runner") => "the former runner is removed from the platform",
        Some("manager") => {
            "the former manager is removed from the platform; the runner that was created there has the new one"
        }
        Some("gone") => "the owner had removed the former runner from the platform already",
        _ => "the former runner had no registration",
    }
}

#[cfg(test)]
mod tests {
    use super::super::said::Mark;
    use super::*;

    fn marked(why: &str, image: &str) -> Said {
        Said {
            ok: true,
            upgrade: Some(Mark {
                image: image.to_owned(),
                why: why.to_owned(),
                promoted: false,
            }),
            ..Said::default()
        }
    }

    #[test]
    fn marks_of_something_else_are_in_the_way() {
        let (none, ours, other) = (
            Said::default(),
            marked("upgrade", "x:2"),
            marked("upgrade", "x:3"),
        );
        let token = marked("rotate", "x:2");
        let at = |hosts: &[&Said]| standing(Why::Upgrade, "x:2", hosts);
        assert_eq!(at(&[&none, &none]), Standing::Settled);
        assert_eq!(at(&[&none, &ours]), Standing::Begun);
        assert!(matches!(at(&[&ours, &other]), Standing::Another(what) if what.contains("x:3")));
        assert!(matches!(at(&[&token]), Standing::Another(what) if what.contains("token")));
        assert_eq!(standing(Why::Rotate, "x:2", &[&token]), Standing::Begun);
    }

    #[test]
    fn one_bad_runner_takes_all_back_and_silence_none() {
        let good = Said {
            ok: true,
            nothing: Some(false),
            ..Said::default()
        };
        let nothing = Said {
            nothing: Some(true),
            ..good.clone()
        };
        let bad = Said::default();
        assert_eq!(tried(&[Some(&nothing), Some(&nothing)]), Tried::Nothing);
        assert_eq!(tried(&[Some(&nothing), Some(&good)]), Tried::Good);
        assert_eq!(tried(&[Some(&good), None]), Tried::Unknown);
        assert_eq!(tried(&[Some(&good), None, Some(&bad)]), Tried::Bad);
    }
}
