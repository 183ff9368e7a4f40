//! Stories: what a user does, step by step, through the edge. Each lies beside the service that it is about;
//! the pipeline only discovers and tells them. Here is how a step is asked and judged; `form.rs` has its shape.

pub mod form;
mod socket;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::context::Deadline;
use crate::engine::{Container, Engine};
use form::{Expect, Step};

/// Name -> what `${name}` stands for.
pub type Variables = BTreeMap<String, String>;

/// How long a step waits for its answer: longer than any deadline of a service by default.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often a step with `retry_until_s` is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// How much of an answer is shown.
const SHOWN: usize = 300;

/// Asks through one edge, and inside one container.
#[derive(Clone)]
pub struct Teller<'a> {
    http: reqwest::Client,
    edge: SocketAddr,
    inside: Option<(&'a Engine, &'a Container)>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    headers: BTreeMap<String, String>,
    text: String,
    json: Value,
}

impl<'a> Teller<'a> {
    /// Through the edge at this address.
    pub fn new(edge: SocketAddr) -> Result<Self> {
        let http = crate::http::client().no_proxy().timeout(PATIENCE).build()?;
        Ok(Teller {
            http,
            edge,
            inside: None,
        })
    }

    /// The same, where commands run inside this container.
    pub fn inside(mut self, engine: &'a Engine, container: &'a Container) -> Self {
        self.inside = Some((engine, container));
        self
    }

    /// The same, where an answer has this long to arrive.
    pub fn patient_for(mut self, limit: Duration) -> Result<Self> {
        self.http = crate::http::client().no_proxy().timeout(limit).build()?;
        Ok(self)
    }

    /// Asks once.
    ///
    /// # Errors
    /// Where no whole answer came back; a timeout can be told by [`timed_out`].
    pub async fn ask(&self, step: &Step, variables: &Variables) -> Result<Answer> {
        match (&step.exec, &step.socket, &step.send) {
            (Some(words), _, _) => self.run(words, step, variables).await,
            (None, Some(path), Some(send)) => {
                let headers = step.headers.iter();
                let headers = headers.map(|(name, value)| (name.clone(), filled(value, variables)));
                let send = filled_json(send, variables);
                let path = filled(path, variables);
                let text = socket::ask(self.edge, &path, headers, &send);
                let text = tokio::time::timeout(PATIENCE, text)
                    .await
                    .context("no answer in time")??;
                Ok(Answer::new(step.expect.status, BTreeMap::new(), text))
            }
            _ => self.request(step, variables).await,
        }
    }

    async fn run(&self, words: &[String], step: &Step, variables: &Variables) -> Result<Answer> {
        let (engine, container) = self.inside.context("there is no container to run it in")?;
        let words = words.iter().map(|word| filled(word, variables)).collect();
        let environment = step.env.iter();
        let environment = environment.map(|(name, value)| format!("{name}={}", filled(value, variables)));
        let running = engine.exec_to_end(container, words, environment.collect());
        let ended = tokio::time::timeout(PATIENCE, running)
            .await
            .with_context(|| format!("the command did not end within {} s", PATIENCE.as_secs()))??;
        let expected = step.expect.exit.unwrap_or_default();
        if ended.exit != Some(expected) {
            let code = ended
                .exit
                .map_or("no exit code".to_owned(), |code| format!("exit code {code}"));
            let said: String = ended.said().chars().take(SHOWN).collect();
            bail!("expected exit code {expected}, got {code}: {said}");
        }
        Ok(Answer::new(step.expect.status, BTreeMap::new(), ended.stdout))
    }

    async fn request(&self, step: &Step, variables: &Variables) -> Result<Answer> {
        let method = step.method.parse().context("no method")?;
        let url = format!("http://{}{}", self.edge, filled(&step.path, variables));
        let mut request = self.http.request(method, url);
        for (header, value) in &step.headers {
            request = request.header(header, filled(value, variables));
        }
        if let Some(body) = &step.body {
            request = request.json(&filled_json(body, variables));
        }
        let answer = request.send().await.context("no answer through the edge")?;
        let (status, headers) = (answer.status().as_u16(), words_of(answer.headers()));
        let text = answer.text().await.context("the answer broke off")?;
        Ok(Answer::new(status, headers, text))
    }

