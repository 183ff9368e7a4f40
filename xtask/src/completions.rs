//! What a shell and `man` are given: completions and manual pages, made from the arguments themselves.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::{Exit, Failure};

/// The word that completions are for: a shell completes the first word of a line, which in `cargo xtask` is cargo's.
const WORD: &str = "xtask";
const PAGES: &str = "cargo-xtask";

/// Prints the completions of a shell.
pub fn print(shell: Shell) -> Result<Exit> {
    let mut script = Vec::new();
    let mut command = Cli::command().name(WORD).bin_name(WORD);
    clap_complete::generate(shell, &mut command, WORD, &mut script);
    // A closed pipe is no error.
    let _ = std::io::stdout().write_all(&script);
    Ok(Exit::Passed)
}

/// Writes a page for the whole and one for each command, `cargo-xtask-ci.1`, into a folder that is made where there
/// is none.
///
/// # Errors
/// Exit 2: the folder cannot be written to.
pub fn write_pages(folder: &Path) -> Result<Exit> {
    let refuse = |error: std::io::Error| {
        let hint = "name a folder that this user may write to";
        Failure::usage(
            format!("cannot write manual pages to {}: {error}", folder.display()),
            hint,
        )
    };
    std::fs::create_dir_all(folder).map_err(refuse)?;
    let command = Cli::command().name(PAGES).bin_name("cargo xtask");
    clap_mangen::generate_to(command, folder).map_err(refuse)?;
    crate::report::say(&format!("man -l {}", folder.join(format!("{PAGES}.1")).display()));
    Ok(Exit::Passed)
}
