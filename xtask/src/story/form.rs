//! The form of stories (`services/<name>/stories/*.json`) and of what goes on during a fault
//! (`services/<name>/faults/*.json`): read, and refused with file, step and key where it is malformed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::catalogue::Catalogue;
use crate::exit::Failure;
use crate::verdict::Gate;

/// What every story is given.
pub const GIVEN: [&str; 3] = ["run", "admin_username", "admin_password"];
/// How long one step may be asked again at most.
const LONGEST_RETRY_S: u64 = 120;

/// One step: what is asked, what must come back, and what to remember of it. It is a request (`method` and `path`), a
/// message to a WebSocket (`socket` and `send`), or a command inside the container of the service whose story it is
/// (`exec`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub name: String,
    #[serde(default)]
    pub method: String,
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Option<Value>,
    /// The path of a WebSocket, opened for this step with its `headers`.
    #[serde(default)]
    pub socket: Option<String>,
    /// JSON with a member `id`; the answer is the first message with the same one.
    #[serde(default)]
    pub send: Option<Value>,
    /// A program and its arguments.
    #[serde(default)]
    pub exec: Option<Vec<String>>,
    /// Variables of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub expect: Expect,
    /// Variable -> JSON pointer (RFC 6901) into the answer.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// Asked again until the answer is as expected, this many seconds at most; once where absent.
    #[serde(default)]
    pub retry_until_s: Option<u64>,
}

impl Step {
    /// What is asked, in a line.
    pub fn shown(&self) -> String {
        match (&self.exec, &self.socket) {
            (Some(words), _) => words.join(" "),
            (None, Some(path)) => format!("WebSocket {path}"),
            (None, None) => format!("{} {}", self.method, self.path),
        }
    }
}

/// What an answer must be. A value is itself, `{"exists": true}` or `{"contains": "text"}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Of a request.
    #[serde(default)]
    pub status: u16,
    /// The exit code of a command; 0 where absent.
    #[serde(default)]
    pub exit: Option<i64>,
    /// JSON pointer -> value.
    #[serde(default)]
    pub json: BTreeMap<String, Value>,
    /// Header, in any case -> value.
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    /// Texts that the body must hold.
    #[serde(default)]
    pub contains: Vec<String>,
}

/// What goes on while a store is troubled: `request` again and again, each time with another `${n}`; where there
/// is a `read_back`, whatever was answered as expected counts as stored, and must be read back afterwards.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    #[serde(default)]
    pub prepare: Vec<Step>,
    pub request: Step,
    #[serde(default)]
    pub read_back: Option<Step>,
}

/// The files of a service's folder (`stories` or `faults`), in the order of their names; none where there is no
/// such folder.
///
/// # Errors
/// Exit 2: what is there cannot be read.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| wrong(dir, &format!("cannot be read: {error}"));
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    let mut paths: Vec<_> = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .collect();
    paths.sort();
    Ok(paths)
}

/// Reads all that the gates of this run would tell, before anything costs a build.
///
/// # Errors
/// Exit 2, naming file, step and key of the first that is malformed.
pub fn refuse_malformed(root: &Path, catalogue: &Catalogue, gates: &[Gate]) -> Result<()> {
    for service in &catalogue.services {
        let folder = root.join(&service.dir);
        if gates.contains(&Gate::Network) {
            files(&folder.join("stories"))?
                .iter()
                .try_for_each(|path| story(path).map(drop))?;
        }
        if gates.contains(&Gate::Faults) {
            files(&folder.join("faults"))?
                .iter()
                .try_for_each(|path| traffic(path).map(drop))?;
        }
    }
    Ok(())
}

