//! Parameters: the record, the token, the hosts' reports.

use std::collections::BTreeMap;

use aws_sdk_ssm::types::{ParameterType, ResourceTypeForTagging, Tag};

use super::clients::Clients;
use super::error::{CallError, Refusal, classify};
use crate::domain::deployment::owner::Tags;

/// Reads parameters, up to ten in a call.
pub const READ: &str = "ssm:GetParameters";
/// Writes one.
pub const PUT: &str = "ssm:PutParameter";
/// Removes one.
pub const DELETE: &str = "ssm:DeleteParameter";
/// Reads the tags of one.
pub const LIST_TAGS: &str = "ssm:ListTagsForResource";
/// Sets tags.
pub const ADD_TAGS: &str = "ssm:AddTagsToResource";

/// Names that one call may ask for
/// (<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>).
const NAMES: usize = 10;

/// A parameter as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its value; of a `SecureString` what it is encrypted to, unless it was asked for in clear.
    pub value: String,
    /// Counted up with each change.
    pub version: i64,
    /// Last change, RFC 3339.
    pub modified_at: Option<String>,
    /// Whether it is a `SecureString`.
    pub secure: bool,
}

/// Reads parameters by name; those that are not there are not in the answer.
pub async fn read(
    clients: &Clients,
    names: &[String],
    clear: bool,
) -> Result<BTreeMap<String, Parameter>, CallError> {
    let parts = names.chunks(NAMES).map(|names| async move {
        let answer = clients
            .ssm
            .get_parameters()
            .set_names(Some(names.to_vec()))
            .with_decryption(clear)
            .send()
            .await
            .map_err(|error| classify(READ, &error))?;
        let found = answer.parameters().iter().filter_map(|parameter| {
            let read = Parameter {
                value: parameter.value()?.to_owned(),
                version: parameter.version(),
                modified_at: parameter.last_modified_date().and_then(rfc3339),
                secure: parameter.r#type() == Some(&ParameterType::SecureString),
            };
            Some((parameter.name()?.to_owned(), read))
        });
        Ok::<_, CallError>(found.collect::<BTreeMap<_, _>>())
    });
    let parts = futures_util::future::try_join_all(parts).await?;
    Ok(parts.into_iter().flatten().collect())
}

/// Returns a time of the SDK as text.
pub fn rfc3339(time: &aws_smithy_types::DateTime) -> Option<String> {
    time.fmt(aws_smithy_types::date_time::Format::DateTime).ok()
}

/// Makes a parameter; one that is there already is refused.
pub async fn create(
    clients: &Clients,
    name: &str,
    value: &str,
    secure: bool,
    key: Option<&str>,
    tags: &Tags,
) -> Result<(), CallError> {
    let tags = tags
        .iter()
        .map(|(key, value)| tag(key, value))
        .collect::<Result<Vec<_>, _>>()?;
    let kind = if secure {
        ParameterType::SecureString
    } else {
        ParameterType::String
    };
    clients
        .ssm
        .put_parameter()
        .name(name)
        .value(value)
        .r#type(kind)
        .set_key_id(key.map(str::to_owned))
        .overwrite(false)
        .set_tags(Some(tags))
        .send()
        .await
        .map_err(|error| classify(PUT, &error))?;
    Ok(())
}

/// Writes over a parameter.
///
/// `version` is the one that was read, 0 for any: another one means that somebody wrote in between.
pub async fn overwrite(
    clients: &Clients,
    name: &str,
    value: &str,
    secure: bool,
    version: i64,
) -> Result<(), CallError> {
    let kind = if secure {
        ParameterType::SecureString
    } else {
        ParameterType::String
    };
    let answer = clients
        .ssm
        .put_parameter()
        .name(name)
        .value(value)
        .r#type(kind)
        .overwrite(true)
        .send()
        .await
        .map_err(|error| classify(PUT, &error))?;
    if version > 0 && answer.version() != version + 1 {
        return Err(CallError::Refused {
            action: PUT,
            why: Refusal::Other,
            cause: format!("{name} was changed by another run at the same time"),
        });
    }
    Ok(())
}

/// Removes a parameter.
pub async fn delete(clients: &Clients, name: &str) -> Result<(), CallError> {
    clients
        .ssm
        .delete_parameter()
        .name(name)
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}

/// Reads the tags of a parameter.
pub async fn tags(clients: &Clients, name: &str) -> Result<Tags, CallError> {
    let answer = clients
        .ssm
        .list_tags_for_resource()
        .resource_type(ResourceTypeForTagging::Parameter)
        .resource_id(name)
        .send()
        .await
        .map_err(|error| classify(LIST_TAGS, &error))?;
    Ok(answer
        .tag_list()
        .iter()
        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
        .collect())
}

/// Sets tags of a parameter.
pub async fn set_tags(clients: &Clients, name: &str, tags: &Tags) -> Result<(), CallError> {
    let tags = tags
        .iter()
        .map(|(key, value)| tag(key, value))
        .collect::<Result<Vec<_>, _>>()?;
    clients
        .ssm
        .add_tags_to_resource()
        .resource_type(ResourceTypeForTagging::Parameter)
        .resource_id(name)
        .set_tags(Some(tags))
        .send()
        .await
        .map_err(|error| classify(ADD_TAGS, &error))?;
    Ok(())
}

fn tag(key: &str, value: &str) -> Result<Tag, CallError> {
    Tag::builder()
        .key(key)
        .value(value)
        .build()
        .map_err(|error| CallError::Malformed {
            action: ADD_TAGS,
            cause: error.to_string(),
        })
}
