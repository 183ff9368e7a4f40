//! The lint gate: Dockerfile rules (our own, and hadolint's where it can be had) and the compose configuration
//! of every environment. Needs no image.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::catalogue::Service;
use crate::context::Context;
use crate::evidence::{self, Subject};
use crate::gate::step;
use crate::hash;
use crate::process;
use crate::tool::compose::{self, Config};
use crate::tool::hadolint;
use crate::verdict::{Check, Gate, Record};

mod dockerfile;

pub use dockerfile::{floating, is_root, logical_lines};

/// What `docker compose config` says of every environment: read once, judged for each service.
#[derive(Debug)]
pub struct Environments(Vec<(String, Result<Config, String>)>);

/// Resolves every environment's configuration. A refusal is kept as text, not raised.
async fn environments(context: &Context) -> Environments {
    let mut resolved = Vec::new();
    for environment in compose::ENVIRONMENTS {
        resolved.push((environment.to_owned(), config(context, environment).await));
    }
    Environments(resolved)
}

async fn config(context: &Context, environment: &str) -> Result<Config, String> {
    let files = compose::files(environment);
    let words = ["--profile", "*", "config", "--format", "json"];
    let call = compose::call(&context.root, None, &files, &words)
        .log(context.log(&format!("lint-compose-{environment}")));
    let output = process::run(context, &call)
        .await
        .map_err(|error| format!("{error:#}"))?;
    if !output.success() {
        return Err(output.last_lines(3));
    }
    compose::parse_config(&output.stdout)
        .map_err(|error| format!("its configuration cannot be read: {error}"))
}

/// What the verdict on one service is true of.
pub fn subject(context: &Context, service: &Service, known: &BTreeSet<&str>) -> Subject {
    let settings = json!({
        "dockerfile": hash::of(std::fs::read(context.root.join(service.dockerfile())).unwrap_or_default()),
        "policy": evidence::folders(&context.root, &["docker/policy"], ""),
        "compose": evidence::compose_files(&context.root),
        "service": [json!(service.image), json!(service.port), json!(service.needs)],
        "known": known,
    });
    let hadolint = crate::setup::hadolint().map(|path| evidence::file(&path));
    let tools = [evidence::compose_plugin()].into_iter().chain(hadolint).collect();
    Subject::new(Gate::Lint, &service.name, [], settings, tools)
}

/// Judges one service's Dockerfile and its place in every environment; those are resolved once, when first
/// needed.
/// `known` are the names of all services that have an image.
pub async fn check(
    context: &Context,
    service: &Service,
    environments: &OnceCell<Environments>,
    known: &BTreeSet<&str>,
) -> Result<Record> {
    let path = service.dockerfile();
    let text = std::fs::read_to_string(context.root.join(&path))
        .with_context(|| format!("cannot read {}", path.display()))?;
    let environments = environments.get_or_init(|| self::environments(context)).await;
    let mut checks = dockerfile::judge(&path, &text);
    let (check, tool) = with_hadolint(context, service, &path).await;
    checks.extend(check);
    checks.extend(
        environments
            .0
            .iter()
            .map(|(name, config)| in_compose(service, name, config)),
    );
    let resolved = environments
        .0
        .iter()
        .filter_map(|(name, config)| Some((name, config.as_ref().ok()?)));
    checks.extend(resolved.filter_map(|(name, config)| orphan(name, config, known)));
    Ok(Record::from_checks(&service.name, Gate::Lint, checks, tool))
}

/// hadolint's findings where it can be had; where not, the record says so and our own rules stand alone.
async fn with_hadolint(context: &Context, service: &Service, path: &Path) -> (Option<Check>, &'static str) {
    let Some(program) = crate::setup::hadolint() else {
        return (None, "own rules (no hadolint)");
    };
    let call =
        hadolint::call(&program, &context.root, path).log(context.log(&step(Gate::Lint, &service.name)));
    let found = match process::run(context, &call).await {
        Ok(output) => hadolint::parse(&output.stdout).map_err(|error| format!("no readable report: {error}")),
        Err(error) => Err(format!("{error:#}")),
    };
    let check = match found {
        Err(error) => Check::undecided("hadolint", error, "run hadolint by hand, or remove it from PATH"),
        Ok(findings) => match findings.iter().find(|finding| finding.counts()) {
            None => Check::passed("hadolint", "nothing found"),
            Some(first) => Check::violated(
                "hadolint",
                format!(
                    "{}:{}: {} {}",
                    path.display(),
                    first.line,
                    first.code,
                    first.message
                ),
                "mend it, or ignore the rule in docker/policy/hadolint.yaml with a reason",
            ),
        },
    };
    (Some(check), "own rules, hadolint")
}

