//! The files of an image, layer upon layer: which show, which are hidden by a later layer, and which say the same
//! twice. Read from the layers' tars.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use anyhow::{Context as _, Result};
use sha2::{Digest, Sha256};

use super::anatomy::{Anatomy, FilePart, FolderPart, Wasted};

/// How OCI layers say that a file of an earlier layer is gone, and that all of a folder's are.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// An entry of a layer; paths are absolute.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    File {
        path: String,
        size_bytes: u64,
        sha256: [u8; 32],
    },
    Folder(String),
    /// Links and the like, which have no bytes of their own.
    Other(String),
    Removed(String),
    Emptied(String),
}

/// The entries of one layer's tar; the content of the file `kept` is put into `content`.
///
/// # Errors
/// A tar that cannot be read.
pub fn read(layer: &mut dyn Read, kept: Option<&str>, content: &mut Option<Vec<u8>>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in tar::Archive::new(layer).entries()? {
        let mut entry = entry.context("a layer is cut off")?;
        let path = absolute(&entry.path()?.to_string_lossy());
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let kind = entry.header().entry_type();
        entries.push(if name == OPAQUE {
            Entry::Emptied(folder.to_owned())
        } else if let Some(gone) = name.strip_prefix(WHITEOUT) {
            Entry::Removed(format!("{folder}/{gone}"))
        } else if kind.is_file() {
            let mut sink = Sink::new(kept == Some(path.as_str()));
            let size_bytes = std::io::copy(&mut entry, &mut sink)?;
            *content = sink.content.or(content.take());
            Entry::File {
                path,
                size_bytes,
                sha256: sink.hasher.finalize().into(),
            }
        } else if kind.is_dir() {
            Entry::Folder(path)
        } else {
            Entry::Other(path)
        });
    }
    Ok(entries)
}

fn absolute(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_end_matches('/');
    format!("/{}", path.trim_start_matches('/'))
}

/// Takes a file's bytes: hashed always, kept where they are asked for.
struct Sink {
    hasher: Sha256,
    content: Option<Vec<u8>>,
}

impl Sink {
    fn new(keeps: bool) -> Self {
        Sink {
            hasher: Sha256::new(),
            content: keeps.then(Vec::new),
        }
    }
}

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.hasher.update(bytes);
        if let Some(content) = &mut self.content {
            content.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A file that shows so far.
struct Shown {
    layer: usize,
    size_bytes: u64,
    sha256: [u8; 32],
}

/// Lays the layers upon each other, and notes folders, files and waste in `anatomy`.
pub fn lay(layers: Vec<Vec<Entry>>, anatomy: &mut Anatomy) {
    let mut stack = Stack::default();
    for (layer, entries) in layers.into_iter().enumerate() {
        // What a layer removes is of the layers beneath it, wherever in the tar it says so.
        let (gone, come): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| matches!(entry, Entry::Removed(_) | Entry::Emptied(_)));
        for entry in gone.into_iter().chain(come) {
            stack.put(layer, entry);
        }
    }
    stack.note_twins();
    anatomy.wasted_bytes = stack.wasted.iter().map(|wasted| wasted.size_bytes).sum();
    anatomy.wasted = stack.wasted;
    anatomy.folders = folders(&stack.shown);
    let files = stack.shown.into_iter().map(|(path, file)| FilePart {
        path,
        layer: file.layer,
        size_bytes: file.size_bytes,
    });
    anatomy.files = files.collect();
}

#[derive(Default)]
struct Stack {
    shown: BTreeMap<String, Shown>,
    wasted: Vec<Wasted>,
}

impl Stack {
    fn put(&mut self, layer: usize, entry: Entry) {
        let overwritten = format!("overwritten by layer {layer}");
        let removed = format!("removed by layer {layer}");
        match entry {
            Entry::Removed(path) => {
                self.hide(&path, &removed);
                self.hide_below(&path, &removed);
            }
            Entry::Emptied(path) => self.hide_below(&path, &removed),
            Entry::Folder(path) => self.hide(&path, &overwritten),
            Entry::Other(path) => {
                self.hide(&path, &overwritten);
                self.hide_below(&path, &overwritten);
            }
            Entry::File {
                path,
                size_bytes,
                sha256,
            } => {
                self.hide(&path, &overwritten);
                self.hide_below(&path, &overwritten);
                let file = Shown {
                    layer,
                    size_bytes,
                    sha256,
                };
                self.shown.insert(path, file);
            }
        }
    }

    fn hide(&mut self, path: &str, why: &str) {
        if let Some(file) = self.shown.remove(path) {
            self.waste(path, &file, why);
        }
    }

    fn hide_below(&mut self, folder: &str, why: &str) {
        let beginning = format!("{folder}/");
        let below = self.shown.range(beginning.clone()..);
        let below: Vec<String> = below
            .map(|(path, _)| path.clone())
            .take_while(|path| path.starts_with(&beginning))
            .collect();
        for path in below {
            self.hide(&path, why);
        }
    }

