//! One image, measured by its archive: its layers, what made them, their files, and the binary that it starts.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::anatomy::{Anatomy, BinaryPart, LayerPart};
use super::{crates, files};
use crate::archive::{self, Configuration};

/// What is looked at to measure one image.
pub(super) struct Look {
    pub(super) archive: PathBuf,
    pub(super) digest: String,
    /// Of the Dockerfile's instructions that the image is made by.
    pub(super) own_words: Vec<String>,
    /// A folder with the binary's twin in it, or why there is none.
    pub(super) twin: Result<PathBuf, String>,
}

impl Look {
    /// Measures an OCI archive: the manifest of `digest` and its layers.
    ///
    /// # Errors
    /// An archive without that manifest or one of its layers, or a layer that cannot be unpacked.
    pub(super) fn measure(&self) -> Result<Anatomy> {
        let layers = archive::layers(&self.archive, &self.digest)?;
        let configuration = archive::configuration(&self.archive, &self.digest)?;
        let program = configuration.config.entrypoint.iter().flatten().next();
        let mut contents = vec![Vec::new(); layers.len()];
        let mut unpacked = vec![0; layers.len()];
        // The archive's order is not the layers'.
        let mut programs: Vec<Option<Vec<u8>>> = vec![None; layers.len()];
        archive::unpack_each(&self.archive, &layers, |places, layer| {
            let mut layer = Counted { layer, bytes: 0 };
            let mut kept = None;
            let content = files::read(&mut layer, program.map(String::as_str), &mut kept)?;
            // A tar's padding is of the layer too.
            std::io::copy(&mut layer, &mut std::io::sink())?;
            for place in places {
                contents[*place] = content.clone();
                unpacked[*place] = layer.bytes;
                programs[*place].clone_from(&kept);
            }
            Ok(())
        })?;
        let shown = programs.into_iter().flatten().next_back();
        let steps = steps(&configuration, &self.own_words, layers.len());
        let parts = layers.iter().zip(&unpacked).zip(steps);
        let parts = parts.map(|((layer, unpacked_bytes), (from, created_by))| LayerPart {
            digest: layer.digest.clone(),
            from: from.to_owned(),
            created_by,
            unpacked_bytes: *unpacked_bytes,
            compressed_bytes: layer.size,
        });
        let mut anatomy = Anatomy {
            unpacked_bytes: unpacked.iter().sum(),
            compressed_bytes: layers.iter().map(|layer| layer.size).sum(),
            layers: parts.collect(),
            binary: program
                .zip(shown)
                .map(|(path, bytes)| self.by_crate(path, &bytes)),
            ..Anatomy::default()
        };
        files::lay(contents, &mut anatomy);
        Ok(anatomy.sorted())
    }

    fn by_crate(&self, path: &str, bytes: &[u8]) -> BinaryPart {
        let twin = self.twin.clone().and_then(|folder| read_twin(&folder, path));
        let attributed = twin.and_then(|twin| crates::attribute(path, bytes, &twin));
        attributed.unwrap_or_else(|why| BinaryPart {
            path: path.to_owned(),
            size_bytes: bytes.len() as u64,
            unattributed_bytes: bytes.len() as u64,
            crates_absent: Some(why),
            ..BinaryPart::default()
        })
    }
}

fn read_twin(folder: &Path, path: &str) -> Result<Vec<u8>, String> {
    let inside = folder.join(path.trim_start_matches('/'));
    std::fs::read(inside).map_err(|error| format!("the stage of symbols has no {path} ({error})"))
}

/// Where each layer comes from and the instruction that made it. Ours are the last steps of the image's history,
/// as many as the Dockerfile has instructions, if they begin with the same words.
fn steps(configuration: &Configuration, own_words: &[String], layers: usize) -> Vec<(&'static str, String)> {
    let history = &configuration.history;
    let ours_from = history.len().checked_sub(own_words.len()).filter(|start| {
        let mut own = history[*start..].iter().zip(own_words);
        own.all(|(step, word)| step.created_by.starts_with(word.as_str()))
    });
    let made = history.iter().enumerate().filter(|(_, step)| !step.empty_layer);
    let made: Vec<_> = made
        .map(|(place, step)| {
            let from = ours_from.map_or("unknown", |start| if place < start { "base" } else { "ours" });
            (from, step.created_by.trim_end_matches(" # buildkit").to_owned())
        })
        .collect();
    if made.len() == layers {
        return made;
    }
    vec![("unknown", String::new()); layers]
}

