//! What containers looked like before a gate took them away, kept in memory until it is known whether anybody will
//! ask; and every secret that was met on the way. What the engine does not tell in time is missed, never waited for.

mod machine;
mod secrets;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::context::{Context, Deadline};
use crate::engine::{Container, Engine};
use crate::redact::Redactor;
use crate::verdict::{Gate, Record, is_bad};

pub use machine::machine;

/// How long one look may take, and all looks of a run together: a hanging engine costs what is looked for, not the
/// run.
const ONE_LOOK: Duration = Duration::from_secs(4);
const ALL_LOOKS: Duration = Duration::from_secs(10);
/// How many containers are looked at at a time.
const SIDE_BY_SIDE: usize = 4;
/// More of a log is not kept; several times what is written, so that nothing is cut before it was masked.
const LOG: usize = 4 << 20;

/// One run's witness.
#[derive(Debug)]
pub struct Witness {
    /// Nobody will ask: secrets are still learned.
    blind: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    secrets: BTreeSet<String>,
    /// Of the secrets that are known by now.
    redactor: Option<Arc<Redactor>>,
    /// Containers that were not looked at yet.
    standing: Vec<Standing>,
    seen: BTreeMap<(Gate, String), Vec<Glimpse>>,
    scenes: BTreeMap<Gate, Scene>,
    missed: BTreeMap<About, Vec<String>>,
    looked: Duration,
}

/// What a look is about: a gate and a service; a stack belongs to no service.
type About = (Gate, Option<String>);

/// One look, and when it must have ended.
#[derive(Debug)]
struct Look {
    about: About,
    deadline: Deadline,
}

#[derive(Debug, Clone)]
struct Standing {
    gate: Gate,
    service: String,
    name: String,
    container: Container,
}

/// A container at one moment; `None`: not known.
#[derive(Debug, Clone, Default)]
pub struct Glimpse {
    /// What it was started for, or which member of the stack it is.
    pub name: String,
    pub inspect: Option<Value>,
    pub stats: Option<Value>,
    pub log: Option<String>,
    pub sockets: Option<String>,
}

/// A whole stack at one moment.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    pub members: Vec<Glimpse>,
    pub networks: Value,
    /// What the engine says happened to them.
    pub events: Vec<Value>,
    pub machine: Value,
}

/// All that was seen.
#[derive(Debug, Default)]
pub struct Testimony {
    pub seen: BTreeMap<(Gate, String), Vec<Glimpse>>,
    pub scenes: BTreeMap<Gate, Scene>,
    pub missed: Vec<String>,
    /// How long all of it took.
    pub looked: Duration,
}

impl Witness {
    /// Knows the secrets of this process's own environment; `blind`: nobody will ask what was seen.
    pub fn new(blind: bool) -> Self {
        let witness = Witness {
            blind,
            state: Mutex::default(),
        };
        for (name, value) in std::env::vars_os() {
            witness.learn_variable(&name.to_string_lossy(), &value.to_string_lossy());
        }
        witness
    }

    /// A gate started a container for a service, and for some purpose.
    pub fn watch(&self, gate: Gate, service: &str, name: &str, container: &Container) {
        if !self.blind {
            self.state().standing.push(Standing {
                gate,
                service: service.to_owned(),
                name: name.to_owned(),
                container: container.clone(),
            });
        }
    }

    /// A container is about to be taken away; `log`: what it said.
    pub async fn look(&self, engine: &Engine, container: &Container, log: &str) {
        let this = |standing: &Standing| standing.container.id == container.id;
        let found = self
            .state()
            .standing
            .iter()
            .find(|standing| this(standing))
            .cloned();
        let Some(standing) = found else {
            return;
        };
        let mut glimpse = Glimpse {
            name: standing.name.clone(),
            ..Glimpse::default()
        };
        if let Some(look) = self.begin((standing.gate, Some(standing.service.clone()))) {
            glimpse = self.glimpse(engine, &standing.name, container, &look).await;
            self.end(&look);
        }
        glimpse.log = Some(shortened(log.to_owned()));
        self.keep(&standing, glimpse);
        // Not before: where this look is cut off, the container still stands and is looked at in the end.
        self.standing(this);
    }

