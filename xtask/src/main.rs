//! `cargo xtask`: parses the arguments, dispatches, and ends with the run's exit code. Nothing else ends the
//! process.

mod archive;
mod bases;
mod bench;
mod build;
mod bundle;
mod cache;
mod catalogue;
mod cleaning;
mod cli;
mod commands;
mod context;
mod engine;
mod event;
mod evidence;
mod exit;
mod fingerprint;
mod gate;
mod graph;
mod hash;
mod history;
mod pipeline;
mod plan;
mod planning;
mod process;
mod redact;
mod report;
mod revision;
mod scaffold;
mod selftest;
mod setup;
mod showing;
mod stack;
mod standing;
mod story;
mod terminal;
mod testing;
#[cfg(test)]
mod tidy;
mod tool;
mod trend;
mod verdict;
mod why;
mod witness;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let ended = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let ended = runtime.block_on(commands::dispatch(cli.command));
            runtime.shutdown_background();
            ended
        });
    let exit = ended.unwrap_or_else(|error| {
        let (exit, text) = exit::explain(&error);
        report::complain(&text);
        exit
    });
    ExitCode::from(exit.code())
}
