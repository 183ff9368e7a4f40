//! Files that no image of ours should hold: programs that run as their owner, package managers, and what
//! everybody may write to. Read from the layers, so that what a later layer hides counts too.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::layers::Layers;
use crate::archive;
use crate::verdict::Check;

/// Programs that bring more programs in.
pub const MANAGERS: [&str; 14] = [
    "apk", "apt", "apt-get", "aptitude", "cargo", "dnf", "dpkg", "microdnf", "npm", "pip", "pip3", "rpm",
    "yum", "zypper",
];

/// A file that should not be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddFile {
    pub path: String,
    /// What is wrong with it: `runs as its owner`.
    pub why: String,
    /// The layer that brings it, from 1 on.
    pub layer: usize,
}

/// What is wrong with the files of an image, in the order of its layers.
///
/// # Errors
/// An archive that cannot be read.
pub fn odd(path: &Path, digest: &str) -> Result<Vec<OddFile>> {
    let mut odd = Vec::new();
    for (index, layer) in archive::layers(path, digest)?.iter().enumerate() {
        // One at a time: an archive holds them in any order.
        archive::unpack(path, std::slice::from_ref(layer), |content| {
            look(content, index + 1, &mut odd)
        })?;
    }
    Ok(odd)
}

fn look(content: &mut dyn Read, layer: usize, odd: &mut Vec<OddFile>) -> Result<()> {
    for entry in tar::Archive::new(content).entries()? {
        let entry = entry.context("a layer is cut off")?;
        let path = entry.path()?.into_owned();
        let header = entry.header();
        let mode = header.mode()?;
        let kind = header.entry_type();
        if !kind.is_file() && !kind.is_dir() && !kind.is_hard_link() {
            continue;
        }
        odd.extend(fault(&path, mode, kind.is_dir()).map(|why| OddFile {
            path: format!("/{}", path.display()),
            why,
            layer,
        }));
    }
    Ok(())
}

fn fault(path: &Path, mode: u32, is_dir: bool) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    // A sticky folder that all may write to is what /tmp is; of a file the bit says nothing.
    if mode & 0o002 != 0 && !(is_dir && mode & 0o1000 != 0) {
        return Some(format!("may be written by everybody (mode {mode:o})"));
    }
    if is_dir || mode & 0o111 == 0 {
        return None;
    }
    if mode & 0o6000 != 0 {
        return Some(format!("runs as its owner or group (mode {mode:o})"));
    }
    MANAGERS
        .contains(&name.as_ref())
        .then(|| "is a package manager".to_owned())
}

/// Judges what [`odd`] found.
pub fn judge(odd: &[OddFile], layers: &Layers) -> Check {
    match odd.first() {
        None => Check::passed(
            "files",
            "no setuid program, package manager or file that all may write",
        ),
        Some(first) => {
            let more = if odd.len() > 1 {
                format!(" and {} more", odd.len() - 1)
            } else {
                String::new()
            };
            let hint = "leave it out of the last stage, or take the bits away where it is made";
            let place = layers.words(&first.path, Some(first.layer));
            Check::violated(
                "files",
                format!("{} {}: {place}{more}", first.path, first.why),
                hint,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, mode: u32) -> Option<String> {
        fault(Path::new(path), mode, false)
    }

    #[test]
    fn each_kind_of_odd_file_is_told() {
        assert_eq!(
            found("usr/bin/su", 0o4755).as_deref(),
            Some("runs as its owner or group (mode 4755)")
        );
        assert_eq!(
            found("usr/bin/wall", 0o2755).as_deref(),
            Some("runs as its owner or group (mode 2755)")
        );
        assert_eq!(
            found("usr/bin/apt-get", 0o755).as_deref(),
            Some("is a package manager")
        );
        assert_eq!(
            found("etc/passwd", 0o666).as_deref(),
            Some("may be written by everybody (mode 666)")
        );
        assert!(found("etc/passwd", 0o1666).is_some(), "sticky, but no folder");
        assert!(fault(Path::new("srv"), 0o777, true).is_some());
    }

    #[test]
    fn ordinary_files_are_none() {
        for (path, mode) in [
            ("gateway", 0o755),
            ("etc/ssl/certs/ca-certificates.crt", 0o644),
            ("usr/share/apt", 0o644),
        ] {
            assert_eq!(found(path, mode), None, "{path}");
        }
        assert_eq!(fault(Path::new("tmp"), 0o1777, true), None);
        assert_eq!(fault(Path::new("etc/apt"), 0o755, true), None);
    }
}
