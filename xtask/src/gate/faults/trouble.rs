//! One fault of one store, from before to after: what dependents do meanwhile, what requests come to, and how
//! all of it comes back.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future::{join_all, try_join_all};

use super::relay::Relay;
use super::table::Row;
use super::traffic::{Source, Traffics};
use super::word;
use crate::catalogue::Service;
use crate::cli::FaultKind;
use crate::context::{Deadline, poll};
use crate::engine::Endpoint;
use crate::exit::Failure;
use crate::stack::{Found, Stack, notices};
use crate::verdict::{Check, Outcome};

/// How long traffic flows before.
const BEFORE: Duration = Duration::from_secs(1);
/// How long a fault lasts at least while requests keep coming.
const AT_LEAST: Duration = Duration::from_secs(4);
/// Between two questions whether a service is live.
const LIVE_EVERY: Duration = Duration::from_secs(2);
/// How long rows are read back where not all recovered: long enough for an answer.
const NOT_BACK: Duration = Duration::from_secs(5);
/// The delay of a slowed store's answers.
const SLOWED: &str = "slowed 500";

pub(super) struct Trouble<'a> {
    pub(super) stack: &'a Stack<'a>,
    pub(super) store: &'a str,
    kind: FaultKind,
    relay: Option<&'a Relay<'a>>,
    /// Where the store is, under which names.
    places: Vec<Endpoint>,
    /// Every service, with when its process was started.
    started: Vec<(&'a Service, String)>,
}

/// What one dependent did: when it noticed, or why it did not as declared.
pub(super) struct Noticed {
    pub(super) after: Option<Duration>,
    pub(super) wrong: Option<String>,
}

impl<'a> Trouble<'a> {
    pub(super) async fn new(
        stack: &'a Stack<'a>,
        store: &'a str,
        kind: FaultKind,
        relay: Option<&'a Relay<'a>>,
    ) -> Result<Self> {
        let mut started = Vec::new();
        for service in stack.services() {
            let state = stack.engine.state(stack.container(&service.name)?).await?;
            started.push((service, state.started_at));
        }
        let places = stack.engine.endpoints(stack.container(store)?).await?;
        Ok(Trouble {
            stack,
            store,
            kind,
            relay,
            places,
            started,
        })
    }

    /// Brings it about, watches, ends it, watches again.
    pub(super) async fn run(&self, sources: &[Source]) -> Result<(Row, Found)> {
        self.must_work(sources).await?;
        let stop = AtomicBool::new(false);
        let watch = async {
            // What was acknowledged just before is what a store may lose.
            tokio::time::sleep(BEFORE).await;
            let began = Instant::now();
            self.begin().await?;
            let noticed = self.dependents().map(|service| self.noticed(service, began));
            let noticed = try_join_all(noticed).await?;
            tokio::time::sleep(AT_LEAST.saturating_sub(began.elapsed())).await;
            Ok::<_, anyhow::Error>(noticed)
        };
        // However it ends, the traffic does too.
        let watch = async {
            let noticed = watch.await;
            stop.store(true, SeqCst);
            noticed
        };
        let over = AtomicBool::new(false);
        let flows = async {
            let flows = join_all(sources.iter().map(|source| source.flow(&stop)));
            // The fault outlasts every request that was sent while it lasted: none is saved by its end.
            let both = tokio::join!(watch, flows);
            over.store(true, SeqCst);
            both
        };
        let ((noticed, mut flows), live) = tokio::join!(flows, self.live(&over));
        let (noticed, live) = (noticed?, live?);
        let touched = self.end().await?;
        let back = self.back(sources, &mut flows).await?;
        let mut row = self.row(&noticed, &flows, back.after, touched);
        let mut found = Found::new();
        let mut add = |service: &str, check: Check| found.entry(service.to_owned()).or_default().push(check);
        for (service, check) in live {
            add(&service, check);
        }
        for (service, noticed) in self.dependents().zip(&noticed) {
            add(&service.name, self.readiness(service, noticed));
        }
        for (service, check) in back.checks {
            add(&service, check);
        }
        for (source, traffics) in sources.iter().zip(&flows) {
            let patience = if back.after.is_some() {
                self.recovery_limit()
            } else {
                NOT_BACK
            };
            let lost = source.lost(traffics, Deadline::within(patience)).await;
            row.lost += lost.count;
            row.unasked += lost.unasked;
            self.answers(source, traffics, &lost)
                .into_iter()
                .for_each(|check| add(&source.service, check));
        }
        if touched == Some(0) {
            for service in self.dependents() {
                let why = "nothing passed through the relay while it lasted";
                add(
                    &service.name,
                    Check::undecided(self.name("effect"), why, "see logs/faults"),
                );
            }
        }
        Ok((row, found))
    }

    /// The control: all of it works while nothing is wrong.
    async fn must_work(&self, sources: &[Source]) -> Result<()> {
        self.stack
            .all_ready(&format!("before {} {}", self.store, word(self.kind)))
            .await?;
        for source in sources {
            if !source
                .works_within(Deadline::within(Duration::from_secs(10)))
                .await
            {
                let what = format!("faults/{}: its request fails without any fault", source.title);
                return Err(Failure::undecided(what, "see logs/faults").into());
            }
        }
        Ok(())
    }

    async fn begin(&self) -> Result<()> {
        let (engine, store) = (self.stack.engine, self.stack.container(self.store)?);
        match self.kind {
            FaultKind::Killed => engine.kill(store, "SIGKILL").await,
            FaultKind::Frozen => engine.pause(store).await,
            FaultKind::Cut => {
                let cuts = self
                    .places
                    .iter()
                    .map(|place| engine.leave(&place.network, store));
                try_join_all(cuts).await.map(drop)
            }
            FaultKind::Slowed => self.relay()?.set(SLOWED).await.map(drop),
            FaultKind::Reset => self.relay()?.set("reset").await.map(drop),
        }
    }

