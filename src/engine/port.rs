//! What the engine needs of a cloud.

use std::collections::BTreeMap;
use std::future::Future;

use crate::domain::call::CallError;
use crate::domain::deployment::operation::Operation;

/// Identities of resources by address.
pub type Ids = BTreeMap<String, String>;

/// A call that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Identity of what was made.
    pub id: Option<String>,
    /// What somebody should know.
    pub notes: Vec<String>,
    /// Further facts by name, such as addresses of a host.
    pub facts: BTreeMap<&'static str, String>,
}

/// What is found after nobody knows whether a call was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was not, or its effect cannot be seen yet.
    Absent,
    /// It was; with the identity of what was made.
    Ours(Option<String>),
    /// Something of another owner stands there.
    Foreign(String),
}

/// A look at what is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It has come.
    Come(Done),
    /// It has not; with what can be seen.
    NotYet(String),
    /// It will not come.
    Never(String),
}

/// A cloud, seen from one deployment.
pub trait Cloud: Send + Sync + 'static {
    /// Makes the calls of a step.
    fn perform(
        &self,
        operation: &Operation,
        ids: &Ids,
    ) -> impl Future<Output = Result<Done, CallError>> + Send;

    /// Looks whether a step that was tried has been carried out.
    fn look(&self, operation: &Operation, ids: &Ids)
    -> impl Future<Output = Result<Found, CallError>> + Send;

    /// Looks at what a step waits for.
    fn watch(
        &self,
        operation: &Operation,
        ids: &Ids,
    ) -> impl Future<Output = Result<Sight, CallError>> + Send;
}