    /// Asks until the answer is as expected, once where the step does not say how long; then remembers of it
    /// what the step says.
    ///
    /// # Errors
    /// What was expected and what came instead.
    pub async fn tell(&self, step: &Step, variables: &mut Variables) -> Result<()> {
        let deadline = Deadline::within(Duration::from_secs(step.retry_until_s.unwrap_or(0)));
        loop {
            let told = match self.ask(step, variables).await {
                Ok(answer) => answer.judged(&step.expect, variables).map(|()| answer),
                Err(error) => Err(error),
            };
            match told {
                Ok(answer) => return answer.remember(step, variables),
                Err(error) if deadline.passed() && unreached(&error) => return Err(error),
                Err(error) if deadline.passed() => {
                    let tried = step
                        .retry_until_s
                        .map(|limit| format!(" (asked again for {limit} s)"));
                    bail!("{error:#}{}", tried.unwrap_or_default());
                }
                Err(_) => tokio::time::sleep(AGAIN.min(deadline.left())).await,
            }
        }
    }
}

/// Whether an error of [`Teller::ask`] is that nothing came in time.
pub fn timed_out(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<reqwest::Error>())
        .any(reqwest::Error::is_timeout)
}

/// Whether an error of [`Teller::tell`] is that nobody listens where the edge should: no answer of a service.
pub fn unreached(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<reqwest::Error>())
        .any(reqwest::Error::is_connect)
}

fn words_of(headers: &reqwest::header::HeaderMap) -> BTreeMap<String, String> {
    let words = headers.iter().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    words.collect()
}

impl Answer {
    fn new(status: u16, headers: BTreeMap<String, String>, text: String) -> Self {
        let stream = headers
            .get("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"));
        let json = if stream {
            last_event(&text)
        } else {
            serde_json::from_str(&text).ok()
        };
        Answer {
            status,
            headers,
            json: json.unwrap_or(Value::Null),
            text,
        }
    }

    /// Whether this is what was expected.
    ///
    /// # Errors
    /// The first thing that is not, with what stands there instead.
    pub fn judged(&self, expect: &Expect, variables: &Variables) -> Result<()> {
        let got = self.text.chars().take(SHOWN).collect::<String>();
        if self.status != expect.status {
            bail!("expected status {}, got {}: {got}", expect.status, self.status);
        }
        for (name, expected) in &expect.headers {
            let found = self
                .headers
                .get(&name.to_ascii_lowercase())
                .cloned()
                .map(Value::String);
            matches(
                &format!("header {name}"),
                found.as_ref(),
                &filled_json(expected, variables),
            )?;
        }
        for (pointer, expected) in &expect.json {
            matches(
                pointer,
                self.json.pointer(pointer),
                &filled_json(expected, variables),
            )?;
        }
        for part in &expect.contains {
            let part = filled(part, variables);
            if !self.text.contains(&part) {
                bail!("expected '{part}' in the body, got: {got}");
            }
        }
        Ok(())
    }

    /// Takes the variables that a step saves.
    pub fn remember(&self, step: &Step, variables: &mut Variables) -> Result<()> {
        for (variable, pointer) in &step.save {
            let value = self.json.pointer(pointer);
            let value =
                value.with_context(|| format!("expected something at {pointer} to remember, got nothing"))?;
            variables.insert(
                variable.clone(),
                value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            );
        }
        Ok(())
    }
}

/// The last event of a stream that holds JSON.
fn last_event(text: &str) -> Option<Value> {
    let data = text.lines().rev().filter_map(|line| line.strip_prefix("data:"));
    data.filter_map(|data| serde_json::from_str(data).ok()).next()
}

/// A value, `{"exists": true}`, or `{"contains": "text"}`.
fn matches(place: &str, found: Option<&Value>, expected: &Value) -> Result<()> {
    let Some(found) = found else {
        bail!("expected {expected} at {place}, got nothing");
    };
    let part = expected.get("contains").and_then(Value::as_str);
    let fits = match part {
        Some(part) => found.as_str().is_some_and(|text| text.contains(part)),
        None => *expected == serde_json::json!({"exists": true}) || found == expected,
    };
    if !fits {
        bail!("expected {expected} at {place}, got {found}");
    }
    Ok(())
}

/// `${name}` replaced by the variable's value.
pub fn filled(text: &str, variables: &Variables) -> String {
    variables.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value)
    })
}