    /// Ends it; of a relay, returns how much it touched.
    async fn end(&self) -> Result<Option<u64>> {
        let (engine, store) = (self.stack.engine, self.stack.container(self.store)?);
        match self.kind {
            FaultKind::Killed => engine.start(store).await?,
            FaultKind::Frozen => engine.unpause(store).await?,
            FaultKind::Cut => {
                for place in &self.places {
                    engine.join(&place.network, store, &place.aliases).await?;
                }
            }
            FaultKind::Slowed | FaultKind::Reset => return self.relay()?.set("plain").await.map(Some),
        }
        Ok(None)
    }

    fn recovery_limit(&self) -> Duration {
        Duration::from_millis(self.stack.plan.limits.recovery_deadline_ms)
    }

    fn relay(&self) -> Result<&Relay<'a>> {
        self.relay.context("there is no relay")
    }

    fn dependents(&self) -> impl Iterator<Item = &'a Service> {
        let services = self.started.iter().map(|(service, _)| *service);
        services.filter(|service| service.needs.iter().any(|need| need == self.store))
    }

    pub(super) fn name(&self, what: &str) -> String {
        format!("{} {}: {what}", self.store, word(self.kind))
    }

    /// Waits until a dependent says what its `on_loss` declares. A store that is slow is not lost: then only
    /// what is answered counts.
    async fn noticed(&self, service: &Service, began: Instant) -> Result<Noticed> {
        if self.kind == FaultKind::Slowed {
            return Ok(Noticed {
                after: None,
                wrong: None,
            });
        }
        let wrong = notices(self.stack, service, self.store).await?;
        Ok(Noticed {
            after: wrong.is_none().then(|| began.elapsed()),
            wrong,
        })
    }

    /// Every service is live whenever it is asked until all is `over`, and once more then.
    async fn live(&self, over: &AtomicBool) -> Result<Vec<(String, Check)>> {
        let asked = self.started.iter().map(|(service, _)| async move {
            let mut times = 0;
            let unlive = loop {
                let last = over.load(SeqCst);
                times += 1;
                let unlive = self.stack.unlive(service).await?;
                if unlive.is_some() || last {
                    break unlive;
                }
                let pause = Deadline::within(LIVE_EVERY);
                poll(pause, Duration::from_millis(50), || async {
                    over.load(SeqCst).then_some(())
                })
                .await;
            };
            Ok((service.name.clone(), self.liveness(unlive, times)))
        });
        try_join_all(asked).await
    }

    /// All come back, while the traffic goes on.
    async fn back(&self, sources: &[Source], flows: &mut [Traffics]) -> Result<Back> {
        let stop = AtomicBool::new(false);
        let watch = async {
            let back = self.recovered(sources).await;
            stop.store(true, SeqCst);
            back
        };
        let after = join_all(sources.iter().map(|source| source.flow(&stop)));
        let (back, after) = tokio::join!(watch, after);
        flows
            .iter_mut()
            .zip(after)
            .for_each(|(flow, after)| flow.add(after));
        back
    }

    async fn recovered(&self, sources: &[Source]) -> Result<Back> {
        let began = Instant::now();
        let limit = self.recovery_limit();
        let deadline = Deadline::within(limit);
        let ready = self.started.iter().map(|(service, started_at)| async move {
            let why = self.stack.well_by(service, deadline).await?;
            let now = self
                .stack
                .engine
                .state(self.stack.container(&service.name)?)
                .await?;
            let check = self.recovery(why, now.started_at == *started_at);
            Ok::<_, anyhow::Error>((service.name.clone(), check))
        });
        let mut checks = try_join_all(ready).await?;
        let mut after = Some(began.elapsed());
        let all_ready = checks.iter().all(|(_, check)| check.outcome == Outcome::Passed);
        // Requests to what is not ready only say the same once more, at the end of the same deadline.
        for source in sources.iter().filter(|_| all_ready) {
            if !source.works_within(deadline).await {
                let why = format!(
                    "faults/{}: no request succeeds within {} s",
                    source.title,
                    limit.as_secs()
                );
                checks.push((source.service.clone(), self.recovery(Some(why), true)));
            }
        }
        if checks.iter().any(|(_, check)| check.outcome != Outcome::Passed) {
            after = None;
        } else {
            after = after.max(Some(began.elapsed()));
        }
        Ok(Back { after, checks })
    }

    fn row(
        &self,
        noticed: &[Noticed],
        flows: &[Traffics],
        back: Option<Duration>,
        touched: Option<u64>,
    ) -> Row {
        let millis = |duration: Duration| duration.as_millis() as u64;
        let all = noticed.iter().all(|one| one.after.is_some());
        let latest = noticed.iter().filter_map(|one| one.after).max();
        Row {
            store: self.store.to_owned(),
            fault: word(self.kind).to_owned(),
            noticed_ms: latest.filter(|_| all).map(millis),
            sent: flows.iter().map(|flow| flow.sent).sum(),
            slowest_ms: flows.iter().map(|flow| millis(flow.slowest)).max(),
            hung: flows.iter().map(|flow| flow.hung.len()).sum(),
            wrong: flows.iter().map(|flow| flow.wrong.len()).sum(),
            recovered_ms: back.map(millis),
            acknowledged: flows.iter().map(Traffics::acknowledged).sum(),
            lost: 0,
            unasked: 0,
            touched,
        }
    }
}

/// How all came back.
struct Back {
    /// `None` where something did not.
    after: Option<Duration>,
    checks: Vec<(String, Check)>,
}
