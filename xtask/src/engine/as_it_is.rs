//! What the engine says of a run's things, word for word: for a reader who was not there. No verdict rests on it.

use std::collections::HashMap;

use anyhow::{Result, bail};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    LogsOptionsBuilder, StatsOptionsBuilder,
};
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Container, Engine, RUN_LABEL, next, refused};
use crate::context::Deadline;

/// What happens to containers, without the commands that run inside them: an engine remembers few events.
const HAPPENINGS: [&str; 13] = [
    "create",
    "start",
    "die",
    "oom",
    "kill",
    "stop",
    "restart",
    "destroy",
    "pause",
    "unpause",
    "rename",
    "update",
    "health_status",
];

impl Engine {
    /// `docker inspect` of a container.
    ///
    /// # Errors
    /// The engine's, as of all here.
    pub async fn inspected(&self, container: &Container) -> Result<Value> {
        let found = self
            .docker
            .inspect_container(&container.id, None::<InspectContainerOptions>)
            .await;
        value(found, "inspect a container")
    }

    /// `docker stats` of a container, once: processor, memory, processes, block devices, networks.
    pub async fn stats(&self, container: &Container) -> Result<Value> {
        let options = StatsOptionsBuilder::default()
            .stream(false)
            .one_shot(true)
            .build();
        let mut stream = Box::pin(self.docker.stats(&container.id, Some(options)));
        Ok(json!(next(&mut stream, "read a container's figures").await?))
    }

    /// A container's log, with the engine's time of each line, as far as it comes before the deadline. `shorten` is
    /// called now and then: a log may be larger than memory.
    pub async fn log_until(
        &self,
        container: &Container,
        deadline: Deadline,
        shorten: impl Fn(String) -> String,
    ) -> Result<String> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .build();
        let mut stream = Box::pin(self.docker.logs(&container.id, Some(options)));
        let mut text = String::new();
        loop {
            match tokio::time::timeout(deadline.left(), stream.next()).await {
                Ok(Some(Ok(part))) => text = shorten(text + &part.to_string()),
                Ok(Some(Err(error))) => return Err(refused("read a container's log", &error)),
                Ok(None) => return Ok(text),
                Err(_) if text.is_empty() => bail!("the engine gave none of it in time"),
                Err(_) => return Ok(text + "\n(the engine gave no more in time)\n"),
            }
        }
    }

    /// The containers of a run, running or not: a stack's member by its compose service, others by their own name.
    pub async fn containers_of_run(&self, run_id: &str) -> Result<Vec<(String, Container)>> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&of_run(run_id))
            .build();
        let listed = self.docker.list_containers(Some(options)).await;
        let listed = listed.map_err(|error| refused("list containers", &error))?;
        let named = listed.into_iter().filter_map(|container| {
            let member = container
                .labels
                .and_then(|labels| labels.get("com.docker.compose.service").cloned());
            let own = container.names.and_then(|names| names.first().cloned());
            let name = member.or(own)?.trim_start_matches('/').to_owned();
            Some((name, Container { id: container.id? }))
        });
        let mut named: Vec<_> = named.collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(named)
    }

    pub async fn networks_of_run(&self, run_id: &str) -> Result<Value> {
        let options = ListNetworksOptionsBuilder::default()
            .filters(&of_run(run_id))
            .build();
        value(self.docker.list_networks(Some(options)).await, "list networks")
    }

    /// What happened to a run's containers since a time, a value each, as far as the engine remembers.
    pub async fn happened(&self, run_id: &str, since: jiff::Timestamp) -> Result<Vec<Value>> {
        let mut filters = of_run(run_id);
        filters.insert("event", HAPPENINGS.map(str::to_owned).to_vec());
        // To this very moment: for a later one the engine would wait.
        let now = jiff::Timestamp::now();
        let until = format!("{}.{:09}", now.as_second(), now.subsec_nanosecond());
        let options = EventsOptionsBuilder::default()
            .since(&since.as_second().to_string())
            .until(&until)
            .filters(&filters)
            .build();
        let mut stream = Box::pin(self.docker.events(Some(options)));
        let mut events = Vec::new();
        while let Some(event) = next(&mut stream, "tell what happened").await? {
            events.push(json!(event));
        }
        Ok(events)
    }

    /// An image's configuration and the steps that made it.
    pub async fn image_as_it_is(&self, name: &str) -> Result<Value> {
        let image = value(self.docker.inspect_image(name).await, "inspect an image")?;
        let history = value(self.docker.image_history(name).await, "list an image's history")?;
        Ok(json!({ "image": image, "history": history }))
    }

    /// `docker info`, without what is another's.
    pub async fn info(&self) -> Result<Value> {
        let mut info = value(self.docker.info().await, "tell about itself")?;
        if let Some(fields) = info.as_object_mut() {
            for name in [
                "RegistryConfig",
                "Labels",
                "HttpProxy",
                "HttpsProxy",
                "NoProxy",
                "Swarm",
            ] {
                fields.remove(name);
            }
        }
        Ok(info)
    }
}

fn of_run(run_id: &str) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([("label", vec![format!("{RUN_LABEL}={run_id}")])])
}

fn value<T: Serialize>(answer: Result<T, bollard::errors::Error>, what: &str) -> Result<Value> {
    let answer = answer.map_err(|error| refused(what, &error))?;
    Ok(serde_json::to_value(answer)?)
}
