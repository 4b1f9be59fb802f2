//! What differs, and what is to be done about it.

use serde::Serialize;

/// One field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field, as AWS names it.
    pub field: String,
    /// What there is.
    pub is: String,
    /// What there should be.
    pub should: String,
}

impl Difference {
    /// Notes a field.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "texts, numbers and references alike"
    )]
    pub fn new(field: impl Into<String>, is: impl ToString, should: impl ToString) -> Self {
        Self {
            field: field.into(),
            is: is.to_string(),
            should: should.to_string(),
        }
    }

    /// Notes a field if it differs.
    pub fn of<T: PartialEq + ToString>(field: &str, is: &T, should: &T) -> Option<Self> {
        (is != should).then(|| Self::new(field, is.to_string(), should.to_string()))
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} instead of {}", self.field, self.is, self.should)
    }
}

/// Returns what differs between the user's tags and those that are there; tags that nobody asked for may stay.
pub fn tag_differences(is: &super::owner::Tags, should: &super::owner::Tags) -> Vec<Difference> {
    should
        .iter()
        .filter(|(key, value)| is.get(*key) != Some(value))
        .map(|(key, value)| {
            Difference::new(
                format!("tag {key}"),
                is.get(key).map_or("none", String::as_str),
                value,
            )
        })
        .collect()
}
