//! What earlier runs found, kept for this user by what it is true of. An entry is one file, written whole or
//! not at all; what cannot be read as it was written is discarded with a word, never trusted.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hash;

/// Raised whenever an entry changes its shape.
const VERSION: u32 = 1;

/// An entry that nobody wrote anew for this long is deleted.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 24 * 3600);

/// No entry takes this long to write.
const UNFINISHED: Duration = Duration::from_secs(3600);

/// A folder of entries. Several runs may use one at the same time.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    run_id: String,
    words: Mutex<Vec<String>>,
}

/// An entry as it was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept<T> {
    pub run_id: String,
    pub at: jiff::Timestamp,
    pub value: T,
}

impl<T> Kept<T> {
    /// Seconds since it was kept.
    pub fn age_s(&self) -> u64 {
        let age = jiff::Timestamp::now().duration_since(self.at);
        u64::try_from(age.as_secs()).unwrap_or_default()
    }
}

/// The file around an entry: what it is true of in full, and a hash that tells a damaged one.
#[derive(Serialize, Deserialize)]
struct Envelope {
    version: u32,
    subject: Value,
    kept: Value,
    sha256: String,
}

impl Envelope {
    fn checksum(&self) -> String {
        hash::of_parts([self.subject.to_string().as_str(), self.kept.to_string().as_str()])
    }
}

impl Cache {
    /// The cache in `dir`, which need not exist yet. Entries written are said to be of this run.
    pub fn new(dir: PathBuf, run_id: &str) -> Self {
        Cache {
            dir,
            run_id: run_id.to_owned(),
            words: Mutex::default(),
        }
    }

    /// `$XDG_CACHE_HOME/horme/results`, or the same under `~/.cache`; without a home, below the checkout's own
    /// `target`, where nobody else writes.
    pub fn default_dir(root: &Path) -> PathBuf {
        let folder = user_folder().unwrap_or_else(|| root.join("target/horme"));
        folder.join("results")
    }

