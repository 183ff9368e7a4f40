//! Internal networks lead nowhere: from inside every service and store, nothing outside the stack can be reached.
//! The same targets are asked from a network that does lead outside: what answers nobody proves nothing.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::policy::{HostGateway, Policy};
use crate::context::{Deadline, poll};
use crate::engine::ContainerSpec;
use crate::exit::Failure;
use crate::stack::{Answer, Found, Stack};
use crate::verdict::Check;

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

/// What one member reached.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reached {
    /// Ways out, in words.
    out: Vec<String>,
    /// The host's address in its own networks.
    host: Vec<String>,
    tried: usize,
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
    let gateways = gateways(stack, &network).await?;
    // Kept until all are asked: the kernel itself answers a connect.
    let (_listening, mut targets) = on_the_host(&gateways)?;
    targets.extend([
        target(listener, "a container on a network that leads outside"),
        target(format!("tcp://{}", policy.metadata), "the cloud's metadata"),
        target(format!("name://{}", policy.outside_name), "outside names"),
    ]);
    let answering = control(stack, &network, &targets).await?;
    let (answering, silent): (Vec<Target>, Vec<Target>) = targets
        .into_iter()
        .partition(|target| answering.contains(&target.url));
    let silent: Vec<String> = silent.into_iter().map(|target| target.what).collect();
    figures.insert("ways_out_that_answer_nobody".into(), json!(silent));
    judge_all(stack, policy, &answering, &silent).await
}

