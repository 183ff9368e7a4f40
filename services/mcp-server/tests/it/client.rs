//! A small client of the protocol: posts messages and reads answers, plain or as an event stream.

use serde_json::{Value, json};
use testkit::Service;

pub(crate) struct Client<'a> {
    service: &'a Service,
    session: Option<String>,
}

impl<'a> Client<'a> {
    /// Without a session.
    pub(crate) fn new(service: &'a Service) -> Self {
        Self {
            service,
            session: None,
        }
    }

    /// With a session of revision 2025-06-18, initialised as a client does; and what the server said of itself.
    pub(crate) async fn initialised(service: &'a Service) -> (Self, Value) {
        let mut client = Self::new(service);
        let params = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let answer = client
            .post(&request("initialize", params))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        let session = answer.headers().get("mcp-session-id").expect("a session");
        client.session = Some(session.to_str().expect("plain text").to_owned());
        let said = last_message(&answer.text().await.expect("a body"));
        let told = client.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        assert_eq!(told.send().await.expect("an answer").status(), 202);
        (client, said["result"].clone())
    }

    pub(crate) fn post(&self, message: &Value) -> reqwest::RequestBuilder {
        let mut post = self.service.request("POST", "/mcp").json(message);
        post = post.header("accept", "application/json, text/event-stream");
        match &self.session {
            Some(session) => post
                .header("mcp-session-id", session)
                .header("mcp-protocol-version", "2025-06-18"),
            None => post,
        }
    }

    /// The whole answer to a request, with `result` or `error`.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let answer = self
            .post(&request(method, params))
            .send()
            .await
            .expect("an answer");
        last_message(&answer.text().await.expect("a body"))
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments }))
            .await
    }
}

pub(crate) fn request(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
}

/// The last JSON of an answer; of an event stream that of the last event that has any.
pub(crate) fn last_message(text: &str) -> Value {
    let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let event = events
        .filter_map(|data| serde_json::from_str(data.trim()).ok())
        .next_back();
    event
        .or_else(|| serde_json::from_str(text).ok())
        .unwrap_or_else(|| panic!("no message in {text:?}"))
}
