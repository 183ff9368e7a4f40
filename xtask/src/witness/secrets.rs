//! Every secret that a run meets: of its own environment, of what it generates, of containers, images and stacks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::Value;

use super::Witness;
use crate::redact::{self, Redactor};
use crate::verdict::{Outcome, Record};

/// A larger file is no secret that a service reads.
const SECRET: u64 = 64 << 10;

/// A larger file is not searched.
const LARGEST: u64 = 64 << 20;

/// Data, a line each; what is none is text.
fn lines(redactor: &Redactor, bytes: &[u8]) -> String {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let Ok(before) = serde_json::from_slice::<Value>(line) else {
            return redactor.bytes(line);
        };
        let mut value = before.clone();
        redactor.json(&mut value);
        match value == before {
            true => String::from_utf8_lossy(line).into_owned(),
            false => format!("{value}\n"),
        }
    });
    lines.collect()
}

/// Whether a file is of the kinds that steps and tools leave, and no form of the report.
fn is_written_along(path: &Path) -> bool {
    const ENDS: [&str; 7] = ["log", "txt", "json", "jsonl", "yaml", "yml", "toml"];
    let is_form = path
        .file_stem()
        .is_some_and(|stem| stem.to_string_lossy().starts_with("report"));
    let end = path.extension().and_then(|end| end.to_str());
    !is_form && end.is_some_and(|end| ENDS.contains(&end))
}

impl Witness {
    /// Text that may hold secrets, as it may be written.
    pub fn masked(&self, text: &str) -> String {
        match self.redactor() {
            Ok(redactor) => redactor.bytes(text.as_bytes()),
            Err(error) => format!("(left out: {error:#})\n"),
        }
    }

    /// The same of JSON, whose names tell more.
    pub fn masked_json(&self, text: &str) -> String {
        match (self.redactor(), serde_json::from_str::<Value>(text)) {
            (Ok(redactor), Ok(mut value)) => {
                redactor.json(&mut value);
                format!("{value:#}\n")
            }
            _ => self.masked(text),
        }
    }

    /// What a verdict that is not well quotes: answers of services and lines of logs may hold secrets. What was seen
    /// by an earlier run was cleaned there: a run that looks at nothing takes no time.
    pub fn clean(&self, record: &mut Record) {
        let bad = |outcome| matches!(outcome, Outcome::Violated | Outcome::Undecided);
        if record.seen_by.is_some() || !bad(record.outcome) {
            return;
        }
        record.reason = self.masked(&record.reason);
        for check in record.checks.iter_mut().filter(|check| bad(check.outcome)) {
            check.detail = self.masked(&check.detail);
            check.hint = check.hint.take().map(|hint| self.masked(&hint));
        }
    }

