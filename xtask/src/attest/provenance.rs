//! Provenance (SLSA v1): from which commit, base images and arguments an image was built, by whom, and when.

use serde_json::{Map, Value, json};

use super::Release;
use crate::proof::{Proof, ProvenImage};

/// What this kind of build means is said in the README, under this heading.
const BUILD_TYPE: &str = "image-build-v1";

/// Whoever ran `cargo xtask ci` on a machine of his own: nothing vouches for that machine.
const LOCAL_BUILDER: &str = "urn:horme:builder:local";

pub(super) fn predicate(release: &Release, proof: &Proof, image: &ProvenImage) -> Value {
    json!({
        "buildDefinition": {
            "buildType": build_type(release),
            "externalParameters": {
                "service": image.service,
                "target": "prod",
                "platform": proof.platform,
                "arguments": image.args,
            },
            "internalParameters": {
                "release": release.version,
                "image": image.image,
                "crateVersion": image.crate_version,
                "dockerfile": image.dockerfile,
                "key": image.key,
                "revision": image.revision,
                "bases": proof.bases_origin,
                "builtWith": image.built_with,
            },
            "resolvedDependencies": dependencies(release, proof),
        },
        "runDetails": {
            "builder": {
                "id": proof.job.as_ref().map_or(LOCAL_BUILDER, |job| job.workflow.as_str()),
                "version": { "horme": env!("CARGO_PKG_VERSION") },
            },
            "metadata": metadata(proof, image),
        },
    })
}

fn build_type(release: &Release) -> String {
    match release.source {
        Some(source) => format!("{source}#{BUILD_TYPE}"),
        None => format!("urn:horme:{BUILD_TYPE}"),
    }
}

/// The page of the job that built it; where that was another run than the one that proved it, that run's id.
fn metadata(proof: &Proof, image: &ProvenImage) -> Value {
    let page = proof.job.as_ref().map(|job| job.page.as_str());
    let page = page.filter(|_| image.built_by == proof.run_id);
    let mut metadata = Map::new();
    metadata.insert("invocationId".into(), page.unwrap_or(&image.built_by).into());
    let times = [
        ("startedOn", image.build_started_at),
        ("finishedOn", image.build_finished_at),
    ];
    for (name, at) in times {
        if let Some(at) = at {
            metadata.insert(name.into(), at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
        }
    }
    metadata.into()
}

/// The commit, and the base images as they were taken.
fn dependencies(release: &Release, proof: &Proof) -> Vec<Value> {
    let mut commit = json!({ "name": "source", "digest": { "gitCommit": release.commit } });
    if let Some(source) = release.source {
        commit["uri"] = format!("git+{source}@{}", release.commit).into();
    }
    let bases = proof.bases.iter().map(|(name, taken)| base(name, taken));
    std::iter::once(commit).chain(bases).collect()
}

fn base(name: &str, taken: &str) -> Value {
    let mut base = json!({ "name": name });
    let digest = taken
        .split_once("sha256:")
        .map(|(_, hex)| hex.chars().take_while(char::is_ascii_hexdigit));
    if let Some(hex) = digest.map(String::from_iter).filter(|hex| hex.len() == 64) {
        base["digest"] = json!({ "sha256": hex });
    }
    // What is nothing but a digest has no name to be found under.
    if !taken.starts_with("sha256:") {
        base["uri"] = format!("docker-image://{taken}").into();
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::testing;

    fn said(change: impl FnOnce(&mut Proof)) -> Value {
        let mut proof = testing::proof();
        change(&mut proof);
        predicate(&testing::release(), &proof, &proof.images[0])
    }

    /// The rules of the field descriptions of SLSA's provenance v1, and of in-toto's resource descriptor.
    fn faults(predicate: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        let mut rule = |holds: bool, words: &str| {
            if !holds {
                faults.push(words.to_owned());
            }
        };
        let is_uri = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| reqwest::Url::parse(text).is_ok())
        };
        let (definition, details) = (&predicate["buildDefinition"], &predicate["runDetails"]);
        rule(is_uri(&definition["buildType"]), "buildType is a URI");
        rule(
            definition["externalParameters"].is_object(),
            "externalParameters is an object",
        );
        let internal = &definition["internalParameters"];
        rule(
            internal.is_null() || internal.is_object(),
            "internalParameters is an object",
        );
        for dependency in definition["resolvedDependencies"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let uri = &dependency["uri"];
            rule(uri.is_null() || is_uri(uri), "uri is one");
            let digests = dependency["digest"].as_object();
            rule(
                is_uri(uri) || digests.is_some(),
                "a dependency has a uri or a digest",
            );
            let hex = |value: &Value| {
                value
                    .as_str()
                    .is_some_and(|text| text.chars().all(|c| c.is_ascii_hexdigit()))
            };
            rule(
                digests.is_none_or(|digests| digests.values().all(hex)),
                "digests are hex",
            );
        }
        rule(is_uri(&details["builder"]["id"]), "builder.id is a URI");
        for name in ["startedOn", "finishedOn"] {
            let at = &details["metadata"][name];
            let is_utc = at.as_str().is_some_and(|text| {
                text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok() && text.len() == 20
            });
            rule(at.is_null() || is_utc, "times are RFC 3339 in UTC");
        }
        let known = ["buildDefinition", "runDetails"];
        let names = predicate.as_object().into_iter().flat_map(Map::keys);
        rule(
            names.into_iter().all(|name| known.contains(&name.as_str())),
            "no other field",
        );
        let known = ["invocationId", "startedOn", "finishedOn"];
        let names = details["metadata"].as_object().into_iter().flat_map(Map::keys);
        rule(
            names.into_iter().all(|name| known.contains(&name.as_str())),
            "no other field in metadata",
        );
        faults
    }

    #[test]
    fn it_names_commit_bases_builder_and_times() {
        insta::assert_json_snapshot!(said(|_| ()));
    }

    #[test]
    fn the_rules_of_slsa_hold_and_are_not_empty() {
        assert_eq!(faults(&said(|_| ())), Vec::<String>::new());
        let nowhere = Release {
            source: None,
            ..testing::release()
        };
        let mut proof = testing::proof();
        proof.job = None;
        let mut local = predicate(&nowhere, &proof, &proof.images[0]);
        assert_eq!(faults(&local), Vec::<String>::new());
        assert_eq!(local["runDetails"]["builder"]["id"], LOCAL_BUILDER);
        local["buildDefinition"]["buildType"] = "no uri".into();
        local["runDetails"]["metadata"]["startedOn"] = "yesterday".into();
        local["runDetails"]["metadata"]["invocationID"] = "1".into();
        assert_eq!(faults(&local).len(), 3);
    }

    #[test]
    fn an_image_that_an_earlier_run_built_is_no_work_of_this_job() {
        let said = said(|proof| proof.images[0].built_by = "20261101-000000-0001".into());
        assert_eq!(
            said["runDetails"]["metadata"]["invocationId"],
            "20261101-000000-0001"
        );
    }

    #[test]
    fn a_base_is_named_by_what_was_taken() {
        let hex = "e".repeat(64);
        assert_eq!(
            base("rust:1", &format!("sha256:{hex}")),
            json!({ "name": "rust:1", "digest": { "sha256": hex } })
        );
        assert_eq!(
            base("rust:1", "horme-local/builder:1"),
            json!({ "name": "rust:1", "uri": "docker-image://horme-local/builder:1" })
        );
    }
}
