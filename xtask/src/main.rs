//! `cargo xtask`: parses the arguments, dispatches, and ends with the run's exit code. Nothing else ends the
//! process.

mod archive;
mod attest;
mod bases;
mod bench;
mod build;
mod bundle;
mod cache;
mod catalogue;
mod cleaning;
mod cli;
mod commands;
mod completions;
mod context;
mod engine;
mod event;
mod evidence;
mod exit;
mod fingerprint;
mod fuzz;
mod gate;
mod graph;
mod hash;
mod history;
mod http;
mod layout;
mod pipeline;
mod plan;
mod planning;
mod process;
mod proof;
mod redact;
mod registry;
mod release;
mod report;
mod reproduce;
mod rescan;
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
mod verify;
mod why;
mod witness;
#[cfg(test)]
mod workflows;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(cli::refuse(&error)),
    };
    let (look, format) = (cli.look, cli.command.format());
    let ended = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let ended = runtime.block_on(commands::dispatch(cli.command, look));
            runtime.shutdown_background();
            ended
        });
    let exit = ended.unwrap_or_else(|error| {
        let (exit, text) = exit::explain(&error);
        if format == cli::Format::Json {
            let at_ms = started.elapsed().as_millis() as u64;
            let event = event::Event::error(&error);
            event::say(&event::Line { at_ms, event });
        }
        report::complain(&text);
        exit
    });
    ExitCode::from(exit.code())
}
