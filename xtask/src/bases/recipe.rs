//! The tags of local images: a hash of everything that goes into one, so that an unchanged recipe is made once
//! and a changed one is never mistaken for the old.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::pins::Pins;
use crate::context::Context;
use crate::hash;

/// The Debian release that the local images are made of.
pub(super) const SUITE: &str = "trixie";

/// What mmdebstrap is told besides suite, target and mirror. Documentation and translations of packages are
/// never read in an image.
pub(super) const DEBIAN_OPTIONS: [&str; 8] = [
    "--variant=apt",
    "--include=ca-certificates",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--aptopt=Apt::Install-Recommends \"false\"",
    "--aptopt=Acquire::Languages \"none\"",
];

/// The common ground of all recipes: they name it `debian-base`.
pub(super) fn debian_tag() -> String {
    tag("debian", &[SUITE, &DEBIAN_OPTIONS.join("\n")])
}

/// Recipe -> tag of the image that it makes on this machine.
pub(super) fn tags(context: &Context, pins: &Pins) -> Result<BTreeMap<String, String>> {
    // The compiler that this pipeline was compiled with: the root's toolchain file names both.
    let compiler = env!("HORME_COMPILER");
    let folder = context.root.join("docker/bases");
    pins.values()
        .map(|pin| Ok((pin.local.clone(), recipe_tag(&folder, &pin.local, compiler)?)))
        .collect()
}

fn recipe_tag(folder: &Path, name: &str, compiler: &str) -> Result<String> {
    let read = |file: &str| {
        let path = folder.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let recipe = read(&format!("{name}.Dockerfile"))?;
    let debian = debian_tag();
    let mut parts = vec![debian, recipe.clone()];
    for file in copied(&recipe) {
        parts.push(read(file)?);
    }
    if uses_toolchain(&recipe) {
        parts.push(compiler.to_owned());
    }
    Ok(tag(name, &parts.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// The files that a recipe copies from its own folder.
fn copied(recipe: &str) -> impl Iterator<Item = &str> {
    let copies = recipe.lines().filter_map(|line| line.strip_prefix("COPY "));
    copies.filter(|rest| !rest.contains("--from=")).flat_map(|rest| {
        let words: Vec<&str> = rest
            .split_whitespace()
            .filter(|word| !word.starts_with("--"))
            .collect();
        words[..words.len().saturating_sub(1)].to_vec()
    })
}

pub(super) fn uses_toolchain(recipe: &str) -> bool {
    recipe.contains("--from=toolchain")
}

fn tag(name: &str, parts: &[&str]) -> String {
    let hash = hash::of_parts(parts.iter().copied());
    format!("horme-local/{name}:{}", &hash[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(recipe: &str, entrypoint: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.Dockerfile"), recipe).unwrap();
        std::fs::write(folder.path().join("entry"), entrypoint).unwrap();
        folder
    }

    fn tag_of(recipe: &str, entrypoint: &str, compiler: &str) -> String {
        recipe_tag(folder(recipe, entrypoint).path(), "x", compiler).unwrap()
    }

    #[test]
    fn every_input_changes_the_tag_and_nothing_else_does() {
        let plain = "FROM debian-base\nCOPY --chmod=755 entry /entry\n";
        let first = tag_of(plain, "a", "1.95.0");
        assert_eq!(first, tag_of(plain, "a", "1.96.0"), "no toolchain in it");
        assert_ne!(first, tag_of(plain, "b", "1.95.0"));
        assert_ne!(first, tag_of(&format!("{plain}# more\n"), "a", "1.95.0"));
        let builder = format!("{plain}COPY --from=toolchain bin /bin\n");
        assert_ne!(tag_of(&builder, "a", "1.95.0"), tag_of(&builder, "a", "1.96.0"));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(tag("x", &["ab", "c"]), tag("x", &["a", "bc"]));
    }
}