/// The service must stand in the environment under its own name, with its own image and Dockerfile.
fn in_compose(service: &Service, environment: &str, config: &Result<Config, String>) -> Check {
    let name = format!("compose {environment}");
    let file = format!("compose/compose.{environment}.yaml");
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            let hint = format!("`docker compose -f compose/compose.yaml -f {file} config` must pass");
            return Check::violated(name, format!("{file} is refused: {error}"), hint);
        }
    };
    let Some(entry) = config.services.get(&service.name) else {
        let near: Vec<&str> = config.services.keys().map(String::as_str).collect();
        let detail = format!("no service '{}' among {}", service.name, near.join(", "));
        return Check::violated(name, detail, "give it an entry in compose/compose.yaml");
    };
    let image = entry.image.as_deref().unwrap_or_default();
    if image.split(':').next() != Some(&service.image) {
        let detail = format!("uses the image '{image}', not '{}'", service.image);
        return Check::violated(name, detail, "name the image as in [package.metadata.image]");
    }
    let expected = format!("Dockerfile.{}", service.name);
    if entry.dockerfile() != Some(&expected) {
        let found = entry.dockerfile().unwrap_or("none");
        return Check::violated(
            name,
            format!("is built from {found}, not {expected}"),
            "set build.dockerfile",
        );
    }
    if entry.port() != Some(service.port) {
        let detail = format!("does not expose its port {}", service.port);
        return Check::violated(
            name,
            detail,
            format!("add `expose: [\"{}\"]` in compose/compose.yaml", service.port),
        );
    }
    for store in &service.needs {
        if config
            .services
            .get(store)
            .is_none_or(|store| store.port().is_none())
        {
            let detail = format!("needs '{store}', which is no compose service with `expose`");
            return Check::violated(
                name,
                detail,
                "add the store to compose/compose.yaml, or mend image.needs",
            );
        }
    }
    if environment == "ci" && config.services.values().any(has_fixed_port) {
        return Check::violated(
            name,
            "publishes a fixed port",
            "two runs at once need ephemeral ports",
        );
    }
    Check::passed(name, "stands in the configuration")
}

/// A compose service that is built here, but from no crate of ours: nothing would ever judge its image.
fn orphan(environment: &str, config: &Config, known: &BTreeSet<&str>) -> Option<Check> {
    let built = config
        .services
        .iter()
        .filter_map(|(name, service)| Some((name, service.dockerfile()?)));
    let (name, dockerfile) = built
        .into_iter()
        .find(|(name, _)| !known.contains(name.as_str()))?;
    Some(Check::violated(
        format!("compose {environment}"),
        format!("builds '{name}' from {dockerfile}, but no crate under services/ has that image"),
        "give the crate `[package.metadata.image]`, or take the entry out of compose/",
    ))
}

fn has_fixed_port(service: &compose::ServiceConfig) -> bool {
    service.ports.iter().any(|port| {
        port["published"]
            .as_str()
            .is_some_and(|port| !port.is_empty() && port != "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;
    use std::collections::BTreeMap;

    fn service() -> Service {
        Service {
            name: "frontend".into(),
            version: "0.1.0".into(),
            image: "horme-frontend".into(),
            port: 8080,
            budget_bytes: 1,
            needs: vec![],
            calls: vec![],
            on_loss: BTreeMap::new(),
            dir: "services/frontend".into(),
            source_dirs: BTreeSet::new(),
            copied: BTreeSet::new(),
            crates: BTreeSet::new(),
            build_crates: BTreeSet::new(),
            features: BTreeMap::new(),
        }
    }

    fn judged(json: &str) -> Check {
        in_compose(&service(), "ci", &Ok(compose::parse_config(json).unwrap()))
    }

    #[test]
    fn a_service_must_stand_in_every_environment() {
        let good = r#"{"services":{"frontend":{"image":"horme-frontend:latest","expose":["8080"],"build":{"dockerfile":"docker/Dockerfile.frontend"}}}}"#;
        assert_eq!(judged(good).outcome, Outcome::Passed);
        assert!(
            judged(r#"{"services":{"fronted":{}}}"#)
                .detail
                .contains("no service 'frontend' among fronted")
        );
        assert_eq!(
            judged(&good.replace("horme-frontend:", "other:")).outcome,
            Outcome::Violated
        );
        assert_eq!(judged(&good.replace("8080", "9090")).outcome, Outcome::Violated);
        let fixed = good.replace(
            r#""expose""#,
            r#""ports":[{"published":"8080","target":8080}],"expose""#,
        );
        assert!(judged(&fixed).detail.contains("fixed port"));
    }

    #[test]
    fn a_built_service_without_a_crate_is_named() {
        let text = r#"{"services":{"ghost":{"build":{"dockerfile":"docker/Dockerfile.ghost"}},"redis":{"image":"x"}}}"#;
        let config = compose::parse_config(text).unwrap();
        let check = orphan("ci", &config, &BTreeSet::from(["frontend"])).unwrap();
        assert!(
            check.detail.contains("builds 'ghost' from Dockerfile.ghost"),
            "{}",
            check.detail
        );
        assert!(orphan("ci", &config, &BTreeSet::from(["ghost"])).is_none());
    }

    #[test]
    fn an_environment_that_compose_refuses_is_a_violation() {
        let check = in_compose(&service(), "prod", &Err("service \"x\" has no image".to_owned()));
        assert_eq!(check.outcome, Outcome::Violated);
        assert!(check.detail.contains("compose/compose.prod.yaml is refused"));
    }
}
