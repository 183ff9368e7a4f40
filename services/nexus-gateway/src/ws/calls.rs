//! What can be called: workflows by their names, `workflow.*`, `session.*`, `subscribe` and `ping`. The work is
//! that of the functions behind HTTP, and so are results and errors.

use std::{sync::PoisonError, time::Instant};

use axum::http::StatusCode;
use kit::Problem;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use sessions::{Channel, Patch, Session};

use super::{
    connection::Connection,
    message::{self, Call, FAILED, METHOD_NOT_FOUND, RpcError},
    subscriptions::Subscriptions,
};
use crate::{
    domain::call::is_ours,
    routes::sessions::{Create, new, owner, problem},
    store::Entry,
    surface,
};

pub(super) const PING: &str = "ping";

/// Everything but the workflows' own names.
const METHODS: [&str; 15] = [
    PING,
    "session.create",
    "session.end",
    "session.get",
    "session.list",
    "session.update",
    "subscribe",
    "unsubscribe",
    "workflow.cancel",
    "workflow.info",
    "workflow.list",
    "workflow.query",
    "workflow.run",
    "workflow.signal",
    "workflow.status",
];

/// Answers what needs no waiting; `None` for everything else.
pub(super) fn at_once(
    connection: &Connection,
    call: &Call,
    subscriptions: &mut Subscriptions,
) -> Option<String> {
    let done = match call.method.as_str() {
        PING => Ok(json!({ "pong": true })),
        "subscribe" => params(call.params.clone()).and_then(|topic| subscriptions.add(connection, topic)),
        "unsubscribe" => params(call.params.clone()).map(|topic| subscriptions.remove(&topic)),
        _ => return None,
    };
    Some(told(&call.id, &call.method, done))
}

/// Answers a call that is not made.
pub(super) fn refused(call: &Call, problem: Problem) -> String {
    told(&call.id, &call.method, Err(problem))
}

/// Works on a call; the answer is its message.
pub(super) async fn answer(connection: &Connection, call: Call) -> String {
    let begun = Instant::now();
    let audited = entry(connection, &call);
    let (id, method) = (call.id, call.method);
    let done = work(connection, &method, call.params).await;
    // A workflow's name is the caller's word, which no log line repeats.
    let known = METHODS.into_iter().find(|known| *known == method);
    let took_ms = begun.elapsed().as_millis();
    tracing::info!(
        method = known.unwrap_or("a workflow"),
        failed = done.is_err(),
        took_ms,
        "called"
    );
    if let Some(entry) = audited {
        let status = done.as_ref().map_or_else(Problem::status, |_| StatusCode::OK);
        let outcome = status.as_u16().to_string();
        connection.app.record(Entry { outcome, ..entry });
    }
    told(&id, &method, done)
}

/// What the audit log is told of a call that changes something, before it is made.
fn entry(at: &Connection, call: &Call) -> Option<Entry> {
    let param = |name: &str| call.params.get(name)?.as_str().map(str::to_owned);
    let (action, target) = match call.method.as_str() {
        "session.create" => ("ws session.create", None),
        "session.end" => ("ws session.end", param("session_id").or_else(|| own(at))),
        "session.update" => ("ws session.update", param("session_id").or_else(|| own(at))),
        "workflow.cancel" => ("ws workflow.cancel", param("execution_id")),
        "workflow.run" => ("ws workflow.run", param("workflow")),
        "workflow.signal" => ("ws workflow.signal", param("execution_id")),
        ours if is_ours(ours) => return None,
        workflow => ("ws workflow.run", Some(workflow.to_owned())),
    };
    Some(at.caller.did(action, target.as_deref(), at.client))
}

fn own(at: &Connection) -> Option<String> {
    let own = at.session.lock().unwrap_or_else(PoisonError::into_inner);
    own.clone()
}

