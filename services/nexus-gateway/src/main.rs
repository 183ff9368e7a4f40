//! The gateway's binary: settings, telemetry and serving are `kit`'s; called as `nexus`, or with one of its words, it is
//! the command line of a gateway instead.

use std::{ffi::OsString, io::Write, process::ExitCode};

use nexus_gateway::cli;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(words) = cli::asked_for(&arguments) {
        return cli::main(words);
    }
    let code = kit::main(
        kit::service_info!(8000),
        nexus_gateway::Config::read,
        nexus_gateway::assemble,
    );
    if let [_, first, ..] = &arguments[..]
        && ["--help", "-h", "help"].iter().any(|word| first == word)
    {
        let _ = writeln!(std::io::stdout(), "{}", cli::COMMANDS);
    }
    code
}
