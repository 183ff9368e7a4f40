//! `nexus`: a gateway's workflows and sessions from the command line. It is a client of the gateway's HTTP and knows
//! nothing of its inside; results go to standard output as they were answered, faults to standard error.

mod arguments;
mod client;
mod print;

use std::{
    ffi::{OsStr, OsString},
    io::Write,
    path::Path,
    process::ExitCode,
};

use arguments::{Command, Parsed, SessionCommand};
use client::{Client, Reply};
use serde_json::{Map, Value, json};

use crate::domain::call::segment;

/// The gateway refused, or what was asked for failed.
const REFUSED: u8 = 1;
/// Wrong usage.
const USAGE: u8 = 2;
/// The gateway cannot be reached.
const AWAY: u8 = 3;

/// The words that make the gateway's binary this command line.
const WORDS: [&str; 4] = ["list", "run", "session", "health"];

/// What this command line can do, for the help of the gateway's binary.
pub const COMMANDS: &str = "
As a client of a running gateway (also called as `nexus`):
  list                             the workflows
  run WORKFLOW                     run one: --param NAME=VALUE ..., or --input JSON (- reads it); --mode sync|async|stream;
                                   --session ID
  session create|get|set|end [ID]  sessions; create and set take --param NAME=VALUE ...
  health                           the gateway and the services behind it
  Options: --url URL (NEXUS_URL), --token TOKEN (NEXUS_TOKEN, NEXUS_TOKEN_FILE; an API key will do), --json
  Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 the gateway cannot be reached";

/// A fault with its exit code and what may help.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    code: u8,
    words: String,
    hint: String,
}

impl Fault {
    fn usage(words: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            words: words.into(),
            hint: "nexus --help tells the commands and their options".to_owned(),
        }
    }

    fn failed(words: impl Into<String>) -> Self {
        Self {
            code: REFUSED,
            words: words.into(),
            hint: String::new(),
        }
    }
}

/// The words for this command line: where the binary is called as `nexus`, or its first word is one of ours.
#[must_use]
pub fn asked_for(arguments: &[OsString]) -> Option<&[OsString]> {
    let (program, words) = arguments.split_first()?;
    let called = Path::new(program).file_name() == Some(OsStr::new("nexus"));
    let meant = words
        .first()
        .is_some_and(|first| WORDS.iter().any(|word| first == word));
    (called || meant).then_some(words)
}

/// Does what the words say. Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 the gateway cannot be reached.
#[must_use]
pub fn main(words: &[OsString]) -> ExitCode {
    match arguments::parse(words).and_then(perform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let mut errors = std::io::stderr();
            let _ = writeln!(errors, "nexus: {}", print::plain(&fault.words));
            if !fault.hint.is_empty() {
                let _ = writeln!(errors, "hint: {}", fault.hint);
            }
            ExitCode::from(fault.code)
        }
    }
}

fn perform(parsed: Parsed) -> Result<(), Fault> {
    if parsed.command == Command::Help {
        return print::line(COMMANDS.trim_start());
    }
    if parsed.command == Command::Version {
        return print::line(&format!("nexus {}", env!("CARGO_PKG_VERSION")));
    }
    let client = Client::new(&parsed)?;
    match &parsed.command {
        Command::List => list(&client, parsed.json),
        Command::Health => health(&client, parsed.json),
        Command::Run { workflow, body } => run(&client, workflow, body),
        Command::Session(command) => session(&client, command),
        Command::Help | Command::Version => Ok(()),
    }
}

fn list(client: &Client, as_json: bool) -> Result<(), Fault> {
    let text = client.get("/workflows")?.text()?;
    if as_json {
        return print::line(&text);
    }
    print::workflows(&print::parsed(&text)?)
}

/// A gateway that is reached, but not healthy, is a failure.
fn health(client: &Client, as_json: bool) -> Result<(), Fault> {
    let text = client.get("/health/services")?.text()?;
    let board = print::parsed(&text)?;
    if as_json {
        print::line(&text)?;
    } else {
        print::board(&board)?;
    }
    if board["status"] == "healthy" {
        return Ok(());
    }
    let services = board["services"].as_object().into_iter().flatten();
    let ill: Vec<String> = services
        .filter(|(_, word)| *word != "ready")
        .map(|(name, word)| format!("{name} is {}", word.as_str().unwrap_or("unknown")))
        .collect();
    Err(Fault {
        hint: "the services' own logs tell why".to_owned(),
        ..Fault::failed(ill.join(", "))
    })
}

fn run(client: &Client, workflow: &str, body: &Value) -> Result<(), Fault> {
    let path = format!("/workflows/{}/execute", segment(workflow));
    match client.send("POST", &path, Some(body))? {
        reply if reply.is_stream() => print::events(reply),
        reply => print::line(&reply.text()?),
    }
}

fn session(client: &Client, command: &SessionCommand) -> Result<(), Fault> {
    let of = |id: &str| format!("/sessions/{}", segment(id));
    let data = |values: &Map<String, Value>| json!({ "shared_data": values });
    let reply: Reply = match command {
        SessionCommand::Create(values) => client.send("POST", "/sessions", Some(&data(values)))?,
        SessionCommand::Get(id) => client.get(&of(id))?,
        SessionCommand::Set(id, values) => client.send("PATCH", &of(id), Some(&data(values)))?,
        SessionCommand::End(id) => client.send("DELETE", &of(id), None)?,
    };
    match reply.text()? {
        empty if empty.is_empty() => Ok(()),
        text => print::line(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Option<usize> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        asked_for(&words).map(<[OsString]>::len)
    }

    #[test]
    fn the_binary_is_a_client_by_its_name_or_its_first_word() {
        assert_eq!(asked(&["/nexus"]), Some(0));
        assert_eq!(asked(&["nexus", "--help"]), Some(1));
        assert_eq!(asked(&["/nexus-gateway", "run", "x"]), Some(2));
        for served in [&["/nexus-gateway"][..], &["nexus-gateway", "healthcheck"], &[]] {
            assert_eq!(asked(served), None);
        }
    }
}
