//! Secrets taken out of text that may leave this machine: values that are known, in every form in which they may be
//! written, and whatever reads like a secret by its shape or its name. Pure. Rather too much is masked than too little.

mod forms;
mod shapes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use anyhow::{Context as _, Result};
use serde_json::Value;

pub use forms::{derived, logins};
use shapes::Shapes;
pub use shapes::{Hidden, hidden};

/// What stands where a secret stood.
pub const MASK: &str = "***";

/// A known value that is shorter is masked where its name says so, never by itself.
const SHORTEST: usize = 4;
/// A known value that is shorter is masked as a whole word only.
const ANYWHERE: usize = 8;

/// Takes secrets out. Made once for many texts.
#[derive(Debug)]
pub struct Redactor {
    /// Forms that are masked wherever they stand.
    forms: AhoCorasick,
    /// The same without line breaks, for text that was wrapped.
    unwrapped: AhoCorasick,
    words: AhoCorasick,
    shapes: Shapes,
}

impl Redactor {
    /// # Errors
    /// Values too large to be searched for: then nothing can be called clean.
    pub fn new(secrets: &BTreeSet<String>) -> Result<Self> {
        let (mut forms, mut words) = (BTreeSet::new(), BTreeSet::new());
        for secret in secrets {
            match secret.chars().count() {
                0..SHORTEST => {}
                SHORTEST..ANYWHERE => words.extend(forms::written(secret)),
                _ => forms.extend(forms::written(secret)),
            }
        }
        forms.extend(
            secrets
                .iter()
                .filter(|secret| secret.len() >= ANYWHERE)
                .flat_map(|s| forms::encoded(s)),
        );
        let unwrapped: BTreeSet<String> = forms.iter().map(|form| unwrap(form).0).collect();
        let search = |needles: &BTreeSet<String>| {
            AhoCorasick::new(needles.iter().filter(|needle| !needle.is_empty()))
                .context("the run's secrets cannot be searched for")
        };
        Ok(Redactor {
            forms: search(&forms)?,
            unwrapped: search(&unwrapped)?,
            words: search(&words)?,
            shapes: Shapes::new()?,
        })
    }

    /// Any bytes as readable text without secrets: broken UTF-8, colours and control characters are replaced first, so
    /// that none of them hides one.
    pub fn bytes(&self, bytes: &[u8]) -> String {
        self.text(&readable(&String::from_utf8_lossy(bytes)))
    }

    pub fn text(&self, text: &str) -> String {
        self.shapes.mask(&self.known(text))
    }

