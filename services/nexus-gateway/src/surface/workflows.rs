//! Each thing that can be done with workflows and their runs.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use contract::workflow::{ExecuteCall, Listed, Mode};
use kit::{Problem, Result, upstream::Answer};
use serde_json::{Value, json};

use super::engine;
use crate::{
    domain::{
        call::{execution_id, name, new_name, segment},
        roles::Role,
    },
    routes::caller::Caller,
    state::App,
};

/// What a workflow has below `/workflows/{name}/`; all of it exists.
pub(crate) fn endpoints(name: &str) -> [String; 5] {
    let base = format!("/workflows/{}", segment(name));
    [
        format!("{base}/execute"),
        format!("{base}/"),
        format!("{base}/status/{{execution_id}}"),
        format!("{base}/workflow/info"),
        format!("{base}/health"),
    ]
}

/// `{name: {type, description, version, tags, endpoints}}`: of each workflow the version that is run.
///
/// # Errors
/// 502 or 503 where the engine does not answer; so with every function here.
pub(crate) async fn list(app: &App, caller: &Caller) -> Result<Value> {
    let told = engine::get(app, caller, "/workflows").await?;
    let listed: BTreeMap<String, Listed> = read(told)?;
    let entries = listed.into_iter().map(|(name, one)| {
        let entry = json!({
            "type": one.kind, "description": one.description, "version": one.version, "tags": one.tags,
            "endpoints": endpoints(&name),
        });
        (name, entry)
    });
    Ok(Value::Object(entries.collect()))
}

/// `contract::workflow::Info` as JSON: what the workflow is made of and which inputs it takes.
///
/// # Errors
/// 404 `WORKFLOW_UNKNOWN`; 422 `NAME_INVALID`; so with every function here that takes a workflow's name.
pub(crate) async fn info(app: &App, caller: &Caller, workflow: &str) -> Result<Value> {
    name(workflow)?;
    engine::get(app, caller, &below(workflow, "info")).await
}

/// `{status, workflow, version}`: `healthy` where the engine answers and knows it.
pub(crate) async fn health(app: &App, caller: &Caller, workflow: &str) -> Result<Value> {
    let info = info(app, caller, workflow).await?;
    Ok(json!({ "status": "healthy", "workflow": workflow, "version": info["version"] }))
}

/// Registers a definition: 201 where the version is new, 200 where the very same one was there, with
/// `contract::workflow::Registered`.
///
/// # Errors
/// 403 `FORBIDDEN` below the role `deployer`; 422 `NAME_RESERVED`; 409, 422 as the engine judges the definition.
pub(crate) async fn register(app: &App, caller: &Caller, definition: &Value) -> Result<Answer> {
    caller.must_be(Role::Deployer)?;
    if let Some(text) = definition["name"].as_str() {
        new_name(text)?;
    }
    engine::ask(app, caller, Method::POST, "/workflows", Some(definition)).await
}

/// Removes a workflow with all its versions, and so for all tenants.
///
/// # Errors
/// 403 `FORBIDDEN` below the role `deployer`, and in any tenant but `default`; 409 while runs are active.
pub(crate) async fn delete(app: &App, caller: &Caller, workflow: &str) -> Result<()> {
    caller.must_be_of_the_operators(Role::Deployer)?;
    name(workflow)?;
    let path = format!("/workflows/{}", segment(workflow));
    engine::ask(app, caller, Method::DELETE, &path, None::<&()>).await?;
    Ok(())
}

/// Runs a workflow. Mode `sync`: `contract::workflow::ExecuteAnswer`; `async`: `Accepted`.
///
/// # Errors
/// 422 `INPUTS_INVALID`, or what a node's failure was typed as; 422 `MODE_UNSUPPORTED` for `stream`, which is
/// [`run_stream`]'s.
pub(crate) async fn run(app: &App, caller: &Caller, workflow: &str, call: &ExecuteCall) -> Result<Value> {
    if call.mode == Mode::Stream {
        let message = "this channel has no mode 'stream'; send 'sync' or 'async', or use POST .../execute";
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "MODE_UNSUPPORTED",
            message,
        ));
    }
    name(workflow)?;
    let path = below(workflow, "execute");
    let answer = engine::ask(app, caller, Method::POST, &path, Some(call)).await?;
    Ok(answer.body)
}

