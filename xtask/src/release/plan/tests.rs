//! What a plan says, by what the registry has.

use super::*;

fn digest(name: &str) -> String {
    format!("sha256:{}", crate::hash::of(name))
}

fn blob(name: &str, size: u64) -> Descriptor {
    Descriptor {
        media_type: "application/octet-stream".to_owned(),
        digest: digest(name),
        size,
        artifact_type: None,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

fn manifest(image: &str, platform: &str) -> BuiltManifest {
    BuiltManifest {
        platform: platform.to_owned(),
        digest: digest(&format!("{image} {platform}")),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        size_bytes: 700,
        blobs: vec![
            blob(&format!("config {image} {platform}"), 1_500),
            blob(&format!("base {platform}"), 2_000_000),
            blob(&format!("binary {image} {platform}"), 4_000_000),
            // An empty layer twice.
            blob("empty", 32),
            blob("empty", 32),
        ],
    }
}

fn built(platforms: &[&str]) -> Vec<Built> {
    let image = |name: &str| Built {
        service: name.to_owned(),
        image: format!("horme-{name}"),
        manifests: platforms
            .iter()
            .map(|platform| manifest(name, platform))
            .collect(),
    };
    vec![image("one"), image("two")]
}

fn named(tags: &[&str]) -> Named {
    Named {
        version: tags[0].to_owned(),
        snapshot: false,
        commit: "734517e9d1b6a0f3c2e4d5a6b7c8d9e0f1a2b3c4".to_owned(),
        source: Some("https://github.com/acme/horme".to_owned()),
        host: "ghcr.io".to_owned(),
        owner: "acme".to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    }
}

const TAGS: [&str; 3] = ["1.4.2", "1.4", "latest"];

/// A registry that has everything of one image, and an older version of it under two tags.
fn has_one(built: &[Built]) -> BTreeMap<String, Standing> {
    let one = &built[0].manifests[0];
    let blobs = one.blobs.iter().map(|blob| blob.digest.clone());
    let standing = Standing {
        tags: BTreeMap::from([
            ("1.4".to_owned(), digest("old")),
            ("latest".to_owned(), one.digest.clone()),
        ]),
        there: blobs.chain([one.digest.clone()]).collect(),
        attached: BTreeMap::from([(one.digest.clone(), BTreeSet::from([Kind::Sbom, Kind::Signature]))]),
    };
    BTreeMap::from([
        ("acme/horme-one".to_owned(), standing),
        ("acme/horme-two".to_owned(), Standing::default()),
    ])
}

fn steps(image: &ImageRelease) -> Vec<&BlobStep> {
    image
        .manifests
        .iter()
        .flat_map(|manifest| &manifest.blobs)
        .map(|blob| &blob.step)
        .collect()
}

#[test]
fn what_images_share_is_sent_once_and_mounted_elsewhere() {
    let built = built(&["linux/amd64"]);
    let nothing = built
        .iter()
        .map(|image| (format!("acme/{}", image.image), Standing::default()));
    let plan = work_out(&named(&TAGS), &built, &nothing.collect());
    let mount = BlobStep::Mount {
        from: "acme/horme-one".to_owned(),
    };
    use BlobStep::Upload;
    assert_eq!(steps(&plan.images[0]), [&Upload, &Upload, &Upload, &Upload]);
    assert_eq!(steps(&plan.images[1]), [&Upload, &mount, &Upload, &mount]);
    let from_there = work_out(&named(&TAGS), &built, &has_one(&built));
    assert_eq!(steps(&from_there.images[0]), [&BlobStep::There; 4]);
    assert_eq!(steps(&from_there.images[1]), [&Upload, &mount, &Upload, &mount]);
}

#[test]
fn a_later_image_lends_what_an_earlier_one_lacks() {
    let mut built = built(&["linux/amd64"]);
    built.reverse();
    let plan = work_out(&named(&TAGS), &built, &has_one(&built[1..]));
    assert_eq!(plan.images[0].image, "horme-two");
    let mounted = steps(&plan.images[0])
        .into_iter()
        .filter(|step| matches!(step, BlobStep::Mount { .. }));
    assert_eq!(mounted.count(), 2);
}

#[test]
fn several_platforms_are_one_index_whose_bytes_are_always_the_same() {
    let amd_first = built(&["linux/amd64", "linux/arm64"]);
    let arm_first = built(&["linux/arm64", "linux/amd64"]);
    let plan = work_out(&named(&TAGS), &amd_first, &BTreeMap::new());
    assert_eq!(plan, work_out(&named(&TAGS), &arm_first, &BTreeMap::new()));
    let image = &plan.images[0];
    let index = image.index.as_ref().unwrap();
    assert_eq!((&image.digest, &image.tags[0].to), (&index.digest, &index.digest));
    assert_eq!(index.digest, digest(&index.text));
    let said: serde_json::Value = serde_json::from_str(&index.text).unwrap();
    assert_eq!(
        (&said["schemaVersion"], &said["mediaType"]),
        (&2.into(), &INDEX.into())
    );
    assert_eq!(said["manifests"][1]["digest"], digest("one linux/arm64"));
    assert_eq!(said["manifests"][1]["platform"]["architecture"], "arm64");
    assert_eq!(said["manifests"][0]["size"], 700);
    assert_eq!(index.attachments.len(), 1);
    assert_eq!(image.manifests[1].attachments.len(), 4);
    let alone = work_out(&named(&TAGS), &built(&["linux/amd64"]), &BTreeMap::new());
    assert_eq!(alone.images[0].digest, digest("one linux/amd64"));
    assert!(alone.images[0].index.is_none());
}

#[test]
fn a_version_is_claimed_and_a_snapshot_is_not() {
    let built = built(&["linux/amd64"]);
    let plan = work_out(&named(&TAGS), &built, &BTreeMap::new());
    let claim = plan.images[1].claim.as_ref().unwrap();
    assert_eq!(
        (claim.tag.as_str(), &claim.to),
        ("claim-1.4.2", &plan.images[1].digest)
    );
    let snapshot = Named {
        snapshot: true,
        ..named(&["main"])
    };
    assert!(
        work_out(&snapshot, &built, &BTreeMap::new()).images[0]
            .claim
            .is_none()
    );
}

#[test]
fn a_plan_is_read_back_as_it_was_written() {
    let built = built(&["linux/amd64", "linux/arm64"]);
    let plan = work_out(&named(&TAGS), &built, &has_one(&built));
    let written = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<ReleasePlan>(&written).unwrap(), plan);
}

#[test]
fn a_plan_in_words() {
    let built = built(&["linux/amd64"]);
    insta::assert_snapshot!(describe(&work_out(&named(&TAGS), &built, &has_one(&built))));
}

#[test]
fn a_plan_of_two_platforms_for_a_registry_that_did_not_answer() {
    let mut built = built(&["linux/arm64", "linux/amd64"]);
    built.truncate(1);
    let named = Named {
        snapshot: true,
        owner: String::new(),
        host: "127.0.0.1:5000".to_owned(),
        source: None,
        ..named(&["main", "sha-734517e9d1b6a0f3c2e4d5a6b7c8d9e0f1a2b3c4"])
    };
    insta::assert_snapshot!(describe(&work_out(&named, &built, &BTreeMap::new())));
}
