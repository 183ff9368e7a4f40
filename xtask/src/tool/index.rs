//! What cargo keeps of a registry's index: the files that a call of cargo has just written. Pure parsing; the
//! layout is that of cargo's `sources/registry/index/cache.rs`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The version of the layout, its first byte.
const LAYOUT: u8 = 3;

/// One version of a crate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    pub vers: String,
    /// SHA-256 of the crate's archive.
    pub cksum: String,
    #[serde(default)]
    pub yanked: bool,
}

/// Where the entries of a crate lie in an index.
pub fn place(name: &str) -> PathBuf {
    let name = name.to_lowercase();
    let part = |from: usize, to: usize| name.get(from..to).unwrap_or_default();
    let folder = match name.len() {
        1 | 2 => name.len().to_string(),
        3 => format!("3/{}", part(0, 1)),
        _ => format!("{}/{}", part(0, 2), part(2, 4)),
    };
    Path::new(&folder).join(&name)
}

/// All versions in a kept file: a byte for the layout, four for the index's own, then texts that end with NUL:
/// the state of the index, and of each version its number and its line. Nothing where the layout is another.
pub fn parse(bytes: &[u8]) -> Option<Vec<Entry>> {
    let texts = bytes.strip_prefix(&[LAYOUT])?.get(4..)?;
    let mut texts = texts.split(|byte| *byte == 0).skip(1);
    let mut entries = Vec::new();
    while let (Some(_), Some(line)) = (texts.next(), texts.next()) {
        entries.push(serde_json::from_slice(line).ok()?);
    }
    Some(entries)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A file as cargo keeps it.
    pub(crate) fn kept(versions: &[(&str, bool)]) -> Vec<u8> {
        let mut bytes = vec![LAYOUT, 2, 0, 0, 0];
        bytes.extend(b"etag: x\0");
        for (version, yanked) in versions {
            let line = format!(
                r#"{{"name":"a","vers":"{version}","deps":[],"cksum":"c{version}","features":{{}},"yanked":{yanked}}}"#
            );
            bytes.extend(format!("{version}\0{line}\0").bytes());
        }
        bytes
    }

    #[test]
    fn crates_lie_by_the_first_letters_of_their_names() {
        for (name, place_of) in [
            ("a", "1/a"),
            ("ab", "2/ab"),
            ("syn", "3/s/syn"),
            ("Serde", "se/rd/serde"),
        ] {
            assert_eq!(place(name), Path::new(place_of));
        }
    }

    #[test]
    fn versions_are_read_and_another_layout_is_not() {
        let entries = parse(&kept(&[("1.0.0", false), ("1.0.1", true)])).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (
                entries[1].vers.as_str(),
                entries[1].cksum.as_str(),
                entries[1].yanked
            ),
            ("1.0.1", "c1.0.1", true)
        );
        let mut other = kept(&[("1.0.0", true)]);
        other[0] = 4;
        assert_eq!(parse(&other), None);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"\x03\x02\0\0\0etag\x001.0.0\0no json\0"), None);
    }
}
