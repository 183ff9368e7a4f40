//! The subcommands that are more than a run of gates, and the dispatch of all of them.

use anyhow::Result;

use crate::cli::{CleanOptions, Command, Format, RunOptions};
use crate::context::{self, Context};
use crate::exit::Exit;
use crate::verdict::Gate;
use crate::{
    bases, bench, cleaning, pipeline, plan, planning, report, scaffold, selftest, setup, showing, testing,
    trend, why,
};

/// Carries out one subcommand.
pub async fn dispatch(command: Command) -> Result<Exit> {
    match command {
        Command::Ci(options) => run("ci", options, &Gate::ALL).await,
        Command::Build(options) => run("build", options, &[Gate::Build]).await,
        Command::Lint(options) => run("lint", options, &[Gate::Lint]).await,
        Command::Scan(options) => run("scan", options, &[Gate::Scan]).await,
        Command::Budget(options) => {
            let run_options = RunOptions {
                accept: options.accept,
                ..options.run
            };
            run("budget", run_options, &[Gate::Budget]).await
        }
        Command::Boot(options) => run("boot", options, &[Gate::Boot]).await,
        Command::Network(options) => run("network", options, &[Gate::Network]).await,
        Command::Faults(options) => {
            let run_options = RunOptions {
                stores: options.stores,
                faults: options.faults,
                ..options.run
            };
            run("faults", run_options, &[Gate::Build, Gate::Faults]).await
        }
        Command::Setup(options) => provision(options).await,
        Command::Plan(options) => show_plan(options).await,
        Command::Why(options) => why::run(&context(options.run.clone())?, &options.service).await,
        Command::Test(options) => testing::run(&context(options.run.clone())?, &options.args).await,
        Command::Selftest(options) => {
            let run_options = RunOptions {
                setup: options.setup,
                format: options.format,
                bases: options.bases,
                ..RunOptions::default()
            };
            selftest::run(&context(run_options)?, &options).await
        }
        Command::New(options) => scaffold::run(&context(RunOptions::default())?, &options).await,
        Command::Bench(options) => bench::run(&context(bench::run_options(&options))?, &options).await,
        Command::Report(options) => showing::run(&context(RunOptions::default())?, &options),
        Command::Trend(options) => trend::run(&context(RunOptions::default())?, &options).await,
        Command::Clean(options) => clean(&options).await,
    }
}

/// A context that observes signals from here on.
fn context(options: RunOptions) -> Result<Context> {
    let context = Context::new(context::find_root()?, options);
    context.observe_signals()?;
    Ok(context)
}

async fn run(command: &str, options: RunOptions, gates: &[Gate]) -> Result<Exit> {
    pipeline::run(&context(options)?, command, gates).await
}

async fn provision(options: RunOptions) -> Result<Exit> {
    let context = context(options)?;
    context.create_run_dir()?;
    let bases = bases::resolve(&context, context.options.bases).await?;
    setup::provision(&context, &bases).await?;
    Ok(Exit::Passed)
}

async fn show_plan(options: RunOptions) -> Result<Exit> {
    let context = context(options)?;
    let catalogue = planning::read_catalogue(&context).await?;
    let (plan, words) = planning::work_out(&context, &catalogue, &Gate::ALL).await?;
    let forecast = pipeline::forecast(&context, &catalogue, &plan).await?;
    report::say(&match context.options.format {
        Format::Human => plan::describe(&plan, &words, &forecast),
        Format::Json => serde_json::to_string_pretty(&plan)?,
    });
    Ok(Exit::Passed)
}

async fn clean(options: &CleanOptions) -> Result<Exit> {
    if options.reports && !options.dry_run {
        context::remove_run_dirs(&context::find_root()?.join("reports"))?;
    }
    cleaning::clean(options.dry_run).await?;
    Ok(Exit::Passed)
}
