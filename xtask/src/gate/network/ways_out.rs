//! Internal networks lead nowhere: from inside every service and store, nothing outside the stack can be reached.
//! The same targets are asked from a network that does lead outside: what answers nobody proves nothing. What the
//! engine itself says of each network needs nobody to answer.

mod judging;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::policy::Policy;
use crate::context::{Deadline, poll};
use crate::engine::{ContainerSpec, Leads};
use crate::exit::Failure;
use crate::stack::{Answer, Found, Stack};
use judging::{judge, reached};

const OUTSIDE: &str = "a container on a network that leads outside";
/// The network that a container joins where none is named.
const DEFAULT_BRIDGE: &str = "bridge";

/// Something that a member of an internal network must not reach.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    url: String,
    what: String,
    /// Of a gateway: its network.
    network: Option<String>,
}

pub(super) async fn check(
    stack: &Stack<'_>,
    policy: &Policy,
    figures: &mut serde_json::Map<String, serde_json::Value>,
) -> Result<Found> {
    let network = format!("horme-{}-outside", stack.context.run_id);
    stack
        .engine
        .create_network(&network, &stack.context.run_id)
        .await?;
    let listener = listener(stack, &network).await?;
    let networks = networks(stack, &network).await?;
    // Kept until all are asked: the kernel itself answers a connect.
    let (_listening, mut targets, deaf) = on_the_host(&networks)?;
    targets.extend([
        target(listener, OUTSIDE),
        target(format!("tcp://{}", policy.metadata), "the cloud's metadata"),
        target(format!("name://{}", policy.outside_name), "outside names"),
    ]);
    let answering = control(stack, &network, &targets).await?;
    let (answering, silent): (Vec<Target>, Vec<Target>) = targets
        .into_iter()
        .partition(|target| answering.contains(&target.url));
    let silent: Vec<String> = deaf
        .into_iter()
        .chain(silent.into_iter().map(|target| target.what))
        .collect();
    figures.insert("ways_out_that_answer_nobody".into(), json!(silent));
    let open = |network: &String| networks.get(network).is_none_or(|leads| !leads.internal);
    judge_all(stack, policy, &answering, &silent, &open).await
}

/// Every prober asks all that answers, and is judged; a store's answers count for all that need it.
async fn judge_all(
    stack: &Stack<'_>,
    policy: &Policy,
    targets: &[Target],
    silent: &[String],
    leads_outside: &impl Fn(&String) -> bool,
) -> Result<Found> {
    let stores = stack.stores();
    let services = stack.services().map(|service| service.name.clone());
    let probers: Vec<String> = services.chain(stores.iter().cloned()).collect();
    let urls: Vec<String> = targets.iter().map(|target| target.url.clone()).collect();
    let urls = &urls;
    let asked = probers.iter().map(|prober| async move {
        let own = stack.engine.endpoints(stack.container(prober)?).await?;
        let own: Vec<String> = own.into_iter().map(|end| end.network).collect();
        let answers = stack.probe(prober, urls).await?;
        let mut reached = reached(targets, &answers, &own);
        let open = own.iter().filter(|network| leads_outside(network));
        reached.out.extend(open.map(|network| not_internal(network)));
        Ok::<_, anyhow::Error>((prober, reached))
    });
    let asked: Vec<_> = stream::iter(asked).buffer_unordered(4).collect().await;
    let mut found = Found::new();
    for answer in asked {
        let (prober, reached) = answer?;
        let of_store = stores.contains(prober);
        let owners = stack.services().filter(|service| {
            if of_store {
                service.needs.contains(prober)
            } else {
                service.name == *prober
            }
        });
        for owner in owners.filter(|owner| stack.is_judged(&owner.name)) {
            let suffix = if of_store {
                format!(" of {prober}")
            } else {
                String::new()
            };
            found
                .entry(owner.name.clone())
                .or_default()
                .extend(judge(&reached, policy, silent, &suffix));
        }
    }
    Ok(found)
}

fn target(url: String, what: &str) -> Target {
    Target {
        url,
        what: what.to_owned(),
        network: None,
    }
}