    /// The same for a JSON value, whose names tell more than their place in a text.
    pub fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.entry(text),
            Value::Array(values) => self.array(values),
            Value::Object(fields) => {
                let old = std::mem::take(fields);
                for (name, mut value) in old {
                    match &mut value {
                        Value::Array(values) if shapes::announces_more(&name) => {
                            values.iter_mut().for_each(|value| self.field(&name, value));
                        }
                        value => self.field(&name, value),
                    }
                    fields.insert(self.text(&name), value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A value under a name; an object's own names tell what is secret in it.
    fn field(&self, name: &str, value: &mut Value) {
        let is_secret = match &*value {
            Value::String(text) => shapes::is_secret(name, text),
            Value::Number(number) => {
                let number = number.to_string();
                shapes::is_secret(name, &number) && !shapes::is_count(&number)
            }
            _ => false,
        };
        if is_secret {
            *value = MASK.into();
        } else {
            self.json(value);
        }
    }

    /// Also `["--password", "x"]`.
    fn array(&self, values: &mut [Value]) {
        let mut announced = false;
        for value in values {
            match value {
                Value::String(text) if announced && !text.starts_with('-') => {
                    *text = MASK.to_owned();
                    announced = false;
                }
                Value::String(text) => {
                    announced = shapes::is_flag(text);
                    *text = self.entry(text);
                }
                other => self.json(other),
            }
        }
    }

    /// `NAME=value`, or any text.
    fn entry(&self, text: &str) -> String {
        // A colour in the middle of a secret would hide it.
        let shown = console::strip_ansi_codes(text);
        let text = &*shown;
        match text.split_once('=') {
            Some((name, value)) if shapes::is_name(name) && shapes::is_secret(name, value) => {
                format!("{name}={MASK}")
            }
            _ => self.text(text),
        }
    }

    fn known(&self, text: &str) -> String {
        let mut found: Vec<Range<usize>> = places(&self.forms, text).collect();
        found.extend(places(&self.words, text).filter(|place| is_word(text, place)));
        let (unwrapped, origins) = unwrap(text);
        if unwrapped.len() < text.len() {
            let back = |place: Range<usize>| origins[place.start]..origins[place.end - 1] + 1;
            found.extend(places(&self.unwrapped, &unwrapped).map(back));
        }
        found.sort_by_key(|place| place.start);
        covered(text, &found)
    }
}

fn places<'t>(search: &'t AhoCorasick, text: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
    search.find_overlapping_iter(text).map(|found| found.range())
}

/// Whether nothing beside it continues the word.
fn is_word(text: &str, place: &Range<usize>) -> bool {
    let goes_on = |beside: Option<char>| beside.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !goes_on(text[..place.start].chars().next_back()) && !goes_on(text[place.end..].chars().next())
}

/// The text with each run of overlapping places masked once; sorted by their starts.
fn covered(text: &str, places: &[Range<usize>]) -> String {
    let (mut masked, mut at) = (String::with_capacity(text.len()), 0);
    for place in places {
        if place.start >= at {
            masked.push_str(&text[at..place.start]);
            masked.push_str(MASK);
        }
        at = at.max(place.end);
    }
    masked.push_str(&text[at..]);
    masked
}

/// A text without its line breaks (also those that JSON writes as `\n`) and what indents the next line, and where
/// each byte came from. Both a text and what is looked for in it go through this.
fn unwrap(text: &str) -> (String, Vec<usize>) {
    let bytes = text.as_bytes();
    let (mut kept, mut origins, mut at) = (Vec::with_capacity(bytes.len()), Vec::new(), 0);
    while at < bytes.len() {
        match line_break(&bytes[at..]) {
            0 => {
                kept.push(bytes[at]);
                origins.push(at);
                at += 1;
            }
            length => at += length,
        }
    }
    // Whole characters were taken out: what is left is what was text.
    (String::from_utf8(kept).unwrap_or_default(), origins)
}

/// How long the line break is that some bytes begin with; 0: none.
fn line_break(bytes: &[u8]) -> usize {
    let slashes = bytes.iter().take_while(|byte| **byte == b'\\').count();
    let length = match (slashes, bytes.get(slashes)) {
        (0, Some(b'\n' | b'\r')) => 1,
        (1.., Some(b'n' | b'r')) => slashes + 1,
        _ => return 0,
    };
    let next = &bytes[length..];
    let indent = next.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    length + indent.count().max(time(next))
}

/// How long the time is that an engine writes before each line of a log (`2026-11-21T10:00:00.123456789Z `); 0: none.
fn time(line: &[u8]) -> usize {
    let end = line.iter().take(40).position(|byte| *byte == b' ');
    let is_time = |time: &[u8]| {
        time.len() >= 20 && time.ends_with(b"Z") && time[4] == b'-' && time[10] == b'T' && time[13] == b':'
    };
    end.filter(|end| is_time(&line[..*end])).map_or(0, |end| end + 1)
}

/// Colours taken out; control characters shown as pictures.
fn readable(text: &str) -> String {
    let plain = console::strip_ansi_codes(text).replace("\r\n", "\n");
    let shown = plain.chars().map(|character| match character {
        '\n' | '\t' => character,
        '\r' => '\n',
        '\u{7f}' => '\u{2421}',
        control if (control as u32) < 0x20 => char::from_u32(0x2400 + control as u32).unwrap_or('\u{fffd}'),
        other => other,
    });
    shown.collect()
}