fn told(id: &Value, method: &str, done: kit::Result<Value>) -> String {
    let error = match done {
        Ok(result) => return within(id, message::result(id, &result)),
        Err(problem) => problem,
    };
    let known = METHODS.contains(&method);
    let unknown = !known
        && matches!(
            error.code(),
            "METHOD_UNKNOWN" | "WORKFLOW_UNKNOWN" | "NAME_INVALID"
        );
    let (code, message) = match (unknown, nearest(method)) {
        (false, _) => (FAILED, error.message().to_owned()),
        (true, None) => (
            METHOD_NOT_FOUND,
            "no such method, and no such workflow".to_owned(),
        ),
        (true, Some(near)) => (
            METHOD_NOT_FOUND,
            format!("no such method; did you mean '{near}'?"),
        ),
    };
    let mut data = error.body();
    data.insert("status".to_owned(), error.status().as_u16().into());
    if let Some(ids) = kit::current_ids() {
        data.insert("correlation_id".to_owned(), ids.request_id.into());
    }
    within(
        id,
        message::error(&RpcError {
            id: id.clone(),
            code,
            message,
            data: Some(Value::Object(data)),
        }),
    )
}

/// A result that no connection can carry is told as a failure; its HTTP answer may be had.
fn within(id: &Value, text: String) -> String {
    if text.len() <= super::MAX_UNSENT_BYTES {
        return text;
    }
    message::error(&RpcError {
        id: id.clone(),
        code: FAILED,
        message: "the result is too large for a message; ask for it over HTTP".to_owned(),
        data: Some(json!({ "code": "RESULT_TOO_LARGE", "limit": super::MAX_UNSENT_BYTES })),
    })
}

async fn work(at: &Connection, method: &str, sent: Map<String, Value>) -> kit::Result<Value> {
    let (app, caller) = (&at.app, &at.caller);
    match method {
        "session.create" => create(at, params(sent)?).await,
        "session.get" => get(at, params(sent)?).await,
        "session.update" => update(at, sent).await,
        "session.end" => end(at, params(sent)?).await,
        "session.list" => {
            let sessions = app.shared_sessions()?.list(&owner(caller)).await;
            Ok(json!({ "sessions": sessions.map_err(problem)? }))
        }
        "workflow.list" => surface::list(app, caller).await,
        "workflow.info" => surface::info(app, caller, &params::<Named>(sent)?.workflow).await,
        "workflow.run" => run(at, sent).await,
        "workflow.status" => {
            let of: Run = params(sent)?;
            surface::status(app, caller, of.workflow.as_deref(), &of.execution_id).await
        }
        "workflow.cancel" => surface::cancel(app, caller, &params::<Run>(sent)?.execution_id).await,
        "workflow.signal" => {
            let to: Signal = params(sent)?;
            let told = surface::signal(app, caller, &to.execution_id, &to.signal, &to.payload).await;
            told.map(|answer| answer.body)
        }
        "workflow.query" => {
            let of: Query = params(sent)?;
            surface::query(app, caller, &of.execution_id, &of.query).await
        }
        // Names of ours that do not exist are not the engine's to look for.
        ours if is_ours(ours) => Err(unknown()),
        workflow => surface::run(app, caller, workflow, &surface::envelope(sent)?).await,
    }
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "METHOD_UNKNOWN", "no such method")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    workflow: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    execution_id: String,
    #[serde(default)]
    workflow: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signal {
    execution_id: String,
    signal: String,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    execution_id: String,
    query: String,
}

/// The session meant; the connection's own where none is named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Of {
    #[serde(default)]
    session_id: Option<String>,
}

fn params<T: DeserializeOwned>(sent: Map<String, Value>) -> kit::Result<T> {
    serde_json::from_value(Value::Object(sent)).map_err(|error| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "PARAMS_INVALID", format!("params: {error}"))
    })
}

