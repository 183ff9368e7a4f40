//! Every secret that a run meets: of its own environment, of what it generates, of containers, images and stacks.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use serde_json::Value;

use super::Witness;
use crate::redact::{self, Redactor};

/// A larger file is no secret that a service reads.
const SECRET: u64 = 64 << 10;

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
            redact::Hidden::Password(password) => self.learn(password),
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
    fn a_containers_own_settings_teach_what_is_secret() {
        let witness = Witness::new(true);
        witness.learn_container(&serde_json::json!({ "Config": { "Env": ["API_TOKEN=tok-123456", "MODE=good", "X=a://u:pw-98765@h"] } }));
        assert_eq!(witness.masked("tok-123456 good pw-98765"), "*** good ***");
    }
}
