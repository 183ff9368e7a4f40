//! The order of a run: one line and one comment a step. No step knows the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, stream};

use crate::bases;
use crate::build::{self, Built};
use crate::catalogue::{self, Catalogue};
use crate::context::Context;
use crate::engine::{Engine, Lease};
use crate::exit::{Exit, Failure};
use crate::gate::{self, boot, budget, lint, network, scan};
use crate::plan::{self, Plan};
use crate::process;
use crate::report::live::Board;
use crate::report::{self, Report};
use crate::setup;
use crate::tool::{cargo, git};
use crate::verdict::{Gate, Outcome, Record, exit_of};

/// How many images are scanned, or booted, at a time: more would blur the boot times on two cores.
const SIDE_BY_SIDE: usize = 2;

/// Runs the gates that were asked for; the report is written whatever happens, and says what ended the run
/// early where something did.
///
/// # Errors
/// Only where the report itself cannot be written.
pub async fn run(context: &Context, command: &str, gates: &[Gate]) -> Result<Exit> {
    context.create_run_dir()?;
    let mut records = Vec::new();
    let mut plan = None;
    let ended = steps(context, gates, &mut plan, &mut records).await;
    let mut exit = exit_of(&records, context.options.strict);
    if let Err(error) = &ended {
        exit = exit.worst(crate::exit::explain(error).0);
    }
    let interrupted = context.interrupted();
    exit = interrupted.map_or(exit, |signal| exit.worst(signal));
    let mut report = Report::new(context, command, plan.as_ref(), records, exit);
    report.error = ended.as_ref().err().map(|error| crate::exit::explain(error).1);
    report.environment = environment(context).await;
    report.write(context)?;
    show(context, &report)?;
    if let (Err(error), None) = (&ended, interrupted) {
        report::complain(&crate::exit::explain(error).1);
    }
    Ok(exit)
}

/// Facts about this machine's engine that a reader of the report may ask for.
async fn environment(context: &Context) -> Vec<String> {
    let mut facts = vec![format!("xtask {}", env!("CARGO_PKG_VERSION"))];
    if let Ok(engine) = Engine::connect().await {
        let store = if engine.containerd_store {
            "containerd image store"
        } else {
            "classic image store"
        };
        facts.push(format!("engine {} ({store})", engine.version));
    }
    facts.push(match context.options.vuln_db.clone().or_else(setup::database) {
        Some(dir) => format!("vulnerability database in {}", dir.display()),
        None => "no vulnerability database".to_owned(),
    });
    facts
}

async fn steps(
    context: &Context,
    gates: &[Gate],
    plan: &mut Option<Plan>,
    records: &mut Vec<Record>,
) -> Result<()> {
    // What is to be done: the catalogue, the bases, every detail of every image.
    let (catalogue, plan) = (read_catalogue(context).await?, plan);
    let plan = &*plan.insert(work_out(context, &catalogue, gates).await?);
    // A faulty policy or database is told before it costs a build.
    let settings = scan_settings(context)?;
    // What must be there: provisioned with --setup, listed all at once without.
    ready(context, plan).await?;
    let scanner = gates
        .contains(&Gate::Scan)
        .then(|| scanner(settings))
        .transpose()?;
    let names: Vec<String> = catalogue
        .services
        .iter()
        .map(|service| service.name.clone())
        .collect();
    let board = Board::new(context.options.format, &names, context.started);
    skipped(plan, &board, records);
    let engine = Engine::connect().await?;
    // From here on things are created: a lease tells the next run that we live, or lived.
    let lease = Lease::take(&Lease::dir(), &context.run_id)?;
    sweep_the_dead(&engine, &board).await;
    let done = gated(context, &engine, plan, scanner.as_ref(), &board, records).await;
    // Whatever happened, nothing of this run stays.
    clean_up(context, &engine, lease, &board).await;
    board.finish();
    done
}

async fn gated(
    context: &Context,
    engine: &Engine,
    plan: &Plan,
    scanner: Option<&scan::Scanner>,
    board: &Board,
    records: &mut Vec<Record>,
) -> Result<()> {
    let wants = |gate| plan.gates.contains(&gate);
    // lint needs no image: its verdicts come while nothing is built yet.
    if wants(Gate::Lint) {
        records.extend(lint_all(context, plan, board).await);
    }
    // One joint build, or the images that stand here already for a gate that is run alone.
    let images = if wants(Gate::Build) {
        let built = build::build(context, engine, plan, board).await?;
        built.records.iter().for_each(|record| board.judged(record));
        records.extend(built.records);
        built.images
    } else if plan.gates.iter().any(|gate| *gate != Gate::Lint) {
        build::existing(context, engine, plan).await?
    } else {
        Vec::new()
    };
    // All gates of an image run, even if one fails.
    let judged: Vec<&Built> = images.iter().filter(|image| !image.plan.support).collect();
    let budgets = each(
        context,
        &judged,
        wants(Gate::Budget),
        Gate::Budget,
        board,
        budget::check,
    );
    records.extend(budgets.await);
    if let Some(scanner) = scanner {
        let look = |image| scan::check(context, scanner, image, &plan.limits);
        records.extend(each(context, &judged, true, Gate::Scan, board, look).await);
    }
    let look = |image| boot::check(context, engine, image, &plan.limits);
    records.extend(each(context, &judged, wants(Gate::Boot), Gate::Boot, board, look).await);
    // Joined: the stack over the digests that booted.
    if wants(Gate::Network) {
        records.extend(stack(context, engine, plan, &images, board, records).await);
    }
    unjudged(plan, board, records);
    Ok(())
}

