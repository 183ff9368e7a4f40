//! Stories: what a user does, step by step, through the edge. Each lies beside the service that it is about;
//! the pipeline only discovers and tells them. Here is how a step is asked and judged; `form.rs` has its shape.

pub mod form;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::context::Deadline;
use form::{Expect, Step};

/// Name -> what `${name}` stands for.
pub type Variables = BTreeMap<String, String>;

/// How long a step waits for its answer: longer than any deadline of a service by default.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often a step with `retry_until_s` is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// How much of an answer is shown.
const SHOWN: usize = 300;

/// Asks through one edge.
#[derive(Debug, Clone)]
pub struct Teller {
    http: reqwest::Client,
    base: String,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    headers: BTreeMap<String, String>,
    text: String,
    json: Value,
}

impl Teller {
    /// Through the edge at this address.
    pub fn new(edge: SocketAddr) -> Result<Self> {
        let http = crate::http::client().no_proxy().timeout(PATIENCE).build()?;
        Ok(Teller {
            http,
            base: format!("http://{edge}"),
        })
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
        let method = step.method.parse().context("no method")?;
        let url = format!("{}{}", self.base, filled(&step.path, variables));
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
        Ok(Answer {
            status,
            headers,
            json: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        })
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

/// Every string inside a value filled; a string that is one variable and holds a number becomes that number.
fn filled_json(value: &Value, variables: &Variables) -> Value {
    match value {
        Value::String(text) => {
            let full = filled(text, variables);
            let whole = text.starts_with("${") && text.ends_with('}') && text.matches("${").count() == 1;
            let number = whole.then(|| full.parse::<i64>().ok()).flatten();
            number.map_or(Value::String(full), Value::from)
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
    }

    fn judged(expect: Value) -> String {
        let answer = Answer {
            status: 200,
            headers: BTreeMap::from([("content-type".to_owned(), "text/html; charset=utf-8".to_owned())]),
            text: "{\"outputs\": {\"id\": 7}}".to_owned(),
            json: json!({"outputs": {"id": 7}}),
        };
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
