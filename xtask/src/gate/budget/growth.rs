//! What an image's growth is made of: its parts now beside the parts that were accepted, which are kept in kB and
//! only where they are worth a line.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::anatomy::Anatomy;

/// A part below this size (kB) has no line of its own in the baseline.
const WORTH_A_LINE_KB: u64 = 16;
/// How many parts are named.
const NAMED: usize = 3;

/// One image's accepted sizes: the whole in bytes, its parts in kB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    pub unpacked_bytes: u64,
    pub compressed_bytes: u64,
    /// `base` and `ours` -> the layers' sum, unpacked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub layers_kb: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folders_kb: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files_kb: BTreeMap<String, u64>,
    /// Crates in the binary, and what of it is nobody's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub crates_kb: BTreeMap<String, u64>,
}

impl Accepted {
    /// The sizes of an image as it is.
    pub fn of(anatomy: &Anatomy) -> Self {
        let mut accepted = Accepted {
            unpacked_bytes: anatomy.unpacked_bytes,
            compressed_bytes: anatomy.compressed_bytes,
            layers_kb: layers(anatomy),
            folders_kb: folders(anatomy),
            files_kb: files(anatomy),
            crates_kb: crates(anatomy),
        };
        for parts in [
            &mut accepted.layers_kb,
            &mut accepted.folders_kb,
            &mut accepted.files_kb,
            &mut accepted.crates_kb,
        ] {
            parts.retain(|_, size_kb| *size_kb >= WORTH_A_LINE_KB);
        }
        accepted
    }
}

/// Bytes as kB, rounded.
pub fn kb(bytes: u64) -> u64 {
    (bytes + 500) / 1000
}

fn summed<'a>(parts: impl Iterator<Item = (&'a str, u64)>) -> BTreeMap<String, u64> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, bytes) in parts {
        *sums.entry(name).or_default() += bytes;
    }
    sums.into_iter()
        .map(|(name, bytes)| (name.to_owned(), kb(bytes)))
        .collect()
}

fn layers(anatomy: &Anatomy) -> BTreeMap<String, u64> {
    let layers = anatomy.layers.iter();
    summed(layers.map(|layer| (layer.from.as_str(), layer.unpacked_bytes)))
}

fn folders(anatomy: &Anatomy) -> BTreeMap<String, u64> {
    let folders = anatomy.folders.iter();
    summed(folders.map(|folder| (folder.path.as_str(), folder.size_bytes)))
}

fn files(anatomy: &Anatomy) -> BTreeMap<String, u64> {
    let files = anatomy.files.iter();
    summed(files.map(|file| (file.path.as_str(), file.size_bytes)))
}

/// No crate is called like the last two.
fn crates(anatomy: &Anatomy) -> BTreeMap<String, u64> {
    let binary = anatomy.binary.as_ref().filter(|binary| !binary.crates.is_empty());
    let parts = binary.into_iter().flat_map(|binary| {
        let named = binary
            .crates
            .iter()
            .map(|part| (part.name.as_str(), part.size_bytes()));
        named.chain([
            ("(not Rust)", binary.other_bytes),
            ("(no symbol)", binary.unattributed_bytes),
        ])
    });
    summed(parts)
}

/// What grew most since `before`, in words: `+412 kB: regex-automata +300 kB, aho-corasick +90 kB`; nothing
/// where the baseline names no parts.
pub fn brought(before: &Accepted, now: &Anatomy) -> Option<String> {
    if before.files_kb.is_empty() && before.crates_kb.is_empty() {
        return None;
    }
    let binary = now.binary.as_ref().map(|binary| binary.path.as_str());
    let mut grown = grown(&before.files_kb, &files(now));
    let mut seen: BTreeSet<String> = grown.iter().map(|(path, _)| folder_of(path).to_owned()).collect();
    let crates = crates(now);
    if !before.crates_kb.is_empty() && !crates.is_empty() {
        // The binary's growth is told by its crates.
        grown.retain(|(path, _)| Some(path.as_str()) != binary);
        seen.extend(binary.map(|path| folder_of(path).to_owned()));
        grown.extend(self::grown(&before.crates_kb, &crates));
    }
    // Many small files: their folder.
    let folders = self::grown(&before.folders_kb, &folders(now));
    grown.extend(folders.into_iter().filter(|(path, _)| !seen.contains(path)));
    grown.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    let named: Vec<String> = grown
        .iter()
        .take(NAMED)
        .map(|(name, by_kb)| format!("{name} +{by_kb} kB"))
        .collect();
    let by_kb = kb(now.unpacked_bytes) as i64 - kb(before.unpacked_bytes) as i64;
    Some(match named.join(", ") {
        none if none.is_empty() => format!("{by_kb:+} kB, of which the baseline names no part"),
        named => format!("{by_kb:+} kB: {named}"),
    })
}

