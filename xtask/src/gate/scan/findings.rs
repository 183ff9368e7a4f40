//! What needs no database: secrets in the image's files, and misconfigurations.

use super::layers::Layers;
use super::policy::Policy;
use crate::tool::trivy::{self, Report};
use crate::verdict::Check;

pub fn secrets(report: &Report, layers: &Layers) -> Check {
    let found = report
        .results
        .iter()
        .flat_map(|result| result.secrets.iter().map(move |secret| (result, secret)));
    let found: Vec<_> = found.collect();
    match found.first() {
        Some((result, secret)) => {
            let place = layers.words(&result.target, layers.number(&secret.layer.diff_id));
            Check::violated(
                "secrets",
                format!("{} ({}) in {place}", secret.title, secret.rule_id),
                "take it out of the image and revoke it: it must count as known",
            )
        }
        None => Check::passed("secrets", "none"),
    }
}

pub fn misconfigurations(report: &Report, policy: &Policy) -> Check {
    let all = report.results.iter().flat_map(|result| &result.misconfigurations);
    let failing = |found: &&trivy::Misconfiguration| {
        found.status != "PASS" && policy.fails_misconfigured(found.severity)
    };
    match all.clone().find(failing) {
        Some(found) => Check::violated(
            "misconfigurations",
            format!("{} {}: {}", found.severity.word(), found.id, found.title),
            "mend the service's Dockerfile",
        ),
        None => Check::passed(
            "misconfigurations",
            format!("none that fails, {} below the threshold", all.count()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::scan::policy::DatabasePolicy;
    use crate::gate::scan::testing::scanner;

    #[test]
    fn secrets_and_misconfigurations_are_named() {
        let report = trivy::parse(
            r#"{"SchemaVersion":2,"Results":[{"Target":"/app/key","Secrets":[{"RuleID":"aws-access-key-id","Severity":"CRITICAL","Title":"AWS key"}]},
            {"Misconfigurations":[{"ID":"DS002","Severity":"HIGH","Status":"FAIL","Title":"root user"}]}]}"#,
        )
        .unwrap();
        assert_eq!(
            secrets(&report, &Layers::default()).detail,
            "AWS key (aws-access-key-id) in file /app/key"
        );
        let policy = scanner(None, DatabasePolicy::Required).policy;
        assert_eq!(
            misconfigurations(&report, &policy).detail,
            "HIGH DS-0002: root user"
        );
    }
}
