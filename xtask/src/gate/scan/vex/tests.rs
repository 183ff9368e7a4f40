//! What statements let pass, what they do not, and which documents are none.

use serde_json::{Value, json};

use super::*;
use crate::exit::{Exit, explain};
use crate::verdict::Outcome;

const DIGEST: &str = "sha256:aa";

const IMAGE: Image = Image {
    name: "ghcr.io/owner/shop",
    digest: DIGEST,
};

fn finding() -> Vulnerability {
    let text = r#"{"VulnerabilityID":"CVE-1","PkgName":"smallvec","InstalledVersion":"0.6.13",
        "PkgIdentifier":{"PURL":"pkg:cargo/smallvec@0.6.13"}}"#;
    serde_json::from_str(text).unwrap()
}

fn document(statements: &Value) -> Value {
    json!({
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex/1", "author": "ann",
        "timestamp": "2026-11-01T00:00:00Z", "version": 1, "statements": statements,
    })
}

fn statement(product: &Value, status: &str) -> Value {
    let mut said = json!({"vulnerability": {"name": "CVE-1"}, "products": [product], "status": status});
    match status {
        "not_affected" => said["justification"] = "vulnerable_code_not_present".into(),
        "affected" => said["action_statement"] = "update it".into(),
        _ => {}
    }
    said
}

fn vex(statements: &Value) -> Vex {
    let mut vex = Vex::default();
    vex.add("openvex.json", &document(statements).to_string())
        .unwrap();
    vex
}

fn passes(product: &Value, status: &str) -> bool {
    vex(&json!([statement(product, status)]))
        .lets_pass(&finding(), IMAGE)
        .is_some()
}

#[test]
fn only_not_affected_and_fixed_let_pass() {
    let product = json!({"@id": "pkg:cargo/smallvec@0.6.13"});
    assert!(passes(&product, "not_affected"));
    assert!(passes(&product, "fixed"));
    assert!(!passes(&product, "affected"));
    assert!(!passes(&product, "under_investigation"));
    let said = vex(&json!([statement(&product, "not_affected")])).lets_pass(&finding(), IMAGE);
    assert_eq!(
        said.unwrap(),
        "not affected, says ann: the vulnerable code is not present"
    );
}

#[test]
fn a_statement_is_about_its_own_package_version_and_image() {
    let smallvec = json!([{"@id": "pkg:cargo/smallvec"}]);
    for (product, expected) in [
        (json!({"@id": "pkg:cargo/smallvec"}), true),
        (
            json!({"@id": "https://example.org/x", "identifiers": {"purl": "pkg:cargo/smallvec@0.6.13"}}),
            true,
        ),
        (json!({"@id": "pkg:cargo/smallvec@0.6.12"}), false),
        (json!({"@id": "pkg:npm/smallvec"}), false),
        (json!({"@id": "pkg:oci/shop?repository_url=ghcr.io/owner"}), true),
        (
            json!({"@id": "pkg:oci/shop@sha256%3Aaa", "subcomponents": smallvec}),
            true,
        ),
        (
            json!({"@id": "pkg:oci/shop@sha256%3Abb", "subcomponents": smallvec}),
            false,
        ),
        (json!({"@id": "pkg:oci/other", "subcomponents": smallvec}), false),
        (
            json!({"@id": "pkg:oci/shop", "subcomponents": [{"@id": "pkg:cargo/time"}]}),
            false,
        ),
    ] {
        assert_eq!(passes(&product, "not_affected"), expected, "{product}");
    }
    let mut other = finding();
    other.id = "CVE-2".to_owned();
    let statement = statement(&json!({"@id": "pkg:cargo/smallvec"}), "fixed");
    assert!(vex(&json!([statement])).lets_pass(&other, IMAGE).is_none());
}

#[test]
fn an_alias_is_as_good_as_the_name_and_an_old_report_names_no_package_url() {
    let mut said = statement(&json!({"@id": "pkg:cargo/smallvec@0.6.13"}), "fixed");
    said["vulnerability"] = json!({"name": "RUSTSEC-2021-0003", "aliases": ["cve-1"]});
    let mut found = finding();
    found.pkg_identifier = Default::default();
    assert!(vex(&json!([said])).lets_pass(&found, IMAGE).is_some());
}

