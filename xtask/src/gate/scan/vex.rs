//! OpenVEX documents (`docker/policy/openvex.json`, `docker/policy/vex/*.json`): what our own people know of a
//! finding. Judged here and not by the scanner, so that a changed statement needs no new scan.

mod document;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::catalogue::plural;
use crate::exit::Failure;
use crate::tool::trivy::Vulnerability;
use crate::verdict::Check;
use document::{Statement, Word};

const NAME: &str = "VEX statements";

/// The image that a finding is in, as a product of a document.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// The repository's name.
    pub name: &'a str,
    pub digest: &'a str,
}

/// All statements of a checkout, and which of them a finding of this run was about.
#[derive(Debug, Default)]
pub struct Vex {
    statements: Vec<Statement>,
    documents: usize,
    used: Mutex<BTreeSet<usize>>,
}

impl Vex {
    /// Reads the documents of the checkout; without any there are no statements.
    ///
    /// # Errors
    /// Exit 2 for an unreadable file, or one that is no OpenVEX 0.2 document.
    pub fn read(root: &Path) -> Result<Self> {
        let mut vex = Vex::default();
        for file in files(&root.join("docker/policy"))? {
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let text = std::fs::read_to_string(&file).map_err(|error| wrong(&shown, &error.to_string()))?;
            vex.add(&shown, &text)?;
        }
        Ok(vex)
    }

    /// Adds a document's text.
    pub fn add(&mut self, file: &str, text: &str) -> Result<()> {
        let statements = document::parse(text).map_err(|why| wrong(file, &why))?;
        self.statements.extend(statements);
        self.documents += 1;
        Ok(())
    }

    /// Why a finding in an image is let pass, if the latest statement about it says that it does no harm there; of
    /// several of the same time, all must. Remembers every statement that is about it.
    pub fn lets_pass(&self, found: &Vulnerability, image: Image) -> Option<String> {
        let about = self.statements.iter().enumerate();
        let about: Vec<_> = about
            .filter(|(_, statement)| statement.is_about(found, image))
            .collect();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.extend(about.iter().map(|(index, _)| index));
        let latest = |statement: &Statement| (statement.said_at, !statement.lets_pass());
        let (_, latest) = about.into_iter().max_by_key(|(_, statement)| latest(statement))?;
        latest.lets_pass().then(|| latest.words())
    }

    pub fn judge(&self) -> Check {
        let count = self.statements.len();
        let documents = self.documents;
        let detail = match documents {
            0 => "no document".to_owned(),
            _ => format!(
                "{count} statement{} in {documents} document{}",
                plural(count),
                plural(documents)
            ),
        };
        Check::passed(NAME, detail)
    }

    /// Statements that would let a finding pass that no image has, once all images were looked at.
    pub fn unused(&self) -> Option<Check> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let statements = self.statements.iter().enumerate();
        let unused: Vec<String> = statements
            .filter(|(index, statement)| statement.lets_pass() && !used.contains(index))
            .map(|(_, statement)| format!("{} is found in no image that it names", statement.id()))
            .collect();
        let hint = "take the statement out of docker/policy/openvex.json or docker/policy/vex: nothing needs it any more";
        (!unused.is_empty()).then(|| Check::violated(NAME, unused.join("; "), hint))
    }
}

/// The documents there are, in the order of their names.
fn files(policy: &Path) -> Result<Vec<PathBuf>> {
    let folder = policy.join("vex");
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(wrong("docker/policy/vex", &error.to_string())),
    };
    files.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    files.push(policy.join("openvex.json"));
    files.retain(|path| path.exists());
    files.sort();
    Ok(files)
}

fn wrong(file: &str, why: &str) -> anyhow::Error {
    let hint = "it must be an OpenVEX 0.2 document: see the README, or take it away";
    Failure::usage(format!("{file}: {why}"), hint).into()
}

/// The words that let a finding pass; the others only say that somebody knows.
fn harmless(word: Word) -> bool {
    matches!(word, Word::NotAffected | Word::Fixed)
}

#[cfg(test)]
mod tests;
