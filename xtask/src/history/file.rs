//! The file of the history: a run is a line, appended in one write under a lock; cut back to the last runs; read past
//! whatever is broken in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result as IoResult, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{BEHIND, Entry, VERSION};
use crate::cache::whole;
use crate::context::{Deadline, poll};

/// A run's line has some kB: what is longer is none.
const LONGEST: usize = 1 << 20;

/// So many runs stay when the file is cut back,
const KEPT: usize = 1000;

/// in so many bytes,
const KEPT_BYTES: usize = 3 << 20;

/// which is done where it has become larger than this, so that hardly any run pays for it.
const LARGEST: u64 = 4 << 20;

/// Whoever holds the lock writes a line: it takes milliseconds.
const LOCK_DEADLINE: Duration = Duration::from_secs(5);

/// What the history says, and what of it cannot be read.
#[derive(Debug, Default)]
pub struct History {
    /// Oldest first.
    pub entries: Vec<Entry>,
    pub unreadable: Vec<Unreadable>,
}

/// A line that is no run's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// From 1 on.
    pub line: usize,
    pub why: String,
}

pub(super) fn path(root: &Path) -> PathBuf {
    root.join("reports/history.jsonl")
}

/// Appends a run; where a line was cut off before it, on a line of its own.
///
/// # Errors
/// The file cannot be written, or another run does not let go of it. Nothing of the line stays then.
pub async fn append(root: &Path, entry: &Entry) -> Result<()> {
    let path = path(root);
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    let attempt = || async { locked(&path).transpose() };
    let file = poll(
        Deadline::within(LOCK_DEADLINE),
        Duration::from_millis(10),
        attempt,
    )
    .await;
    let held = || Error::new(ErrorKind::TimedOut, "another process holds its lock");
    let mut file = file.unwrap_or_else(|| Err(held())).with_context(|| {
        format!(
            "this run is not in the history: {} cannot be written",
            path.display()
        )
    })?;
    add(&mut file, &line)
        .with_context(|| format!("this run is not in the history: {} takes no line", path.display()))?;
    if file.metadata()?.len() > LARGEST {
        cut_back(&path).with_context(|| format!("{} cannot be cut back to its last runs", path.display()))?;
    }
    Ok(())
}

/// To read; of a pipe nothing may ever come.
fn open(path: &Path) -> IoResult<File> {
    refuse_others(path)?;
    File::open(path)
}

fn refuse_others(path: &Path) -> IoResult<()> {
    if path.metadata().is_ok_and(|facts| !facts.is_file()) {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    Ok(())
}

/// The file, locked; nothing while another one holds it. The lock goes with the file, also where we are killed.
fn locked(path: &Path) -> IoResult<Option<File>> {
    refuse_others(path)?;
    let file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        // A disk without locks: an append in one write is whole there too, but for a cut meanwhile.
        Err(TryLockError::Error(_)) => return Ok(Some(file)),
    }
    // Whoever held it before may have put another file in its place.
    let (own, there) = (file.metadata()?, path.metadata());
    let same = there.is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
    Ok(same.then_some(file))
}

fn add(file: &mut File, line: &[u8]) -> IoResult<()> {
    let before = file.metadata()?.len();
    let mut last = [b'\n'];
    if before > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let start: &[u8] = if last == [b'\n'] { b"" } else { b"\n" };
    let written = file.write_all(&[start, line].concat());
    if written.is_err() {
        // Half a line, on a full disk.
        let _ = file.set_len(before);
    }
    written
}

/// Puts the last runs in the place of all, at once. The caller holds the lock.
fn cut_back(path: &Path) -> IoResult<()> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    each_line(File::open(path)?, |line| {
        // A run of a later version is somebody's too.
        if let Some(line) = line
            && (parse(line).is_ok() || version(line).is_some())
        {
            lines.push([line.trim_ascii_end(), b"\n"].concat());
        }
    })?;
    let mut bytes = 0;
    let fits = |line: &&Vec<u8>| {
        bytes += line.len();
        bytes <= KEPT_BYTES
    };
    let count = lines.iter().rev().take(KEPT).take_while(fits).count();
    whole(path, "cut", &lines[lines.len() - count..].concat())
}

/// The last runs that measured a boot, oldest first, read from the file's end: what is broken among them is passed
/// over.
pub fn read(root: &Path) -> Vec<Entry> {
    let text = tail(&path(root), BEHIND).unwrap_or_default();
    let runs = text.split(|byte| *byte == b'\n').rev();
    let runs = runs
        .filter(|line| measured(line))
        .filter_map(|line| parse(line).ok());
    let mut runs: Vec<Entry> = runs.take(BEHIND).collect();
    runs.reverse();
    runs
}

