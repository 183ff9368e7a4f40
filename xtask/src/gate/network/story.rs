//! Stories: what a user does, step by step, through the edge. Each lies beside the service that it is about
//! (`services/<name>/stories/*.json`); the pipeline only discovers and runs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use super::Found;
use super::stack::Stack;
use crate::exit::Failure;
use crate::verdict::{Check, Outcome};

/// One step: a request, what must come back, and what to remember of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    name: String,
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
    expect: Expect,
    /// Variable -> JSON pointer (RFC 6901) into the answer.
    #[serde(default)]
    save: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    status: u16,
    /// JSON pointer -> the value that must stand there, or `{"exists": true}`.
    #[serde(default)]
    json: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Story {
    Bare(Vec<Step>),
    Wrapped { steps: Vec<Step> },
}

type Variables = BTreeMap<String, String>;

/// Tells the stories of every judged service.
pub(super) async fn check(stack: &Stack<'_>) -> Result<Found> {
    let mut found = Found::new();
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()?;
    for service in stack.services().filter(|service| stack.is_judged(&service.name)) {
        for path in stories(&stack.context.root.join(&service.dir).join("stories"))? {
            let steps = read(&path)?;
            let base = format!("http://127.0.0.1:{}", stack.edge_port().await?);
            let mut variables = BTreeMap::from([
                ("run".to_owned(), stack.context.run_id.replace('-', "_")),
                ("admin_username".to_owned(), "admin".to_owned()),
                ("admin_password".to_owned(), stack.admin_password()?),
            ]);
            let title = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let check = tell(&http, &base, &title, &steps, &mut variables).await;
            if check.outcome != Outcome::Passed {
                // An engine that went away takes the stack with it, which is no story's fault: it is asked.
                stack.nodes().await?;
            }
            found.entry(service.name.clone()).or_default().push(check);
        }
    }
    Ok(found)
}

fn stories(dir: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Ok(Vec::new());
    };
    let paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<_> = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<Step>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let wrong = |error| {
        Failure::usage(
            format!("{}: {error}", path.display()),
            "the form of a story is in the README",
        )
    };
    match serde_json::from_str::<Story>(&text).map_err(wrong)? {
        Story::Bare(steps) | Story::Wrapped { steps } => Ok(steps),
    }
}

async fn tell(
    http: &reqwest::Client,
    base: &str,
    title: &str,
    steps: &[Step],
    variables: &mut Variables,
) -> Check {
    let name = format!("story {title}");
    for (index, step) in steps.iter().enumerate() {
        if let Err(error) = one(http, base, step, variables).await {
            let detail = format!("step {} '{}': {error:#}", index + 1, step.name);
            return Check::violated(name, detail, "the services' logs are in logs/network/");
        }
    }
    Check::passed(name, format!("{} steps", steps.len()))
}

async fn one(http: &reqwest::Client, base: &str, step: &Step, variables: &mut Variables) -> Result<()> {
    let method = step
        .method
        .parse()
        .with_context(|| format!("'{}' is no method", step.method))?;
    let mut request = http.request(method, format!("{base}{}", filled(&step.path, variables)));
    for (header, value) in &step.headers {
        request = request.header(header, filled(value, variables));
    }
    if let Some(body) = &step.body {
        request = request.json(&filled_json(body, variables));
    }
    let answer = request.send().await.context("no answer through the edge")?;
    let status = answer.status().as_u16();
    let text = answer.text().await.context("the answer broke off")?;
    if status != step.expect.status {
        anyhow::bail!(
            "status {status} instead of {}: {}",
            step.expect.status,
            text.chars().take(300).collect::<String>()
        );
    }
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    for (pointer, expected) in &step.expect.json {
        matches(&body, pointer, &filled_json(expected, variables))?;
    }
    for (variable, pointer) in &step.save {
        let value = body
            .pointer(pointer)
            .with_context(|| format!("nothing at {pointer} to remember"))?;
        variables.insert(
            variable.clone(),
            value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        );
    }
    Ok(())
}

fn matches(body: &Value, pointer: &str, expected: &Value) -> Result<()> {
    let found = body.pointer(pointer);
    if *expected == serde_json::json!({"exists": true}) {
        return found
            .map(|_| ())
            .with_context(|| format!("nothing at {pointer} in {body}"));
    }
    match found {
        Some(found) if found == expected => Ok(()),
        Some(found) => anyhow::bail!("{pointer} is {found} instead of {expected}"),
        None => anyhow::bail!("nothing at {pointer} instead of {expected}"),
    }
}

/// `${name}` replaced by the variable's value.
fn filled(text: &str, variables: &Variables) -> String {
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

    #[test]
    fn an_answer_must_hold_what_is_expected() {
        let body = json!({"outputs": {"write": {"id": 7}}});
        assert!(matches(&body, "/outputs/write/id", &json!(7)).is_ok());
        assert!(matches(&body, "/outputs/write", &json!({"exists": true})).is_ok());
        assert!(matches(&body, "/outputs/write/id", &json!(8)).is_err());
        assert!(matches(&body, "/outputs/read", &json!({"exists": true})).is_err());
    }

    #[test]
    fn an_unknown_key_in_a_story_is_refused() {
        let text = r#"[{"name":"a","method":"GET","path":"/","expect":{"status":200},"retry":true}]"#;
        assert!(serde_json::from_str::<Story>(text).is_err());
    }
}
