//! Every ordered pair of the stack: declared edges must be open by name, all others refused by every name and
//! every address. A prober whose own positive control fails has proven nothing.

use std::collections::BTreeMap;

use anyhow::Result;
use futures_util::{StreamExt, stream};

use super::matrix::{Pair, Way};
use crate::catalogue::Service;
use crate::exit::Failure;
use crate::stack::{Answer, Found, Node, Stack};
use crate::verdict::Check;

/// Probes the whole matrix and judges it for every judged service; each pair is told once, with the service
/// whose verdict it counts for.
pub(super) async fn check(stack: &Stack<'_>) -> Result<(Found, BTreeMap<String, Vec<Pair>>)> {
    let nodes = stack.nodes().await?;
    let services: BTreeMap<&str, &Service> = stack
        .services()
        .map(|service| (service.name.as_str(), service))
        .collect();
    let asked = nodes
        .iter()
        .map(|prober| from_one(stack, prober, &nodes, services.get(prober.name.as_str()).copied()));
    let asked: Vec<Result<Vec<Pair>>> = stream::iter(asked).buffer_unordered(4).collect().await;
    let mut pairs = Vec::new();
    for answers in asked {
        pairs.extend(answers?);
    }
    pairs.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    let owner = |pair: &Pair| {
        owner(
            pair,
            |name| stack.is_judged(name),
            |store| needed_by(stack, store),
        )
    };
    let found = judge(&pairs, owner);
    let mut told: BTreeMap<String, Vec<Pair>> = BTreeMap::new();
    for pair in pairs {
        if let Some(owner) = owner(&pair) {
            told.entry(owner).or_default().push(pair);
        }
    }
    Ok((found, told))
}

/// A pair counts for the one who asked, where that is a judged service; otherwise for the other; between stores
/// and the edge, for a judged service that needs one of them.
fn owner(
    pair: &Pair,
    is_judged: impl Fn(&str) -> bool,
    needed_by: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let ends = [&pair.from, &pair.to];
    let judged = ends.into_iter().find(|end| is_judged(end)).cloned();
    judged.or_else(|| ends.into_iter().find_map(|end| needed_by(end)))
}

fn needed_by(stack: &Stack<'_>, store: &str) -> Option<String> {
    let mut judged = stack.services().filter(|service| stack.is_judged(&service.name));
    let needs = |service: &&Service| service.needs.iter().any(|need| need == store);
    judged.find(needs).map(|service| service.name.clone())
}

/// All that one member can reach, in one command.
async fn from_one(
    stack: &Stack<'_>,
    prober: &Node,
    nodes: &[Node],
    service: Option<&Service>,
) -> Result<Vec<Pair>> {
    // The control: itself, on its own network. A store's network is also the first that its prober joins.
    let control = format!("tcp://own.{}:{}", prober.name, prober.port);
    let others: Vec<&Node> = nodes.iter().filter(|node| node.name != prober.name).collect();
    let mut targets = vec![control.clone()];
    targets.extend(others.iter().flat_map(|node| targets_of(node)));
    let answers = stack.probe(&prober.name, &targets).await?;
    if !answers[0].open() {
        let what = format!(
            "{}: the positive control {control} is not open: {}",
            prober.name, answers[0].line
        );
        return Err(Failure::undecided(
            what,
            "a prober that reaches nothing proves nothing; see logs/network",
        )
        .into());
    }
    let by_target: BTreeMap<&String, &Answer> = targets.iter().zip(&answers).collect();
    let pairs = others.iter().map(|node| {
        // A store calls nobody; what is neither has no manifest, so that compose declares its edges.
        let declared = match service {
            Some(service) => service.calls.contains(&node.name) || service.needs.contains(&node.name),
            None => !stack.is_store(&prober.name) && stack.joins(&prober.name, &node.name),
        };
        let targets = targets_of(node);
        let tried = targets.len();
        let open = targets
            .into_iter()
            .filter(|target| by_target.get(target).is_some_and(|answer| answer.open()));
        Pair {
            from: prober.name.clone(),
            to: node.name.clone(),
            declared,
            open: open.collect(),
            tried,
        }
    });
    Ok(pairs.collect())
}

