//! `cargo xtask bench`: figures side by side, both sides measured in one run. A benchmark, not a gate: a figure
//! that misses its target fails nothing; a command that fails leaves its row without a figure.

mod boot;
mod checkout;
mod cold;
mod dependency;
mod dockerfile;
mod edit;
mod gates;
mod measure;
mod no_op;
mod row;
mod services;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::catalogue::{Catalogue, Service};
use crate::cleaning;
use crate::cli::{BenchCase, BenchOptions, BenchWhat, RunOptions};
use crate::context::Context;
use crate::engine::{Engine, Lease, run_tag};
use crate::exit::Exit;
use crate::plan::Plan;
use crate::planning;
use crate::process::Call;
use crate::report;
use crate::tool::bake;
use crate::verdict::Gate;
use checkout::Checkout;
use row::Row;

/// Raised whenever a field of `reports/bench.json` changes its meaning.
const VERSION: u32 = 1;

/// Measures what was asked for, writes `reports/bench.json` and `reports/bench.md`, and prints the latter.
///
/// # Errors
/// Exit 2 for an unknown service, exit 3 where no engine answers: nothing can be measured then.
pub async fn run(context: &Context, options: &BenchOptions) -> Result<Exit> {
    if let Some(BenchWhat::Services(options)) = &options.what {
        return services::run(context, options).await;
    }
    context.create_run_dir()?;
    let engine = context.engine().await?;
    let bench = Bench::new(context, &engine, options).await?;
    cleaning::sweep_the_dead(context, &engine).await;
    let lease = Lease::take(&Lease::dir(), &context.run_id, context.estate(Some(&engine)))?;
    let rows = measure_all(&bench, options).await;
    cleaning::clean_up(context, &engine, lease).await;
    if let Some(signal) = context.interrupted() {
        return Ok(signal);
    }
    let failed = rows.iter().any(|row| row.failed.is_some());
    let header = Header::new(context, &engine, VERSION);
    let results = Results { header, rows };
    write(context, "bench", &results, &table::render(&results))?;
    Ok(if failed { Exit::Undecided } else { Exit::Passed })
}

/// The settings that every run of the benchmark shares.
pub fn run_options(options: &BenchOptions) -> RunOptions {
    let bases = match &options.what {
        Some(BenchWhat::Services(services)) => services.bases,
        None => options.bases,
    };
    RunOptions {
        bases,
        ..RunOptions::default()
    }
}

/// What every case is given.
struct Bench<'a> {
    context: &'a Context,
    engine: &'a Engine,
    catalogue: Catalogue,
    /// Of the checkout itself.
    plan: Plan,
    /// The service that is edited.
    service: Service,
    /// Samples of each side.
    repeat: usize,
    copy: OnceCell<Checkout>,
}

impl<'a> Bench<'a> {
    async fn new(context: &'a Context, engine: &'a Engine, options: &BenchOptions) -> Result<Self> {
        let catalogue = planning::read_catalogue(context).await?;
        let (plan, _) = planning::work_out(context, &catalogue, &Gate::ALL).await?;
        let named: Vec<String> = options.service.iter().cloned().collect();
        let service = catalogue.select(&named)?.into_iter().next();
        Ok(Bench {
            context,
            engine,
            service: service.context("the catalogue is empty")?,
            catalogue,
            plan,
            repeat: usize::from(options.repeat),
            copy: OnceCell::new(),
        })
    }

    /// Where everything lies that the benchmark writes for itself.
    fn folder(&self) -> PathBuf {
        self.context.run_dir.join("bench")
    }

    /// The copy that may be edited, made when a case first asks for it.
    async fn checkout(&self) -> Result<&Checkout> {
        let folder = self.folder();
        self.copy
            .get_or_try_init(|| Checkout::make(self.context, &folder))
            .await
    }

    fn log(&self, step: &str) -> PathBuf {
        self.context.log(&format!("bench-{step}"))
    }

