//! Internal networks lead nowhere: from inside every service and store, nothing outside the stack can be reached.
//! The same targets are asked from a network that does lead outside: what answers nobody proves nothing. What the
//! engine itself says of each network needs nobody to answer.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::policy::{HostGateway, Policy};
use crate::context::{Deadline, poll};
use crate::engine::{ContainerSpec, Leads};
use crate::exit::Failure;
use crate::stack::{Answer, Found, Stack};
use crate::verdict::Check;

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

/// What one member reached.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reached {
    /// Ways out, in words.
    out: Vec<String>,
    /// The host's address in its own networks.
    host: Vec<String>,
    /// In how many of its own networks the host's address was asked.
    hosts: usize,
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

fn reached(targets: &[Target], answers: &[Answer], own: &[String]) -> Reached {
    let is_own = |network: &String| own.contains(network);
    let hosts = targets
        .iter()
        .filter(|target| target.network.as_ref().is_some_and(is_own));
    let mut reached = Reached {
        tried: targets.len(),
        hosts: hosts.count(),
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
        (true, HostGateway::Refused) if reached.hosts == 0 => Check::undecided(
            name,
            "the host's address answers nobody here",
            "it can be asked where the engine runs on this machine and its containers may reach it",
        ),
        (true, HostGateway::Accepted) if reached.hosts == 0 => Check::passed(
            name,
            "not asked: it answers nobody here; accepted by docker/policy/network.toml in any case",
        ),
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

    #[test]
    fn a_host_that_nobody_reaches_is_named_and_never_called_refused() {
        let elsewhere = |gateway: &str| Leads {
            gateway: Some(gateway.to_owned()),
            internal: true,
        };
        // 192.0.2.0/24 is no machine's.
        let networks = [
            ("far".to_owned(), elsewhere("192.0.2.1")),
            ("near".to_owned(), elsewhere("127.0.0.1")),
        ];
        let (listening, targets, deaf) = on_the_host(&networks.into()).unwrap();
        assert_eq!((listening.len(), targets.len()), (1, 1));
        assert_eq!(deaf, ["the host's address in far"]);
        let nobody = |policy_says| judge(&Reached::default(), &policy(policy_says), &deaf, "");
        let [out, host] = nobody(HostGateway::Refused);
        assert!(out.detail.contains("the host's address in far"), "{}", out.detail);
        assert_eq!(host.outcome, Outcome::Undecided);
        assert_eq!(nobody(HostGateway::Accepted)[1].outcome, Outcome::Passed);
    }

    #[test]
    fn a_network_that_is_not_internal_is_a_way_out_whoever_answers() {
        let reached = Reached {
            out: vec![not_internal("horme-x_callee")],
            ..Reached::default()
        };
        let [out, _] = judge(&reached, &policy(HostGateway::Accepted), &[], "");
        assert_eq!(out.outcome, Outcome::Violated);
        assert_eq!(
            out.detail,
            "open: the network callee is not internal, says the engine"
        );
    }

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