/// Parts that are larger now, by how many kB. One that had no line and has none now is left out.
fn grown(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let parts = now.iter().filter_map(|(name, now_kb)| {
        let had_line = before.get(name);
        let by_kb = now_kb.checked_sub(had_line.copied().unwrap_or_default())?;
        let is_told = by_kb > 0 && (had_line.is_some() || *now_kb >= WORTH_A_LINE_KB);
        is_told.then(|| (name.clone(), by_kb))
    });
    parts.collect()
}

/// The first folder of a path.
fn folder_of(path: &str) -> &str {
    let end = path.get(1..).and_then(|rest| rest.find('/'));
    &path[..end.map_or(1, |end| end + 1).min(path.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::budget::anatomy::{BinaryPart, CratePart, FilePart, FolderPart};

    fn anatomy(crates: &[(&str, u64)], files: &[(&str, u64)]) -> Anatomy {
        let code: u64 = crates.iter().map(|(_, kb)| kb * 1_000).sum();
        let binary = BinaryPart {
            path: "/app".into(),
            size_bytes: code,
            crates: crates
                .iter()
                .map(|(name, kb)| CratePart {
                    name: (*name).to_owned(),
                    code_bytes: kb * 1_000,
                    data_bytes: 0,
                })
                .collect(),
            ..BinaryPart::default()
        };
        let files = files.iter().map(|(path, kb)| (*path, kb * 1_000));
        let files: Vec<FilePart> = files
            .chain([("/app", code)])
            .map(|(path, size_bytes)| FilePart {
                path: path.to_owned(),
                layer: 0,
                size_bytes,
            })
            .collect();
        let mut folders: BTreeMap<&str, u64> = BTreeMap::new();
        for file in &files {
            *folders.entry(folder_of(&file.path)).or_default() += file.size_bytes;
        }
        let folders = folders.into_iter().map(|(path, size_bytes)| FolderPart {
            path: path.to_owned(),
            files_count: 1,
            size_bytes,
        });
        Anatomy {
            unpacked_bytes: files.iter().map(|file| file.size_bytes).sum(),
            folders: folders.collect(),
            binary: Some(binary),
            files,
            ..Anatomy::default()
        }
    }

    fn words(before: &Anatomy, now: &Anatomy) -> Option<String> {
        brought(&Accepted::of(before), now)
    }

    #[test]
    fn growth_is_told_by_crate_and_by_file() {
        let before = anatomy(&[("tokio", 400), ("tiny", 3)], &[("/etc/ca", 200)]);
        let now = anatomy(
            &[
                ("tokio", 390),
                ("tiny", 5),
                ("regex_automata", 300),
                ("aho_corasick", 90),
            ],
            &[("/etc/ca", 220)],
        );
        assert_eq!(
            words(&before, &now).unwrap(),
            "+402 kB: regex_automata +300 kB, aho_corasick +90 kB, /etc/ca +20 kB"
        );
    }

    #[test]
    fn without_crates_the_binary_is_a_file_and_small_files_are_their_folder() {
        let mut now = anatomy(&[("tokio", 500)], &[("/usr/a", 9), ("/usr/b", 9)]);
        now.binary = None;
        assert_eq!(
            words(&anatomy(&[("tokio", 400)], &[]), &now).unwrap(),
            "+118 kB: /app +100 kB, /usr +18 kB"
        );
    }

    #[test]
    fn a_baseline_without_parts_names_none() {
        let now = anatomy(&[("tokio", 500)], &[]);
        assert_eq!(brought(&Accepted::default(), &now), None);
        assert_eq!(
            words(&now, &now).unwrap(),
            "+0 kB, of which the baseline names no part"
        );
    }

    #[test]
    fn what_is_small_has_no_line_in_the_baseline() {
        let accepted = Accepted::of(&anatomy(&[("tokio", 400), ("tiny", 3)], &[]));
        let names: Vec<&str> = accepted.crates_kb.keys().map(String::as_str).collect();
        assert_eq!(names, ["tokio"]);
        assert_eq!(
            (folder_of("/usr/a/b"), folder_of("/app"), folder_of("")),
            ("/usr", "/", "")
        );
    }
}