/// Every prober asks all that answers, and is judged; a store's answers count for all that need it.
async fn judge_all(
    stack: &Stack<'_>,
    policy: &Policy,
    targets: &[Target],
    silent: &[String],
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
        Ok::<_, anyhow::Error>((prober, reached(targets, &answers, &own)))
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

/// Network -> the host's address in it: of all networks of the stack, the one outside, and the default bridge.
async fn gateways(stack: &Stack<'_>, outside: &str) -> Result<BTreeMap<String, String>> {
    let mut networks = stack.networks().await?;
    networks.extend([outside.to_owned(), DEFAULT_BRIDGE.to_owned()]);
    let mut gateways = BTreeMap::new();
    for network in networks {
        if let Some(gateway) = stack.engine.gateway(&network).await? {
            gateways.insert(network, gateway);
        }
    }
    Ok(gateways)
}

/// Listens on the host's address in each of these networks, and nowhere else.
fn on_the_host(gateways: &BTreeMap<String, String>) -> Result<(Vec<TcpListener>, Vec<Target>)> {
    let (mut listening, mut targets) = (Vec::new(), Vec::new());
    for (network, gateway) in gateways {
        let listener = TcpListener::bind((gateway.as_str(), 0)).map_err(|error| {
            let what = format!("cannot listen on the host's address {gateway} in {network}: {error}");
            Failure::undecided(
                what,
                "the ways to the host can be asked for where the engine runs on it",
            )
        })?;
        let port = listener
            .local_addr()
            .context("a listener without an address")?
            .port();
        targets.push(Target {
            url: format!("tcp://{gateway}:{port}"),
            what: format!("the host's address in {}", plain(network)),
            network: Some(network.clone()),
        });
        listening.push(listener);
    }
    Ok((listening, targets))
}

/// A network's name without the run's.
fn plain(network: &str) -> &str {
    network.rsplit('_').next().unwrap_or(network)
}

/// The positive control: what answers a container on a network that leads outside.
async fn control(stack: &Stack<'_>, network: &str, targets: &[Target]) -> Result<Vec<String>> {
    let urls: Vec<String> = targets.iter().map(|target| target.url.clone()).collect();
    let needed = |answers: &[Answer]| {
        let ours = |(target, answer): (&Target, &Answer)| {
            let ours = target.network.is_some() || target.what.starts_with("a container");
            ours && !answer.open()
        };
        !targets.iter().zip(answers).any(ours)
    };
    // The container that listens may only just have been started.
    let deadline = Deadline::within(Duration::from_secs(15));
    let answers = poll(deadline, Duration::from_millis(200), || async {
        let answers = stack.probe_inside(network, "outside", &urls).await.ok()?;
        needed(&answers).then_some(answers)
    });
    let answers = answers.await.ok_or_else(|| {
        let what = "ways out: nothing answers a container on a network that leads outside either";
        Failure::undecided(
            what,
            "may containers of this engine reach their host and each other?",
        )
    })?;
    let open = targets.iter().zip(&answers).filter(|(_, answer)| answer.open());
    Ok(open.map(|(target, _)| target.url.clone()).collect())
}

fn reached(targets: &[Target], answers: &[Answer], own: &[String]) -> Reached {
    let mut reached = Reached {
        tried: targets.len(),
        ..Reached::default()
    };
    for (target, _) in targets.iter().zip(answers).filter(|(_, answer)| answer.open()) {
        let word = format!("{} ({})", target.what, target.url);
        match &target.network {
            Some(network) if own.contains(network) => reached.host.push(word),
            _ => reached.out.push(word),
        }
    }
    reached
}

fn judge(reached: &Reached, policy: &Policy, silent: &[String], suffix: &str) -> [Check; 2] {
    let name = format!("ways out{suffix}");
    let out = if reached.out.is_empty() {
        let nobody = if silent.is_empty() {
            String::new()
        } else {
            format!(
                "; not asked, since they answer nobody here: {}",
                silent.join(", ")
            )
        };
        Check::passed(
            name,
            format!("{} tried, none leads outside{nobody}", reached.tried),
        )
    } else {
        let hint = "every network of a service is `internal: true` in compose/; only the edge leads outside";
        Check::violated(name, format!("open: {}", reached.out.join(", ")), hint)
    };
    let name = format!("host gateway{suffix}");
    let host = match (reached.host.is_empty(), policy.host_gateway) {
        (true, _) => Check::passed(name, "refused"),
        (false, HostGateway::Accepted) => {
            let count = reached.host.len();
            let ways = crate::catalogue::plural(count);
            Check::passed(
                name,
                format!(
                    "{count} way{ways} open, accepted by docker/policy/network.toml: {}",
                    policy.reason
                ),
            )
        }
        (false, HostGateway::Refused) => {
            let hint = "an engine of version 28 or newer can isolate it (`gateway_mode_ipv4: isolated`)";
            Check::violated(name, format!("open: {}", reached.host.join(", ")), hint)
        }
    };
    [out, host]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    fn policy(host_gateway: HostGateway) -> Policy {
        Policy {
            host_gateway,
            reason: "it is so".into(),
            metadata: "169.254.169.254:80".into(),
            outside_name: "example.com".into(),
        }
    }

    fn outcomes(open: &[&str], host_gateway: HostGateway) -> [Outcome; 2] {
        let gateway = |network: &str| Target {
            network: Some(network.to_owned()),
            ..target(format!("tcp://{network}:1"), network)
        };
        let targets = [
            gateway("own"),
            gateway("other"),
            target("name://x".into(), "outside names"),
        ];
        let answers: Vec<Answer> = targets
            .iter()
            .map(|target| Answer {
                line: format!(
                    "{} {}",
                    if open.contains(&target.what.as_str()) {
                        "open"
                    } else {
                        "refused"
                    },
                    target.url
                ),
            })
            .collect();
        let reached = reached(&targets, &answers, &["own".to_owned()]);
        judge(&reached, &policy(host_gateway), &[], "").map(|check| check.outcome)
    }

    #[test]
    fn any_way_out_is_a_violation_and_the_hosts_own_address_is_for_policy_to_say() {
        use Outcome::{Passed, Violated};
        assert_eq!(outcomes(&[], HostGateway::Refused), [Passed, Passed]);
        assert_eq!(
            outcomes(&["outside names"], HostGateway::Accepted),
            [Violated, Passed]
        );
        assert_eq!(outcomes(&["other"], HostGateway::Accepted), [Violated, Passed]);
        assert_eq!(outcomes(&["own"], HostGateway::Accepted), [Passed, Passed]);
        assert_eq!(outcomes(&["own"], HostGateway::Refused), [Passed, Violated]);
    }
}
