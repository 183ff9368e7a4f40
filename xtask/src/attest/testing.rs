//! A proof of one image, for the tests of what is said about it.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Job, Release};
use crate::proof::{Proof, ProvenImage};
use crate::verdict::{Check, Gate, Origin, Record};

pub const COMMIT: &str = "8e9b2d0000000000000000000000000000000000";

pub fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

pub fn release() -> Release<'static> {
    Release {
        version: "1.4.2",
        commit: COMMIT,
        source: Some("https://github.com/acme/horme"),
    }
}

fn record(gate: Gate) -> Record {
    let checks = vec![Check::passed("first", "well"), Check::passed("second", "well")];
    let record = Record::from_checks("frontend", gate, checks, "all well");
    match gate {
        Gate::Boot => Record {
            origin: Origin::Reused {
                run_id: "20261120-090000-beef".into(),
                age_s: 7200,
            },
            ..record.figure("live_ms", 271)
        },
        Gate::Scan => record.figure("findings", json!([{ "id": "CVE-2026-1" }])),
        Gate::Network => record.figure("matrix", json!({ "a": ["b"] })),
        _ => record,
    }
}

pub fn proof() -> Proof {
    let at = |text: &str| text.parse().unwrap();
    Proof {
        version: 1,
        run_id: "20261121-101502-3f2a".into(),
        started_at: at("2026-11-21T10:15:02Z"),
        commit: COMMIT.into(),
        dirty: false,
        platform: "linux/amd64".into(),
        environment: vec!["engine 26.1.5".into()],
        bases_origin: "upstream".into(),
        bases: BTreeMap::from([(
            "rust:1.95".into(),
            format!("docker.io/library/rust:1.95@{}", digest('b')),
        )]),
        policies: BTreeMap::from([("docker/policy/scan.toml".into(), "c".repeat(64))]),
        job: Some(Job {
            repository: "https://github.com/acme/horme".into(),
            workflow: "https://github.com/acme/horme/.github/workflows/build.yml@refs/tags/v1.4.2".into(),
            page: "https://github.com/acme/horme/actions/runs/17/attempts/1".into(),
        }),
        images: vec![ProvenImage {
            service: "frontend".into(),
            image: "horme-frontend".into(),
            crate_version: "0.1.0".into(),
            digest: digest('a'),
            key: "d".repeat(32),
            revision: COMMIT.into(),
            dockerfile: "docker/Dockerfile.frontend".into(),
            args: BTreeMap::from([("SOURCE_DATE_EPOCH".into(), "1763715600".into())]),
            built_by: "20261121-101502-3f2a".into(),
            build_started_at: Some(at("2026-11-21T10:15:07.5Z")),
            build_finished_at: Some(at("2026-11-21T10:18:00Z")),
            built_with: vec!["buildx 0.13.1".into()],
            records: Gate::ALL.map(record).to_vec(),
            sbom: Some(json!({
                "bomFormat": "CycloneDX",
                "specVersion": "1.6",
                "components": [{ "type": "library", "name": "serde", "version": "1.0.0" }]
            })),
        }],
    }
}
