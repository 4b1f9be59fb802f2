//! The role and the instance profile.

use aws_sdk_iam::types::Tag;
use serde_json::Value;

use super::clients::Clients;
use super::error::{CallError, Refusal, classify};
use crate::domain::deployment::name::{IAM_PATH, ROLE_POLICY};
use crate::domain::deployment::observed::{InstanceProfile, Role, Tagged};
use crate::domain::deployment::owner::Tags;

const GET_ROLE: &str = "iam:GetRole";
const GET_POLICY: &str = "iam:GetRolePolicy";
const GET_PROFILE: &str = "iam:GetInstanceProfile";
const LIST_ROLES: &str = "iam:ListRoles";
const LIST_PROFILES: &str = "iam:ListInstanceProfiles";
const CREATE_ROLE: &str = "iam:CreateRole";
const UPDATE_TRUST: &str = "iam:UpdateAssumeRolePolicy";
const PUT_POLICY: &str = "iam:PutRolePolicy";
const DELETE_POLICY: &str = "iam:DeleteRolePolicy";
const DELETE_ROLE: &str = "iam:DeleteRole";
const CREATE_PROFILE: &str = "iam:CreateInstanceProfile";
const ADD_ROLE: &str = "iam:AddRoleToInstanceProfile";
const REMOVE_ROLE: &str = "iam:RemoveRoleFromInstanceProfile";
const DELETE_PROFILE: &str = "iam:DeleteInstanceProfile";
const TAG_ROLE: &str = "iam:TagRole";
const TAG_PROFILE: &str = "iam:TagInstanceProfile";

/// Returns the value, or none where AWS says that it is not there.
pub fn or_missing<T>(result: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.refusal() == Some(Refusal::Missing) => Ok(None),
        Err(error) => Err(error),
    }
}

fn tags_of(tags: &[Tag]) -> Tags {
    tags.iter()
        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
        .collect()
}

fn tags_for(action: &'static str, tags: &Tags) -> Result<Vec<Tag>, CallError> {
    tags.iter()
        .map(|(key, value)| {
            Tag::builder()
                .key(key)
                .value(value)
                .build()
                .map_err(|error| CallError::Malformed {
                    action,
                    cause: error.to_string(),
                })
        })
        .collect()
}

/// Reads a policy document, which IAM hands out percent-encoded; one that is no JSON is no policy of ours.
fn document(text: &str) -> Value {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hexadecimal = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = hexadecimal {
            plain.push(byte);
            at += 3;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    serde_json::from_slice(&plain).unwrap_or_default()
}

/// Reads a role and our policy in it.
pub async fn role(clients: &Clients, name: &str) -> Result<Option<Tagged<Role>>, CallError> {
    let role = async {
        let answer = clients.iam.get_role().role_name(name).send().await;
        or_missing(answer.map_err(|error| classify(GET_ROLE, &error)))
    };
    let policy = async {
        let request = clients
            .iam
            .get_role_policy()
            .role_name(name)
            .policy_name(ROLE_POLICY);
        or_missing(request.send().await.map_err(|error| classify(GET_POLICY, &error)))
    };
    let (role, policy) = tokio::try_join!(role, policy)?;
    Ok(role.and_then(|answer| answer.role).map(|role| Tagged {
        tags: tags_of(role.tags()),
        it: Role {
            path: role.path().to_owned(),
            trust: document(role.assume_role_policy_document().unwrap_or_default()),
            policy: policy.map(|policy| document(policy.policy_document())),
        },
    }))
}

/// Reads an instance profile.
pub async fn profile(clients: &Clients, name: &str) -> Result<Option<Tagged<InstanceProfile>>, CallError> {
    let answer = clients
        .iam
        .get_instance_profile()
        .instance_profile_name(name)
        .send()
        .await;
    let answer = or_missing(answer.map_err(|error| classify(GET_PROFILE, &error)))?;
    Ok(answer
        .and_then(|answer| answer.instance_profile)
        .map(|profile| Tagged {
            tags: tags_of(profile.tags()),
            it: InstanceProfile {
                path: profile.path().to_owned(),
                roles: profile
                    .roles()
                    .iter()
                    .map(|role| role.role_name().to_owned())
                    .collect(),
            },
        }))
}

/// Returns the names of all roles and instance profiles below our path.
pub async fn names(clients: &Clients) -> Result<(Vec<String>, Vec<String>), CallError> {
    let roles = async {
        let mut pages = clients
            .iam
            .list_roles()
            .path_prefix(IAM_PATH)
            .max_items(1000)
            .into_paginator()
            .send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(LIST_ROLES, &error))?;
            names.extend(page.roles().iter().map(|role| role.role_name().to_owned()));
        }
        Ok(names)
    };
    let profiles = async {
        let mut pages = clients
            .iam
            .list_instance_profiles()
            .path_prefix(IAM_PATH)
            .max_items(1000)
            .into_paginator()
            .send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(LIST_PROFILES, &error))?;
            let found = page.instance_profiles().iter();
            names.extend(found.map(|profile| profile.instance_profile_name().to_owned()));
        }
        Ok(names)
    };
    tokio::try_join!(roles, profiles)
}