/// Most runs reuse every verdict and measure nothing: their lines need not be understood to be passed over.
fn measured(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| line.contains("first_answer_ms"))
}

/// The end of a file with at least so many whole lines that measured, as far as it has them within a few MB.
fn tail(path: &Path, lines: usize) -> IoResult<Vec<u8>> {
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    let mut size: u64 = 128 << 10;
    loop {
        let from = length.saturating_sub(size);
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        (&mut file).take(size).read_to_end(&mut text)?;
        let whole = text.split(|byte| *byte == b'\n').skip(1);
        if from == 0 || size >= LARGEST || whole.filter(|line| measured(line)).count() >= lines {
            return Ok(text);
        }
        size *= 4;
    }
}

/// All runs.
///
/// # Errors
/// The file is there, but cannot be read.
pub fn all(root: &Path) -> Result<History> {
    let path = path(root);
    let file = match open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(History::default()),
        file => file.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let (mut history, mut number) = (History::default(), 0);
    let read = each_line(file, |line| {
        number += 1;
        let found = line.ok_or_else(|| format!("longer than {LONGEST} bytes"));
        match found.map(|line| (line.trim_ascii().is_empty(), parse(line))) {
            Ok((true, _)) => {}
            Ok((false, Ok(entry))) => history.entries.push(entry),
            Ok((false, Err(why))) | Err(why) => history.unreadable.push(Unreadable { line: number, why }),
        }
    });
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(history)
}

/// Hands over every line; nothing in the place of one that is too long.
fn each_line(file: File, mut take: impl FnMut(Option<&[u8]>)) -> IoResult<()> {
    let mut from = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = (&mut from).take(LONGEST as u64).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(());
        }
        if length == LONGEST && line.last() != Some(&b'\n') {
            from.skip_until(b'\n')?;
            take(None);
        } else {
            take(Some(&line));
        }
    }
}

fn parse(line: &[u8]) -> std::result::Result<Entry, String> {
    let text = std::str::from_utf8(line.trim_ascii_end()).map_err(|_| "not UTF-8".to_owned())?;
    match serde_json::from_str::<Entry>(text) {
        Ok(entry) if entry.version == VERSION => Ok(entry),
        Ok(_) | Err(_) if version(line).is_some_and(|version| version != VERSION) => Err(format!(
            "of version {}, not {VERSION}",
            version(line).unwrap_or_default()
        )),
        Ok(_) => Err("no run".to_owned()),
        Err(error) if error.is_eof() => Err("cut off".to_owned()),
        Err(error) if error.is_syntax() => Err("not JSON".to_owned()),
        Err(error) => Err(format!("no run: {error}")),
    }
}

