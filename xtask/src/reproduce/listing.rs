//! The entries of a layer's tar with all that a digest is made of, and what differs between two such lists.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use anyhow::{Context as _, Result};

use crate::hash;

/// Path -> entry.
pub(super) type Listing = BTreeMap<String, Entry>;

/// An entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// `file`, `folder`, `link`, or another kind's number.
    kind: String,
    size_bytes: u64,
    mode: u32,
    /// `user:group`, by number.
    owner: String,
    /// Seconds since 1970.
    mtime_s: u64,
    /// Where a link leads.
    target: Option<String>,
    /// Its hash.
    content: String,
}

/// Reads a layer.
///
/// # Errors
/// A tar that cannot be read.
pub(super) fn read(layer: &mut dyn Read) -> Result<Listing> {
    let mut listing = Listing::new();
    for entry in tar::Archive::new(layer).entries()? {
        let mut entry = entry.context("a layer is cut off")?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let path = format!("/{}", path.trim_start_matches("./").trim_matches('/'));
        let (content, size_bytes) = hash::of_stream(&mut entry)?;
        let target = entry
            .link_name()?
            .map(|target| target.to_string_lossy().into_owned());
        let header = entry.header();
        let found = Entry {
            kind: kind(header.entry_type()),
            size_bytes,
            mode: header.mode()?,
            owner: format!("{}:{}", header.uid()?, header.gid()?),
            mtime_s: header.mtime()?,
            target,
            content,
        };
        listing.insert(path, found);
    }
    Ok(listing)
}

fn kind(kind: tar::EntryType) -> String {
    match kind {
        tar::EntryType::Regular => "file".to_owned(),
        tar::EntryType::Directory => "folder".to_owned(),
        tar::EntryType::Symlink | tar::EntryType::Link => "link".to_owned(),
        other => format!("kind {}", char::from(other.as_byte())),
    }
}

/// A line for each path that is not the same in both.
pub(super) fn differences(one: &Listing, other: &Listing) -> Vec<String> {
    let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let lines = paths
        .into_iter()
        .filter_map(|path| match (one.get(path), other.get(path)) {
            (Some(one), Some(other)) => {
                let what = one.differs(other);
                (!what.is_empty()).then(|| format!("{path}: {}", what.join(", ")))
            }
            (Some(_), None) => Some(format!("{path}: in the one alone")),
            (None, _) => Some(format!("{path}: in the other alone")),
        });
    lines.collect()
}

impl Entry {
    fn differs(&self, other: &Entry) -> Vec<String> {
        let mut what = Vec::new();
        let mut add = |name: &str, one: String, other: String| {
            if one != other {
                what.push(format!("{name} {one} and {other}"));
            }
        };
        add("kind", self.kind.clone(), other.kind.clone());
        add(
            "size",
            format!("{} bytes", self.size_bytes),
            format!("{} bytes", other.size_bytes),
        );
        add(
            "mode",
            format!("{:04o}", self.mode),
            format!("{:04o}", other.mode),
        );
        add("owner", self.owner.clone(), other.owner.clone());
        add("mtime", time(self.mtime_s), time(other.mtime_s));
        let target = |entry: &Entry| entry.target.clone().unwrap_or_default();
        add("target", target(self), target(other));
        if self.content != other.content {
            what.insert(0, "content".to_owned());
        }
        what
    }
}

fn time(seconds: u64) -> String {
    let at = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.map_or_else(|| format!("{seconds} s"), |at| at.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tar of files: path, content, mode, mtime.
    pub(in super::super) fn tar_of(files: &[(&str, &str, u32, u64)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content, mode, mtime) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_mtime(*mtime);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn listed(files: &[(&str, &str, u32, u64)]) -> Listing {
        read(&mut tar_of(files).as_slice()).unwrap()
    }

    #[test]
    fn each_way_to_differ_is_named() {
        let one = listed(&[
            ("same", "x", 0o644, 1),
            ("bin/tool", "abc", 0o755, 0),
            ("mode", "x", 0o644, 0),
            ("time", "x", 0o644, 0),
            ("gone", "x", 0o644, 0),
        ]);
        let other = listed(&[
            ("same", "x", 0o644, 1),
            ("bin/tool", "abcd", 0o755, 0),
            ("mode", "x", 0o600, 0),
            ("time", "x", 0o644, 60),
            ("new", "x", 0o644, 0),
        ]);
        insta::assert_snapshot!(differences(&one, &other).join("\n"), @r"
        /bin/tool: content, size 3 bytes and 4 bytes
        /gone: in the one alone
        /mode: mode 0644 and 0600
        /new: in the other alone
        /time: mtime 1970-01-01T00:00:00Z and 1970-01-01T00:01:00Z
        ");
        assert!(differences(&one, &one).is_empty());
    }

    #[test]
    fn other_bytes_of_the_same_number_are_other_content() {
        let found = differences(&listed(&[("a", "x", 0o644, 0)]), &listed(&[("a", "y", 0o644, 0)]));
        assert_eq!(found, ["/a: content"]);
    }
}