/// A real container outside the stack; returns how it is reached.
async fn listener(stack: &Stack<'_>, network: &str) -> Result<String> {
    let image = stack.images().first().context("no image to listen with")?;
    let port = image.plan.service.port;
    let spec = ContainerSpec {
        name: format!("horme-{}-outside", stack.context.run_id),
        image: image.reference.clone(),
        run_id: stack.context.run_id.clone(),
        env: vec!["HOST=0.0.0.0".to_owned(), format!("PORT={port}")],
        network: Some(network.to_owned()),
        memory_bytes: stack.plan.limits.memory_bytes,
        pids: stack.plan.limits.pids,
        ..Default::default()
    };
    let container = stack.engine.create(&spec).await?;
    stack.engine.start(&container).await?;
    let addresses = stack.engine.state(&container).await?.addresses;
    let (_, address) = addresses.first().context("the listener outside has no address")?;
    Ok(format!("tcp://{address}:{port}"))
}

/// Where each network leads: all of the stack, the one outside, and the default bridge where there is one.
async fn networks(stack: &Stack<'_>, outside: &str) -> Result<BTreeMap<String, Leads>> {
    let mut names = stack.networks().await?;
    names.extend([outside.to_owned(), DEFAULT_BRIDGE.to_owned()]);
    let mut networks = BTreeMap::new();
    for name in names {
        if let Some(leads) = stack.engine.leads(&name).await? {
            networks.insert(name, leads);
        }
    }
    Ok(networks)
}

/// Listens on the host's address in each of these networks, and nowhere else. Last, where it cannot: those of an
/// engine on another machine, or in a network of its own, are not ours to listen on.
fn on_the_host(networks: &BTreeMap<String, Leads>) -> Result<(Vec<TcpListener>, Vec<Target>, Vec<String>)> {
    let (mut listening, mut targets, mut deaf) = (Vec::new(), Vec::new(), Vec::new());
    for (network, leads) in networks {
        let Some(gateway) = &leads.gateway else { continue };
        let what = format!("the host's address in {}", plain(network));
        let Ok(listener) = TcpListener::bind((gateway.as_str(), 0)) else {
            deaf.push(what);
            continue;
        };
        let port = listener
            .local_addr()
            .context("a listener without an address")?
            .port();
        targets.push(Target {
            url: format!("tcp://{gateway}:{port}"),
            what,
            network: Some(network.clone()),
        });
        listening.push(listener);
    }
    Ok((listening, targets, deaf))
}

fn not_internal(network: &str) -> String {
    format!("the network {} is not internal, says the engine", plain(network))
}

/// A network's name without the run's.
fn plain(network: &str) -> &str {
    network.rsplit('_').next().unwrap_or(network)
}

/// The positive control: what answers a container on a network that leads outside.
async fn control(stack: &Stack<'_>, network: &str, targets: &[Target]) -> Result<Vec<String>> {
    let urls: Vec<String> = targets.iter().map(|target| target.url.clone()).collect();
    // The container that listens may only just have been started. A host may refuse its containers: whether it
    // does is known before that.
    let deadline = Deadline::within(Duration::from_secs(15));
    let hosts = Deadline::within(Duration::from_secs(5));
    let answers = poll(deadline, Duration::from_millis(200), || async {
        let answers = stack.probe_inside(network, "outside", &urls).await.ok()?;
        suffices(targets, &answers, hosts.passed()).then_some(answers)
    });
    let answers = answers.await.ok_or_else(|| {
        let what = "ways out: nothing answers a container on a network that leads outside either";
        Failure::undecided(what, "may containers of this engine reach each other?")
    })?;
    let open = targets.iter().zip(&answers).filter(|(_, answer)| answer.open());
    Ok(open.map(|(target, _)| target.url.clone()).collect())
}

/// Whether a control says enough: the container outside must answer, the host within its time.
fn suffices(targets: &[Target], answers: &[Answer], host_had_its_time: bool) -> bool {
    let mut both = targets.iter().zip(answers);
    both.all(|(target, answer)| {
        let needed = match target.network {
            Some(_) => !host_had_its_time,
            None => target.what == OUTSIDE,
        };
        answer.open() || !needed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_needs_the_container_outside_and_waits_a_while_for_the_host() {
        let host = Target {
            network: Some("own".into()),
            ..target("tcp://own:1".into(), "own")
        };
        let targets = [
            host,
            target("tcp://out:1".into(), OUTSIDE),
            target("name://x".into(), "names"),
        ];
        let answers = |words: [&str; 3]| {
            words.map(|word| Answer {
                line: format!("{word} x"),
            })
        };
        assert!(suffices(&targets, &answers(["open", "open", "refused"]), false));
        let silent_host = answers(["timeout", "open", "refused"]);
        assert!(!suffices(&targets, &silent_host, false) && suffices(&targets, &silent_host, true));
        assert!(!suffices(&targets, &answers(["open", "refused", "open"]), true));
    }
}