    /// Writes a file of the benchmark's own.
    fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.folder().join(name);
        let folder = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, content))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Our command in the checkout, as a user types it.
    fn xtask(&self, case: &str, words: &[&str]) -> Call {
        measure::xtask(&self.context.root, self.context.options.bases, words).log(self.log(case))
    }

    /// The images of the checkout, for cases that only look at them; not measured.
    async fn build(&self, case: &str) -> Result<()> {
        measure::timed(self.context, &self.xtask(case, &["build"]))
            .await
            .map(drop)
    }

    /// The joint definition of all images. Tagged with the run's id, which the sweep takes away, not with a name
    /// that anybody else uses.
    fn definition(&self, root: &Path, plan: &Plan) -> Value {
        bake::definition(root, plan, &plan.images, &run_tag(&self.context.run_id))
    }

    /// The joint bake of a plan.
    fn bake(&self, case: &str, root: &Path, plan: &Plan) -> Result<Call> {
        self.bake_definition(case, &self.definition(root, plan))
    }

    /// Takes the images of an earlier bake away, before another one gives their names to new images and leaves
    /// the old ones without any.
    async fn forget_images(&self) -> Result<()> {
        self.engine.sweep(&self.context.run_id).await.map(drop)
    }

    fn bake_definition(&self, case: &str, definition: &Value) -> Result<Call> {
        let file = self.write(&format!("{case}.json"), &serde_json::to_vec_pretty(definition)?)?;
        let metadata = self.folder().join(format!("{case}-metadata.json"));
        Ok(bake::call(&file, &metadata).log(self.log(case)))
    }
}

async fn measure_all(bench: &Bench<'_>, options: &BenchOptions) -> Vec<Row> {
    let mut rows = Vec::new();
    let asked = |case: &&BenchCase| options.only.is_empty() || options.only.contains(case);
    for case in BenchCase::value_variants().iter().filter(asked) {
        if bench.context.interrupted().is_some() {
            break;
        }
        let name = case.to_possible_value();
        report::complain(&format!(
            "bench: {}",
            name.map_or(String::new(), |name| name.get_name().to_owned())
        ));
        rows.extend(measure_one(bench, *case).await);
    }
    rows
}

async fn measure_one(bench: &Bench<'_>, case: BenchCase) -> Vec<Row> {
    match case {
        BenchCase::NoOp => no_op::measure(bench).await,
        BenchCase::Cold => cold::measure(bench).await,
        BenchCase::EditService => edit::service(bench).await,
        BenchCase::EditKit => edit::library(bench).await,
        BenchCase::AddDependency => edit::dependency(bench).await,
        BenchCase::Scans => gates::scans(bench).await,
        BenchCase::Gates => gates::gates(bench).await,
        BenchCase::Boot => boot::measure(bench).await,
    }
}

/// Which run measured, and on what: what the document of every benchmark begins with.
#[derive(Debug, Serialize)]
struct Header {
    version: u32,
    run_id: String,
    started_at: jiff::Timestamp,
    took_s: f64,
    /// What it was measured on.
    facts: Vec<String>,
}

impl Header {
    fn new(context: &Context, engine: &Engine, version: u32) -> Self {
        let took = context.started.elapsed();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Header {
            version,
            run_id: context.run_id.clone(),
            started_at: jiff::Timestamp::now() - jiff::SignedDuration::try_from(took).unwrap_or_default(),
            took_s: took.as_secs_f64().round(),
            facts: vec![
                format!("run {}, {:.0} s in all", context.run_id, took.as_secs_f64()),
                format!("{processors} processors"),
                engine.identity(),
            ],
        }
    }
}

/// What the benchmark came to.
#[derive(Debug, Serialize)]
struct Results {
    #[serde(flatten)]
    header: Header,
    rows: Vec<Row>,
}

/// Writes `reports/<name>.json` and `.md`, and prints the latter.
fn write(context: &Context, name: &str, results: &impl Serialize, markdown: &str) -> Result<()> {
    let json = serde_json::to_string_pretty(results)?;
    for (ending, content) in [("json", json.as_str()), ("md", markdown)] {
        let path = context.root.join("reports").join(format!("{name}.{ending}"));
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    report::say(markdown.trim_end());
    Ok(())
}