/// Makes the role.
pub async fn create_role(
    clients: &Clients,
    name: &str,
    description: &str,
    trust: &Value,
    tags: &Tags,
) -> Result<(), CallError> {
    clients
        .iam
        .create_role()
        .role_name(name)
        .path(IAM_PATH)
        .description(description)
        .assume_role_policy_document(trust.to_string())
        .set_tags(Some(tags_for(CREATE_ROLE, tags)?))
        .send()
        .await
        .map_err(|error| classify(CREATE_ROLE, &error))?;
    Ok(())
}

/// Says who may assume the role.
pub async fn update_trust(clients: &Clients, name: &str, trust: &Value) -> Result<(), CallError> {
    clients
        .iam
        .update_assume_role_policy()
        .role_name(name)
        .policy_document(trust.to_string())
        .send()
        .await
        .map_err(|error| classify(UPDATE_TRUST, &error))?;
    Ok(())
}

/// Writes our policy.
pub async fn put_policy(clients: &Clients, name: &str, policy: &Value) -> Result<(), CallError> {
    clients
        .iam
        .put_role_policy()
        .role_name(name)
        .policy_name(ROLE_POLICY)
        .policy_document(policy.to_string())
        .send()
        .await
        .map_err(|error| classify(PUT_POLICY, &error))?;
    Ok(())
}

/// Removes our policy.
pub async fn delete_policy(clients: &Clients, name: &str) -> Result<(), CallError> {
    clients
        .iam
        .delete_role_policy()
        .role_name(name)
        .policy_name(ROLE_POLICY)
        .send()
        .await
        .map_err(|error| classify(DELETE_POLICY, &error))?;
    Ok(())
}

/// Removes the role.
pub async fn delete_role(clients: &Clients, name: &str) -> Result<(), CallError> {
    clients
        .iam
        .delete_role()
        .role_name(name)
        .send()
        .await
        .map_err(|error| classify(DELETE_ROLE, &error))?;
    Ok(())
}

/// Makes the instance profile.
pub async fn create_profile(clients: &Clients, name: &str, tags: &Tags) -> Result<(), CallError> {
    clients
        .iam
        .create_instance_profile()
        .instance_profile_name(name)
        .path(IAM_PATH)
        .set_tags(Some(tags_for(CREATE_PROFILE, tags)?))
        .send()
        .await
        .map_err(|error| classify(CREATE_PROFILE, &error))?;
    Ok(())
}

/// Puts the role into the profile of the same name.
pub async fn add_role(clients: &Clients, name: &str) -> Result<(), CallError> {
    clients
        .iam
        .add_role_to_instance_profile()
        .instance_profile_name(name)
        .role_name(name)
        .send()
        .await
        .map_err(|error| classify(ADD_ROLE, &error))?;
    Ok(())
}

/// Takes a role out of a profile.
pub async fn remove_role(clients: &Clients, profile: &str, role: &str) -> Result<(), CallError> {
    clients
        .iam
        .remove_role_from_instance_profile()
        .instance_profile_name(profile)
        .role_name(role)
        .send()
        .await
        .map_err(|error| classify(REMOVE_ROLE, &error))?;
    Ok(())
}

/// Removes the profile.
pub async fn delete_profile(clients: &Clients, name: &str) -> Result<(), CallError> {
    clients
        .iam
        .delete_instance_profile()
        .instance_profile_name(name)
        .send()
        .await
        .map_err(|error| classify(DELETE_PROFILE, &error))?;
    Ok(())
}

/// Sets tags of the role.
pub async fn tag_role(clients: &Clients, name: &str, tags: &Tags) -> Result<(), CallError> {
    clients
        .iam
        .tag_role()
        .role_name(name)
        .set_tags(Some(tags_for(TAG_ROLE, tags)?))
        .send()
        .await
        .map_err(|error| classify(TAG_ROLE, &error))?;
    Ok(())
}

/// Sets tags of the profile.
pub async fn tag_profile(clients: &Clients, name: &str, tags: &Tags) -> Result<(), CallError> {
    clients
        .iam
        .tag_instance_profile()
        .instance_profile_name(name)
        .set_tags(Some(tags_for(TAG_PROFILE, tags)?))
        .send()
        .await
        .map_err(|error| classify(TAG_PROFILE, &error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_encoded_and_plain() {
        assert_eq!(
            document("%7B%22a%22%3A%20%22%C3%A9%22%7D"),
            serde_json::json!({"a": "é"})
        );
        assert_eq!(document("{\"a\":1}"), serde_json::json!({"a": 1}));
        assert_eq!(document("100%"), Value::Null);
    }
}