/// Counts what is read of a layer.
struct Counted<'a> {
    layer: &'a mut dyn Read,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = self.layer.read(into)?;
        self.bytes += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Start, Step};
    use std::io::Write;

    fn add(tar: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, bytes).unwrap();
    }

    fn layer(path: &str, bytes: &[u8]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        add(&mut tar, path, bytes);
        tar.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    /// A base with a list and one layer of ours with the program.
    fn archive_with_a_gzip_and_a_plain_layer() -> tempfile::NamedTempFile {
        // In two members, as some builders pack: the first ends where a header would begin.
        let (head, tail) = (layer("etc/list", &[7; 100_000]), 512 + 100_352);
        let packed = [gzip(&head[..tail]), gzip(&head[tail..])].concat();
        let program = layer("app", &[1; 500]);
        let manifest = serde_json::json!({ "config": { "digest": "sha256:cc" }, "layers": [
            { "digest": "sha256:aa", "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": packed.len() },
            { "digest": "sha256:bb", "mediaType": "application/vnd.oci.image.layer.v1.tar", "size": program.len() },
        ]});
        let configuration = serde_json::json!({ "config": { "Entrypoint": ["/app"] }, "history": [
            { "created_by": "COPY / / # buildkit" },
            { "created_by": "ENV A=1", "empty_layer": true },
            { "created_by": "COPY /out/app /app # buildkit" },
        ]});
        let mut tar = tar::Builder::new(Vec::new());
        add(&mut tar, "blobs/sha256/bb", &program);
        add(&mut tar, "blobs/sha256/aa", &packed);
        add(&mut tar, "blobs/sha256/cc", configuration.to_string().as_bytes());
        add(&mut tar, "blobs/sha256/mm", manifest.to_string().as_bytes());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&tar.into_inner().unwrap()).unwrap();
        file
    }

    fn measure(archive: &Path, digest: &str) -> Result<Anatomy> {
        let look = Look {
            archive: archive.to_owned(),
            digest: digest.to_owned(),
            own_words: vec!["COPY".to_owned()],
            twin: Err("no twin".to_owned()),
        };
        look.measure()
    }

    #[test]
    fn layers_are_unpacked_and_added_up() {
        let archive = archive_with_a_gzip_and_a_plain_layer();
        let anatomy = measure(archive.path(), "sha256:mm").unwrap();
        // Contents in blocks of 512 bytes, a header each, two empty blocks at the end.
        assert_eq!(anatomy.layers[0].unpacked_bytes, 512 + 100_352 + 1_024);
        assert_eq!(anatomy.layers[1].unpacked_bytes, 512 + 512 + 1_024);
        assert_eq!(anatomy.unpacked_bytes, 103_936);
        assert!(anatomy.compressed_bytes < 3_000, "{}", anatomy.compressed_bytes);
        let layers: Vec<_> = anatomy
            .layers
            .iter()
            .map(|layer| (layer.from.as_str(), layer.created_by.as_str()))
            .collect();
        assert_eq!(layers, [("base", "COPY / /"), ("ours", "COPY /out/app /app")]);
        let files: Vec<_> = anatomy
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.layer, file.size_bytes))
            .collect();
        assert_eq!(files, [("/etc/list", 0, 100_000), ("/app", 1, 500)]);
        let binary = anatomy.binary.unwrap();
        assert_eq!((binary.path.as_str(), binary.unattributed_bytes), ("/app", 500));
        assert_eq!(binary.crates_absent.as_deref(), Some("no twin"));
    }

    #[test]
    fn the_program_is_the_one_that_shows() {
        let (hidden, shown) = (layer("app", &[1; 300]), layer("app", &[2; 500]));
        let named = |digest: &str, bytes: &[u8]| {
            serde_json::json!({ "digest": digest, "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "size": bytes.len() })
        };
        let manifest = serde_json::json!({ "config": { "digest": "sha256:cc" },
            "layers": [named("sha256:aa", &hidden), named("sha256:bb", &shown)] });
        let mut tar = tar::Builder::new(Vec::new());
        add(&mut tar, "blobs/sha256/bb", &shown);
        add(&mut tar, "blobs/sha256/aa", &hidden);
        add(
            &mut tar,
            "blobs/sha256/cc",
            br#"{"config": {"Entrypoint": ["/app"]}}"#,
        );
        add(&mut tar, "blobs/sha256/mm", manifest.to_string().as_bytes());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&tar.into_inner().unwrap()).unwrap();
        let anatomy = measure(file.path(), "sha256:mm").unwrap();
        assert_eq!(anatomy.binary.unwrap().size_bytes, 500);
    }

    #[test]
    fn an_archive_without_the_digest_is_an_error_not_a_zero() {
        let archive = archive_with_a_gzip_and_a_plain_layer();
        assert!(measure(archive.path(), "sha256:other").is_err());
    }

    #[test]
    fn a_history_that_is_not_the_dockerfiles_leaves_the_origin_unknown() {
        let step = |created_by: &str| Step {
            created_by: created_by.to_owned(),
            empty_layer: false,
        };
        let configuration = Configuration {
            history: vec![step("COPY / /"), step("COPY /a /a")],
            config: Start::default(),
        };
        let from = |words: &[&str], layers| -> Vec<&str> {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let steps = steps(&configuration, &words, layers);
            steps.into_iter().map(|(from, _)| from).collect()
        };
        assert_eq!(from(&["COPY"], 2), ["base", "ours"]);
        assert_eq!(from(&["RUN"], 2), ["unknown", "unknown"]);
        assert_eq!(from(&["COPY", "COPY", "COPY"], 2), ["unknown", "unknown"]);
        assert_eq!(from(&["COPY"], 3), ["unknown", "unknown", "unknown"]);
    }
}
