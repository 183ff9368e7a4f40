//! What the network gate is told of the world outside (`docker/policy/network.toml`).

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

const FILE: &str = "docker/policy/network.toml";

/// Whether the host's own address may be reached from an internal network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostGateway {
    Accepted,
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub host_gateway: HostGateway,
    /// Why it is accepted, or refused.
    pub reason: String,
    /// `address:port` of the cloud's answers about a machine.
    pub metadata: String,
    /// A name that only outside name servers know.
    pub outside_name: String,
}

impl Policy {
    /// # Errors
    /// Exit 2, naming file and key.
    pub fn read(root: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(root.join(FILE)).map_err(|error| wrong(&error.to_string()))?;
        let policy: Policy = toml::from_str(&text).map_err(|error| wrong(error.to_string().trim()))?;
        if policy.reason.trim().is_empty() {
            return Err(wrong("reason: empty"));
        }
        if policy.metadata.parse::<std::net::SocketAddr>().is_err() {
            return Err(wrong("metadata: expected address:port"));
        }
        Ok(policy)
    }
}

fn wrong(why: &str) -> anyhow::Error {
    let hint = "keys: host_gateway (accepted|refused), reason, metadata, outside_name";
    Failure::usage(format!("{FILE}: {why}"), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Policy> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("docker/policy")).unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        Policy::read(folder.path())
    }

    #[test]
    fn the_shipped_policy_is_read_and_a_faulty_one_is_refused_by_key() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(Policy::read(root).unwrap().host_gateway, HostGateway::Accepted);
        let good = std::fs::read_to_string(root.join(FILE)).unwrap();
        let unknown = read(&format!("{good}\nextra = 1\n")).unwrap_err().to_string();
        assert!(
            unknown.contains("docker/policy/network.toml") && unknown.contains("extra"),
            "{unknown}"
        );
        let odd = read(&good.replace("\"accepted\"", "\"maybe\""))
            .unwrap_err()
            .to_string();
        assert!(odd.contains("host_gateway") || odd.contains("maybe"), "{odd}");
    }
}
