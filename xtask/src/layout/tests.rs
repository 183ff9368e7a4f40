//! Layouts, made by code.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::archive;

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hash::of(bytes))
}

fn describe(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

/// An archive as an engine exports it, of an image with these layers; gives its digest.
fn archive(path: &Path, layers: &[&[u8]]) -> String {
    let config = br#"{"architecture":"amd64","os":"linux"}"#;
    let described = layers
        .iter()
        .map(|layer| describe("application/vnd.oci.image.layer.v1.tar+gzip", layer));
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
        "config": describe("application/vnd.oci.image.config.v1+json", config),
        "layers": described.collect::<Vec<_>>() })
    .to_string();
    let mut blobs = vec![config.as_slice(), manifest.as_bytes()];
    blobs.extend(layers);
    pack(path, &blobs);
    digest(manifest.as_bytes())
}

fn pack(path: &Path, blobs: &[&[u8]]) {
    let mut tar = tar::Builder::new(std::fs::File::create(path).unwrap());
    for blob in blobs {
        let mut header = tar::Header::new_gnu();
        header.set_size(blob.len() as u64);
        header.set_mode(0o644);
        let name = format!("blobs/{}", digest(blob).replace(':', "/"));
        tar.append_data(&mut header, name, *blob).unwrap();
    }
    tar.finish().unwrap();
}

struct Here {
    _folder: tempfile::TempDir,
    archive: PathBuf,
    layout: Layout,
}

fn here() -> Here {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::create(&folder.path().join("images")).unwrap();
    let archive = folder.path().join("a.tar");
    Here {
        _folder: folder,
        archive,
        layout,
    }
}

fn words(error: &anyhow::Error) -> (crate::exit::Exit, String) {
    crate::exit::explain(error)
}

#[test]
fn an_image_goes_in_and_comes_out_as_the_same_bytes() {
    let here = here();
    let image = archive(&here.archive, &[b"base", b"own", b"own"]);
    here.layout.add(&here.archive, &image, "horme-a").unwrap();
    let layout = Layout::open(here.layout.folder()).unwrap();
    let named = layout.images().unwrap();
    assert_eq!((named.len(), named[0].0.as_str()), (1, "horme-a"));
    assert_eq!(named[0].1.digest, image);
    assert_eq!(
        named[0].1.platform.as_ref().map(ToString::to_string).as_deref(),
        Some("linux/amd64")
    );
    assert_eq!(digest(&layout.manifest_bytes(&image).unwrap()), image);
    let layers = layout.manifest(&image).unwrap().layers;
    assert_eq!(std::fs::read(layout.blob(&layers[1].digest)).unwrap(), b"own");
    layout.check(&image).unwrap();
}

#[test]
fn what_images_share_is_there_once_and_a_name_moves() {
    let here = here();
    let first = archive(&here.archive, &[b"base", b"first"]);
    here.layout.add(&here.archive, &first, "horme-a").unwrap();
    let other = archive(&here.archive, &[b"base", b"other"]);
    here.layout.add(&here.archive, &other, "horme-b").unwrap();
    let blobs = std::fs::read_dir(here.layout.folder().join("blobs/sha256")).unwrap();
    // Two manifests, one configuration, three layers.
    assert_eq!(blobs.count(), 6);
    here.layout.add(&here.archive, &other, "horme-a").unwrap();
    let named = here.layout.images().unwrap();
    assert_eq!(named.len(), 2);
    assert!(named.iter().all(|(_, manifest)| manifest.digest == other));
}

#[test]
fn an_archive_that_is_not_what_it_should_be_is_refused_and_leaves_nothing_half() {
    let here = here();
    let image = archive(&here.archive, &[b"base"]);
    let (exit, said) = words(
        &here
            .layout
            .add(&here.archive, &digest(b"none"), "horme-a")
            .unwrap_err(),
    );
    assert_eq!(exit, crate::exit::Exit::Usage);
    assert!(said.contains("containerd image store"), "{said}");
    // The layer's name is kept, its content is another.
    let bytes = std::fs::read(&here.archive).unwrap();
    let at = bytes.windows(4).position(|four| four == b"base").unwrap();
    let mut damaged = bytes;
    damaged[at] = b'B';
    std::fs::write(&here.archive, damaged).unwrap();
    let said = words(&here.layout.add(&here.archive, &image, "horme-a").unwrap_err()).1;
    assert!(said.contains("the engine's archive is damaged"), "{said}");
    assert!(here.layout.images().unwrap().is_empty());
    let left = std::fs::read_dir(here.layout.folder().join("blobs/sha256")).unwrap();
    assert!(left.flatten().all(|entry| entry.path().extension().is_none()));
    // A cut-off archive holds no layer.
    let image = archive(&here.archive, &[b"lost"]);
    let kept = archive::bytes(&here.archive, &image).unwrap();
    pack(
        &here.archive,
        &[&kept, br#"{"architecture":"amd64","os":"linux"}"#],
    );
    let said = words(&here.layout.add(&here.archive, &image, "horme-a").unwrap_err()).1;
    assert!(said.contains(&format!("holds no {}", digest(b"lost"))), "{said}");
}

#[test]
fn a_damaged_or_missing_blob_is_named_with_its_remedy() {
    let here = here();
    let image = archive(&here.archive, &[b"base", b"own"]);
    here.layout.add(&here.archive, &image, "horme-a").unwrap();
    let layer = here.layout.blob(&digest(b"own"));
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 3] = [
        (|file| std::fs::write(file, "OWN").unwrap(), "damaged"),
        (|file| std::fs::write(file, "longer").unwrap(), "6 bytes, not 3"),
        (|file| std::fs::remove_file(file).unwrap(), "No such file"),
    ];
    for (damage, word) in damages {
        damage(&layer);
        let (exit, said) = words(&here.layout.check(&image).unwrap_err());
        assert_eq!(exit, crate::exit::Exit::Usage);
        assert!(said.contains(word) && said.contains(&hash::of(b"own")), "{said}");
        assert!(said.contains("ci --export"), "{said}");
        // What is damaged is written anew.
        here.layout.add(&here.archive, &image, "horme-a").unwrap();
        here.layout.check(&image).unwrap();
    }
    std::fs::write(here.layout.blob(&image), "{}").unwrap();
    assert!(
        words(&here.layout.manifest_bytes(&image).unwrap_err())
            .1
            .contains("damaged")
    );
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "").unwrap();
    let refused = Layout::create(folder.path()).unwrap_err();
    assert_eq!(words(&refused).0, crate::exit::Exit::Usage);
    let refused = Layout::open(folder.path()).unwrap_err();
    assert!(words(&refused).1.contains("oci-layout"), "{refused:#}");
    std::fs::write(
        folder.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"2.0.0"}"#,
    )
    .unwrap();
    let refused = Layout::create(folder.path()).unwrap_err();
    assert!(words(&refused).1.contains("version 2.0.0"), "{refused:#}");
}

#[test]
fn no_digest_leads_out_of_the_folder() {
    let here = here();
    for wrong in [
        "sha256:../../x",
        "sha512:ab",
        "",
        &format!("sha256:{}", "A".repeat(64)),
    ] {
        let refused = here.layout.manifest_bytes(wrong).unwrap_err();
        assert!(words(&refused).1.contains("is no digest"), "{refused:#}");
    }
}

#[test]
fn an_index_is_no_image() {
    let here = here();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
    pack(&here.archive, &[index.as_bytes()]);
    let refused = here
        .layout
        .add(&here.archive, &digest(index.as_bytes()), "horme-a")
        .unwrap_err();
    assert!(words(&refused).1.contains("no image manifest"), "{refused:#}");
}