/// A file's name without its ending: the story's title.
pub fn title(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A story: an ordered list of steps.
///
/// # Errors
/// Exit 2, naming file, step and key.
pub fn story(path: &Path) -> Result<Vec<Step>> {
    let found: Vec<Value> = parsed(path, read(path)?)?;
    if found.is_empty() {
        return Err(wrong(path, "no steps"));
    }
    let mut known = given();
    let mut steps = Vec::new();
    for (index, value) in found.into_iter().enumerate() {
        let place = format!("step {}", index + 1);
        let one: Step =
            serde_json::from_value(value).map_err(|error| wrong(path, &format!("{place}: {error}")))?;
        check(&one, &mut known).map_err(|why| wrong(path, &format!("{place} '{}': {why}", one.name)))?;
        steps.push(one);
    }
    Ok(steps)
}

/// What goes on during a fault.
///
/// # Errors
/// Exit 2, naming file, step and key.
pub fn traffic(path: &Path) -> Result<Traffic> {
    let found: Traffic = parsed(path, read(path)?)?;
    let mut known = given();
    for step in &found.prepare {
        check(step, &mut known).map_err(|why| wrong(path, &format!("prepare '{}': {why}", step.name)))?;
    }
    known.insert("n".to_owned());
    let asked = [
        Some(("request", &found.request)),
        found.read_back.as_ref().map(|step| ("read_back", step)),
    ];
    for (key, step) in asked.into_iter().flatten() {
        if step.method.is_empty() {
            return Err(wrong(
                path,
                &format!("{key}: what goes on during a fault is a request"),
            ));
        }
        check(step, &mut known).map_err(|why| wrong(path, &format!("{key} '{}': {why}", step.name)))?;
        if step.retry_until_s.is_some() {
            return Err(wrong(
                path,
                &format!("{key}: retry_until_s: asked once, to measure it"),
            ));
        }
    }
    Ok(found)
}

/// The names of what every story is given.
pub fn given() -> BTreeSet<String> {
    GIVEN.map(str::to_owned).into()
}

fn read(path: &Path) -> Result<Value> {
    let text =
        std::fs::read_to_string(path).map_err(|error| wrong(path, &format!("cannot be read: {error}")))?;
    serde_json::from_str(&text).map_err(|error| wrong(path, &error.to_string()))
}

fn parsed<T: DeserializeOwned>(path: &Path, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| wrong(path, &error.to_string()))
}

fn wrong(path: &Path, why: &str) -> anyhow::Error {
    let file: PathBuf = path.iter().skip_while(|part| *part != "services").collect();
    Failure::usage(
        format!("{}: {why}", file.display()),
        "the form of a story is in the README, under Stories",
    )
    .into()
}

/// Whether a step asks in one way, with all that belongs to it and nothing of another.
fn check_asked(step: &Step) -> Result<(), String> {
    let request = !step.method.is_empty() || !step.path.is_empty();
    let ways = [request, step.socket.is_some(), step.exec.is_some()];
    if ways.iter().filter(|way| **way).count() != 1 {
        return Err("expected one of: method and path, socket and send, exec".to_owned());
    }
    if step.socket.is_some() != step.send.is_some() {
        return Err("socket and send belong together".to_owned());
    }
    if let Some(words) = &step.exec {
        let foreign = !step.headers.is_empty() || step.body.is_some() || !step.expect.headers.is_empty();
        if words.is_empty() || foreign || step.expect.status != 0 {
            return Err(
                "exec: a program and its arguments, `env`, and what its `exit` and output are".to_owned(),
            );
        }
        return Ok(());
    }
    if !step.env.is_empty() || step.expect.exit.is_some() {
        return Err("env and expect.exit: of a command alone".to_owned());
    }
    let path = step.socket.as_ref().unwrap_or(&step.path);
    if !path.starts_with('/') {
        return Err(format!("path: '{path}' does not begin with '/'"));
    }
    match &step.send {
        Some(send) => check_message(step, send),
        None => check_request(step),
    }
}

fn check_message(step: &Step, send: &Value) -> Result<(), String> {
    if !send.get("id").is_some_and(Value::is_string) {
        return Err("send: `id` is a text".to_owned());
    }
    if step.body.is_some() || step.expect.status != 0 || !step.expect.headers.is_empty() {
        return Err("body, expect.status and expect.headers: of a request, not of a message".to_owned());
    }
    // Every answer has the message's id, an error's too: something has to tell them apart.
    if step.expect.json.is_empty() && step.expect.contains.is_empty() {
        return Err("expect: `json` or `contains`, or an error would be as good an answer".to_owned());
    }
    Ok(())
}

fn check_request(step: &Step) -> Result<(), String> {
    if step.method.parse::<reqwest::Method>().is_err() || step.method.to_uppercase() != step.method {
        return Err(format!("method: '{}' is no method", step.method));
    }
    if !(100..600).contains(&step.expect.status) {
        return Err(format!("expect.status: {} is no status", step.expect.status));
    }
    Ok(())
}

