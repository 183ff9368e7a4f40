//! What differs between two images: in the manifest, in the configuration (by key), in the layers (by file).

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::listing::{self, Listing};
use crate::archive::{self, Layer};

/// An image in an archive.
pub(super) struct Image<'a> {
    pub(super) archive: &'a Path,
    pub(super) digest: &'a str,
}

/// A line for each difference, the plainest first.
///
/// # Errors
/// An archive that cannot be read.
pub(super) fn between(one: &Image<'_>, other: &Image<'_>) -> Result<Vec<String>> {
    let [mut manifest, mut manifest2] = [document(one, one.digest)?, document(other, other.digest)?];
    let [config, config2] = [configuration(one, &manifest)?, configuration(other, &manifest2)?];
    // What stands in them follows from what they name.
    for manifest in [&mut manifest, &mut manifest2] {
        for key in ["config", "layers"] {
            manifest.as_object_mut().map(|keys| keys.remove(key));
        }
    }
    let mut lines = of_json("manifest", &manifest, &manifest2);
    let (mut plain, mut plain2) = (config.clone(), config2);
    for config in [&mut plain, &mut plain2] {
        config.as_object_mut().map(|keys| keys.remove("rootfs"));
    }
    lines.extend(of_json("config", &plain, &plain2));
    lines.extend(of_layers(one, other, &steps(&config))?);
    if lines.is_empty() {
        lines.push("the same content under two digests: written down in another way".to_owned());
    }
    Ok(lines)
}

/// The first lines, and how many there are besides.
pub(super) fn first(mut lines: Vec<String>, most: usize) -> Vec<String> {
    let more = lines.len().saturating_sub(most);
    lines.truncate(most);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}

fn document(image: &Image<'_>, digest: &str) -> Result<Value> {
    archive::document(image.archive, digest)
}

fn configuration(image: &Image<'_>, manifest: &Value) -> Result<Value> {
    match manifest.pointer("/config/digest").and_then(Value::as_str) {
        Some(digest) => document(image, digest),
        None => Ok(Value::Null),
    }
}

/// The instruction that made each layer, as the history tells.
fn steps(config: &Value) -> Vec<String> {
    let history = config.get("history").and_then(Value::as_array);
    let made = history.into_iter().flatten();
    let made = made.filter(|step| step.get("empty_layer").and_then(Value::as_bool) != Some(true));
    made.map(|step| {
        step.get("created_by")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    })
    .collect()
}

/// Every place below `at` where two documents differ, with both values.
fn of_json(at: &str, one: &Value, other: &Value) -> Vec<String> {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a
                .keys()
                .chain(b.keys().filter(|key| !a.contains_key(*key)))
                .collect();
            keys.sort();
            let value =
                |of: &serde_json::Map<String, Value>, key: &str| of.get(key).cloned().unwrap_or_default();
            keys.into_iter()
                .flat_map(|key| of_json(&format!("{at}.{key}"), &value(a, key), &value(b, key)))
                .collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs
                .flat_map(|(place, (one, other))| of_json(&format!("{at}[{place}]"), one, other))
                .collect()
        }
        _ if one == other => Vec::new(),
        _ => vec![format!("{at}: {one} and {other}")],
    }
}

fn of_layers(one: &Image<'_>, other: &Image<'_>, steps: &[String]) -> Result<Vec<String>> {
    let layers = [
        archive::layers(one.archive, one.digest)?,
        archive::layers(other.archive, other.digest)?,
    ];
    if layers[0].len() != layers[1].len() {
        return Ok(vec![format!(
            "layers: {} and {}",
            layers[0].len(),
            layers[1].len()
        )]);
    }
    let mut lines = Vec::new();
    let pairs = layers[0].iter().zip(&layers[1]).enumerate();
    for (place, (before, after)) in pairs.filter(|(_, (before, after))| before.digest != after.digest) {
        let step = steps
            .get(place)
            .map(|step| format!(" ({step})"))
            .unwrap_or_default();
        let found = listing::differences(&listed(one, before)?, &listed(other, after)?);
        let at = |what: &str| format!("layer {}{step}: {what}", place + 1);
        if found.is_empty() {
            lines.push(at("the same files, in another order or packed in another way"));
        }
        lines.extend(found.iter().map(|line| at(line)));
    }
    Ok(lines)
}