#[test]
fn the_latest_statement_counts() {
    let product = json!({"@id": "pkg:cargo/smallvec"});
    let mut later = statement(&product, "affected");
    later["timestamp"] = "2026-11-02T00:00:00Z".into();
    let earlier = statement(&product, "not_affected");
    for both in [json!([earlier, later]), json!([later, earlier])] {
        let vex = vex(&both);
        assert!(vex.lets_pass(&finding(), IMAGE).is_none());
        assert!(vex.unused().is_none(), "both are about a finding");
    }
}

#[test]
fn of_statements_of_the_same_time_the_harmful_one_counts() {
    let product = json!({"@id": "pkg:cargo/smallvec"});
    let (harmless, harmful) = (
        statement(&product, "not_affected"),
        statement(&product, "affected"),
    );
    for both in [json!([harmless, harmful]), json!([harmful, harmless])] {
        assert!(vex(&both).lets_pass(&finding(), IMAGE).is_none(), "{both}");
    }
}

#[test]
fn a_statement_that_nothing_needs_fails() {
    let vex = vex(&json!([statement(
        &json!({"@id": "pkg:cargo/smallvec"}),
        "not_affected"
    )]));
    assert_eq!(vex.judge().outcome, Outcome::Passed);
    let unused = vex.unused().unwrap();
    assert_eq!((unused.name.as_str(), unused.outcome), (NAME, Outcome::Violated));
    assert!(unused.detail.contains("CVE-1"), "{}", unused.detail);
    vex.lets_pass(&finding(), IMAGE);
    assert!(vex.unused().is_none());
}

/// A document with one thing changed.
fn changed(change: impl Fn(&mut Value)) -> String {
    let mut whole = document(&json!([statement(
        &json!({"@id": "pkg:cargo/x"}),
        "not_affected"
    )]));
    change(&mut whole);
    whole.to_string()
}

#[test]
fn a_malformed_document_is_named_with_what_is_wrong() {
    let faulty = [
        (
            changed(|whole| whole["statements"][0]["justification"] = Value::Null),
            "statement 1: CVE-1: not_affected needs",
        ),
        (
            changed(|whole| whole["statements"][0]["justification"] = "because".into()),
            "unknown variant `because`",
        ),
        (
            changed(|whole| whole["statements"][0]["status"] = "harmless".into()),
            "unknown variant `harmless`",
        ),
        (
            changed(|whole| whole["statements"][0]["status"] = "affected".into()),
            "affected needs an action_statement",
        ),
        (
            changed(|whole| whole["statements"][0]["products"] = json!([])),
            "needs a package URL",
        ),
        (
            changed(|whole| whole["statements"][0]["products"] = json!([{"@id": "smallvec"}])),
            "needs a package URL",
        ),
        (
            changed(|whole| whole["statements"][0]["vulnerability"] = "CVE-1".into()),
            "expected struct",
        ),
        (
            changed(|whole| whole["statements"][0]["stauts"] = 1.into()),
            "unknown field `stauts`",
        ),
        (
            changed(|whole| whole["statements"] = json!([])),
            "must say something",
        ),
        (
            changed(|whole| whole["timestamp"] = "yesterday".into()),
            "'yesterday' is no timestamp",
        ),
        (
            changed(|whole| whole["@context"] = "https://openvex.dev/ns/v9".into()),
            "@context",
        ),
        (
            changed(|whole| {
                whole.as_object_mut().unwrap().remove("author");
            }),
            "missing field `author`",
        ),
        (changed(|_| ())[..40].to_owned(), "EOF"),
        ("[]".to_owned(), "expected struct"),
    ];
    for (text, said) in faulty {
        let error = Vex::default()
            .add("docker/policy/openvex.json", &text)
            .unwrap_err();
        let (exit, words) = explain(&error);
        assert_eq!(exit, Exit::Usage);
        assert!(
            words.contains("docker/policy/openvex.json: ") && words.contains(said),
            "{said}: {words}"
        );
    }
}

#[test]
fn all_documents_of_a_checkout_are_read() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Vex::read(folder.path()).unwrap().documents, 0);
    std::fs::create_dir_all(folder.path().join("docker/policy/vex")).unwrap();
    for name in ["openvex.json", "vex/a.json", "vex/b.json"] {
        std::fs::write(folder.path().join("docker/policy").join(name), changed(|_| ())).unwrap();
    }
    std::fs::write(folder.path().join("docker/policy/vex/README.md"), "x").unwrap();
    assert_eq!(Vex::read(folder.path()).unwrap().statements.len(), 3);
    std::fs::write(folder.path().join("docker/policy/vex/b.json"), "{").unwrap();
    let error = Vex::read(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("docker/policy/vex/b.json: "), "{error}");
}
