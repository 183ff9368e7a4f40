//! Small plans for the tests of the steps.

use std::collections::BTreeMap;

use super::plan::{Built, BuiltManifest, Named, ReleasePlan, work_out};
use crate::layout::Descriptor;

/// Images by name, each with its blobs: digest and size.
pub fn plan(images: &[(&str, &[(&str, u64)])]) -> ReleasePlan {
    let named = Named {
        version: "1.4.2".to_owned(),
        snapshot: false,
        commit: "c".repeat(40),
        source: None,
        host: "ghcr.io".to_owned(),
        owner: "acme".to_owned(),
        tags: ["1.4.2", "sha-cccccccccccc", "1.4", "1", "latest"]
            .map(str::to_owned)
            .to_vec(),
    };
    let images: Vec<Built> = images.iter().map(|(name, blobs)| built(name, blobs)).collect();
    work_out(&named, &images, &BTreeMap::new())
}

fn built(name: &str, blobs: &[(&str, u64)]) -> Built {
    let blob = |(digest, size): &(&str, u64)| Descriptor {
        media_type: "application/octet-stream".to_owned(),
        digest: (*digest).to_owned(),
        size: *size,
        artifact_type: None,
        platform: None,
        annotations: BTreeMap::new(),
    };
    let manifest = BuiltManifest {
        platform: "linux/amd64".to_owned(),
        digest: format!("sha256:{name}"),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        size_bytes: 7,
        blobs: blobs.iter().map(blob).collect(),
    };
    Built {
        service: name.to_owned(),
        image: format!("horme-{name}"),
        manifests: vec![manifest],
    }
}
