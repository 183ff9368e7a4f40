//! Writes a bundle: every file without secrets, none too large, and all of them together not either.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::redact::Redactor;

/// Of one file; of a longer one the beginning and the end are kept.
const FILE: usize = 1 << 20;
/// Of the whole bundle, but for its index.
const WHOLE: usize = 20 << 20;
/// Of a file that is copied: nothing that was cut before it was masked is left in what is kept.
const READ: u64 = 8 << 20;
/// Where a text is cut, at the line that ends this near.
const LINE: usize = 4 << 10;
const LEFT_OUT: &str = "\n(... the middle is left out: the file was too large ...)\n";

/// The folder and what is in it so far.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    redactor: Arc<Redactor>,
    left: usize,
    /// Path in the bundle -> what it is.
    pub contents: BTreeMap<String, String>,
    /// What could not be had, and why.
    pub missed: Vec<String>,
    /// What keeps anything more from being written.
    pub broken: Option<String>,
}

impl Writer {
    /// # Errors
    /// The folder cannot be made, or is there already.
    pub fn create(folder: PathBuf, redactor: Arc<Redactor>) -> Result<Self> {
        std::fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Writer {
            folder,
            redactor,
            left: WHOLE,
            contents: BTreeMap::new(),
            missed: Vec::new(),
            broken: None,
        })
    }

    pub fn text(&mut self, name: &str, what: &str, text: &str) {
        self.put(name, what, &self.redactor.bytes(text.as_bytes()));
    }

    pub fn json(&mut self, name: &str, what: &str, value: &Value) {
        let mut value = value.clone();
        self.redactor.json(&mut value);
        self.put(name, what, &format!("{value:#}\n"));
    }

    /// A line each.
    pub fn lines(&mut self, name: &str, what: &str, values: &[Value]) {
        let lines = values.iter().map(|value| {
            let mut value = value.clone();
            self.redactor.json(&mut value);
            format!("{value}\n")
        });
        let lines: String = lines.collect();
        self.put(name, what, &lines);
    }

    /// A file of the checkout or of the run; one that is a link, or no file, is left where it is.
    pub fn copy(&mut self, name: &str, what: &str, path: &Path) {
        let read = regular(path).and_then(|()| beginning_and_end(path));
        match read {
            Ok(bytes) => {
                let text = self.redactor.bytes(&bytes);
                let whole = bytes.len() as u64 <= READ;
                match serde_json::from_slice::<Value>(&bytes) {
                    Ok(value) if whole && name.ends_with(".json") => self.json(name, what, &value),
                    _ => self.put(name, what, &text),
                }
            }
            Err(error) => self.missed.push(format!("{name}: {error}")),
        }
    }

    /// What the index says is written even where nothing else fits any more.
    pub fn index(&mut self, text: &str) {
        let text = cut(&self.redactor.bytes(text.as_bytes()), FILE);
        self.left = self.left.max(text.len());
        self.put("INDEX.md", "this page", &text);
    }

    /// The last lines of a file that was written.
    pub fn last_lines(&self, name: &str, count: usize) -> String {
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        crate::process::last_lines(&text, count)
    }

    fn put(&mut self, name: &str, what: &str, masked: &str) {
        if self.broken.is_some() {
            return;
        }
        let text = cut(masked, FILE);
        if text.len() > self.left {
            self.missed.push(format!("{name}: the bundle is full"));
            return;
        }
        let path = self.folder.join(name);
        let parent = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        match parent.and_then(|()| std::fs::write(&path, &text)) {
            Ok(()) => {
                self.left -= text.len();
                self.contents.insert(name.to_owned(), what.to_owned());
            }
            Err(error) => self.broken = Some(format!("cannot write {}: {error}", path.display())),
        }
    }
}

fn regular(path: &Path) -> std::io::Result<()> {
    if path.symlink_metadata()?.is_file() {
        return Ok(());
    }
    Err(std::io::Error::other("not a plain file: links are not followed"))
}

