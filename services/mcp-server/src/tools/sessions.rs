//! The caller's session as tools: the same that HTTP, `/ws` and the command line use. The gateway has checked the
//! header that names it, and says whose it must be.

use axum::http::HeaderMap;
use kit::{Health, Identity, OnLoss};
use rmcp::model::{CallToolResult, JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};
use sessions::{Channel, Error, Limits, Owner, Patch, Session, Store};

use super::{invalid, object, unknown};

pub(super) const GET: &str = "session_get";
pub(super) const UPDATE: &str = "session_update";
const SESSION_ID: &str = "x-session-id";
/// No session is made here; this is only what the store asks for.
const NO_LIMIT: Limits = Limits { per_user: u64::MAX };

/// The sessions' store, where one is set.
#[derive(Clone)]
pub(crate) struct Sessions(Option<Store>);

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sessions").field(&self.0.is_some()).finish()
    }
}

impl Sessions {
    /// Connects nothing yet: the store is asked in the background, for ever.
    pub(super) fn new(client: Option<redis::Client>, health: &Health) -> Self {
        let store = client.and_then(|client| match Store::new(client, NO_LIMIT) {
            Ok(store) => Some(store),
            Err(error) => {
                tracing::error!(%error, "redis cannot be used");
                None
            }
        });
        match store.clone() {
            None => health.unconfigured("redis", OnLoss::Degrade),
            Some(store) => health.watch("redis", OnLoss::Degrade, move || {
                let store = store.clone();
                async move { store.check().await }
            }),
        }
        Self(store)
    }

    pub(super) async fn get(
        &self,
        headers: &HeaderMap,
        caller: &Identity,
        arguments: &JsonObject,
    ) -> CallToolResult {
        let faults: Vec<String> = arguments.keys().map(|name| unknown(name)).collect();
        if !faults.is_empty() {
            return invalid(&faults);
        }
        match self.meant(headers, caller) {
            Ok((store, owner, id)) => told(store.get(&owner, id, Channel::Mcp).await),
            Err(refused) => *refused,
        }
    }

    pub(super) async fn update(
        &self,
        headers: &HeaderMap,
        caller: &Identity,
        arguments: &JsonObject,
    ) -> CallToolResult {
        let shared_data = match changes(arguments) {
            Ok(shared_data) => shared_data.clone(),
            Err(faults) => return invalid(&faults),
        };
        let patch = Patch {
            shared_data,
            ..Patch::default()
        };
        match self.meant(headers, caller) {
            Ok((store, owner, id)) => told(store.update(&owner, id, Channel::Mcp, &patch).await),
            Err(refused) => *refused,
        }
    }

    /// The session that the request names, and whose it must be.
    fn meant<'a>(
        &self,
        headers: &'a HeaderMap,
        caller: &Identity,
    ) -> Result<(&Store, Owner, &'a str), Box<CallToolResult>> {
        let Some(store) = &self.0 else {
            return Err(Box::new(unavailable()));
        };
        let (Some(user), Some(tenant)) = (caller.user.clone(), caller.tenant.clone()) else {
            let words = "nobody is known to call: reach this server through the gateway";
            return Err(Box::new(refused("CALLER_UNKNOWN", words)));
        };
        let id = headers.get(SESSION_ID).and_then(|id| id.to_str().ok());
        let id = id.ok_or_else(|| {
            let words = "the request names no session: send X-Session-ID, from POST /sessions";
            Box::new(refused("SESSION_UNNAMED", words))
        })?;
        Ok((store, Owner { user, tenant }, id))
    }
}

/// `{shared_data}`, or everything that is wrong with it.
fn changes(arguments: &JsonObject) -> Result<&Map<String, Value>, Vec<String>> {
    let others = arguments.keys().filter(|name| *name != "shared_data");
    let mut faults: Vec<String> = others.map(|name| unknown(name)).collect();
    match arguments.get("shared_data") {
        Some(Value::Object(data)) if faults.is_empty() => return Ok(data),
        Some(Value::Object(_)) => {}
        _ => faults.push("shared_data: expected an object".to_owned()),
    }
    Err(faults)
}

fn told(answered: Result<Session, Error>) -> CallToolResult {
    let error = match answered.map(|session| serde_json::to_value(session).unwrap_or_default()) {
        Ok(session) => return CallToolResult::structured(session),
        Err(error) => error,
    };
    match error {
        Error::NotFound => refused("SESSION_NOT_FOUND", &error.to_string()),
        Error::Changed { .. } => refused("SESSION_CHANGED", &error.to_string()),
        Error::TooLarge { .. } => refused("SESSION_TOO_LARGE", &error.to_string()),
        Error::TooMany { .. } => refused("SESSION_LIMIT", &error.to_string()),
        Error::Store(_) | Error::Malformed(_) => {
            tracing::warn!(%error, "session store is unavailable");
            unavailable()
        }
    }
}

fn unavailable() -> CallToolResult {
    refused("SESSION_STORE_UNAVAILABLE", "the session store does not answer")
}

fn refused(code: &str, words: &str) -> CallToolResult {
    CallToolResult::structured_error(json!({ "code": code, "error": words }))
}

pub(super) fn tools() -> [Tool; 2] {
    let nothing = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let data = json!({ "type": "object",
        "description": "Names are replaced one by one, as a whole; null takes one away" });
    let changes = json!({ "type": "object", "properties": { "shared_data": data }, "required": ["shared_data"],
        "additionalProperties": false });
    let get = Tool::new(
        GET,
        "The session that the request's X-Session-ID names, as the user's other channels see it.",
        object(nothing),
    );
    let update = Tool::new(
        UPDATE,
        "Changes what that session's channels share.",
        object(changes),
    );
    let hints = ToolAnnotations::new().idempotent(true).open_world(false);
    [
        get.with_title("Session")
            .with_annotations(hints.clone().read_only(true)),
        update.with_title("Change the session").with_annotations(hints),
    ]
}
