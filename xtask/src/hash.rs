//! SHA-256, as lower-case hex digits: of bytes, of several parts, of a file.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Of some bytes.
pub fn of(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

/// Of several parts; each counts with its length, so that no two lists of parts read alike.
pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hex(hasher)
}

/// Of a file's content, read a piece at a time.
pub fn of_file(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(hasher)),
            length => hasher.update(&piece[..length]),
        }
    }
}

/// Of what a hasher was given.
pub fn hex(hasher: Sha256) -> String {
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_text_has_its_known_hash() {
        assert_eq!(
            of(""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn parts_are_not_their_concatenation() {
        assert_ne!(of_parts(["ab", "c"]), of_parts(["a", "bc"]));
    }
}