/// What serde cannot see: values that no request could be made of, and variables that nothing sets.
pub fn check(step: &Step, known: &mut BTreeSet<String>) -> Result<(), String> {
    check_asked(step)?;
    let pointers = step.expect.json.keys().chain(step.save.values());
    if let Some(pointer) = pointers
        .into_iter()
        .find(|pointer| !pointer.is_empty() && !pointer.starts_with('/'))
    {
        return Err(format!("'{pointer}' is no JSON pointer: it begins with '/'"));
    }
    if step
        .retry_until_s
        .is_some_and(|limit| !(1..=LONGEST_RETRY_S).contains(&limit))
    {
        return Err(format!("retry_until_s: from 1 to {LONGEST_RETRY_S}"));
    }
    let mut text = format!("{} {:?} {:?}", step.shown(), step.headers, step.expect.contains);
    text.push_str(&format!("{:?}", step.env));
    let values = step
        .expect
        .json
        .values()
        .chain(step.expect.headers.values())
        .chain(&step.body)
        .chain(&step.send);
    values.for_each(|value| text.push_str(&value.to_string()));
    if let Some(unknown) = variables(&text).find(|name| !known.contains(*name)) {
        return Err(format!("nothing sets ${{{unknown}}} before it"));
    }
    known.extend(step.save.keys().cloned());
    Ok(())
}

/// The names in every `${name}` of a text.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("services/x/stories");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("a.json"), text).unwrap();
        let error = story(&dir.join("a.json")).unwrap_err();
        assert_eq!(crate::exit::explain(&error).0, crate::exit::Exit::Usage);
        error.to_string()
    }

    #[test]
    fn a_malformed_story_is_refused_with_file_step_and_key() {
        let step = |more: &str| {
            format!(r#"[{{"name":"a","method":"GET","path":"/","expect":{{"status":200}}{more}}}]"#)
        };
        let unknown = refused(&step(r#","retry":true"#));
        assert!(
            unknown.starts_with("services/x/stories/a.json: step 1: unknown field `retry`"),
            "{unknown}"
        );
        let absent = refused(r#"[{"name":"a","method":"GET","path":"/"}]"#);
        assert!(absent.contains("missing field `expect`"), "{absent}");
        assert!(refused(&step(r#","save":{"t":"token"}"#)).contains("'token' is no JSON pointer"));
        assert!(refused(&step(r#","retry_until_s":0"#)).contains("retry_until_s: from 1 to 120"));
        assert!(
            refused(&step(r#","headers":{"authorization":"Bearer ${token}"}"#))
                .contains("nothing sets ${token}")
        );
        assert!(refused("[]").contains("no steps"));
        let foreign = step(r#","env":{"A":"b"}"#);
        assert!(refused(&foreign).contains("env and expect.exit: of a command alone"));
        assert!(refused("[{").contains("EOF"));
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_only_an_absent_folder_has_no_stories() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("services/x/stories");
        assert!(files(&dir).unwrap().is_empty());
        std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
        std::fs::write(&dir, "no folder").unwrap();
        let usage = |error: anyhow::Error| {
            assert_eq!(
                crate::exit::explain(&error).0,
                crate::exit::Exit::Usage,
                "{error}"
            );
            error.to_string()
        };
        let odd = usage(files(&dir).unwrap_err());
        assert!(odd.starts_with("services/x/stories: cannot be read"), "{odd}");
        let path = folder.path().join("services/x/a.json");
        std::fs::write(&path, b"\xff").unwrap();
        assert!(usage(story(&path).unwrap_err()).contains("UTF-8"));
    }

    #[test]
    fn a_message_is_judged_by_its_answer_and_by_nothing_of_a_request() {
        let message = |expect: &str, more: &str| {
            refused(&format!(
                r#"[{{"name":"a","socket":"/ws","send":{{"id":"1"}},"expect":{expect}{more}}}]"#
            ))
        };
        let silent = message("{}", "");
        assert!(silent.contains("`json` or `contains`"), "{silent}");
        let held = r#"{"json":{"/result":{"exists":true}}}"#;
        for (expect, more) in [
            (r#"{"status":200,"contains":["x"]}"#, ""),
            (r#"{"headers":{"a":"b"},"contains":["x"]}"#, ""),
            (held, r#","body":{}"#),
        ] {
            let why = message(expect, more);
            assert!(why.contains("of a request, not of a message"), "{why}");
        }
        assert!(message(held, r#","env":{"A":"b"}"#).contains("of a command alone"));
    }

    #[test]
    fn a_variable_that_an_earlier_step_saved_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let text = r#"[{"name":"a","method":"GET","path":"/${run}","expect":{"status":200},"save":{"t":"/t"}},
            {"name":"b","method":"GET","path":"/${t}","expect":{"status":200}}]"#;
        std::fs::write(&path, text).unwrap();
        assert_eq!(story(&path).unwrap().len(), 2);
    }
}
