//! `cargo xtask bench services`: the services under load, side by side in one run: as a process, in a container, and
//! behind a published port; where a load says what it is compared with, that directly and through nginx. Which loads
//! there are lies beside each service (`loads/`). A figure that misses what was aimed at fails nothing; wrong answers
//! leave it undecided.

mod beside;
mod figures;
mod form;
mod measure;
mod nginx;
mod process;
mod stage;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Header;
use crate::build::{self, Built};
use crate::catalogue::Catalogue;
use crate::cleaning;
use crate::cli::ServiceBenchOptions;
use crate::context::Context;
use crate::engine::{Engine, Lease};
use crate::exit::{Exit, Failure};
use crate::plan::Plan;
use crate::planning;
use crate::report;
use beside::Beside;
use figures::{Aim, Measurement};
use form::Loads;
use stage::Stage;

/// Raised whenever a field of `reports/bench-services.json` changes its meaning.
const VERSION: u32 = 2;
/// Open files that a thousand clients need on both sides, with room.
const DESCRIPTORS: u64 = 8192;

/// How long each sample takes, and how many there are.
pub struct Pace {
    repeat: u16,
    time: Duration,
    warm_up: Duration,
    only: Vec<String>,
}

impl Pace {
    fn new(options: &ServiceBenchOptions) -> Self {
        Pace {
            repeat: options.repeat,
            time: Duration::from_secs_f64(options.seconds),
            warm_up: Duration::from_secs_f64((options.seconds / 5.0).min(0.5)),
            only: options.load.clone(),
        }
    }

    fn asked(&self, title: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == title)
    }
}

/// Measures, writes `reports/bench-services.json` and `.md`, and prints the latter.
///
/// # Errors
/// Exit 2: an unknown service or load, a malformed load, images that are not built yet. Exit 3: no engine on this
/// machine, something did not start, or answers were not as expected.
pub async fn run(context: &Context, options: &ServiceBenchOptions) -> Result<Exit> {
    context.create_run_dir()?;
    let catalogue = planning::read_catalogue(context).await?;
    let loads = loads(context, &catalogue, options)?;
    let engine = context.engine().await?;
    if engine.is_elsewhere() {
        let hint = "run it where the engine is: processes and containers are compared on one machine";
        return Err(Failure::undecided("the engine is on another machine", hint).into());
    }
    let (plan, _) = planning::work_out(context, &catalogue, &[]).await?;
    let images = build::existing(context, &engine, &plan).await?;
    raise_descriptors()?;
    cleaning::sweep_the_dead(context, &engine).await;
    let lease = Lease::take(&Lease::dir(), &context.run_id, context.estate(Some(&engine)))?;
    let pace = Pace::new(options);
    let measured = tokio::select! {
        measured = measured(context, &engine, &plan, &images, &loads, &pace) => measured,
        () = context.cancel.cancelled() => Err(Failure::undecided("interrupted", "run again").into()),
    };
    let sound = |(loads, _): &(Vec<Measurement>, Vec<Aim>)| loads.iter().all(Measurement::is_sound);
    let sound = measured.as_ref().is_ok_and(sound);
    if !sound && context.interrupted().is_none() {
        keep_logs(context, &engine).await;
    }
    cleaning::clean_up(context, &engine, lease).await;
    if let Some(signal) = context.interrupted() {
        return Ok(signal);
    }
    let (measurements, idle) = measured?;
    let mut header = Header::new(context, &engine, VERSION);
    header.facts.extend(facts(&loads));
    let results = Results {
        header,
        loads: measurements,
        idle,
    };
    super::write(context, "bench-services", &results, &table::render(&results))?;
    if sound {
        return Ok(Exit::Passed);
    }
    let logs = context.shown(&context.run_dir.join("logs"));
    report::complain(&format!(
        "bench: not every load was answered as expected; see {logs}"
    ));
    Ok(Exit::Undecided)
}

