//! What a service says of itself: whether it is ready, and who it is.

use serde_json::Value;

use super::Boot;
use super::serve::Live;
use crate::catalogue::OnLoss;
use crate::verdict::Check;

impl Boot<'_> {
    /// Without its stores it must not claim to be ready, and must name what is missing: that is returned too.
    pub(super) async fn ready(&self, live: &Live) -> (Check, Vec<String>) {
        let (status, body) = match self.json(&live.url("/ready")).await {
            Ok(answer) => answer,
            Err(error) => {
                let detail = format!("/live answers, but /ready gives no JSON: {error:#}");
                return (Check::violated("ready", detail, READY), Vec::new());
            }
        };
        let on_loss = &self.image.plan.service.on_loss;
        let required: Vec<&String> = on_loss
            .iter()
            .filter(|(_, effect)| **effect == OnLoss::NotReady)
            .map(|(store, _)| store)
            .collect();
        let missing = body["missing"].as_array().into_iter().flatten();
        let missing = missing.filter_map(|name| Some(name.as_str()?.to_owned()));
        (judge_ready(status, &body, &required), missing.collect())
    }

    /// The binary must be the one that the labels speak of.
    pub(super) async fn identity(&self, live: &Live) -> Check {
        let label = |name: &str| {
            let label = format!("org.opencontainers.image.{name}");
            self.image.labels.get(&label).map(String::as_str)
        };
        match self.json(&live.url("/version")).await {
            Ok((_, body)) => judge_identity(&body, label("version"), label("revision")),
            Err(error) => Check::violated(
                "identity",
                format!("/live answers, but /version gives no JSON: {error:#}"),
                "answer /version with {\"version\", \"revision\"}",
            ),
        }
    }
}

/// The remedy of every fault in readiness.
const READY: &str =
    "readiness is /ready: 503 with `checks.<store>.state` and `missing` while something needed is absent";

fn judge_ready(status: u16, body: &Value, required: &[&String]) -> Check {
    let hint = READY;
    let up = |store: &&&String| body["checks"][store.as_str()]["state"] == "up";
    let unnamed = |store: &&&String| body["checks"].get(store.as_str()).is_none();
    if let Some(store) = required.iter().find(up) {
        return Check::violated(
            "ready",
            format!("says that {store} is up, where there is none"),
            hint,
        );
    }
    if status == 200 && !required.is_empty() {
        let stores: Vec<&str> = required.iter().map(|store| store.as_str()).collect();
        return Check::violated(
            "ready without its store",
            format!("200 without {}", stores.join(", ")),
            hint,
        );
    }
    if let Some(store) = required.iter().find(unnamed) {
        return Check::violated("ready", format!("{status} without a word on {store}"), hint);
    }
    let missing = body["missing"].as_array().map_or(0, Vec::len);
    match status {
        200 => Check::passed("ready", "needs nothing, and is ready"),
        503 if missing > 0 || !required.is_empty() => {
            Check::passed("ready", format!("503, names {}", named(body)))
        }
        503 => Check::violated("ready", "503 without naming what is missing", hint),
        other => Check::violated("ready", format!("status {other}, expected 503 or 200"), hint),
    }
}

fn named(body: &Value) -> String {
    let missing = body["missing"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let names: Vec<&str> = missing.collect();
    if names.is_empty() {
        "its stores".to_owned()
    } else {
        names.join(", ")
    }
}

fn judge_identity(body: &Value, version: Option<&str>, revision: Option<&str>) -> Check {
    let hint = "the binary in the image is not the one that its labels speak of: build it again";
    let (Some(version), Some(revision)) = (version, revision) else {
        let detail = "the image has no org.opencontainers.image.version and .revision";
        return Check::violated(
            "identity",
            detail,
            "set both labels in the last stage of its Dockerfile",
        );
    };
    for (name, expected) in [("version", version), ("revision", revision)] {
        let found = body[name].as_str().unwrap_or("nothing");
        if found != expected {
            return Check::violated(
                "identity",
                format!("reports {name} {found}, its label says {expected}"),
                hint,
            );
        }
    }
    Check::passed(
        "identity",
        format!(
            "version {version}, revision {}",
            revision.chars().take(12).collect::<String>()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;
    use serde_json::json;

    #[test]
    fn readiness_without_a_store_must_be_refused_and_must_name_it() {
        let postgres = "postgres".to_owned();
        let required = [&postgres];
        let down = json!({"checks": {"postgres": {"state": "unconfigured"}}, "missing": ["DATABASE_URL"]});
        assert_eq!(judge_ready(503, &down, &required).outcome, Outcome::Passed);
        assert_eq!(judge_ready(200, &down, &required).name, "ready without its store");
        assert_eq!(
            judge_ready(503, &json!({"missing": ["X"]}), &required).outcome,
            Outcome::Violated
        );
        let up = json!({"checks": {"postgres": {"state": "up"}}});
        assert_eq!(judge_ready(503, &up, &required).outcome, Outcome::Violated);
    }

    #[test]
    fn a_service_without_stores_may_be_ready_or_name_a_setting() {
        assert_eq!(judge_ready(200, &json!({}), &[]).outcome, Outcome::Passed);
        assert_eq!(
            judge_ready(503, &json!({"missing": ["GATEWAY_URL"]}), &[]).outcome,
            Outcome::Passed
        );
        assert_eq!(
            judge_ready(503, &json!({"missing": []}), &[]).outcome,
            Outcome::Violated
        );
        assert_eq!(judge_ready(500, &json!({}), &[]).outcome, Outcome::Violated);
    }

    #[test]
    fn a_stale_binary_is_caught_by_its_revision() {
        let body = json!({"version": "0.1.0", "revision": "abc"});
        assert_eq!(
            judge_identity(&body, Some("0.1.0"), Some("abc")).outcome,
            Outcome::Passed
        );
        assert_eq!(
            judge_identity(&body, Some("0.1.0"), Some("def")).outcome,
            Outcome::Violated
        );
        assert_eq!(
            judge_identity(&body, Some("0.2.0"), Some("abc")).outcome,
            Outcome::Violated
        );
        assert_eq!(judge_identity(&body, None, None).outcome, Outcome::Violated);
    }
}
