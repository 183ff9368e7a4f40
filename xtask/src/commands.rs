//! The subcommands that are more than a run of gates, and the dispatch of all of them.

use anyhow::Result;

use crate::cli::{CleanOptions, Command, Format, Look, RunOptions};
use crate::context::{self, Context};
use crate::exit::Exit;
use crate::terminal::Board;
use crate::verdict::Gate;
use crate::{
    bases, bench, cleaning, completions, fuzz, pipeline, plan, planning, release, report, reproduce, rescan,
    scaffold, selftest, setup, showing, testing, trend, verify, why,
};

/// Carries out one subcommand; `look` says how much it tells of its work.
pub async fn dispatch(command: Command, look: Look) -> Result<Exit> {
    let run = |command: &'static str, options: RunOptions, gates: &'static [Gate]| {
        run(command, options, look, gates)
    };
    let context = |options: RunOptions| context(options, look);
    let answering = |options: RunOptions| context(options).map(Context::answering);
    match command {
        Command::Ci(options) => {
            let run_options = RunOptions {
                export: options.export,
                ..options.run
            };
            run("ci", run_options, &Gate::ALL).await
        }
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
        Command::Setup(options) => provision(&context(options)?).await,
        Command::Plan(options) => show_plan(&answering(options)?).await,
        Command::Why(options) => why::run(&answering(options.run.clone())?, &options.service).await,
        Command::Test(options) => testing::run(&context(options.run.clone())?, &options).await,
        Command::Selftest(options) => {
            let run_options = RunOptions {
                setup: options.setup,
                format: options.format,
                bases: options.bases,
                ..RunOptions::default()
            };
            selftest::run(&answering(run_options)?, &options).await
        }
        Command::New(options) => scaffold::run(&context(RunOptions::default())?, &options).await,
        Command::Bench(options) => bench::run(&context(bench::run_options(&options))?, &options).await,
        Command::Fuzz(options) => fuzz::run(&context(RunOptions::default())?, &options).await,
        Command::Release(options) => {
            let run_options = RunOptions {
                format: options.format,
                setup: options.setup,
                ..RunOptions::default()
            };
            let context = match options.dry_run {
                true => answering(run_options)?,
                false => context(run_options)?,
            };
            release::run(&context, &options).await
        }
        Command::Verify(options) => {
            let run_options = RunOptions {
                format: options.format,
                setup: options.setup,
                ..RunOptions::default()
            };
            verify::run(&answering(run_options)?, &options).await
        }
        Command::Reproduce(options) => reproduce::run(&answering(options.run.clone())?, &options).await,
        Command::Rescan(options) => rescan::run(&context(options.run.clone())?, &options).await,
        Command::Report(options) => showing::run(&context(RunOptions::default())?, &options),
        Command::Trend(options) => trend::run(&context(RunOptions::default())?, &options).await,
        Command::Clean(options) => clean(&options, look).await,
        Command::Completions(options) => completions::print(options.shell),
        Command::Man(options) => completions::write_pages(&options.folder),
    }
}

/// A context that observes signals from here on.
fn context(options: RunOptions, look: Look) -> Result<Context> {
    let context = Context::new(context::find_root()?, RunOptions { look, ..options });
    context.observe_signals()?;
    Ok(context)
}

async fn run(command: &str, options: RunOptions, look: Look, gates: &[Gate]) -> Result<Exit> {
    pipeline::run(&context(options, look)?, command, gates).await
}

async fn provision(context: &Context) -> Result<Exit> {
    context.create_run_dir()?;
    context.begin("setup");
    let ended = provide(context).await;
    let exit = ended.map_or_else(|error| report::told(context, &error), |()| Exit::Passed);
    let seconds = context.started.elapsed().as_secs_f64();
    let summary = match exit {
        Exit::Passed => format!("setup: all is there after {seconds:.1} s"),
        _ => format!(
            "setup: not all is there; exit {} after {seconds:.1} s",
            exit.code()
        ),
    };
    context.end(exit.code(), &summary, &summary);
    Ok(exit)
}

async fn provide(context: &Context) -> Result<()> {
    context.refuse_faulty_engine()?;
    let planning = context.board.step("planning");
    let bases = bases::resolve(context, context.options.bases).await?;
    drop(planning);
    let _under_way = context.board.step("set-up");
    setup::provision(context, &bases).await
}

async fn show_plan(context: &Context) -> Result<Exit> {
    let catalogue = planning::read_catalogue(context).await?;
    let (plan, words) = planning::work_out(context, &catalogue, &Gate::ALL).await?;
    let forecast = pipeline::forecast(context, &catalogue, &plan).await?;
    report::say(&match context.options.format {
        Format::Human => plan::describe(&plan, &words, &forecast),
        Format::Json => serde_json::to_string_pretty(&plan)?,
    });
    Ok(Exit::Passed)
}

async fn clean(options: &CleanOptions, look: Look) -> Result<Exit> {
    if options.reports && !options.dry_run {
        context::remove_run_dirs(&context::find_root()?.join("reports"))?;
    }
    cleaning::clean(&Board::new(options.format, look), options.dry_run).await?;
    Ok(Exit::Passed)
}