    /// A verdict is in: where it is bad, what still stands is looked at; where not, all that was seen is forgotten.
    pub async fn settle(&self, engine: &Engine, record: &Record, strict: bool) {
        let own = |standing: &Standing| standing.gate == record.gate && standing.service == record.service;
        let left = self.standing(own);
        if !is_bad(record, strict) {
            let mut state = self.state();
            state.seen.remove(&(record.gate, record.service.clone()));
            state.missed.remove(&(record.gate, Some(record.service.clone())));
            return;
        }
        if left.is_empty() {
            return;
        }
        let Some(look) = self.begin((record.gate, Some(record.service.clone()))) else {
            return;
        };
        for standing in left {
            let mut glimpse = self
                .glimpse(engine, &standing.name, &standing.container, &look)
                .await;
            glimpse.log = self.log(engine, &standing.name, &standing.container, &look).await;
            self.keep(&standing, glimpse);
        }
        self.end(&look);
    }

    /// The stack of a run, before it is taken down.
    pub async fn scene(&self, context: &Context, engine: &Engine, gate: Gate) {
        if self.blind {
            return;
        }
        let _under_way = context.board.step_in(gate, "keeping what is seen of the stack");
        let Some(look) = self.begin((gate, None)) else {
            return;
        };
        let (look, run_id) = (&look, context.run_id.as_str());
        let listed = self
            .ask("the stack's containers", look, engine.containers_of_run(run_id))
            .await;
        let members = listed
            .unwrap_or_default()
            .into_iter()
            .map(|(name, container)| async move {
                let mut glimpse = self.glimpse(engine, &name, &container, look).await;
                glimpse.log = self.log(engine, &name, &container, look).await;
                glimpse
            });
        let mut members: Vec<Glimpse> = stream::iter(members)
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await;
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let begun = jiff::Timestamp::now()
            - jiff::SignedDuration::try_from(context.started.elapsed()).unwrap_or_default();
        let networks = self
            .ask("the stack's networks", look, engine.networks_of_run(run_id))
            .await;
        let events = self
            .ask("the engine's events", look, engine.happened(run_id, begun))
            .await;
        let scene = Scene {
            members,
            networks: networks.unwrap_or_default(),
            events: events.unwrap_or_default(),
            machine: machine(&context.run_dir),
        };
        self.end(look);
        self.state().scenes.insert(gate, scene);
    }

    /// All that was seen, once.
    pub fn testify(&self) -> Testimony {
        let mut state = self.state();
        Testimony {
            seen: std::mem::take(&mut state.seen),
            scenes: std::mem::take(&mut state.scenes),
            missed: std::mem::take(&mut state.missed)
                .into_values()
                .flatten()
                .collect(),
            looked: state.looked,
        }
    }

    async fn glimpse(&self, engine: &Engine, name: &str, container: &Container, look: &Look) -> Glimpse {
        let inspect = self
            .ask(&format!("inspect of {name}"), look, engine.inspected(container))
            .await;
        let state = inspect.as_ref().map(|inspect| &inspect["State"]);
        let runs = state.is_some_and(|state| state["Running"] == true);
        let pid = state.and_then(|state| state["Pid"].as_i64());
        if let Some(inspect) = &inspect {
            self.learn_container(inspect);
        }
        let stats = match runs {
            true => {
                self.ask(&format!("stats of {name}"), look, engine.stats(container))
                    .await
            }
            false => None,
        };
        Glimpse {
            name: name.to_owned(),
            stats,
            sockets: pid
                .filter(|_| runs)
                .and_then(|pid| sockets::of(pid, &container.id)),
            inspect,
            log: None,
        }
    }

