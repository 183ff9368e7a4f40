//! Reports as two versions of Trivy wrote them, and the same ones damaged.

use super::*;

/// Captured from real scans of small images; only descriptions were taken out.
macro_rules! captured {
    ($path:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/captured/trivy-",
            $path,
            ".json"
        ))
    };
}

const ALL: [&str; 8] = [
    captured!("0.68.2/vulnerable"),
    captured!("0.68.2/no-crates"),
    captured!("0.68.2/secrets-and-misconfigurations"),
    captured!("0.68.2/suppressed-by-ignore-file"),
    captured!("0.68.2/suppressed-by-vex"),
    captured!("0.44.1/vulnerable"),
    captured!("0.44.1/no-crates"),
    captured!("0.44.1/secrets"),
];

/// `id severity status` of each finding, sorted.
fn findings(text: &str) -> Vec<String> {
    let report = parse(text).unwrap();
    let mut found: Vec<String> = report
        .vulnerabilities()
        .map(|found| format!("{} {} {}", found.id, found.severity.word(), found.status().word()))
        .collect();
    found.sort();
    found
}

const FOUND: [&str; 4] = [
    "CVE-2021-25900 CRITICAL fixed",
    "CVE-2099-0001 LOW fixed",
    "CVE-2099-0002 CRITICAL affected",
    "CVE-2099-0003 UNKNOWN fixed",
];

#[test]
fn both_versions_say_the_same_of_the_same_image() {
    assert_eq!(findings(captured!("0.68.2/vulnerable")), FOUND);
    assert_eq!(findings(captured!("0.44.1/vulnerable")), FOUND);
    let report = parse(captured!("0.68.2/vulnerable")).unwrap();
    assert!(report.crates().any(|seen| seen == "smallvec 0.6.13"));
    let found = report
        .vulnerabilities()
        .find(|found| found.id == "CVE-2021-25900");
    let found = found.unwrap();
    assert_eq!(found.pkg_identifier.purl, "pkg:cargo/smallvec@0.6.13");
    assert_eq!(found.fixed_version, ">= 0.6.14, < 1.0.0, >= 1.6.1");
    assert!(found.layer.diff_id.starts_with("sha256:"));
    let result = &report.results[0];
    assert_eq!(
        (&*result.target, &*result.class, &*result.r#type),
        ("app", "lang-pkgs", "rustbinary")
    );
}

#[test]
fn what_trivys_own_rules_would_hide_is_found_all_the_same() {
    assert_eq!(findings(captured!("0.68.2/suppressed-by-ignore-file")), FOUND);
    assert_eq!(findings(captured!("0.68.2/suppressed-by-vex")), FOUND);
}

#[test]
fn a_binary_without_a_list_of_crates_shows_none() {
    for text in [captured!("0.68.2/no-crates"), captured!("0.44.1/no-crates")] {
        assert_eq!(parse(text).unwrap().crates().count(), 0);
    }
    assert!(
        !captured!("0.44.1/no-crates").contains("Results"),
        "absent, not empty"
    );
}

#[test]
fn secrets_and_misconfigurations_are_read() {
    let report = parse(captured!("0.68.2/secrets-and-misconfigurations")).unwrap();
    let secrets = report.results.iter().flat_map(|result| &result.secrets);
    let secrets: Vec<_> = secrets
        .map(|secret| (&*secret.rule_id, secret.severity))
        .collect();
    assert!(
        secrets.contains(&("aws-access-key-id", Severity::Critical)),
        "{secrets:?}"
    );
    let wrong = report.results.iter().flat_map(|result| &result.misconfigurations);
    let wrong: Vec<_> = wrong.map(|found| &*found.id).collect();
    assert!(wrong.contains(&"DS-0002"), "{wrong:?}");
    assert!(parse(captured!("0.44.1/secrets")).is_ok());
}

#[test]
fn three_spellings_of_a_check_are_one() {
    for said in ["DS002", "AVD-DS-0002", "DS-0002"] {
        let found: Misconfiguration = serde_json::from_value(serde_json::json!({ "ID": said })).unwrap();
        assert_eq!(found.id, "DS-0002", "{said}");
    }
    for said in ["", "own-rule", "AVD-", "12"] {
        let found: Misconfiguration = serde_json::from_value(serde_json::json!({ "ID": said })).unwrap();
        assert_eq!(found.id, said);
    }
}

#[test]
fn absent_null_and_new_parts_are_empty() {
    let text = r#"{"SchemaVersion":2,"New":1,"Results":[{"Target":null,"Packages":[{"Name":"axum","Version":null,"New":[]}],
        "Vulnerabilities":[{"VulnerabilityID":"CVE-1","Severity":null,"Status":"new_word","FixedVersion":null,"PkgIdentifier":null},
        {"VulnerabilityID":"CVE-2","FixedVersion":"2"}]},{"Secrets":null,"ExperimentalModifiedFindings":null}]}"#;
    assert_eq!(findings(text), ["CVE-1 UNKNOWN unknown", "CVE-2 UNKNOWN fixed"]);
    for text in [r#"{"SchemaVersion":2}"#, r#"{"SchemaVersion":2,"Results":null}"#] {
        assert!(parse(text).unwrap().results.is_empty());
    }
}

