//! `docker/policy/cis.toml`: items of the benchmark that are not followed here, each with owner and reason.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::ITEMS;
use crate::exit::Failure;

/// All items that are accepted as broken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    #[serde(default)]
    accepted: Vec<Accepted>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    /// As the benchmark numbers it, e.g. `5.15`.
    item: String,
    /// Who answers for it.
    owner: String,
    reason: String,
}

impl Policy {
    /// Reads the checkout's policy; without a file nothing is accepted.
    ///
    /// # Errors
    /// Exit 2 for an unreadable file, an unknown key or item, an item that is named twice, an empty word.
    pub fn read(root: &Path) -> Result<Self> {
        match std::fs::read_to_string(root.join("docker/policy/cis.toml")) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(&error.to_string())),
        }
    }

    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self> {
        let policy: Policy = toml::from_str(text).map_err(|error| wrong(error.to_string().trim()))?;
        for (index, accepted) in policy.accepted.iter().enumerate() {
            let item = accepted.item.as_str();
            if !ITEMS.iter().any(|(number, _)| *number == item) {
                return Err(wrong(&format!(
                    "item '{item}': sections 4 and 5 have none of that number"
                )));
            }
            if policy.items().take(index).any(|earlier| earlier == item) {
                return Err(wrong(&format!("item '{item}' is named twice")));
            }
            if accepted.owner.trim().is_empty() || accepted.reason.trim().is_empty() {
                return Err(wrong(&format!(
                    "item '{item}': owner and reason must say something"
                )));
            }
        }
        Ok(policy)
    }

    /// Why an item is not followed, and who answers for it; `None` where it has to be.
    pub fn reason(&self, item: &str) -> Option<String> {
        let accepted = self.accepted.iter().find(|accepted| accepted.item == item)?;
        Some(format!("accepted by {}: {}", accepted.owner, accepted.reason))
    }

    pub fn items(&self) -> impl Iterator<Item = &str> {
        self.accepted.iter().map(|accepted| accepted.item.as_str())
    }
}

fn wrong(why: &str) -> anyhow::Error {
    let hint = "each [[accepted]] has item (\"5.15\"), owner and reason";
    Failure::usage(format!("docker/policy/cis.toml: {why}"), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[accepted]]\nitem = \"5.15\"\nowner = \"ann\"\nreason = \"it must come back\"\n";

    #[test]
    fn a_faulty_file_is_named_with_what_is_wrong() {
        for (text, word) in [
            (GOOD.replace("5.15", "5.99"), "5.99"),
            (GOOD.replace("\"ann\"", "\" \""), "must say something"),
            (GOOD.replace("owner = \"ann\"\n", ""), "owner"),
            (format!("{GOOD}until = 1\n"), "until"),
            (format!("{GOOD}{GOOD}"), "twice"),
        ] {
            let error = Policy::parse(&text).unwrap_err().to_string();
            let named = error.contains("docker/policy/cis.toml: ") && error.contains(word);
            assert!(named, "{word}: {error}");
        }
        assert_eq!(Policy::parse(GOOD).unwrap().items().collect::<Vec<_>>(), ["5.15"]);
    }
}