/// One gate for each image, a few at a time.
async fn each<'a, F, Fut>(
    context: &Context,
    images: &[&'a Built],
    wanted: bool,
    gate: Gate,
    board: &Board,
    look: F,
) -> Vec<Record>
where
    F: Fn(&'a Built) -> Fut,
    Fut: Future<Output = Result<Record>>,
{
    if !wanted {
        return Vec::new();
    }
    let looks = images.iter().map(|image| {
        let (service, digest, look) = (&image.plan.service.name, image.digest.clone(), look(image));
        async move {
            board.begin(service, gate);
            let mut record = gate::judged(context, service, gate, look).await;
            record.digest = Some(digest);
            board.judged(&record);
            record
        }
    });
    stream::iter(looks).buffer_unordered(SIDE_BY_SIDE).collect().await
}

async fn lint_all(context: &Context, plan: &Plan, board: &Board) -> Vec<Record> {
    let environments = lint::environments(context).await;
    let planned = plan.images.iter().map(|image| image.service.name.as_str());
    let known: BTreeSet<&str> = planned.chain(plan.left_out.iter().map(String::as_str)).collect();
    let mut records = Vec::new();
    for image in plan.judged() {
        let service = &image.service;
        let look = lint::check(context, service, &environments, &known);
        let record = gate::judged(context, &service.name, Gate::Lint, look).await;
        board.judged(&record);
        records.push(record);
    }
    records
}

/// The network gate, unless an image of the stack was not built or did not boot: nothing is proven then.
async fn stack(
    context: &Context,
    engine: &Engine,
    plan: &Plan,
    images: &[Built],
    board: &Board,
    records: &[Record],
) -> Vec<Record> {
    let unbuilt = plan.images.iter().find(|image| {
        images
            .iter()
            .all(|built| built.plan.service.name != image.service.name)
    });
    let unbooted = records
        .iter()
        .find(|record| record.gate == Gate::Boot && record.outcome == Outcome::Violated);
    let why = match (unbuilt, unbooted) {
        (Some(image), _) => format!("{} was not built", image.service.name),
        (None, Some(record)) => format!("{} did not pass its boot gate", record.service),
        (None, None) => {
            plan.judged()
                .for_each(|image| board.begin(&image.service.name, Gate::Network));
            let records = network::check(context, engine, plan, images, board).await;
            records.iter().for_each(|record| board.judged(record));
            return records;
        }
    };
    let records = plan.judged().map(|image| {
        let hint = "the stack is tested once all of it boots";
        let record = Record::undecided(&image.service.name, Gate::Network, &why, hint);
        board.judged(&record);
        record
    });
    records.collect()
}

/// A gate that was asked for and has no verdict on an image could not look.
fn unjudged(plan: &Plan, board: &Board, records: &mut Vec<Record>) {
    for image in plan.judged() {
        for gate in &plan.gates {
            let service = &image.service.name;
            if !records
                .iter()
                .any(|record| record.service == *service && record.gate == *gate)
            {
                let record =
                    Record::undecided(service, *gate, "there is no image to look at", "see the build");
                board.judged(&record);
                records.push(record);
            }
        }
    }
}

fn skipped(plan: &Plan, board: &Board, records: &mut Vec<Record>) {
    for service in &plan.left_out {
        for gate in &plan.gates {
            let record = Record::skipped(service, *gate, "left out by --service");
            board.judged(&record);
            records.push(record);
        }
    }
}

/// Reads the services' manifests.
pub async fn read_catalogue(context: &Context) -> Result<Catalogue> {
    let output = process::run(context, &cargo::metadata(&context.root)).await?;
    if !output.success() {
        let what = format!(
            "the services' workspace cannot be read:\n{}",
            output.last_lines(12)
        );
        return Err(Failure::usage(
            what,
            "`cargo metadata --locked` must pass; a stale Cargo.lock: `cargo update -w`",
        )
        .into());
    }
    let metadata =
        cargo_metadata::MetadataCommand::parse(output.stdout).context("cargo metadata cannot be read")?;
    catalogue::read(&context.root, &metadata)
}

/// The plan of this run.
pub async fn work_out(context: &Context, catalogue: &Catalogue, gates: &[Gate]) -> Result<Plan> {
    let selected = catalogue.select(&context.options.services)?;
    let revisions = revisions(context, catalogue).await?;
    let bases = bases::resolve(context, context.options.bases).await?;
    Ok(plan::work_out(
        catalogue,
        &selected,
        &revisions,
        bases,
        setup::ca_bundle(),
        gates,
    ))
}

/// Of each service, the last commit that touched its image's inputs.
async fn revisions(context: &Context, catalogue: &Catalogue) -> Result<BTreeMap<String, git::Revision>> {
    let mut revisions = BTreeMap::new();
    for service in &catalogue.services {
        let mut paths: Vec<PathBuf> = service.source_dirs.iter().cloned().collect();
        paths.extend([
            service.dockerfile(),
            "Cargo.toml".into(),
            "Cargo.lock".into(),
            ".dockerignore".into(),
        ]);
        let commit = process::run(context, &git::last_commit(&context.root, &paths)).await;
        let status = process::run(context, &git::status(&context.root, &paths)).await;
        let text = |output: Result<process::Output>| {
            output
                .ok()
                .filter(process::Output::success)
                .map(|output| output.stdout)
        };
        revisions.insert(
            service.name.clone(),
            git::parse(text(commit).as_deref(), text(status).as_deref()),
        );
    }
    Ok(revisions)
}

/// The policy, and the database that was named.
fn scan_settings(context: &Context) -> Result<(scan::Policy, Option<scan::Database>)> {
    let database = context
        .options
        .vuln_db
        .as_deref()
        .map(scan::Database::open)
        .transpose()?;
    Ok((scan::Policy::read(&context.root)?, database))
}

/// What every scan of the run shares; made once set-up has seen to the scanner. Where no database was named,
/// the one that set-up keeps.
fn scanner((policy, named): (scan::Policy, Option<scan::Database>)) -> Result<scan::Scanner> {
    let kept = || setup::database().as_deref().map(scan::Database::open).transpose();
    let database = match named {
        Some(named) => Some(named),
        None => kept()?,
    };
    let trivy = setup::trivy().ok_or_else(|| {
        Failure::undecided("there is no Trivy to scan with", "`cargo xtask setup` fetches it")
    })?;
    Ok(scan::Scanner {
        trivy,
        policy,
        database,
    })
}

/// Everything that the run needs is there, or the run does not begin.
async fn ready(context: &Context, plan: &Plan) -> Result<()> {
    if context.options.setup {
        return setup::provision(context, &plan.bases).await;
    }
    let problems = setup::preflight(context, &plan.bases).await;
    setup::refuse(
        &problems,
        "`--setup` provisions what can be provisioned, and so does `cargo xtask setup`",
    )
}

async fn sweep_the_dead(engine: &Engine, board: &Board) {
    for run_id in Lease::dead(&Lease::dir()) {
        match engine.sweep_dead(&run_id).await {
            Ok(0) => {}
            Ok(count) => board.note(&format!(
                "swept {count} thing{} that run {run_id} left behind",
                catalogue::plural(count)
            )),
            Err(error) => board.note(&format!("what run {run_id} left behind stays for now: {error:#}")),
        }
    }
}

/// Sweeps what dead runs left behind, and says what was found.
pub async fn clean() -> Result<()> {
    let engine = Engine::connect().await?;
    let mut total = 0;
    for run_id in Lease::dead(&Lease::dir()) {
        total += engine.sweep_dead(&run_id).await?;
    }
    report::say(&format!(
        "swept {total} thing{} of dead runs",
        catalogue::plural(total)
    ));
    Ok(())
}

async fn clean_up(context: &Context, engine: &Engine, lease: Lease, board: &Board) {
    for folder in ["images", "secrets"] {
        let _ = std::fs::remove_dir_all(context.run_dir.join(folder));
    }
    match engine.sweep(&context.run_id).await {
        Ok(_) => lease.end(),
        Err(error) => board.note(&format!(
            "the next run will sweep what is left of this one: {error:#}"
        )),
    }
}

fn show(context: &Context, report: &Report) -> Result<()> {
    match context.options.format {
        crate::cli::Format::Json => report::say(&serde_json::to_string_pretty(report)?),
        crate::cli::Format::Human => {
            // Where lines were printed, each has its reason already.
            if report::live::is_live() && !report.findings().is_empty() {
                report::say(report.findings().trim_end());
            }
            report::say(&report.summary());
        }
    }
    Ok(())
}