#[test]
fn a_report_that_is_cut_off_is_none_wherever_it_is_cut() {
    for text in ALL.map(str::trim_end) {
        for end in (0..text.len()).step_by(7).chain([text.len() - 1]) {
            let cut = text.get(..end).unwrap_or_default();
            assert!(parse(cut).is_err(), "cut at {end} of {}", text.len());
        }
        assert!(parse(text).is_ok());
    }
}

#[test]
fn what_is_no_report_is_refused() {
    let deep = format!(
        r#"{{"SchemaVersion":2,"Results":[{{"ExperimentalModifiedFindings":[{{"Finding":{}{}}}]}}]}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    for (text, why) in [
        ("", "EOF"),
        ("{}", "SchemaVersion"),
        ("[]", "invalid length 0"),
        ("null", "null"),
        (r#"{"SchemaVersion":3}"#, "schema version 3"),
        (r#"{"SchemaVersion":1e400}"#, "number out of range"),
        (r#"{"SchemaVersion":2,"Results":"none"}"#, "expected a sequence"),
        (
            r#"{"SchemaVersion":2,"Results":[{"Vulnerabilities":{}}]}"#,
            "expected a sequence",
        ),
        (
            r#"{"SchemaVersion":2,"Results":[{"Vulnerabilities":[{"PkgName":"x"}]}]}"#,
            "VulnerabilityID",
        ),
        (
            r#"{"SchemaVersion":2,"Results":[{"Vulnerabilities":[{"VulnerabilityID":"x","Severity":4}]}]}"#,
            "expected a string",
        ),
        (
            r#"{"SchemaVersion":2,"Results":[{"ExperimentalModifiedFindings":[{"Type":"vulnerability","Finding":7}]}]}"#,
            "expected struct",
        ),
        (
            r#"{"SchemaVersion":2,"Results":[],"Results":[]}"#,
            "duplicate field",
        ),
        ("\u{feff}{\"SchemaVersion\":2}", "expected value"),
        (r#"{"SchemaVersion":2} and more"#, "trailing characters"),
        (deep.as_str(), "recursion limit"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        let shown: String = text.chars().take(80).collect();
        assert!(error.contains(why), "{shown}: {error}");
    }
}

#[test]
fn what_was_read_reads_the_same_from_the_cache() {
    for text in ALL {
        let report = parse(text).unwrap();
        let again = serde_json::to_string(&report).unwrap();
        let again = parse(&again).unwrap();
        assert_eq!(format!("{report:?}"), format!("{again:?}"));
    }
}
