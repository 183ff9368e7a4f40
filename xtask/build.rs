//! Who this pipeline is, compiled in: a verdict of other code is not reused, an image of another build part is
//! built again. Sources are hashed, not the binary, so that two machines agree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use sha2::{Digest, Sha256};

/// What decides how an image is built.
const BUILD_PART: [&str; 2] = ["src/build.rs", "src/tool/bake.rs"];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = BTreeMap::new();
    for top in ["src", "build.rs", "Cargo.toml", "Cargo.lock"] {
        read(&root, Path::new(top), &mut files)?;
        println!("cargo::rerun-if-changed={top}");
    }
    let part = files
        .iter()
        .filter(|(path, _)| BUILD_PART.iter().any(|part| path == &Path::new(part)));
    println!("cargo::rustc-env=HORME_PIPELINE={}", hash(files.iter()));
    println!("cargo::rustc-env=HORME_BUILD_PART={}", hash(part));
    println!("cargo::rustc-env=HORME_COMPILER={}", compiler()?);
    Ok(())
}

/// Release and commit of the compiler, which the local builder image is given too: one word.
#[expect(
    clippy::disallowed_methods,
    reason = "a build script has no door to programs but this"
)]
fn compiler() -> io::Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = std::process::Command::new(rustc).arg("-vV").output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn read(root: &Path, path: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    let full = root.join(path);
    if full.is_file() {
        into.insert(path.to_owned(), fs::read(full)?);
        return Ok(());
    }
    if !full.is_dir() {
        // An editor's dangling link, a socket: no source.
        return Ok(());
    }
    for entry in fs::read_dir(full)? {
        read(root, &path.join(entry?.file_name()), into)?;
    }
    Ok(())
}

fn hash<'a>(files: impl Iterator<Item = (&'a PathBuf, &'a Vec<u8>)>) -> String {
    let mut hasher = Sha256::new();
    for (path, content) in files {
        for part in [path.as_os_str().as_encoded_bytes(), content] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
