//! A proof for tests: two images, every gate passed on both.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::{Proof, ProvenImage, VERSION};
use crate::release::settings::Ages;
use crate::verdict::{Check, Gate, Record};

pub const AGES: Ages = Ages {
    verdict_max_days: 7,
    database_max_days: 3,
};

/// One hour after the proof was made.
pub fn now() -> Timestamp {
    "2026-11-21T11:00:00Z".parse().unwrap()
}

/// Of the services `alpha` and `beta`; only a part of what a real one says.
pub fn good() -> Proof {
    Proof {
        version: VERSION,
        run_id: "20261121-100000-abcd".into(),
        started_at: "2026-11-21T10:00:00Z".parse().unwrap(),
        commit: "0123456789".repeat(4),
        dirty: false,
        platform: "linux/amd64".into(),
        environment: vec!["engine 26.1.5 (containerd image store)".into()],
        bases_origin: "local".into(),
        bases: BTreeMap::from([("runtime:1".into(), "horme-local/runtime:1@sha256:ab".into())]),
        policies: BTreeMap::from([("docker/policy/scan.toml".into(), "ab".into())]),
        job: None,
        images: vec![image("alpha", 'a'), image("beta", 'b')],
    }
}

/// A proven image whose digest is sixty-four times that digit.
pub fn image(service: &str, digit: char) -> ProvenImage {
    let digest = format!("sha256:{}", digit.to_string().repeat(64));
    let record = |gate: Gate| {
        let mut record = Record::from_checks(service, gate, vec![Check::passed("a thing", "well")], "well");
        record.digest = (gate != Gate::Lint).then(|| digest.clone());
        match gate {
            Gate::Scan => record
                .figure("crates_seen", 1)
                .figure("database_updated_at", "2026-11-20T00:00:00Z"),
            _ => record,
        }
    };
    ProvenImage {
        service: service.into(),
        image: format!("horme-{service}"),
        crate_version: "0.1.0".into(),
        key: digit.to_string().repeat(64),
        revision: "0123456789".repeat(4),
        dockerfile: format!("docker/Dockerfile.{service}"),
        args: BTreeMap::from([("IMAGE_VERSION".into(), "0.1.0".into())]),
        built_by: "20261121-100000-abcd".into(),
        build_started_at: Some("2026-11-21T10:00:05Z".parse().unwrap()),
        build_finished_at: Some("2026-11-21T10:01:05Z".parse().unwrap()),
        built_with: vec!["buildx 0.13.1".into()],
        records: Gate::ALL.map(record).to_vec(),
        sbom: Some(json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "components": [{ "type": "library", "name": "axum", "version": "0.8.9", "purl": "pkg:cargo/axum@0.8.9" }],
        })),
        digest,
    }
}
