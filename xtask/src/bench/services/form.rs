//! The form of loads (`services/<name>/loads/*.json`): what is asked of a service for `bench services`, what it is
//! compared with, and what is aimed at. `settings.json` among them holds for all of a service's loads.

mod check;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::story::form::{Step, files, title};
use crate::story::{Variables, filled};

const SETTINGS: &str = "settings";

/// The loads of one service.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    pub settings: Settings,
    /// Title and load, in the order of the files' names.
    pub loads: Vec<(String, LoadForm)>,
}

/// What holds while a service is measured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Besides what compose sets, e.g. limits that a load would meet.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Resident memory before any load, in MB, at most.
    #[serde(default)]
    pub idle_mb: Option<f64>,
}

/// One load: `request` again and again, or the clients of `socket`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadForm {
    pub about: String,
    /// Told once before, as the steps of a story are; what they save fills `${name}` below.
    #[serde(default)]
    pub prepare: Vec<Step>,
    #[serde(default)]
    pub request: Option<Ask>,
    #[serde(default)]
    pub socket: Option<Socket>,
    /// What is behind it, asked without it: by the load itself and through a plain proxy.
    #[serde(default)]
    pub direct: Option<Direct>,
    #[serde(default = "sixteen")]
    pub connections: usize,
    /// What one request does many of.
    #[serde(default)]
    pub units: Option<Units>,
    #[serde(default)]
    pub aims: Aims,
}

fn sixteen() -> usize {
    16
}

/// A request. `${n}` is its number, `${n%100}` goes from 1 to 100 and begins again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// `{"$times": 100, "of": {...}}` in it stands for a list of a hundred, in which `${i}` counts from 1.
    #[serde(default)]
    pub body: Option<Value>,
    #[serde(default = "ok")]
    pub expect: u16,
}

fn ok() -> u16 {
    200
}

/// WebSocket clients that stay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub clients: usize,
    /// JSON whose member `id` is `"${n}"`.
    pub message: Value,
    /// Seconds between two messages of a client.
    pub every_s: f64,
}

/// Another service, asked directly.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Direct {
    pub service: String,
    pub request: Ask,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    pub each: u64,
    pub of: String,
}

/// What is aimed at; what is absent is measured without an aim.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aims {
    /// Milliseconds over the direct call at the median, one request at a time, at most.
    #[serde(default)]
    pub added_p50_ms: Option<f64>,
    /// Share of the plain proxy's requests a second, at least.
    #[serde(default)]
    pub of_proxy: Option<f64>,
    /// At least.
    #[serde(default)]
    pub units_per_s: Option<f64>,
}

/// Reads the loads of a service that calls these; none where it has no such folder.
///
/// # Errors
/// Exit 2, naming the file and what is wrong with it.
pub fn read(folder: &Path, calls: &[String]) -> Result<Loads> {
    let mut loads = Loads::default();
    for path in files(&folder.join("loads"))? {
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(&path, &error.to_string()))?;
        if title(&path) == SETTINGS {
            loads.settings = serde_json::from_str(&text).map_err(|error| wrong(&path, &error.to_string()))?;
            check::settings(&loads.settings).map_err(|why| wrong(&path, &why))?;
            continue;
        }
        let load = parsed(&text, calls).map_err(|why| wrong(&path, &why))?;
        loads.loads.push((title(&path), load));
    }
    Ok(loads)
}

/// A load that can be put on a service; the lists that its preparation sends are made.
fn parsed(text: &str, calls: &[String]) -> Result<LoadForm, String> {
    let mut load: LoadForm = serde_json::from_str(text).map_err(|error| error.to_string())?;
    for step in &mut load.prepare {
        if let Some(body) = &mut step.body {
            check::times(body).map_err(|why| format!("prepare '{}': {why}", step.name))?;
            *body = repeated(body);
        }
    }
    check::load(&load, calls)?;
    Ok(load)
}

impl Ask {
    /// The request that is sent, with what the preparation saved.
    ///
    /// # Errors
    /// A variable that nothing has set.
    pub fn request(&self, variables: &Variables) -> Result<load::Request, String> {
        let template = |text: &str| load::Template::parse(&filled(text, variables));
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            headers.push((name.clone(), template(value)?));
        }
        let body = match &self.body {
            None => None,
            Some(body) => {
                headers.push((
                    "content-type".to_owned(),
                    load::Template::parse("application/json")?,
                ));
                Some(template(&unquoted(&repeated(body).to_string()))?)
            }
        };
        Ok(load::Request {
            method: self
                .method
                .parse()
                .map_err(|_| format!("'{}' is no method", self.method))?,
            path: template(&self.path)?,
            headers,
            body,
            expected: load::StatusCode::from_u16(self.expect).map_err(|error| error.to_string())?,
        })
    }
}