/// The loads of the services that are asked for; those of the others are only read.
fn loads(
    context: &Context,
    catalogue: &Catalogue,
    options: &ServiceBenchOptions,
) -> Result<BTreeMap<String, Loads>> {
    let named = catalogue.select(&options.service)?;
    let mut loads = BTreeMap::new();
    for service in &catalogue.services {
        let found = form::read(&context.root.join(&service.dir), &service.calls)?;
        if !found.loads.is_empty() && named.iter().any(|named| named.name == service.name) {
            loads.insert(service.name.clone(), found);
        }
    }
    let known: Vec<&str> = loads
        .values()
        .flat_map(|loads| loads.loads.iter().map(|(title, _)| title.as_str()))
        .collect();
    if known.is_empty() {
        let what = match options.service.as_slice() {
            [] => "no service has a load".to_owned(),
            named => format!("no load: {}", named.join(", ")),
        };
        let hint = "loads lie in services/<name>/loads/*.json";
        return Err(Failure::usage(what, hint).into());
    }
    if let Some(unknown) = options.load.iter().find(|only| !known.contains(&only.as_str())) {
        let hint = format!("loads: {}", known.join(", "));
        return Err(Failure::usage(format!("there is no load '{unknown}'"), hint).into());
    }
    Ok(loads)
}

async fn measured(
    context: &Context,
    engine: &Engine,
    plan: &Plan,
    images: &[Built],
    loads: &BTreeMap<String, Loads>,
    pace: &Pace,
) -> Result<(Vec<Measurement>, Vec<Aim>)> {
    report::complain("bench: starting the stack");
    for image in images {
        image.hold(context, engine).await?;
    }
    let stage = Stage::set(context, engine, plan, images, loads).await?;
    let mut contained = BTreeMap::new();
    for (name, loads) in loads {
        contained.insert(name, Beside::start(&stage, name, &loads.settings).await?);
    }
    // All of them before any load: one service's load is work for those that it calls.
    tokio::time::sleep(measure::REST).await;
    let (mut measurements, mut idle) = (Vec::new(), Vec::new());
    for (name, beside) in &contained {
        idle.extend(beside::idle(&stage, name, &loads[*name].settings, beside).await?);
    }
    for (name, beside) in &contained {
        measurements.extend(measure::service(&stage, name, &loads[*name], beside, pace).await);
    }
    Ok((measurements, idle))
}

/// What the measured services are told besides what compose tells them.
fn facts(loads: &BTreeMap<String, Loads>) -> Vec<String> {
    let mut facts = vec!["the load shares the processors with what it measures".to_owned()];
    for (name, loads) in loads {
        let set = &loads.settings.environment;
        let set: Vec<String> = set
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !set.is_empty() {
            facts.push(format!("{name} with {}", set.join(", ")));
        }
    }
    facts
}

/// What the containers of the run said, before they go: `logs/bench-services/<name>.log`.
async fn keep_logs(context: &Context, engine: &Engine) {
    let dir = context.run_dir.join("logs").join(stage::STEP);
    if std::fs::create_dir_all(&dir).is_err() {
        return;
    }
    let containers = engine.containers_of_run(&context.run_id).await;
    for (name, container) in containers.unwrap_or_default() {
        let said = engine.logs(&container).await;
        let text = said.unwrap_or_else(|error| format!("{error:#}\n"));
        let _ = std::fs::write(dir.join(format!("{name}.log")), context.witness.masked(&text));
    }
}

/// As many open files as this machine lets us have, up to what is needed; programs that we start have them too.
fn raise_descriptors() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if now.current.is_some_and(|current| current < most) {
        let wanted = Rlimit {
            current: Some(most),
            maximum: now.maximum,
        };
        setrlimit(Resource::Nofile, wanted).context("cannot raise the limit of open files")?;
    }
    Ok(())
}

/// What the benchmark came to.
#[derive(Debug, Serialize)]
struct Results {
    #[serde(flatten)]
    header: Header,
    loads: Vec<Measurement>,
    idle: Vec<Aim>,
}