/// Every string inside a value filled; a string that is one variable and holds a number, a list or an object becomes
/// that.
fn filled_json(value: &Value, variables: &Variables) -> Value {
    match value {
        Value::String(text) => {
            let full = filled(text, variables);
            let whole = text.starts_with("${") && text.ends_with('}') && text.matches("${").count() == 1;
            let number = whole.then(|| full.parse::<i64>().ok().map(Value::from)).flatten();
            let parts = || {
                serde_json::from_str(&full)
                    .ok()
                    .filter(|value: &Value| value.is_array() || value.is_object())
            };
            let meant = number.or_else(|| whole.then(parts).flatten());
            meant.unwrap_or(Value::String(full))
        }
        Value::Array(list) => list.iter().map(|item| filled_json(item, variables)).collect(),
        Value::Object(object) => {
            let filled = object
                .iter()
                .map(|(key, item)| (filled(key, variables), filled_json(item, variables)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_fill_paths_and_bodies_and_keep_numbers() {
        let variables = BTreeMap::from([
            ("id".to_owned(), "7".to_owned()),
            ("run".to_owned(), "r1".to_owned()),
        ]);
        assert_eq!(filled("/data/M_${run}/${id}", &variables), "/data/M_r1/7");
        let body = json!({"id": "${id}", "name": "x ${id}", "nested_${run}": ["${run}"]});
        assert_eq!(
            filled_json(&body, &variables),
            json!({"id": 7, "name": "x 7", "nested_r1": ["r1"]})
        );
        let saved = BTreeMap::from([("outputs".to_owned(), "{\"clean\":{\"title\":\"a\"}}".to_owned())]);
        assert_eq!(
            filled_json(&json!("${outputs}"), &saved),
            json!({"clean": {"title": "a"}})
        );
        assert!(filled_json(&json!("x ${outputs}"), &saved).is_string());
    }

    #[test]
    fn a_streams_last_event_is_its_answer() {
        let headers = BTreeMap::from([("content-type".to_owned(), "text/event-stream".to_owned())]);
        let text = "event: message\ndata: {\"a\": 1}\n\n: keepalive\n\ndata: {\"a\": 2}\n\ndata: bye\n\n";
        assert_eq!(Answer::new(200, headers, text.to_owned()).json, json!({"a": 2}));
    }

    fn judged(expect: Value) -> String {
        let headers = BTreeMap::from([("content-type".to_owned(), "text/html; charset=utf-8".to_owned())]);
        let answer = Answer::new(200, headers, "{\"outputs\": {\"id\": 7}}".to_owned());
        let expect: Expect = serde_json::from_value(expect).unwrap();
        let judged = answer.judged(&expect, &Variables::new());
        judged.map_or_else(|error| error.to_string(), |()| "as expected".to_owned())
    }

    #[test]
    fn an_answer_must_hold_what_is_expected() {
        let good = json!({"status": 200, "json": {"/outputs/id": 7, "/outputs": {"exists": true}},
            "headers": {"Content-Type": {"contains": "html"}}, "contains": ["outputs"]});
        assert_eq!(judged(good), "as expected");
        let other = json!({"status": 200, "json": {"/outputs/id": 8}});
        assert_eq!(judged(other), "expected 8 at /outputs/id, got 7");
        let absent = json!({"status": 200, "headers": {"etag": {"exists": true}}});
        assert_eq!(
            judged(absent),
            "expected {\"exists\":true} at header etag, got nothing"
        );
        assert!(judged(json!({"status": 201})).starts_with("expected status 201, got 200: {"));
        assert!(
            judged(json!({"status": 200, "contains": ["inputs"]}))
                .starts_with("expected 'inputs' in the body")
        );
    }

    #[tokio::test]
    async fn an_edge_that_nobody_listens_at_is_told_from_one_that_breaks_off() {
        let edge = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = edge.local_addr().unwrap();
        let step = r#"{"name":"a","method":"GET","path":"/","expect":{"status":200},"retry_until_s":1}"#;
        let step: Step = serde_json::from_str(step).unwrap();
        let teller = Teller::new(address).unwrap();
        let breaks_off = std::thread::spawn(move || drop(edge.accept().unwrap()));
        let broken = teller.ask(&step, &Variables::new()).await.unwrap_err();
        assert!(!unreached(&broken), "{broken:#}");
        breaks_off.join().unwrap();
        let nobody = teller.tell(&step, &mut Variables::new()).await.unwrap_err();
        assert!(unreached(&nobody), "{nobody:#}");
    }
}