/// With every `{"$times": n, "of": value}` as the list that it stands for.
fn repeated(value: &Value) -> Value {
    match value {
        Value::Object(object) => match (object.get("$times").and_then(Value::as_u64), object.get("of")) {
            (Some(times), Some(of)) if object.len() == 2 => {
                (1..=times).map(|number| numbered(of, number)).collect()
            }
            _ => Value::Object(
                object
                    .iter()
                    .map(|(key, value)| (key.clone(), repeated(value)))
                    .collect(),
            ),
        },
        Value::Array(list) => list.iter().map(repeated).collect(),
        other => other.clone(),
    }
}

/// With the quotes taken off a text that is a request's number and nothing else, which so becomes a number.
fn unquoted(json: &str) -> String {
    let mut pieces = json.split("\"${n");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once("}\"") {
            Some((place, rest)) if !place.contains('"') => text.push_str(&format!("${{n{place}}}{rest}")),
            _ => text.push_str(&format!("\"${{n{piece}")),
        }
    }
    text
}

/// With `${i}` as the number; a text that is nothing else becomes the number itself.
fn numbered(value: &Value, number: u64) -> Value {
    match value {
        Value::String(text) if text == "${i}" => json!(number),
        Value::String(text) => json!(text.replace("${i}", &number.to_string())),
        Value::Array(list) => list.iter().map(|item| numbered(item, number)).collect(),
        Value::Object(object) => Value::Object(
            object
                .iter()
                .map(|(key, value)| (key.clone(), numbered(value, number)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn wrong(path: &Path, why: &str) -> anyhow::Error {
    let file: PathBuf = path.iter().skip_while(|part| *part != "services").collect();
    let hint = "the form of a load is in the README, under Stories";
    Failure::usage(format!("{}: {why}", file.display()), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(load: Value) -> Result<Loads, String> {
        let folder = tempfile::tempdir().unwrap();
        let loads = folder.path().join("services/shop/loads");
        std::fs::create_dir_all(&loads).unwrap();
        std::fs::write(loads.join("a.json"), load.to_string()).unwrap();
        std::fs::write(loads.join("settings.json"), json!({"idle_mb": 12}).to_string()).unwrap();
        read(&folder.path().join("services/shop"), &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_load_is_read_with_what_holds_for_all() {
        let loads = read_one(json!({"about": "x", "request": {"method": "GET", "path": "/live"}})).unwrap();
        assert_eq!(loads.settings.idle_mb, Some(12.0));
        let (title, load) = &loads.loads[0];
        assert_eq!((title.as_str(), load.connections), ("a", 16));
    }

    #[test]
    fn what_prepares_a_load_may_send_lists_too() {
        let step = json!({"name": "a", "method": "POST", "path": "/rows", "expect": {"status": 200},
            "body": {"data": {"$times": 2, "of": {"sku": "s-${i}"}}}});
        let load = json!({"about": "x", "prepare": [step], "request": {"method": "GET", "path": "/"}});
        let loads = read_one(load).unwrap();
        let body = loads.loads[0].1.prepare[0].body.clone().unwrap();
        assert_eq!(body, json!({"data": [{"sku": "s-1"}, {"sku": "s-2"}]}));
    }

    #[test]
    fn a_malformed_load_names_its_file() {
        for (load, expected) in [
            (json!({"about": "x"}), "expected either request or socket"),
            (json!({"about": "x", "reqest": {}}), "unknown field `reqest`"),
        ] {
            let why = read_one(load).unwrap_err();
            assert!(
                why.starts_with("services/shop/loads/a.json: ") && why.contains(expected),
                "{why}"
            );
        }
    }

    #[test]
    fn bodies_are_repeated_and_filled() {
        let ask = json!({"method": "POST", "path": "/x/${n%5}", "headers": {"authorization": "Bearer ${token}"},
            "body": {"id": "${n%5}", "data": {"$times": 2, "of": {"sku": "s-${n}-${i}", "stock": "${i}"}}}});
        let ask: Ask = serde_json::from_value(ask).unwrap();
        let variables = Variables::from([("token".to_owned(), "t".to_owned())]);
        let request = ask.request(&variables).unwrap();
        assert_eq!(request.path.fill(6), "/x/2");
        assert_eq!(request.headers[0].1.fill(0), "Bearer t");
        let body: Value = serde_json::from_slice(&request.body.unwrap().fill(7)).unwrap();
        assert_eq!(
            body,
            json!({"id": 3, "data": [{"sku": "s-7-1", "stock": 1}, {"sku": "s-7-2", "stock": 2}]})
        );
        assert!(
            ask.request(&Variables::new()).is_err(),
            "nothing has set the token"
        );
    }
}