/// Runs a workflow in mode `stream`: server-sent events, to be passed on as they come.
pub(crate) async fn run_stream(
    app: &App,
    caller: &Caller,
    workflow: &str,
    call: &ExecuteCall,
) -> Result<Body> {
    name(workflow)?;
    engine::open(app, caller, &below(workflow, "execute"), call).await
}

/// `contract::workflow::Execution` of a run, with a failed one's `status_code` beside its `error`. Of any workflow
/// where `workflow` is `None`.
///
/// # Errors
/// 404 `EXECUTION_UNKNOWN`: there is none, it is another workflow's, or another tenant's.
pub(crate) async fn status(
    app: &App,
    caller: &Caller,
    workflow: Option<&str>,
    execution: &str,
) -> Result<Value> {
    execution_id(execution)?;
    let mut told = engine::get(app, caller, &format!("/executions/{execution}")).await?;
    if workflow.is_some_and(|workflow| told["workflow"] != workflow) {
        let message = "this workflow has no execution with this id";
        return Err(Problem::new(StatusCode::NOT_FOUND, "EXECUTION_UNKNOWN", message));
    }
    if let Some(code) = told.pointer("/error/status_code").cloned()
        && let Value::Object(fields) = &mut told
    {
        fields.insert("status_code".to_owned(), code);
    }
    Ok(told)
}

/// Cancels a run: its `Execution`.
///
/// # Errors
/// 404 `EXECUTION_UNKNOWN`; 409 `EXECUTION_ENDED`.
pub(crate) async fn cancel(app: &App, caller: &Caller, execution: &str) -> Result<Value> {
    execution_id(execution)?;
    let path = format!("/executions/{execution}/cancel");
    let answer = engine::ask(app, caller, Method::POST, &path, Some(&json!({}))).await?;
    Ok(answer.body)
}

/// Signals a run: 202 with `contract::workflow::Signalled`.
///
/// # Errors
/// 404 `EXECUTION_UNKNOWN` or `SIGNAL_UNKNOWN`; 429 `RATE_LIMIT_EXCEEDED`: over 100 signals and queries of a run
/// within 60 s.
pub(crate) async fn signal(
    app: &App,
    caller: &Caller,
    execution: &str,
    signal: &str,
    payload: &Value,
) -> Result<Answer> {
    execution_id(execution)?;
    name(signal)?;
    permit(app, caller, execution).await?;
    let path = format!("/executions/{execution}/signals/{}", segment(signal));
    engine::ask(app, caller, Method::POST, &path, Some(payload)).await
}

/// Asks a run: `contract::workflow::QueryAnswer`. Queries are `status`, `outputs` and `history`.
///
/// # Errors
/// 404 `EXECUTION_UNKNOWN` or the engine's word for an unknown query; 429 as in [`signal`].
pub(crate) async fn query(app: &App, caller: &Caller, execution: &str, query: &str) -> Result<Value> {
    execution_id(execution)?;
    name(query)?;
    permit(app, caller, execution).await?;
    let path = format!("/executions/{execution}/queries/{}", segment(query));
    engine::get(app, caller, &path).await
}

/// One of the signals and queries that a run may be sent.
async fn permit(app: &App, caller: &Caller, execution: &str) -> Result<()> {
    let redis = app.redis()?.clone();
    let wait = crate::store::window::take(redis, &caller.tenant, execution).await;
    match wait.map_err(crate::error::Error::from)? {
        None => Ok(()),
        Some(wait_s) => Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "RATE_LIMIT_EXCEEDED",
            "Rate limit exceeded",
        )
        .field("retry_after_s", wait_s)
        .header(axum::http::header::RETRY_AFTER, wait_s.to_string())),
    }
}

fn below(workflow: &str, part: &str) -> String {
    format!("/workflows/{}/{part}", segment(workflow))
}

/// The engine's answer as the contract has it.
fn read<T: serde::de::DeserializeOwned>(told: Value) -> Result<T> {
    serde_json::from_value(told).map_err(|error| {
        Problem::internal(format!(
            "workflow-engine's answer is not as the contract has it: {error}"
        ))
    })
}