fn beginning_and_end(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    if length <= READ {
        file.take(READ).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    file.by_ref().take(READ / 2).read_to_end(&mut bytes)?;
    bytes.extend_from_slice(LEFT_OUT.as_bytes());
    file.seek(SeekFrom::Start(length - READ / 2))?;
    file.take(READ / 2).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The beginning and the end of a text that is longer than `limit` bytes, whole lines where they are not too long.
pub fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let half = limit.saturating_sub(LEFT_OUT.len()) / 2;
    let (mut first, mut last) = (
        text.floor_char_boundary(half),
        text.ceil_char_boundary(text.len() - half),
    );
    if let Some(end) = text[..first].rfind('\n').filter(|end| first - end < LINE) {
        first = end;
    }
    if let Some(start) = text[last..].find('\n').filter(|start| *start < LINE) {
        last += start + 1;
    }
    format!("{}{LEFT_OUT}{}", &text[..first], &text[last..])
}

/// A name of a folder or file that no system reads as anything else.
pub fn safe(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(plain).take(80).collect();
    match name.trim_start_matches('.') {
        "" => "_".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn writer(folder: &Path) -> Writer {
        let secrets = BTreeSet::from(["known-secret".to_owned()]);
        Writer::create(folder.join("bundle"), Arc::new(Redactor::new(&secrets).unwrap())).unwrap()
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end_in_whole_lines() {
        let text: String = (0..1000).map(|n| format!("line {n} ü\n")).collect();
        let cut = cut(&text, 1000);
        assert!(
            cut.len() <= 1000 && cut.starts_with("line 0 ü\n") && cut.ends_with("line 999 ü\n"),
            "{cut}"
        );
        let whole = |line: &str| {
            line.is_empty() || line.starts_with("line ") && line.ends_with('ü') || line.starts_with('(')
        };
        assert!(cut.lines().all(whole), "{cut}");
        let one = "ü".repeat(1000);
        assert!(super::cut(&one, 500).len() <= 500);
        assert_eq!(super::cut("short", 500), "short");
    }

    #[test]
    fn names_lead_nowhere_else() {
        assert_eq!(safe("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(safe("a b\u{1b}[31m"), "a_b__31m");
        assert_eq!(safe(".."), "_");
        assert_eq!(safe(&"x".repeat(300)).len(), 80);
    }

    #[test]
    fn links_are_not_followed_and_secrets_are_masked() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.log"), b"a known-secret \xff\n").unwrap();
        std::os::unix::fs::symlink(folder.path().join("a.log"), folder.path().join("link.log")).unwrap();
        std::fs::write(folder.path().join("b.json"), r#"{"password": "x", "n": 1}"#).unwrap();
        let mut writer = writer(folder.path());
        writer.copy("a.log", "a log", &folder.path().join("a.log"));
        writer.copy("b.json", "b", &folder.path().join("b.json"));
        writer.copy("link.log", "a log", &folder.path().join("link.log"));
        let read = |name: &str| std::fs::read_to_string(folder.path().join("bundle").join(name)).unwrap();
        assert_eq!(read("a.log"), "a *** \u{fffd}\n");
        assert_eq!(read("b.json"), "{\n  \"password\": \"***\",\n  \"n\": 1\n}\n");
        assert_eq!(
            writer.missed,
            ["link.log: not a plain file: links are not followed"]
        );
    }

    #[test]
    fn no_file_and_no_bundle_grows_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let huge = folder.path().join("huge.log");
        let line = "0123456789 known-secret 0123456789\n";
        std::fs::write(&huge, line.repeat(400_000)).unwrap();
        let mut writer = writer(folder.path());
        writer.copy("huge.log", "a log", &huge);
        let copied = std::fs::read_to_string(folder.path().join("bundle/huge.log")).unwrap();
        assert!(copied.len() <= FILE && copied.contains("left out") && !copied.contains("secret"));
        for number in 0..25 {
            writer.put(&format!("{number}.log"), "a log", &"x".repeat(FILE));
        }
        writer.index("all of it");
        assert!(
            writer
                .missed
                .iter()
                .any(|missed| missed == "24.log: the bundle is full"),
            "{:?}",
            writer.missed
        );
        assert!(writer.contents.contains_key("INDEX.md") && writer.contents.len() < 24);
    }

    #[test]
    fn a_folder_that_cannot_be_written_breaks_the_bundle_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        std::fs::write(folder.path().join("bundle/a"), "in the way").unwrap();
        writer.text("a/b", "x", "y");
        writer.text("c", "x", "y");
        assert!(
            writer.broken.as_ref().unwrap().contains("cannot write"),
            "{:?}",
            writer.broken
        );
        assert!(writer.contents.is_empty());
        assert!(Writer::create(folder.path().join("bundle"), writer.redactor.clone()).is_err());
    }
}
