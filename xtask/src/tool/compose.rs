//! docker compose: argument vectors, the resolved configuration, and the overlay that a run puts on top.

pub mod mounts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::RUN_LABEL;
use crate::process::Call;

/// The environments that are shipped beside the base file.
pub const ENVIRONMENTS: [&str; 4] = ["dev", "stage", "prod", "ci"];

/// The files of an environment, base first, relative to the root.
pub fn files(environment: &str) -> Vec<PathBuf> {
    vec![
        "compose/compose.yaml".into(),
        format!("compose/compose.{environment}.yaml").into(),
    ]
}

/// `docker compose` over some files, in the checkout's root.
pub fn call(root: &Path, project: Option<&str>, files: &[PathBuf], words: &[&str]) -> Call {
    let mut argv: Vec<String> = ["docker", "compose"].map(Into::into).to_vec();
    if let Some(project) = project {
        argv.extend(["--project-name".into(), project.into()]);
    }
    for file in files {
        argv.extend(["--file".to_owned(), file.display().to_string()]);
    }
    argv.extend(words.iter().map(|word| (*word).to_owned()));
    Call::new(argv).cwd(root).withhold("COMPOSE_")
}

/// An address as a compose file's `ports` takes it.
pub fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// The variables that a compose file takes from the environment: `${NAME}`, `${NAME:-default}`, `$NAME`.
pub fn variables(text: &str) -> BTreeSet<String> {
    let named = text
        .replace("$$", "")
        .split('$')
        .skip(1)
        .map(|rest| {
            let name = rest.trim_start_matches('{');
            let end = name
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(name.len());
            name[..end].to_owned()
        })
        .collect::<Vec<_>>();
    named.into_iter().filter(|name| !name.is_empty()).collect()
}

/// `docker compose config --format json`, reduced to what the gates need.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    #[serde(default)]
    pub services: BTreeMap<String, ServiceConfig>,
    #[serde(default)]
    pub networks: BTreeMap<String, Value>,
    #[serde(default)]
    pub volumes: BTreeMap<String, Value>,
    #[serde(default)]
    pub secrets: BTreeMap<String, Value>,
    #[serde(default)]
    pub configs: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ServiceConfig {
    #[serde(default)]
    pub image: Option<String>,
    #[serde(default)]
    pub build: Option<BuildConfig>,
    #[serde(default)]
    pub expose: Vec<Value>,
    #[serde(default)]
    pub ports: Vec<Value>,
    /// Its networks, by name.
    #[serde(default)]
    pub networks: BTreeMap<String, Value>,
    #[serde(default)]
    pub environment: BTreeMap<String, Option<Value>>,
    /// What it mounts, as compose resolves it.
    #[serde(default)]
    pub secrets: Vec<Value>,
    #[serde(default)]
    pub configs: Vec<Value>,
    #[serde(default)]
    pub volumes: Vec<Value>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct BuildConfig {
    #[serde(default)]
    pub dockerfile: Option<String>,
}

impl ServiceConfig {
    /// The first port that the service exposes to its networks.
    pub fn port(&self) -> Option<u16> {
        let first = self.expose.first()?;
        first.as_str().map_or_else(
            || first.as_u64()?.try_into().ok(),
            |text| text.split('/').next()?.parse().ok(),
        )
    }

    /// The file name of its Dockerfile, where it is built.
    pub fn dockerfile(&self) -> Option<&str> {
        self.build.as_ref()?.dockerfile.as_deref()?.rsplit('/').next()
    }
}

pub fn parse_config(json: &str) -> serde_json::Result<Config> {
    serde_json::from_str(json)
}

/// The overlay of one run: the tested digests instead of names, and the run's label on everything.
pub fn run_overlay(
    config: &Config,
    run_id: &str,
    images: &BTreeMap<String, String>,
    keep: &BTreeSet<String>,
) -> Value {
    let labels = json!({ RUN_LABEL: run_id });
    let services = config
        .services
        .keys()
        .filter(|name| keep.contains(*name))
        .map(|name| {
            let mut service = json!({ "labels": labels });
            if let Some(image) = images.get(name) {
                service["image"] = json!(image);
                service["restart"] = json!("no");
                service["pull_policy"] = json!("never");
            }
            (name.clone(), service)
        });
    let labelled = |names: Vec<&String>| -> serde_json::Map<String, Value> {
        names
            .into_iter()
            .map(|name| (name.clone(), json!({ "labels": labels })))
            .collect()
    };
    json!({
        "services": services.collect::<serde_json::Map<_, _>>(),
        "networks": labelled(config.networks.keys().collect()),
        "volumes": labelled(config.volumes.keys().collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        parse_config(
            r#"{"name":"horme","services":{"frontend":{"image":"horme-frontend:latest","expose":["8080"],
            "build":{"context":"/x","dockerfile":"docker/Dockerfile.frontend"},"networks":{"frontend":null}},
            "postgres":{"image":"pg","expose":["5432/tcp"]}},
            "networks":{"frontend":{"internal":true,"ipam":{}}},"volumes":{"postgres-data":{}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn the_resolved_configuration_is_read() {
        let config = config();
        assert_eq!(config.services["postgres"].port(), Some(5432));
        assert_eq!(
            config.services["frontend"].dockerfile(),
            Some("Dockerfile.frontend")
        );
    }

    #[test]
    fn the_overlay_pins_images_and_labels_everything() {
        let images = BTreeMap::from([("frontend".to_owned(), "horme-frontend:run-1".to_owned())]);
        let keep = BTreeSet::from(["frontend".to_owned(), "postgres".to_owned()]);
        insta::assert_json_snapshot!(run_overlay(&config(), "1", &images, &keep));
    }
}