/// `{workflow, inputs | parameters, config?, mode?}`.
async fn run(at: &Connection, mut sent: Map<String, Value>) -> kit::Result<Value> {
    let name = json!({ "workflow": sent.remove("workflow") });
    let name: Named = params(name.as_object().cloned().unwrap_or_default())?;
    let call = surface::read(Value::Object(sent))?;
    surface::run(&at.app, &at.caller, &name.workflow, &call).await
}

async fn create(at: &Connection, with: Create) -> kit::Result<Value> {
    let new = new(&at.app, Channel::Websocket, with.shared_data);
    let made = at.app.shared_sessions()?.create(&owner(&at.caller), &new).await;
    kept(at, made)
}

async fn get(at: &Connection, of: Of) -> kit::Result<Value> {
    let id = meant(at, of.session_id)?;
    let store = at.app.shared_sessions()?;
    kept(at, store.get(&owner(&at.caller), &id, Channel::Websocket).await)
}

/// `{session_id?, shared_data?, workflow_states?, expected_version?}`.
async fn update(at: &Connection, mut sent: Map<String, Value>) -> kit::Result<Value> {
    let id = json!({ "session_id": sent.remove("session_id") });
    let of: Of = params(id.as_object().cloned().unwrap_or_default())?;
    let id = meant(at, of.session_id)?;
    let patch: Patch = params(sent)?;
    let store = at.app.shared_sessions()?;
    let owner = owner(&at.caller);
    kept(at, store.update(&owner, &id, Channel::Websocket, &patch).await)
}

async fn end(at: &Connection, of: Of) -> kit::Result<Value> {
    let id = meant(at, of.session_id)?;
    let ended = at.app.shared_sessions()?.end(&owner(&at.caller), &id).await;
    ended.map_err(problem)?;
    let mut own = at.session.lock().unwrap_or_else(PoisonError::into_inner);
    own.take_if(|own| *own == id);
    Ok(json!({ "session_id": id, "status": "terminated" }))
}

fn meant(at: &Connection, named: Option<String>) -> kit::Result<String> {
    named.or_else(|| own(at)).ok_or_else(|| {
        let message = "the connection has no session yet: name one by session_id, or call session.create";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "SESSION_UNNAMED", message)
    })
}

/// The session that was used last is the connection's own from then on.
fn kept(at: &Connection, session: Result<Session, sessions::Error>) -> kit::Result<Value> {
    let session = session.map_err(problem)?;
    let mut own = at.session.lock().unwrap_or_else(PoisonError::into_inner);
    *own = Some(session.session_id.clone());
    drop(own);
    serde_json::to_value(session).map_err(Problem::internal)
}

/// The method that was probably meant: at most two letters differ.
fn nearest(method: &str) -> Option<&'static str> {
    let close = METHODS.into_iter().map(|known| (distance(method, known), known));
    close
        .filter(|(differ, _)| *differ <= 2)
        .min()
        .map(|(_, known)| known)
}

/// Letters to change, add or take away (Levenshtein), of texts that are not much longer than our names.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().take(32).enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, theirs) in other.iter().enumerate() {
            let changed = before + usize::from(letter != *theirs);
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_method_can_be_shadowed_by_a_workflow() {
        assert!(METHODS.iter().all(|method| is_ours(method)));
        assert!(!is_ours("orders") && !is_ours("workflow"));
    }

    #[test]
    fn a_slip_is_told() {
        assert_eq!(nearest("sesion.get"), Some("session.get"));
        assert_eq!(nearest("workflow.lsit"), Some("workflow.list"));
        assert_eq!(nearest("subscribe "), Some("subscribe"));
        assert_eq!(nearest("orders"), None);
        assert_eq!(nearest(&"x".repeat(10_000)), None);
    }

    #[test]
    fn what_is_too_large_to_send_is_told() {
        let text = within(&json!(7), "x".repeat(super::super::MAX_UNSENT_BYTES + 1));
        assert!(
            text.contains("RESULT_TOO_LARGE") && text.contains("\"id\":7"),
            "{text}"
        );
        assert_eq!(within(&json!(7), "x".to_owned()), "x");
    }
}
