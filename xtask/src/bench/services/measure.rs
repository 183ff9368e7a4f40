//! One service under its loads: every side in turn, so that whatever slows the machine down meets all of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Pace;
use super::beside::{Beside, memory_of};
use super::figures::{Figures, Measurement, Side};
use super::form::{LoadForm, Loads, Socket};
use super::nginx::{self, Nginx};
use super::process::Process;
use super::stage::Stage;
use crate::engine::Container;
use crate::story::{Teller, Variables, filled};

/// Before memory is looked at: what a start needs is given back by then.
pub const REST: Duration = Duration::from_secs(2);

/// What is measured of one service: its loads, as far as they are asked for.
pub async fn service(
    stage: &Stage<'_>,
    name: &str,
    loads: &Loads,
    beside: &Beside,
    pace: &Pace,
) -> Vec<Measurement> {
    let mut measured = Vec::new();
    for (title, form) in &loads.loads {
        if pace.asked(title) {
            crate::report::complain(&format!("bench: {name}: {title}"));
            measured.push(one(stage, name, title, form, beside, pace).await);
        }
    }
    measured
}

async fn one(
    stage: &Stage<'_>,
    service: &str,
    title: &str,
    form: &LoadForm,
    beside: &Beside,
    pace: &Pace,
) -> Measurement {
    let mut measurement = Measurement {
        service: service.to_owned(),
        load: title.to_owned(),
        about: form.about.clone(),
        connections: form
            .socket
            .as_ref()
            .map_or(form.connections, |socket| socket.clients),
        sides: BTreeMap::new(),
        aims: Vec::new(),
        failed: None,
    };
    match sides(stage, service, title, form, beside, pace).await {
        Ok(sides) => {
            measurement.sides = sides;
            // Clients that ask at their own pace are answered at that pace by any side: there is nothing to judge.
            if form.socket.is_none() {
                measurement.judge(&form.aims, form.units.as_ref());
            }
        }
        Err(error) => measurement.failed = Some(format!("{error:#}")),
    }
    measurement
}

async fn sides(
    stage: &Stage<'_>,
    service: &str,
    title: &str,
    form: &LoadForm,
    beside: &Beside,
    pace: &Pace,
) -> Result<BTreeMap<Side, Figures>> {
    let process = stage.process(service)?;
    let variables = prepared(stage, process, form).await?;
    let (published, published_at) = stage.published(service)?;
    let mut at = vec![
        (Side::Process, process.address, Memory::Process(process)),
        (
            Side::Container,
            beside.address,
            Memory::Container(&beside.container),
        ),
        (Side::Published, *published_at, Memory::Container(published)),
    ];
    if let Some(socket) = &form.socket {
        return sockets(stage, socket, &variables, at, pace).await;
    }
    let request = form.request.as_ref().context("there is no request")?;
    let own = request.request(&variables).map_err(anyhow::Error::msg)?;
    let mut proxy: Option<Nginx> = None;
    let mut direct = own.clone();
    if let Some(behind) = &form.direct {
        let target = stage.process(&behind.service)?;
        direct = behind.request.request(&variables).map_err(anyhow::Error::msg)?;
        let started = nginx::start(stage, title, target.address).await?;
        at.push((Side::Direct, target.address, Memory::Process(target)));
        let started = proxy.insert(started);
        at.push((
            Side::Nginx,
            started.address,
            Memory::Container(&started.container),
        ));
    }
    let mut figures: BTreeMap<Side, Figures> = BTreeMap::new();
    let mut numbers = Numbers::default();
    for _ in 0..pace.repeat {
        for (side, target, memory) in &at {
            let request = if matches!(side, Side::Direct | Side::Nginx) {
                &direct
            } else {
                &own
            };
            let load = |connections: usize, time: Duration, first: u64| load::Load {
                target: *target,
                request: request.clone(),
                connections,
                warm_up: pace.warm_up,
                time,
                first,
            };
            let alone = load::run(&load(1, pace.time / 2, numbers.next())).await;
            let busy = load::run(&load(form.connections, pace.time, numbers.next())).await;
            let memory = memory.mb(stage).await;
            note(figures.entry(*side).or_default(), Some(&alone), &busy, memory);
        }
        // Nobody always has the place after the same neighbour.
        at.rotate_left(1);
    }
    if let Some(proxy) = &proxy {
        stage.engine.remove(&proxy.container).await?;
    }
    Ok(figures)
}

async fn sockets(
    stage: &Stage<'_>,
    socket: &Socket,
    variables: &Variables,
    mut at: Vec<(Side, SocketAddr, Memory<'_>)>,
    pace: &Pace,
) -> Result<BTreeMap<Side, Figures>> {
    let message = filled(&socket.message.to_string(), variables);
    let message = load::Template::parse(&message).map_err(anyhow::Error::msg)?;
    let headers = socket.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.clone(), filled(value, variables)))
        .collect();
    let mut figures: BTreeMap<Side, Figures> = BTreeMap::new();
    for _ in 0..pace.repeat {
        for (side, target, memory) in &at {
            let clients = load::Sockets {
                target: *target,
                path: filled(&socket.path, variables),
                headers: headers.clone(),
                clients: socket.clients,
                message: message.clone(),
                every: Duration::from_secs_f64(socket.every_s),
                time: pace.time,
            };
            let begun = Instant::now();
            let (mut opened, mut held) = (None, None);
            let busy = load::hold(&clients, async {
                opened = Some(begun.elapsed().as_secs_f64());
                tokio::time::sleep(REST).await;
                held = memory.mb(stage).await;
            });
            let busy = busy.await;
            let one = figures.entry(*side).or_default();
            note(one, None, &busy, held);
            one.opened_s.extend(opened);
        }
        at.rotate_left(1);
    }
    Ok(figures)
}

/// Told through the process; the stores are the same for all sides.
async fn prepared(stage: &Stage<'_>, process: &Process, form: &LoadForm) -> Result<Variables> {
    let mut variables = stage.given.clone();
    let teller = Teller::new(process.address)?;
    for step in &form.prepare {
        let told = teller.tell(step, &mut variables).await;
        told.with_context(|| format!("prepare '{}'", step.name))?;
    }
    Ok(variables)
}

fn note(figures: &mut Figures, alone: Option<&load::Measured>, busy: &load::Measured, memory: Option<f64>) {
    if let Some(alone) = alone {
        figures.alone_p50_ms.extend(alone.quantile_ms(0.5));
        figures.alone_p99_ms.extend(alone.quantile_ms(0.99));
    }
    figures.per_second.push(busy.per_second());
    figures.p50_ms.extend(busy.quantile_ms(0.5));
    figures.p99_ms.extend(busy.quantile_ms(0.99));
    figures.memory_mb.extend(memory);
    for part in alone.into_iter().chain([busy]) {
        figures.wrong += part.wrong;
        figures.first_wrong = figures.first_wrong.take().or(part.first_wrong.clone());
    }
}

/// Whose memory is looked at.
enum Memory<'a> {
    Process(&'a Process),
    Container(&'a Container),
}

impl Memory<'_> {
    async fn mb(&self, stage: &Stage<'_>) -> Option<f64> {
        match self {
            Memory::Process(process) => process.memory_mb(),
            Memory::Container(container) => memory_of(stage, container).await,
        }
    }
}

/// Numbers of requests that no load of this run has had: what is created under them is new each time.
#[derive(Default)]
struct Numbers(u64);

impl Numbers {
    /// More than a load takes in its time.
    const APART: u64 = 10_000_000;

    fn next(&mut self) -> u64 {
        self.0 += Self::APART;
        self.0
    }
}