    async fn log(&self, engine: &Engine, name: &str, container: &Container, look: &Look) -> Option<String> {
        let said = engine.log_until(container, look.deadline, shortened);
        self.ask(&format!("log of {name}"), look, said).await
    }

    /// What cannot be had in time is named.
    async fn ask<T>(&self, what: &str, look: &Look, answer: impl Future<Output = Result<T>>) -> Option<T> {
        let why = match tokio::time::timeout(look.deadline.left(), answer).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "the engine gave no answer in time".to_owned(),
        };
        self.miss(&look.about, format!("{what}: {why}"));
        None
    }

    fn miss(&self, about: &About, what: String) {
        let mut state = self.state();
        let missed = state.missed.entry(about.clone()).or_default();
        if !missed.contains(&what) {
            missed.push(what);
        }
    }

    /// Nothing where all looks before took what there is for them: then the engine is not asked at all.
    fn begin(&self, about: About) -> Option<Look> {
        let left = ALL_LOOKS.saturating_sub(self.state().looked);
        if left.is_zero() {
            let of = about.1.as_deref().unwrap_or("the stack");
            let limit = ALL_LOOKS.as_secs();
            let what = format!(
                "{} {of}: not looked at, for looking had taken {limit} s",
                about.0.name()
            );
            self.miss(&about, what);
            return None;
        }
        let deadline = Deadline::within(ONE_LOOK.min(left));
        Some(Look { about, deadline })
    }

    fn end(&self, look: &Look) {
        let took = look.deadline.limit.saturating_sub(look.deadline.left());
        self.state().looked += took;
    }

    fn keep(&self, standing: &Standing, glimpse: Glimpse) {
        let of = (standing.gate, standing.service.clone());
        self.state().seen.entry(of).or_default().push(glimpse);
    }

    /// Takes those out that are asked for.
    fn standing(&self, asked: impl Fn(&Standing) -> bool) -> Vec<Standing> {
        let mut state = self.state();
        let (taken, left) = std::mem::take(&mut state.standing)
            .into_iter()
            .partition(|standing| asked(standing));
        state.standing = left;
        taken
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its beginning and its end, where it is too long.
fn shortened(log: String) -> String {
    if log.len() <= 2 * LOG {
        log
    } else {
        crate::bundle::cut(&log, LOG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Check;

    #[tokio::test]
    async fn what_is_not_told_in_time_is_named_and_all_looks_have_one_end() {
        let witness = Witness::new(false);
        let about = (Gate::Boot, Some("a".to_owned()));
        let mut look = witness.begin(about.clone()).unwrap();
        look.deadline = Deadline::within(Duration::from_millis(10));
        let never = std::future::pending::<Result<u8>>();
        assert_eq!(witness.ask("stats of x", &look, never).await, None);
        let failed = async { Err::<u8, _>(anyhow::anyhow!("gone")) };
        look.deadline = Deadline::within(ONE_LOOK);
        witness.ask("log of x", &look, failed).await;
        let missed = witness.testify().missed;
        assert_eq!(
            missed,
            ["stats of x: the engine gave no answer in time", "log of x: gone"]
        );
        witness.state().looked = ALL_LOOKS - Duration::from_millis(5);
        assert!(witness.begin(about.clone()).unwrap().deadline.limit <= Duration::from_millis(5));
        witness.state().looked = ALL_LOOKS;
        for _ in 0..2 {
            assert!(witness.begin(about.clone()).is_none());
        }
        let missed = witness.testify().missed;
        assert_eq!(missed, ["boot a: not looked at, for looking had taken 10 s"]);
    }

    #[test]
    fn only_a_bad_verdict_is_worth_a_look() {
        let tolerated = |tolerated: bool| {
            let check = Check::undecided("vulnerabilities", "no database", "x");
            let check = if tolerated { check.tolerated() } else { check };
            Record::from_checks("a", Gate::Scan, vec![check], "")
        };
        assert!(is_bad(&tolerated(false), false) && !is_bad(&tolerated(true), false));
        assert!(is_bad(&tolerated(true), true), "strict");
    }
}