fn version(line: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    serde_json::from_slice::<Versioned>(line)
        .ok()
        .map(|line| line.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Figures;
    use crate::history::tests::runs;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("reports")).unwrap();
        folder
    }

    fn text(entry: &Entry) -> String {
        serde_json::to_string(entry).unwrap()
    }

    fn measuring(count: usize) -> Vec<Entry> {
        let figures = Figures {
            first_answer_ms: Some(256),
            ..Figures::default()
        };
        let measured = |mut run: Entry| {
            run.images.insert("frontend".to_owned(), figures.clone());
            run
        };
        runs(count).into_iter().map(measured).collect()
    }

    #[test]
    fn a_pipe_in_its_place_keeps_nobody_waiting() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("reports")).unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, path(root.path()), kind, mode, 0).unwrap();
        assert!(read(root.path()).is_empty());
        assert!(all(root.path()).is_err());
    }

    #[test]
    fn what_measured_is_found_behind_many_runs_that_did_not() {
        let folder = folder();
        let mut entries = measuring(60);
        entries.extend(runs(600));
        let lines: String = entries.iter().map(|entry| text(entry) + "\n").collect();
        assert!(lines.len() > 128 << 10);
        std::fs::write(path(folder.path()), lines).unwrap();
        assert_eq!(read(folder.path()), entries[10..60]);
    }

    #[test]
    fn a_broken_line_is_named_once_and_loses_nothing_else() {
        let folder = folder();
        let runs = measuring(4);
        let good: Vec<String> = runs.iter().map(text).collect();
        let mut file = format!("{}\n{}\n", good[0], &good[1][..80]).into_bytes();
        file.extend(b"\xff\xfe\n\n[1]\n{\"version\":9,\"new\":true}\n\0\0\0\n");
        file.extend(vec![b'x'; 3 * LONGEST]);
        file.extend(format!("\n{}\r\n{{\"version\":1}}\n{}", good[2], good[3]).bytes());
        std::fs::write(path(folder.path()), file).unwrap();
        let history = all(folder.path()).unwrap();
        assert_eq!(history.entries, [&runs[0], &runs[2], &runs[3]].map(Clone::clone));
        let said: Vec<(usize, &str)> = history
            .unreadable
            .iter()
            .map(|line| (line.line, line.why.split(':').next().unwrap()))
            .collect();
        let expected = [
            (2, "cut off"),
            (3, "not UTF-8"),
            (5, "no run"),
            (6, "of version 9, not 1"),
            (7, "not JSON"),
            (8, "longer than 1048576 bytes"),
            (10, "no run"),
        ];
        assert_eq!(said, expected);
        assert_eq!(read(folder.path()), history.entries);
    }

    #[tokio::test]
    async fn a_line_that_was_cut_off_ends_before_the_next_run() {
        let folder = folder();
        let runs = runs(2);
        std::fs::write(path(folder.path()), &text(&runs[0])[..100]).unwrap();
        append(folder.path(), &runs[1]).await.unwrap();
        let history = all(folder.path()).unwrap();
        assert_eq!(history.entries, runs[1..]);
        assert_eq!(history.unreadable.len(), 1);
    }

    #[test]
    fn many_runs_at_once_lose_no_line_while_the_file_is_cut_back() {
        let folder = folder();
        // Long enough lines for several cuts, few enough runs to keep them all.
        let mut template = runs(1).remove(0);
        template.services = vec!["x".repeat(60_000)];
        let (writers, each) = (8, 15);
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let (root, mut entry) = (folder.path(), template.clone());
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    let runtime = runtime.unwrap();
                    for number in 0..each {
                        entry.run_id = format!("{writer:02}-{number:02}");
                        runtime.block_on(append(root, &entry)).unwrap();
                    }
                });
            }
        });
        let history = all(folder.path()).unwrap();
        assert!(history.unreadable.is_empty(), "{:?}", history.unreadable);
        let length = path(folder.path()).metadata().unwrap().len();
        assert!(length <= LARGEST && history.entries.len() >= KEPT_BYTES / text(&template).len());
        // What is left is the end: of each writer its last runs, in order and without a gap.
        for writer in 0..writers {
            let start = format!("{writer:02}-");
            let own: Vec<usize> = history
                .entries
                .iter()
                .filter_map(|entry| entry.run_id.strip_prefix(&start)?.parse().ok())
                .collect();
            let all: Vec<usize> = (each - own.len()..each).collect();
            assert_eq!(own, all, "of writer {writer}");
        }
    }

    #[tokio::test]
    async fn a_cut_keeps_the_last_runs_and_those_of_a_later_version() {
        let folder = folder();
        let all_runs = runs(KEPT + 5);
        let mut file: String = all_runs.iter().map(|run| text(run) + "\n").collect();
        file.push_str("{\"version\":2}\nbroken\n");
        std::fs::write(path(folder.path()), &file).unwrap();
        cut_back(&path(folder.path())).unwrap();
        let left = std::fs::read_to_string(path(folder.path())).unwrap();
        assert_eq!(left.lines().count(), KEPT);
        assert!(left.ends_with("{\"version\":2}\n"));
        assert_eq!(all(folder.path()).unwrap().entries, all_runs[6..]);
        assert_eq!(
            std::fs::read_dir(folder.path().join("reports")).unwrap().count(),
            1
        );
    }

    #[tokio::test]
    async fn what_is_no_file_or_held_by_another_is_an_error_and_nothing_waits_for_ever() {
        let folder = folder();
        std::fs::create_dir(path(folder.path())).unwrap();
        let error = append(folder.path(), &runs(1)[0]).await.unwrap_err();
        assert!(format!("{error:#}").contains("it is no file"), "{error:#}");
        assert!(read(folder.path()).is_empty());
        std::fs::remove_dir(path(folder.path())).unwrap();
        let (other, run) = (File::create(path(folder.path())).unwrap(), runs(1).remove(0));
        other.lock().unwrap();
        let waited = tokio::time::timeout(LOCK_DEADLINE * 4, append(folder.path(), &run));
        let error = waited.await.unwrap().unwrap_err();
        assert!(format!("{error:#}").contains("holds its lock"), "{error:#}");
    }
}
