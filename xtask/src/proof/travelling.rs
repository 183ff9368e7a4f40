//! Images on their way: out of the engine into a layout, and with their proof into a folder for another job.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{FILE, Proof, writing};
use crate::cache::whole;
use crate::context::Context;
use crate::engine::Engine;
use crate::exit::Failure;
use crate::layout::Layout;

/// Writes images and proof into a folder, as `release --images` takes them; what an earlier export left there goes as
/// a whole, and nobody ever sees half of it.
///
/// # Errors
/// Exit 2: see [`refuse`] and [`images_from_engine`]. Otherwise: it cannot be written.
pub async fn export(
    context: &Context,
    engine: &Engine,
    proof: &Proof,
    bills: &BTreeMap<String, String>,
    folder: &Path,
) -> Result<()> {
    refuse(folder)?;
    let place = Place::of(folder)?;
    place.sweep();
    let fresh = place.beside(&context.run_id);
    let cannot = || format!("cannot write {}", fresh.display());
    std::fs::create_dir_all(&fresh).with_context(cannot)?;
    // Whoever sweeps finds it locked while we live.
    let lock = File::open(&fresh).with_context(cannot)?;
    lock.lock().with_context(cannot)?;
    let written = write(context, engine, proof, &fresh).await;
    let written = written.and_then(|()| writing::write(&fresh, proof, bills));
    let moved = written.and_then(|()| place.take(&fresh, &context.run_id));
    if moved.is_err() {
        let _ = std::fs::remove_dir_all(&fresh);
    }
    moved
}