    fn waste(&mut self, path: &str, file: &Shown, why: &str) {
        if file.size_bytes > 0 {
            self.wasted.push(Wasted {
                path: path.to_owned(),
                layer: file.layer,
                size_bytes: file.size_bytes,
                why: why.to_owned(),
            });
        }
    }

    /// Of files with the same content all but the first are waste: a link would do.
    fn note_twins(&mut self) {
        let mut first: HashMap<[u8; 32], &str> = HashMap::new();
        let mut twins = Vec::new();
        for (path, file) in self.shown.iter().filter(|(_, file)| file.size_bytes > 0) {
            match first.get(&file.sha256) {
                Some(other) => twins.push(Wasted {
                    path: path.clone(),
                    layer: file.layer,
                    size_bytes: file.size_bytes,
                    why: format!("the same content as {other}"),
                }),
                None => drop(first.insert(file.sha256, path)),
            }
        }
        self.wasted.extend(twins);
    }
}

fn folders(shown: &BTreeMap<String, Shown>) -> Vec<FolderPart> {
    let mut folders: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (path, file) in shown {
        let end = path[1..].find('/').map_or(1, |end| end + 1);
        let (files, bytes) = folders.entry(&path[..end]).or_default();
        *files += 1;
        *bytes += file.size_bytes;
    }
    let parts = folders.into_iter();
    let parts = parts.map(|(path, (files_count, size_bytes))| FolderPart {
        path: path.to_owned(),
        files_count,
        size_bytes,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size_bytes: u64, content: u8) -> Entry {
        Entry::File {
            path: path.to_owned(),
            size_bytes,
            sha256: [content; 32],
        }
    }

    fn laid(layers: Vec<Vec<Entry>>) -> Anatomy {
        let mut anatomy = Anatomy::default();
        lay(layers, &mut anatomy);
        anatomy.sorted()
    }

    fn wasted(anatomy: &Anatomy) -> Vec<String> {
        let words = anatomy.wasted.iter();
        words
            .map(|wasted| format!("{} {} {}", wasted.size_bytes, wasted.path, wasted.why))
            .collect()
    }

    #[test]
    fn what_a_later_layer_hides_and_what_is_there_twice_is_wasted() {
        let anatomy = laid(vec![
            vec![
                file("/a/x", 700, 1),
                file("/a/y", 600, 2),
                file("/b", 500, 3),
                file("/c/d", 400, 4),
                file("/c.d", 30, 5),
                file("/e", 300, 6),
            ],
            vec![
                file("/a/new", 20, 7),
                Entry::Emptied("/a".into()),
                Entry::Removed("/c".into()),
                file("/b", 100, 8),
                Entry::Other("/e".into()),
                file("/f", 100, 8),
            ],
        ]);
        assert_eq!(
            wasted(&anatomy),
            [
                "700 /a/x removed by layer 1",
                "600 /a/y removed by layer 1",
                "500 /b overwritten by layer 1",
                "400 /c/d removed by layer 1",
                "300 /e overwritten by layer 1",
                "100 /f the same content as /b",
            ]
        );
        assert_eq!(anatomy.wasted_bytes, 2_600);
        let shown: Vec<_> = anatomy.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(shown, ["/b", "/f", "/c.d", "/a/new"]);
        let folders = anatomy.folders.iter();
        let folders: Vec<_> = folders
            .map(|folder| (folder.path.as_str(), folder.files_count, folder.size_bytes))
            .collect();
        assert_eq!(folders, [("/", 3, 230), ("/a", 1, 20)]);
    }

    #[test]
    fn a_folder_named_again_and_empty_files_waste_nothing() {
        let anatomy = laid(vec![
            vec![
                Entry::Folder("/a".into()),
                file("/a/x", 7, 1),
                file("/a/empty", 0, 9),
            ],
            vec![Entry::Folder("/a".into()), file("/a/void", 0, 9)],
        ]);
        assert_eq!((anatomy.wasted_bytes, anatomy.files.len()), (0, 3));
    }

    #[test]
    fn a_layers_tar_is_read_entry_by_entry() {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in [
            ("./bin/run", &b"code"[..]),
            ("etc/.wh.old", b""),
            ("var/.wh..wh..opq", b""),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append_data(&mut header, path, content).unwrap();
        }
        let bytes = tar.into_inner().unwrap();
        let mut content = None;
        let entries = read(&mut bytes.as_slice(), Some("/bin/run"), &mut content).unwrap();
        assert_eq!(content.as_deref(), Some(&b"code"[..]));
        assert!(
            matches!(&entries[0], Entry::File { path, size_bytes: 4, .. } if path == "/bin/run"),
            "{entries:?}"
        );
        assert_eq!(
            entries[1..],
            [Entry::Removed("/etc/old".into()), Entry::Emptied("/var".into())]
        );
    }
}