    /// What is kept of `kind` (a folder's name) about exactly this subject.
    pub fn get<T: DeserializeOwned>(&self, kind: &str, subject: &impl Serialize) -> Option<Kept<T>> {
        let subject = serde_json::to_value(subject).ok()?;
        let path = self.path(kind, &subject);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => return self.discard(&path, &error.to_string()),
        };
        let Ok(envelope) = serde_json::from_str::<Envelope>(&text) else {
            return self.discard(&path, "it is cut off or damaged");
        };
        if envelope.version != VERSION {
            let why = format!("it is of version {}, not {VERSION}", envelope.version);
            return self.discard(&path, &why);
        }
        if envelope.sha256 != envelope.checksum() {
            return self.discard(&path, "it is damaged");
        }
        if envelope.subject != subject {
            return self.discard(&path, "it is about something else");
        }
        match serde_json::from_value(envelope.kept) {
            Ok(kept) => Some(kept),
            Err(error) => self.discard(&path, &format!("it has another shape: {error}")),
        }
    }

    /// Keeps `value` about `subject`. Where that cannot be, the run goes on and the reason is among [`words`].
    ///
    /// [`words`]: Cache::words
    pub fn put(&self, kind: &str, subject: &impl Serialize, value: &impl Serialize) {
        if let Err(error) = self.write(kind, subject, value) {
            self.say(format!(
                "nothing can be kept in the cache {}: {error} (later runs look again; make it writable, or name another: --cache-dir)",
                self.dir.display()
            ));
        }
    }

    fn write(&self, kind: &str, subject: &impl Serialize, value: &impl Serialize) -> std::io::Result<()> {
        let subject = serde_json::to_value(subject)?;
        let path = self.path(kind, &subject);
        let kept = Kept {
            run_id: self.run_id.clone(),
            at: jiff::Timestamp::now(),
            value,
        };
        let mut envelope = Envelope {
            version: VERSION,
            subject,
            kept: serde_json::to_value(kept)?,
            sha256: String::new(),
        };
        envelope.sha256 = envelope.checksum();
        whole(&path, &self.run_id, &serde_json::to_vec(&envelope)?)
    }

    /// What the reader of a run should know about its cache, each thing once.
    pub fn words(&self) -> Vec<String> {
        std::mem::take(&mut *self.words.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Deletes entries that are long out of use.
    pub fn forget_old(&self) {
        let Ok(kinds) = std::fs::read_dir(&self.dir) else {
            return;
        };
        let entries = kinds
            .flatten()
            .filter_map(|kind| std::fs::read_dir(kind.path()).ok())
            .flatten();
        for entry in entries.flatten() {
            // What a run that was killed had not finished writing has no reader.
            let unfinished = entry.path().extension().is_some_and(|end| end == "tmp");
            let limit = if unfinished { UNFINISHED } else { FORGET_AFTER };
            let written = entry.metadata().and_then(|facts| facts.modified());
            let age = written
                .ok()
                .and_then(|at| SystemTime::now().duration_since(at).ok());
            if age.is_some_and(|age| age > limit) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn path(&self, kind: &str, subject: &Value) -> PathBuf {
        let name = hash::of(subject.to_string());
        self.dir.join(kind).join(&name[..32]).with_extension("json")
    }

    fn discard<T>(&self, path: &Path, why: &str) -> Option<T> {
        let _ = std::fs::remove_file(path);
        self.say(format!(
            "an entry of the cache was discarded, {why}: {}",
            path.display()
        ));
        None
    }

    fn say(&self, word: String) {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if !words.contains(&word) {
            words.push(word);
        }
    }
}

/// Our folder among the user's caches: `$XDG_CACHE_HOME/horme`, or the same under `~/.cache`.
pub fn user_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Some(cache?.join("horme"))
}

/// Writes a file so that nobody ever reads half of it: under another name, which `mark` makes the writer's own, then
/// moved.
pub fn whole(path: &Path, mark: &str, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension(format!("{mark}.tmp"));
    let written = std::fs::File::create(&fresh).and_then(|mut file| file.write_all(content));
    let written = written.and_then(|()| std::fs::rename(&fresh, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cache(dir: &Path) -> Cache {
        Cache::new(dir.to_path_buf(), "20261121-000000-abcd")
    }

    fn only_entry(dir: &Path) -> PathBuf {
        let mut entries = std::fs::read_dir(dir.join("boot")).unwrap();
        entries.next().unwrap().unwrap().path()
    }

    #[test]
    fn what_is_kept_is_found_for_its_own_subject_alone() {
        let dir = tempfile::tempdir().unwrap();
        cache(dir.path()).put("boot", &json!({"digest": "a"}), &17);
        let found: Kept<u8> = cache(dir.path()).get("boot", &json!({"digest": "a"})).unwrap();
        assert_eq!((found.value, found.run_id.as_str()), (17, "20261121-000000-abcd"));
        assert!(
            cache(dir.path())
                .get::<u8>("boot", &json!({"digest": "b"}))
                .is_none()
        );
        assert!(
            cache(dir.path())
                .get::<u8>("scan", &json!({"digest": "a"}))
                .is_none()
        );
    }

    #[test]
    fn a_damaged_entry_is_discarded_with_a_word() {
        type Damage = fn(&str) -> String;
        let damages: [(Damage, Option<&str>); 4] = [
            (|text| text.to_owned(), None),
            (|text| text[..text.len() / 2].to_owned(), Some("cut off")),
            (|text| text.replace("17", "18"), Some("damaged")),
            (
                |text| text.replace("\"version\":1", "\"version\":2"),
                Some("version 2"),
            ),
        ];
        for (damage, word) in damages {
            let dir = tempfile::tempdir().unwrap();
            cache(dir.path()).put("boot", &"a", &17);
            let path = only_entry(dir.path());
            std::fs::write(&path, damage(&std::fs::read_to_string(&path).unwrap())).unwrap();
            let cache = cache(dir.path());
            let found = cache.get::<u8>("boot", &"a");
            assert_eq!(found.is_some(), word.is_none());
            assert_eq!(path.exists(), word.is_none(), "a damaged entry does not stay");
            match word {
                Some(word) => assert!(cache.words()[0].contains(word)),
                None => assert!(cache.words().is_empty()),
            }
        }
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_said_once_and_fails_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("boot"), "a file where a folder should be").unwrap();
        let cache = cache(dir.path());
        cache.put("boot", &"a", &1);
        cache.put("boot", &"b", &2);
        assert_eq!(cache.words().len(), 1);
        assert!(cache.get::<u8>("boot", &"a").is_none());
    }

    #[test]
    fn two_writers_at_once_leave_a_whole_entry() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let dir = dir.path();
                scope.spawn(move || {
                    let cache = Cache::new(dir.to_path_buf(), &format!("run-{number}"));
                    for _ in 0..50 {
                        cache.put("boot", &"a", &vec![number; 10_000]);
                        let found: Option<Kept<Vec<u8>>> = cache.get("boot", &"a");
                        assert!(found.is_some_and(|kept| kept.value.windows(2).all(|two| two[0] == two[1])));
                        assert!(cache.words().is_empty());
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(dir.path().join("boot")).unwrap().count(), 1);
    }
}