async fn write(context: &Context, engine: &Engine, proof: &Proof, folder: &Path) -> Result<()> {
    images_from_engine(context, engine, proof, folder).await?;
    let sums = proof.images.iter().map(|image| {
        let digest = image.digest.trim_start_matches("sha256:");
        format!("{digest}  {}\n", image.image)
    });
    let files = [
        // What other programs take for the images' names and digests.
        (super::CHECKSUMS, sums.collect::<String>()),
        // It lies in a checkout, most often, which has to stay as committed.
        (".gitignore", "*\n".to_owned()),
    ];
    for (name, text) in files {
        let file = folder.join(name);
        whole(&file, "new", text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// # Errors
/// Exit 2: the folder holds something else than an earlier export.
pub fn refuse(folder: &Path) -> Result<()> {
    let is_export = folder.join(FILE).is_file() && folder.join("oci-layout").is_file();
    let is_free = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if is_export || is_free {
        return Ok(());
    }
    let what = format!(
        "--export {}: it holds something else than an earlier export",
        folder.display()
    );
    Err(Failure::usage(what, "name an empty folder, or one that does not exist yet").into())
}

/// The proven images out of the engine, by digest, into a layout in `folder`.
///
/// # Errors
/// Exit 2: an engine whose image store keeps no digest. Exit 3: it no longer holds an image; all of them are named.
pub async fn images_from_engine(
    context: &Context,
    engine: &Engine,
    proof: &Proof,
    folder: &Path,
) -> Result<Layout> {
    if !engine.containerd_store {
        let what =
            "this engine's image store keeps no digest: what was tested cannot be told from what is stored";
        let hint = "turn on the containerd image store (daemon.json: \"features\": {\"containerd-snapshotter\": true}), \
                    restart the engine and run `cargo xtask ci`";
        return Err(Failure::usage(what, hint).into());
    }
    let mut lost = Vec::new();
    for image in &proof.images {
        if engine.image(&image.digest).await?.is_none() {
            lost.push(format!("{} ({})", image.image, image.digest));
        }
    }
    if !lost.is_empty() {
        let what = format!("the engine no longer holds {}", lost.join(", "));
        return Err(Failure::undecided(what, "`cargo xtask ci` builds and proves it again").into());
    }
    let layout = Layout::create(folder)?;
    for image in &proof.images {
        if context.cancel.is_cancelled() {
            return Err(Failure::undecided("interrupted while images were copied", "run again").into());
        }
        let archive = folder.join(format!(".{}.tar", image.service));
        let added = async {
            engine.export(&image.digest, &archive).await?;
            let (layout, archive) = (layout.clone(), archive.clone());
            let (digest, name) = (image.digest.clone(), image.image.clone());
            tokio::task::spawn_blocking(move || layout.add(&archive, &digest, &name)).await?
        };
        let added = added.await;
        for left in [archive.with_extension("part"), archive] {
            let _ = std::fs::remove_file(left);
        }
        added?;
    }
    Ok(layout)
}

/// A folder, by its parent and its name.
struct Place {
    folder: PathBuf,
    parent: PathBuf,
    name: String,
}

impl Place {
    fn of(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let no_name = || {
            let what = format!("--export {}: it has no name of its own", folder.display());
            Failure::usage(what, "name a folder below another one")
        };
        let name = folder.file_name().ok_or_else(no_name)?;
        Ok(Place {
            parent: folder.parent().ok_or_else(no_name)?.to_owned(),
            name: name.to_string_lossy().into_owned(),
            folder,
        })
    }

    /// Where something lies for a while, on the same disk.
    fn beside(&self, mark: &str) -> PathBuf {
        self.parent.join(format!(".{}.{mark}.part", self.name))
    }

    /// Removes what exports left that were killed.
    fn sweep(&self) {
        let start = format!(".{}.", self.name);
        for entry in std::fs::read_dir(&self.parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&start) && name.ends_with(".part") {
                let free = File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok());
                if free {
                    let _ = std::fs::remove_dir_all(entry.path());
                }
            }
        }
    }

    /// Moves what is whole to where it belongs.
    fn take(&self, fresh: &Path, run_id: &str) -> Result<()> {
        let old = self.beside(&format!("{run_id}-old"));
        let cannot = || format!("cannot replace {}", self.folder.display());
        let there = self.folder.exists();
        if there {
            std::fs::rename(&self.folder, &old).with_context(cannot)?;
        }
        let moved = std::fs::rename(fresh, &self.folder);
        if moved.is_err() && there {
            let _ = std::fs::rename(&old, &self.folder);
        }
        let _ = std::fs::remove_dir_all(&old);
        moved.with_context(cannot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_something_else_is_refused_and_an_earlier_export_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(refuse(&at("new")).is_ok());
        assert!(refuse(folder.path()).is_ok(), "empty");
        std::fs::write(at("notes.txt"), "").unwrap();
        assert!(refuse(folder.path()).is_err());
        assert!(refuse(&at("notes.txt")).is_err(), "a file");
        Layout::create(&at("images")).unwrap();
        assert!(refuse(&at("images")).is_err(), "images of somebody else");
        std::fs::write(at("images").join(FILE), "{}").unwrap();
        assert!(refuse(&at("images")).is_ok());
    }

    #[test]
    fn an_export_takes_the_place_of_an_earlier_one_as_a_whole() {
        let parent = tempfile::tempdir().unwrap();
        let place = Place::of(&parent.path().join("images")).unwrap();
        for name in ["first", "second"] {
            let fresh = place.beside("run-1");
            std::fs::create_dir(&fresh).unwrap();
            std::fs::write(fresh.join(name), "").unwrap();
            place.take(&fresh, "run-1").unwrap();
        }
        assert!(!place.folder.join("first").exists() && place.folder.join("second").exists());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_export_left_is_swept_and_what_one_is_writing_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let place = Place::of(&parent.path().join("images")).unwrap();
        let (dead, alive, other) = (
            place.beside("dead"),
            place.beside("alive"),
            parent.path().join(".images-of-mine"),
        );
        for folder in [&dead, &alive, &other] {
            std::fs::create_dir(folder).unwrap();
        }
        let lock = File::open(&alive).unwrap();
        lock.lock().unwrap();
        place.sweep();
        assert!(!dead.exists() && alive.exists() && other.exists());
    }
}
