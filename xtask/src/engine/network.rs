//! Networks of a run, and what befalls a member of one: killed, frozen, cut off, given other names.

use std::collections::HashMap;

use anyhow::Result;
use bollard::models::{
    EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{InspectContainerOptions, InspectNetworkOptions};

use super::{Container, Engine, RUN_LABEL, is_absent, refused};

/// A container's place in one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub network: String,
    /// The names by which the network's other members find it.
    pub aliases: Vec<String>,
}

/// Where a network leads, as the engine itself says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leads {
    /// The engine host's own IPv4 address in it, where it has one.
    pub gateway: Option<String>,
    /// Nowhere outside.
    pub internal: bool,
}

impl Engine {
    /// Takes all processor time away from a container; its connections stay.
    pub async fn pause(&self, container: &Container) -> Result<()> {
        let paused = self.docker.pause_container(&container.id).await;
        paused.map_err(|error| refused("pause a container", &error))
    }

    pub async fn unpause(&self, container: &Container) -> Result<()> {
        let unpaused = self.docker.unpause_container(&container.id).await;
        unpaused.map_err(|error| refused("unpause a container", &error))
    }

    /// Where a container can be found, network by network.
    pub async fn endpoints(&self, container: &Container) -> Result<Vec<Endpoint>> {
        let found = self
            .docker
            .inspect_container(&container.id, None::<InspectContainerOptions>)
            .await;
        let found = found.map_err(|error| refused("inspect a container", &error))?;
        let networks = found.network_settings.and_then(|settings| settings.networks);
        let mut endpoints: Vec<Endpoint> = networks
            .unwrap_or_default()
            .into_iter()
            .map(|(network, end)| Endpoint {
                network,
                aliases: end.aliases.unwrap_or_default(),
            })
            .collect();
        endpoints.sort_by(|a, b| a.network.cmp(&b.network));
        Ok(endpoints)
    }

    /// Takes a running container out of a network: its packets go nowhere.
    pub async fn leave(&self, network: &str, container: &Container) -> Result<()> {
        let request = NetworkDisconnectRequest {
            container: container.id.clone(),
            force: Some(true),
        };
        let left = self.docker.disconnect_network(network, request).await;
        left.map_err(|error| refused(&format!("take a container out of {network}"), &error))
    }

    /// Puts a container into a network under these names.
    pub async fn join(&self, network: &str, container: &Container, aliases: &[String]) -> Result<()> {
        let request = NetworkConnectRequest {
            container: container.id.clone(),
            endpoint_config: Some(EndpointSettings {
                aliases: Some(aliases.to_vec()),
                ..Default::default()
            }),
        };
        let joined = self.docker.connect_network(network, request).await;
        joined.map_err(|error| refused(&format!("put a container into {network}"), &error))
    }

    /// Creates a network of the run's own that leads outside, as any plain one does.
    pub async fn create_network(&self, name: &str, run_id: &str) -> Result<()> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            labels: Some(HashMap::from([(RUN_LABEL.to_owned(), run_id.to_owned())])),
            ..Default::default()
        };
        let created = self.docker.create_network(request).await;
        created
            .map(drop)
            .map_err(|error| refused("create a network", &error))
    }

    /// Where a network leads; `None` where there is none of this name.
    pub async fn leads(&self, network: &str) -> Result<Option<Leads>> {
        let found = self
            .docker
            .inspect_network(network, None::<InspectNetworkOptions>)
            .await;
        let found = match found {
            Err(error) if is_absent(&error) => return Ok(None),
            found => found.map_err(|error| refused(&format!("inspect the network {network}"), &error))?,
        };
        let configs = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let mut gateways = configs.into_iter().filter_map(|config| config.gateway);
        Ok(Some(Leads {
            gateway: gateways.find(|gateway| gateway.contains('.')),
            internal: found.internal.unwrap_or_default(),
        }))
    }
}
