//! A set of codes with titles and examples, read from tab separated text and checked as a whole.
//! The one that ships is a small demonstration set of our own, not the official table.

use std::collections::BTreeMap;

use super::code::{Code, Level};

/// The demonstration set built into the binary.
const DEMO: &str = include_str!("../../data/demo-codes.tsv");

/// What is known of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its title.
    pub title: String,
    /// Phrases that buyers use for it; empty above commodities.
    pub examples: Vec<String>,
}

/// A checked set: every code has its parent, and no code appears twice.
#[derive(Debug, Clone)]
pub struct CodeSet {
    name: String,
    entries: BTreeMap<Code, Entry>,
}

impl CodeSet {
    /// The demonstration set.
    ///
    /// # Errors
    /// Never for the text that ships (a test holds that); the faults otherwise.
    pub fn demo() -> Result<Self, Vec<String>> {
        Self::parse("horme-demo-1", DEMO)
    }

    /// Reads lines of `code TAB title [TAB phrase, phrase ...]`; `#` opens a comment.
    ///
    /// # Errors
    /// Every fault found, one line each: malformed lines, duplicates, codes without a parent, an empty set.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut entries = BTreeMap::new();
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        for (number, line) in lines {
            let number = number + 1;
            match parse_line(line) {
                None => faults.push(format!("line {number}: expected `code<tab>title[<tab>phrases]`")),
                Some((code, entry)) => {
                    if entries.insert(code, entry).is_some() {
                        faults.push(format!("line {number}: code {code} appears twice"));
                    }
                }
            }
        }
        faults.extend(orphans(&entries));
        if !entries.keys().any(|code| code.level() == Level::Commodity) {
            faults.push("the set has no commodity".to_owned());
        }
        if faults.is_empty() {
            Ok(Self {
                name: name.to_owned(),
                entries,
            })
        } else {
            Err(faults)
        }
    }

    /// The set's name with its version; part of every cache key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known of `code`, if it is in the set.
    #[must_use]
    pub fn get(&self, code: Code) -> Option<&Entry> {
        self.entries.get(&code)
    }

    /// Title of `code`; empty for a code outside the set.
    #[must_use]
    pub fn title(&self, code: Code) -> &str {
        self.get(code).map_or("", |entry| entry.title.as_str())
    }

    /// Every code with its entry, in the order of the numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Code, &Entry)> {
        self.entries.iter().map(|(code, entry)| (*code, entry))
    }

    /// The codes whose parent is `code`.
    pub fn children(&self, code: Code) -> impl Iterator<Item = Code> {
        self.entries
            .keys()
            .copied()
            .filter(move |child| child.parent() == Some(code))
    }
}

fn parse_line(line: &str) -> Option<(Code, Entry)> {
    let mut columns = line.split('\t').map(str::trim);
    let code = Code::parse(columns.next()?)?;
    let title = columns.next().filter(|title| !title.is_empty())?.to_owned();
    let phrases = columns.next().unwrap_or_default().split(',').map(str::trim);
    let examples = phrases
        .filter(|phrase| !phrase.is_empty())
        .map(ToOwned::to_owned)
        .collect();
    columns
        .next()
        .is_none()
        .then_some((code, Entry { title, examples }))
}

fn orphans(entries: &BTreeMap<Code, Entry>) -> Vec<String> {
    let lost = |code: &&Code| code.parent().is_some_and(|parent| !entries.contains_key(&parent));
    entries
        .keys()
        .filter(lost)
        .map(|code| format!("code {code} has no parent in the set"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_that_ships_is_sound() {
        let set = CodeSet::demo().unwrap();
        let commodities: Vec<_> = set
            .iter()
            .filter(|(code, _)| code.level() == Level::Commodity)
            .collect();
        assert!(commodities.len() >= 40);
        for (code, entry) in commodities {
            assert!(!entry.examples.is_empty(), "{code} has no example");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text = "10000000\tTools\n10000000\tTools again\nrubbish\n20101001\tLost\n";
        let faults = CodeSet::parse("t", text).unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].contains("line 2") && faults[0].contains("twice"));
        assert!(faults[1].contains("line 3"));
        assert!(faults[2].contains("20101001"));
    }

    #[test]
    fn children_are_one_level_below() {
        let set = CodeSet::demo().unwrap();
        let hammers = Code::parse("10101000").unwrap();
        assert!(set.children(hammers).all(|code| code.parent() == Some(hammers)));
        assert_eq!(set.children(hammers).count(), 3);
    }
}
