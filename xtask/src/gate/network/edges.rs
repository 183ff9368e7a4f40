//! Every ordered pair of the stack: declared edges must be open by name, all others refused by every name and
//! every address. A prober whose own positive control fails has proven nothing.

use std::collections::BTreeMap;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::Found;
use super::stack::{Answer, Node, Stack};
use crate::catalogue::Service;
use crate::exit::Failure;
use crate::verdict::Check;

/// What one member found of one other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    from: String,
    to: String,
    declared: bool,
    /// The target of each open answer.
    open: Vec<String>,
    tried: usize,
}

/// Probes the whole matrix and judges it for every judged service.
pub(super) async fn check(
    stack: &Stack<'_>,
    figures: &mut serde_json::Map<String, serde_json::Value>,
) -> Result<Found> {
    let nodes = stack.nodes().await?;
    let services: BTreeMap<&str, &Service> = stack
        .services()
        .map(|service| (service.name.as_str(), service))
        .collect();
    let stores = stack.stores();
    let probers = nodes
        .iter()
        .filter(|node| services.contains_key(node.name.as_str()) || stores.contains(&node.name));
    let asked =
        probers.map(|prober| from_one(stack, prober, &nodes, services.get(prober.name.as_str()).copied()));
    let asked: Vec<Result<Vec<Pair>>> = stream::iter(asked).buffer_unordered(4).collect().await;
    let mut pairs = Vec::new();
    for answers in asked {
        pairs.extend(answers?);
    }
    pairs.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    let shown = pairs.iter().map(|pair| {
        json!({ "from": pair.from, "to": pair.to, "declared": pair.declared, "open": pair.open, "tried": pair.tried })
    });
    figures.insert("pairs".into(), shown.collect());
    Ok(judge(&pairs, |service| stack.is_judged(service)))
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
        let declared = service.is_some_and(|s| s.calls.contains(&node.name) || s.needs.contains(&node.name));
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

/// A declared edge counts for the caller. An undeclared one counts for the caller where it is a service, for
/// the one that was reached otherwise.
fn judge(pairs: &[Pair], is_judged: impl Fn(&str) -> bool) -> Found {
    let mut found = Found::new();
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in pairs {
        let owner = if is_judged(&pair.from) {
            &pair.from
        } else {
            &pair.to
        };
        if !is_judged(owner) {
            continue;
        }
        let named = format!("tcp://own.{}:", pair.to);
        let open_by_name = pair.open.iter().any(|target| target.starts_with(&named));
        let check = match (pair.declared, pair.open.first()) {
            (true, _) if open_by_name => Check::passed(format!("reaches {}", pair.to), "by name"),
            (true, _) => Check::violated(
                format!("declared edge {} -> {}", pair.from, pair.to),
                "closed: it cannot be reached by name",
                format!(
                    "join the network '{}' in compose/compose.yaml, or remove the edge from Cargo.toml",
                    pair.to
                ),
            ),
            (false, Some(open)) => Check::violated(
                format!("undeclared edge {} -> {}", pair.from, pair.to),
                format!("open by {open}"),
                format!(
                    "declare it in the Cargo.toml of {}, or take it off that network in compose/",
                    pair.from
                ),
            ),
            (false, None) => {
                *refused.entry(owner.as_str()).or_default() += pair.tried;
                continue;
            }
        };
        found.entry(owner.clone()).or_default().push(check);
    }
    for (owner, count) in refused {
        let check = Check::passed("everything else", format!("refused, {count} ways tried"));
        found.entry(owner.to_owned()).or_default().push(check);
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
        let found = judge(pairs, |name| ["gateway", "data"].contains(&name));
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
        assert_eq!(
            outcomes(&[pair("data", "gateway", false, &[])])[0].2,
            Outcome::Passed
        );
    }
}
