//! The relay before a store: a small image of our own (`docker/faults`) that takes the store's names on its
//! networks, so that its answers can be slowed and its connections reset. The kernel needs no part in it.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::catalogue::Service;
use crate::context::{Deadline, poll};
use crate::engine::{Container, ContainerSpec, Endpoint};
use crate::exit::Failure;
use crate::hash;
use crate::process::{self, Call};
use crate::stack::Stack;

const FOLDER: &str = "docker/faults";
/// How long a dependent may take to end: nobody asks it anything.
const STOP: Duration = Duration::from_secs(10);

pub(super) struct Relay<'a> {
    stack: &'a Stack<'a>,
    store: String,
    container: Container,
    /// Where the store was, under which names.
    places: Vec<Endpoint>,
}

impl<'a> Relay<'a> {
    /// Puts a relay before a store. Its dependents are stopped meanwhile: they find the names at a new address
    /// when they start, and no old connection is left that nobody answers.
    pub(super) async fn insert(stack: &'a Stack<'a>, store: &str) -> Result<Self> {
        let image = image(stack).await?;
        let container = stack.container(store)?;
        let places = stack.engine.endpoints(container).await?;
        let first = places.first().context("the store is in no network")?;
        dependents(stack, store, false).await?;
        let behind = [format!("behind.{store}")];
        for place in &places {
            stack.engine.leave(&place.network, container).await?;
            stack.engine.join(&place.network, container, &behind).await?;
        }
        let port = stack.port(store)?;
        let spec = ContainerSpec {
            name: format!("horme-{}-relay-{store}", stack.context.run_id),
            image,
            run_id: stack.context.run_id.clone(),
            command: vec![port.to_string(), format!("{}:{port}", behind[0])],
            network: Some(first.network.clone()),
            aliases: first.aliases.clone(),
            memory_bytes: stack.plan.limits.memory_bytes,
            pids: 512,
            ..Default::default()
        };
        let relay = stack.engine.create(&spec).await?;
        for place in &places[1..] {
            stack.engine.join(&place.network, &relay, &place.aliases).await?;
        }
        stack.engine.start(&relay).await?;
        let relay = Relay {
            stack,
            store: store.to_owned(),
            container: relay,
            places,
        };
        relay.set("plain").await?;
        dependents(stack, store, true).await?;
        relay.stack.all_ready("behind the relay").await?;
        Ok(relay)
    }

    /// Puts the store back where it was.
    pub(super) async fn remove(self) -> Result<()> {
        let stack = self.stack;
        dependents(stack, &self.store, false).await?;
        stack.engine.remove(&self.container).await?;
        let store = stack.container(&self.store)?;
        for place in &self.places {
            stack.engine.leave(&place.network, store).await?;
            stack.engine.join(&place.network, store, &place.aliases).await?;
        }
        dependents(stack, &self.store, true).await?;
        stack.all_ready("without the relay").await
    }

    /// What befalls all that passes from now on; returns how many answers or connections the mode before
    /// this one touched.
    pub(super) async fn set(&self, mode: &str) -> Result<u64> {
        let mut command = vec!["/relay".to_owned(), "mode".to_owned()];
        command.extend(mode.split(' ').map(str::to_owned));
        // It may only just have been started.
        let deadline = Deadline::within(Duration::from_secs(10));
        let touched = poll(deadline, Duration::from_millis(50), || async {
            let said = self
                .stack
                .engine
                .exec(&self.container, command.clone())
                .await
                .ok()?;
            said.trim().strip_prefix("ok ")?.parse().ok()
        });
        let missed = || Failure::undecided("the relay does not answer", "see logs/faults");
        touched.await.ok_or_else(|| missed().into())
    }
}

/// Stops or starts all that need a store.
async fn dependents(stack: &Stack<'_>, store: &str, start: bool) -> Result<()> {
    let needs = |service: &&Service| service.needs.iter().any(|need| need == store);
    let acts = stack.services().filter(needs).map(|service| async move {
        let container = stack.container(&service.name)?;
        if start {
            stack.engine.start(container).await
        } else {
            stack.engine.stop(container, STOP).await
        }
    });
    futures_util::future::try_join_all(acts).await.map(drop)
}

/// The relay's image, made where this engine does not hold it; its tag is a hash of all that it is made of.
async fn image(stack: &Stack<'_>) -> Result<String> {
    let context = stack.context;
    let folder = context.root.join(FOLDER);
    let mut parts = vec![format!("{:?}", stack.plan.bases.contexts)];
    for file in ["Dockerfile", "relay.rs"] {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path);
        parts.push(text.with_context(|| format!("cannot read {}", path.display()))?);
    }
    let tag = &hash::of_parts(parts.iter().map(String::as_str))[..12];
    let image = format!("horme-local/relay:{tag}");
    if stack.engine.image(&image).await?.is_none() {
        let mut argv: Vec<String> = ["docker", "buildx", "build", "--progress=plain"]
            .map(Into::into)
            .into();
        for (from, to) in &stack.plan.bases.contexts {
            argv.extend(["--build-context".to_owned(), format!("{from}={to}")]);
        }
        argv.extend(["--output".to_owned(), format!("type=image,name={image}")]);
        argv.push(folder.display().to_string());
        let call = Call::new(argv)
            .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
            .deadline_s(300);
        process::run_ok(context, &call.log(context.log("faults"))).await?;
    }
    Ok(image)
}
