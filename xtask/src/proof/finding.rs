//! Proofs that were written: the latest of this checkout, or the one beside exported images.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{FILE, Proof, VERSION};
use crate::context::Context;
use crate::exit::Failure;
use crate::layout::Layout;

/// As much of a proof as tells whether it is the one that is looked for.
#[derive(Deserialize)]
struct Head {
    version: u32,
    #[serde(default)]
    commit: String,
}

/// The proof of the latest run in this checkout that was about the commit `head`. Of a run that was killed, or of
/// another version of the pipeline, there is none.
///
/// # Errors
/// None so far: what cannot be read proves nothing.
pub fn latest(context: &Context, head: &str) -> Result<Option<Proof>> {
    let runs = std::fs::read_dir(context.root.join("reports"))
        .into_iter()
        .flatten();
    let mut runs: Vec<_> = runs
        .flatten()
        .map(|run| run.path())
        .filter(|run| !run.is_symlink())
        .collect();
    // A run's id begins with its time.
    runs.sort_unstable();
    let files = runs.iter().rev().map(|run| run.join(FILE));
    let mut about = files.filter(|file| {
        parsed::<Head>(file).is_ok_and(|proof| proof.version == VERSION && proof.commit == head)
    });
    Ok(about.find_map(|file| read(&file).ok()))
}

/// What `ci --export` wrote: the proof, and the images that it is about, each of them whole.
///
/// # Errors
/// Exit 2, naming the file that is missing, damaged or of another version, or the image that is not there.
pub fn from_folder(folder: &Path) -> Result<(Proof, Layout)> {
    let proof = read(&folder.join(FILE))?;
    let layout = Layout::open(folder)?;
    for image in &proof.images {
        layout.check(&image.digest)?;
    }
    Ok((proof, layout))
}

/// The remedy of a file that is no proof.
const AGAIN: &str = "`cargo xtask ci --export DIR` writes proof and images: carry the whole folder over";

fn read(file: &Path) -> Result<Proof, Failure> {
    let head: Head = parsed(file)?;
    if head.version != VERSION {
        let what = format!("{}: version {}, not {VERSION}", file.display(), head.version);
        let hint = "it is another pipeline's: prove and release with the same commit";
        return Err(Failure::usage(what, hint));
    }
    parsed(file)
}

fn parsed<T: DeserializeOwned>(file: &Path) -> Result<T, Failure> {
    let text =
        std::fs::read(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display()), AGAIN))?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::usage(format!("{} is no proof: {error}", file.display()), AGAIN))
}

#[cfg(test)]
mod tests {
    use super::super::testing::good;
    use super::*;
    use crate::cli::RunOptions;

    fn write(run: &Path, proof: &Proof) {
        std::fs::create_dir_all(run).unwrap();
        std::fs::write(run.join(FILE), serde_json::to_vec(proof).unwrap()).unwrap();
    }

    #[test]
    fn the_latest_proof_of_the_commit_is_found() {
        let root = tempfile::tempdir().unwrap();
        let context = Context::new(root.path().to_owned(), RunOptions::default());
        let head = good().commit;
        assert_eq!(latest(&context, &head).unwrap(), None);
        let reports = root.path().join("reports");
        for (run, commit) in [
            ("20261121-1", &head),
            ("20261121-2", &head),
            ("20261121-4", &"f".repeat(40)),
        ] {
            let proof = Proof {
                run_id: run.into(),
                commit: commit.clone(),
                ..good()
            };
            write(&reports.join(run), &proof);
        }
        // Killed while it wrote, of another version, and none at all.
        std::fs::create_dir_all(reports.join("20261121-5")).unwrap();
        std::fs::write(reports.join("20261121-5").join(FILE), "{\"version\":1,").unwrap();
        write(&reports.join("20261121-6"), &Proof { version: 9, ..good() });
        std::fs::create_dir_all(reports.join("20261121-7")).unwrap();
        let found = latest(&context, &head).unwrap().unwrap();
        assert_eq!(found.run_id, "20261121-2");
    }

    #[test]
    fn a_proof_of_another_version_or_of_none_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |folder: &Path| from_folder(folder).unwrap_err().to_string();
        assert!(refused(folder.path()).contains("proof.json: No such file"));
        std::fs::write(folder.path().join(FILE), "[]").unwrap();
        assert!(refused(folder.path()).contains("proof.json is no proof"));
        write(folder.path(), &Proof { version: 9, ..good() });
        assert!(refused(folder.path()).contains("proof.json: version 9, not 1"));
        write(folder.path(), &good());
        assert!(refused(folder.path()).contains("oci-layout"), "no images");
        Layout::create(&folder.path().join("elsewhere")).unwrap();
        for name in ["oci-layout", "index.json"] {
            let from = folder.path().join("elsewhere").join(name);
            std::fs::rename(from, folder.path().join(name)).unwrap();
        }
        let said = refused(folder.path());
        assert!(
            said.contains(&"a".repeat(64)),
            "an image that is not there: {said}"
        );
    }
}