fn listed(image: &Image<'_>, layer: &Layer) -> Result<Listing> {
    let mut listing = Listing::new();
    archive::unpack(image.archive, std::slice::from_ref(layer), |tar| {
        listing = listing::read(tar)?;
        Ok(())
    })?;
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::super::listing::tests::tar_of;
    use super::*;
    use crate::hash;
    use serde_json::json;

    /// An archive with one image of one layer in `folder`; its digest.
    fn image(folder: &Path, config: &Value, layer: &[u8]) -> String {
        let mut tar = tar::Builder::new(std::fs::File::create(folder.join("image.tar")).unwrap());
        let mut blob = |bytes: &[u8]| {
            let digest = hash::of(bytes);
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, format!("blobs/sha256/{digest}"), bytes)
                .unwrap();
            json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": format!("sha256:{digest}"), "size": bytes.len() })
        };
        let config = blob(config.to_string().as_bytes());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [blob(layer)] });
        let digest = blob(manifest.to_string().as_bytes())["digest"].clone();
        tar.finish().unwrap();
        digest.as_str().unwrap().to_owned()
    }

    fn lines(one: (&Value, &[u8]), other: (&Value, &[u8])) -> String {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let digests = [
            image(folders[0].path(), one.0, one.1),
            image(folders[1].path(), other.0, other.1),
        ];
        let archives = [0, 1].map(|place: usize| folders[place].path().join("image.tar"));
        let image = |place: usize| Image {
            archive: &archives[place],
            digest: &digests[place],
        };
        between(&image(0), &image(1)).unwrap().join("\n")
    }

    #[test]
    fn what_differs_is_named_by_key_and_by_file() {
        let config = |created: &str| {
            json!({ "created": created, "config": { "Labels": { "a": "1" } }, "rootfs": { "diff_ids": [created] },
                    "history": [{ "created_by": "ENV A=1", "empty_layer": true }, { "created_by": "COPY /out/x /x" }] })
        };
        let (before, after) = (config("2026-01-01T00:00:00Z"), config("2026-01-02T00:00:00Z"));
        let one = tar_of(&[("x", "1", 0o755, 0)]);
        let found = lines((&before, &one), (&after, &tar_of(&[("x", "2", 0o755, 0)])));
        insta::assert_snapshot!(found, @r#"
        config.created: "2026-01-01T00:00:00Z" and "2026-01-02T00:00:00Z"
        layer 1 (COPY /out/x /x): /x: content
        "#);
        let again = lines(
            (&before, &one),
            (&before, &tar_of(&[("x", "1", 0o755, 9), ("y", "", 0o644, 0)])),
        );
        insta::assert_snapshot!(again, @r"
        layer 1 (COPY /out/x /x): /x: mtime 1970-01-01T00:00:00Z and 1970-01-01T00:00:09Z
        layer 1 (COPY /out/x /x): /y: in the other alone
        ");
    }

    #[test]
    fn the_same_files_in_another_order_are_said_to_be_that() {
        let config = json!({});
        let [one, other] = [
            tar_of(&[("a", "", 0o644, 0), ("b", "", 0o644, 0)]),
            tar_of(&[("b", "", 0o644, 0), ("a", "", 0o644, 0)]),
        ];
        let found = lines((&config, &one), (&config, &other));
        assert_eq!(
            found,
            "layer 1: the same files, in another order or packed in another way"
        );
    }

    #[test]
    fn the_rest_is_counted() {
        let lines = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(first(lines.clone(), 1), ["a", "and 2 more"]);
        assert_eq!(first(lines, 3).len(), 3);
    }
}
