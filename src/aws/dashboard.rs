//! Dashboards.

use serde_json::Value;

use super::clients::Clients;
use super::error::{CallError, Refusal, classify};
use super::role::or_missing;

const GET: &str = "cloudwatch:GetDashboard";
const LIST: &str = "cloudwatch:ListDashboards";
const PUT: &str = "cloudwatch:PutDashboard";
const DELETE: &str = "cloudwatch:DeleteDashboards";

/// Reads the body of a dashboard.
pub async fn read(clients: &Clients, name: &str) -> Result<Option<Value>, CallError> {
    let answer = clients
        .cloudwatch
        .get_dashboard()
        .dashboard_name(name)
        .send()
        .await;
    let answer = or_missing(answer.map_err(|error| classify(GET, &error)))?;
    Ok(answer.map(|answer| {
        let body = answer.dashboard_body().unwrap_or_default();
        serde_json::from_str(body).unwrap_or_default()
    }))
}

/// Returns the names of dashboards that begin so.
pub async fn names(clients: &Clients, prefix: &str) -> Result<Vec<String>, CallError> {
    let mut pages = clients
        .cloudwatch
        .list_dashboards()
        .dashboard_name_prefix(prefix)
        .into_paginator()
        .send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(LIST, &error))?;
        let found = page.dashboard_entries().iter();
        names.extend(found.filter_map(|entry| entry.dashboard_name().map(str::to_owned)));
    }
    Ok(names)
}

/// Writes a dashboard.
pub async fn put(clients: &Clients, name: &str, body: &Value) -> Result<(), CallError> {
    let answer = clients
        .cloudwatch
        .put_dashboard()
        .dashboard_name(name)
        .dashboard_body(body.to_string())
        .send()
        .await
        .map_err(|error| classify(PUT, &error))?;
    match answer.dashboard_validation_messages() {
        [] => Ok(()),
        [first, ..] => Err(CallError::Refused {
            action: PUT,
            why: Refusal::Other,
            cause: format!("{first:?}"),
        }),
    }
}

/// Removes a dashboard.
pub async fn delete(clients: &Clients, name: &str) -> Result<(), CallError> {
    clients
        .cloudwatch
        .delete_dashboards()
        .dashboard_names(name)
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}