/// Every way to a member: its name on its own network first, its plain name, its addresses by number.
fn targets_of(node: &Node) -> Vec<String> {
    let mut targets = vec![
        format!("tcp://own.{}:{}", node.name, node.port),
        format!("tcp://{}:{}", node.name, node.port),
    ];
    targets.extend(
        node.addresses
            .iter()
            .map(|address| format!("tcp://{address}:{}", node.port)),
    );
    targets
}

fn judge(pairs: &[Pair], owner: impl Fn(&Pair) -> Option<String>) -> Found {
    let mut found = Found::new();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for pair in pairs {
        let Some(owner) = owner(pair) else { continue };
        let (from, to) = (&pair.from, &pair.to);
        let check = match pair.way() {
            Way::Open if owner == *from => Check::passed(format!("reaches {to}"), "by name"),
            Way::Open => Check::passed(format!("reached by {from}"), "by name"),
            Way::Closed => Check::violated(
                format!("declared edge {from} -> {to}"),
                "closed: it cannot be reached by name",
                format!(
                    "join the network '{to}' in compose/compose.yaml, or remove the edge from Cargo.toml"
                ),
            ),
            Way::Undeclared => Check::violated(
                format!("undeclared edge {from} -> {to}"),
                format!("open by {}", pair.open.first().map_or("", String::as_str)),
                format!("declare it in the Cargo.toml of {from}, or take it off that network in compose/"),
            ),
            Way::Refused => {
                *refused.entry(owner).or_default() += pair.tried;
                continue;
            }
        };
        found.entry(owner).or_default().push(check);
    }
    for (owner, count) in refused {
        let check = Check::passed("everything else", format!("refused, {count} ways tried"));
        found.entry(owner).or_default().push(check);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    fn pair(from: &str, to: &str, declared: bool, open: &[&str]) -> Pair {
        let open = open.iter().map(|target| (*target).to_owned()).collect();
        Pair {
            from: from.into(),
            to: to.into(),
            declared,
            open,
            tried: 3,
        }
    }

    fn outcomes(pairs: &[Pair]) -> Vec<(String, String, Outcome)> {
        let judged = |name: &str| ["gateway", "data"].contains(&name);
        let needed_by = |store: &str| (store == "redis").then(|| "gateway".to_owned());
        let found = judge(pairs, |pair| owner(pair, judged, needed_by));
        let flat = found.into_iter().flat_map(|(service, checks)| {
            checks
                .into_iter()
                .map(move |check| (service.clone(), check.name, check.outcome))
        });
        flat.collect()
    }

    #[test]
    fn a_declared_edge_must_be_open_by_its_own_name() {
        let open = pair(
            "gateway",
            "data",
            true,
            &["tcp://own.data:8001", "tcp://10.0.0.2:8001"],
        );
        assert_eq!(outcomes(&[open])[0].2, Outcome::Passed);
        let by_number_only = pair("gateway", "data", true, &["tcp://10.0.0.2:8001"]);
        assert_eq!(outcomes(&[by_number_only])[0].2, Outcome::Violated);
    }

    #[test]
    fn any_other_open_way_is_a_violation_of_the_one_who_took_it() {
        let reverse = pair("data", "gateway", false, &["tcp://10.0.0.3:8000"]);
        let found = outcomes(&[reverse]);
        assert_eq!(
            found[0],
            (
                "data".into(),
                "undeclared edge data -> gateway".into(),
                Outcome::Violated
            )
        );
        let from_store = pair("postgres", "gateway", false, &["tcp://gateway:8000"]);
        assert_eq!(
            outcomes(&[from_store])[0].0,
            "gateway",
            "a store has no row of its own"
        );
        let between_stores = pair("postgres", "redis", false, &["tcp://10.0.0.9:6379"]);
        assert_eq!(outcomes(&[between_stores])[0].2, Outcome::Violated);
        assert_eq!(
            outcomes(&[pair("data", "gateway", false, &[])])[0].2,
            Outcome::Passed
        );
    }
}
