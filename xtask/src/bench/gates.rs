//! The gates by themselves, over images that are built: the scans warm and cold, and all gates looking anew.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Bench;
use super::measure::{in_turn, report_of, run, timed};
use super::row::{Row, Samples, median};
use crate::report::Report;
use crate::verdict::Gate;

/// The gates that look at what is built, in the order of a run.
const GATES: [Gate; 5] = [Gate::Lint, Gate::Scan, Gate::Budget, Gate::Boot, Gate::Network];

pub async fn scans(bench: &Bench<'_>) -> Vec<Row> {
    let row = Row::new("scans", "`cargo xtask scan`", "warm at most 5 s")
        .against("`cargo xtask scan --fresh`")
        .note("all images; warm against cold");
    vec![row.measured(scan_samples(bench).await)]
}

async fn scan_samples(bench: &Bench<'_>) -> Result<Samples> {
    let scan = |words: &[&str]| bench.xtask("scans", words);
    bench.build("scans").await?;
    timed(bench.context, &scan(&["scan"])).await?;
    in_turn(
        bench.repeat,
        async |_| timed(bench.context, &scan(&["scan"])).await,
        async |_| timed(bench.context, &scan(&["scan", "--fresh"])).await,
    )
    .await
}

pub async fn gates(bench: &Bench<'_>) -> Vec<Row> {
    let names = GATES.map(Gate::name).join(", ");
    let row = Row::new(
        "gates",
        format!("{names}, each with `--fresh`, summed"),
        "at most 25 s",
    );
    let rounds = match rounds(bench).await {
        Ok(rounds) => rounds,
        Err(error) => return vec![row.failed(&error)],
    };
    let samples = Samples {
        ours: rounds.iter().map(Round::seconds).collect(),
        theirs: Vec::new(),
    };
    vec![row.note(describe(&rounds)).measured(Ok(samples))]
}

/// Every gate once, in seconds.
#[derive(Debug, Default)]
struct Round {
    gates_s: Vec<f64>,
    /// What the network gate spent on losing stores on purpose.
    losses_s: Option<f64>,
}

impl Round {
    /// Without the losses: how long a store is away is the test's choice.
    fn seconds(&self) -> f64 {
        self.gates_s.iter().sum::<f64>() - self.losses_s.unwrap_or_default()
    }
}

async fn rounds(bench: &Bench<'_>) -> Result<Vec<Round>> {
    bench.build("gates").await?;
    let mut rounds = Vec::new();
    for _ in 0..bench.repeat {
        let mut round = Round::default();
        for gate in GATES {
            let call = bench.xtask("gates", &[gate.name(), "--fresh"]);
            let (seconds, output) = run(bench.context, &call).await?;
            round.gates_s.push(seconds);
            if gate == Gate::Network {
                round.losses_s = losses_s(&report_of(bench.context, &output.stdout)?);
            }
        }
        rounds.push(round);
    }
    Ok(rounds)
}

/// The sum of the figures `losing_<store>_ms` of the network gate, in seconds; each store counts once, whatever
/// the number of records that tell of it. `None` where no record does.
fn losses_s(report: &Report) -> Option<f64> {
    let records = report
        .records
        .iter()
        .filter(|record| record.gate == Gate::Network);
    let mut stores: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, value) in records.flat_map(|record| &record.figures) {
        let store = name
            .strip_prefix("losing_")
            .and_then(|name| name.strip_suffix("_ms"));
        if let (Some(store), Some(ms)) = (store, value.as_f64()) {
            let known = stores.entry(store).or_default();
            *known = known.max(ms);
        }
    }
    (!stores.is_empty()).then(|| stores.values().sum::<f64>() / 1000.0)
}

/// The median of each gate, and what was subtracted.
fn describe(rounds: &[Round]) -> String {
    let each = GATES.iter().enumerate().map(|(at, gate)| {
        let samples: Vec<f64> = rounds.iter().map(|round| round.gates_s[at]).collect();
        format!("{} {:.1}", gate.name(), median(&samples).unwrap_or_default())
    });
    let each = each.collect::<Vec<_>>().join(", ");
    let losses: Option<Vec<f64>> = rounds.iter().map(|round| round.losses_s).collect();
    match losses.as_deref().and_then(median) {
        Some(losses) => format!("{each}; {losses:.1} s of losing stores are subtracted"),
        None => {
            format!("{each}; the network gate tells no `losing_<store>_ms`, so losing stores is counted in")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::verdict::{Check, Record};

    fn network(service: &str) -> Record {
        Record::from_checks(service, Gate::Network, vec![Check::passed("x", "")], "")
    }

    #[test]
    fn a_lost_store_counts_once() {
        let mut report = sample();
        assert_eq!(losses_s(&report), None);
        let one = network("a")
            .figure("losing_redis_ms", 4000)
            .figure("stack_ms", 9000);
        let other = network("b")
            .figure("losing_redis_ms", 4000)
            .figure("losing_postgres_ms", 6500);
        report.records.extend([one, other]);
        assert_eq!(losses_s(&report), Some(10.5));
    }

    #[test]
    fn a_round_is_the_sum_without_the_losses() {
        let round = |losses_s| Round {
            gates_s: vec![1.0, 2.0, 3.0, 4.0, 20.0],
            losses_s,
        };
        assert_eq!(round(Some(10.0)).seconds(), 20.0);
        assert_eq!(round(None).seconds(), 30.0);
        insta::assert_snapshot!(describe(&[round(Some(10.0))]), @"lint 1.0, scan 2.0, budget 3.0, boot 4.0, network 20.0; 10.0 s of losing stores are subtracted");
        insta::assert_snapshot!(describe(&[round(None)]), @"lint 1.0, scan 2.0, budget 3.0, boot 4.0, network 20.0; the network gate tells no `losing_<store>_ms`, so losing stores is counted in");
    }
}