    /// Takes the secrets out of what a run wrote while it did not know all of them: logs, definitions, tools' reports.
    /// Returns the files where that failed. What is made of the verdicts is clean already, and so is the bundle.
    pub fn clean_folder(&self, folder: &Path) -> Vec<PathBuf> {
        let mut failed = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => failed.extend(self.clean_folder(&path)),
                Ok(kind) if !kind.is_file() || !is_written_along(&path) => {}
                Ok(_) if self.clean_file(&path).is_err() => failed.push(path),
                _ => {}
            }
        }
        failed
    }

    fn clean_file(&self, path: &Path) -> Result<()> {
        if path.metadata()?.len() > LARGEST {
            bail!("too large");
        }
        let (redactor, bytes) = (self.redactor()?, std::fs::read(path)?);
        let end = path.extension().and_then(|end| end.to_str());
        let masked = match serde_json::from_slice::<Value>(&bytes) {
            Ok(before) if end == Some("json") => {
                let mut value = before.clone();
                redactor.json(&mut value);
                (value != before).then(|| format!("{value:#}\n"))
            }
            _ => {
                let masked = match end {
                    Some("jsonl") => lines(&redactor, &bytes),
                    _ => redactor.bytes(&bytes),
                };
                (masked.as_bytes() != bytes).then_some(masked)
            }
        };
        // In place: whoever still appends goes on after it.
        masked.map_or(Ok(()), |masked| Ok(std::fs::write(path, masked)?))
    }

    /// # Errors
    /// The secrets cannot be searched for.
    pub fn redactor(&self) -> Result<Arc<Redactor>> {
        let mut state = self.state();
        if let Some(redactor) = &state.redactor {
            return Ok(redactor.clone());
        }
        let redactor = Arc::new(Redactor::new(&state.secrets)?);
        state.redactor = Some(redactor.clone());
        Ok(redactor)
    }

    /// A value that must never be written.
    pub fn learn(&self, value: &str) {
        let mut state = self.state();
        let before = state.secrets.len();
        state.secrets.extend(redact::derived(value));
        if state.secrets.len() > before {
            state.redactor = None;
        }
    }

    /// Every file of a folder is a secret.
    pub fn learn_folder(&self, folder: &Path) {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.for_each(|entry| self.learn_file(&entry.path()));
    }

    fn learn_file(&self, path: &Path) {
        if path
            .metadata()
            .is_ok_and(|facts| facts.is_file() && facts.len() <= SECRET)
            && let Ok(bytes) = std::fs::read(path)
        {
            self.learn(&String::from_utf8_lossy(&bytes));
        }
    }

    pub(super) fn learn_variable(&self, name: &str, value: &str) {
        match redact::hidden(name, value) {
            redact::Hidden::All => self.learn(value),
            redact::Hidden::Passwords(passwords) => {
                passwords.iter().for_each(|password| self.learn(password))
            }
            redact::Hidden::Nothing => {}
        }
    }

    /// `NAME=value` of a container or an image.
    pub fn learn_env<'e>(&self, env: impl IntoIterator<Item = &'e str>) {
        for (name, value) in env.into_iter().filter_map(|entry| entry.split_once('=')) {
            self.learn_variable(name, value);
        }
    }

    /// A resolved stack: its services' variables, and the files of its secrets.
    pub fn learn_stack(&self, config: &str) {
        let config: Value = serde_json::from_str(config).unwrap_or_default();
        let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
        for (_, service) in fields(&config["services"]) {
            for (name, value) in fields(&service["environment"]) {
                self.learn_variable(&name, value.as_str().unwrap_or_default());
            }
        }
        for (_, secret) in fields(&config["secrets"]) {
            self.learn_file(Path::new(secret["file"].as_str().unwrap_or_default()));
        }
    }

    /// The secrets that a container was given: by variables, and by files where the engine runs on this machine.
    pub fn learn_container(&self, inspect: &Value) {
        let env = inspect["Config"]["Env"].as_array().into_iter().flatten();
        self.learn_env(env.filter_map(Value::as_str));
        for mount in inspect["Mounts"].as_array().into_iter().flatten() {
            let [source, target] =
                ["Source", "Destination"].map(|key| mount[key].as_str().unwrap_or_default());
            if target.starts_with("/run/secrets") {
                self.learn_file(Path::new(source));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_masked_from_then_on() {
        let witness = Witness::new(true);
        let text = "x 7d5a0c2e9b41 y";
        assert_eq!(witness.masked(text), text);
        witness.learn("postgres://u:7d5a0c2e9b41@h/d\n");
        assert_eq!(witness.masked(text), "x *** y");
    }

    #[test]
    fn a_folder_of_secrets_is_learned_by_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "one-long-value\n").unwrap();
        std::fs::write(folder.path().join("large"), vec![b'x'; 70_000]).unwrap();
        let witness = Witness::new(true);
        witness.learn_folder(folder.path());
        witness.learn_folder(Path::new("/no/such/folder"));
        assert_eq!(witness.masked("one-long-value"), "***");
    }

    #[test]
    fn what_a_verdict_quotes_and_a_run_wrote_is_cleaned_once_all_is_known() {
        let witness = Witness::new(true);
        let quoted = r#"expected status 200, got 201: {"access_token":"abc.def","n":1}"#;
        let mut record = Record::undecided("a", crate::verdict::Gate::Network, quoted, "see 7d5a0c2e9b41");
        witness.learn("7d5a0c2e9b41");
        witness.clean(&mut record);
        let all = format!("{record:?}");
        assert!(!all.contains("abc.def") && !all.contains("7d5a0c2e9b41"), "{all}");
        assert!(
            record.checks[0]
                .detail
                .ends_with(r#"{"access_token":"***","n":1}"#),
            "{all}"
        );

        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("logs")).unwrap();
        std::fs::write(
            path("logs/build.log"),
            ">>> ENV DB_PASSWORD=hunter2\n7d5a0c2e9b41\n",
        )
        .unwrap();
        std::fs::write(path("bake.json"), r#"{"a":"7d5a0c2e9b41"}"#).unwrap();
        let events = "{\"token_count\":5,\"b\":\"7d5a0c2e9b41\"}\n{\"z\":1,\"a\":2}\n";
        std::fs::write(path("events.jsonl"), events).unwrap();
        std::fs::write(path("well.json"), r#"{"a":1}"#).unwrap();
        assert_eq!(witness.clean_folder(folder.path()), Vec::<PathBuf>::new());
        let text = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        assert_eq!(text("logs/build.log"), ">>> ENV DB_PASSWORD=***\n***\n");
        assert_eq!(text("bake.json"), "{\n  \"a\": \"***\"\n}\n");
        let events = events.replace("7d5a0c2e9b41", "***");
        let read = text("events.jsonl");
        let first: [Value; 2] =
            [&events, &read].map(|text| serde_json::from_str(text.lines().next().unwrap()).unwrap());
        assert_eq!(first[0], first[1]);
        assert!(read.ends_with("\n{\"z\":1,\"a\":2}\n"), "{read}");
        assert_eq!(text("well.json"), r#"{"a":1}"#, "as it was");
    }

    #[test]
    fn a_containers_own_settings_teach_what_is_secret() {
        let witness = Witness::new(true);
        witness.learn_container(&serde_json::json!({ "Config": { "Env": ["API_TOKEN=tok-123456", "MODE=good", "X=a://u:pw-98765@h"] } }));
        assert_eq!(witness.masked("tok-123456 good pw-98765"), "*** good ***");
    }
}
