//! The command line's words as what they mean. Options may stand anywhere, as `--name value` or `--name=value`.

use std::ffi::OsString;

use serde_json::{Map, Value, json};

use super::Fault;

/// What is to be done, and of which gateway.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) command: Command,
    pub(super) url: Option<String>,
    pub(super) token: Option<String>,
    pub(super) session: Option<String>,
    /// JSON where a table would be printed.
    pub(super) json: bool,
}

#[derive(Debug, PartialEq)]
pub(super) enum Command {
    List,
    Health,
    /// With the body that is posted.
    Run {
        workflow: String,
        body: Value,
    },
    Session(SessionCommand),
    Help,
    Version,
}

#[derive(Debug, PartialEq)]
pub(super) enum SessionCommand {
    Create(Map<String, Value>),
    Get(String),
    Set(String, Map<String, Value>),
    End(String),
}

/// The options as they were given.
#[derive(Debug, Default)]
struct Options {
    url: Option<String>,
    token: Option<String>,
    session: Option<String>,
    mode: Option<String>,
    input: Option<String>,
    parameters: Map<String, Value>,
    json: bool,
}

/// # Errors
/// Wrong usage, in words that name the culprit.
pub(super) fn parse(words: &[OsString]) -> Result<Parsed, Fault> {
    let mut options = Options::default();
    let mut plain = Vec::new();
    let mut words = words.iter().map(|word| {
        let text = word.to_str().map(str::to_owned);
        text.ok_or_else(|| Fault::usage("an argument is not UTF-8"))
    });
    while let Some(word) = words.next() {
        let word = word?;
        let Some(option) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            plain.push(word);
            continue;
        };
        match option {
            "h" | "-help" => return Ok(bare(Command::Help)),
            "V" | "-version" => return Ok(bare(Command::Version)),
            "-json" => options.json = true,
            _ => {
                let (name, value) = match word.split_once('=') {
                    Some((name, value)) => (name.to_owned(), value.to_owned()),
                    None => {
                        let value = words
                            .next()
                            .unwrap_or_else(|| Err(Fault::usage(format!("{word} needs a value"))))?;
                        (word, value)
                    }
                };
                options.take(&name, value)?;
            }
        }
    }
    options.command(&plain)
}

fn bare(command: Command) -> Parsed {
    Parsed {
        command,
        url: None,
        token: None,
        session: None,
        json: false,
    }
}

impl Options {
    fn take(&mut self, name: &str, value: String) -> Result<(), Fault> {
        let slot = match name {
            "--url" => &mut self.url,
            "--token" => &mut self.token,
            "--session" => &mut self.session,
            "--mode" => &mut self.mode,
            "--input" => &mut self.input,
            "--param" => {
                let (key, value) = parameter(&value)?;
                self.parameters.insert(key, value);
                return Ok(());
            }
            _ => return Err(Fault::usage(format!("unknown option {name}"))),
        };
        if slot.replace(value).is_some() {
            return Err(Fault::usage(format!("{name} is given twice")));
        }
        Ok(())
    }

    fn command(self, plain: &[String]) -> Result<Parsed, Fault> {
        let words: Vec<&str> = plain.iter().map(String::as_str).collect();
        let (command, takes): (Command, &[&str]) = match words[..] {
            ["list"] => (Command::List, &[]),
            ["health"] => (Command::Health, &[]),
            ["help"] => (Command::Help, &[]),
            ["run", workflow] if !workflow.is_empty() => {
                let (workflow, body) = (workflow.to_owned(), self.body()?);
                let takes = &["--param", "--input", "--mode", "--session"];
                (Command::Run { workflow, body }, takes)
            }
            ["session", "create"] => (
                Command::Session(SessionCommand::Create(self.parameters.clone())),
                &["--param"],
            ),
            ["session", "get", id] => (Command::Session(SessionCommand::Get(id.to_owned())), &[]),
            ["session", "set", id] if !self.parameters.is_empty() => (
                Command::Session(SessionCommand::Set(id.to_owned(), self.parameters.clone())),
                &["--param"],
            ),
            ["session", "set", _] => return Err(Fault::usage("session set needs --param NAME=VALUE")),
            ["session", "end", id] => (Command::Session(SessionCommand::End(id.to_owned())), &[]),
            _ => return Err(misunderstood(&words)),
        };
        if let Some(odd) = self.given().find(|name| !takes.contains(name)) {
            return Err(Fault::usage(format!("{} does not take {odd}", words[0])));
        }
        Ok(Parsed {
            command,
            url: self.url,
            token: self.token,
            session: self.session,
            json: self.json,
        })
    }

    /// Options of some commands alone that were given.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("--session", self.session.is_some()),
            ("--mode", self.mode.is_some()),
            ("--input", self.input.is_some()),
            ("--param", !self.parameters.is_empty()),
        ];
        given
            .into_iter()
            .filter_map(|(name, given)| given.then_some(name))
    }

    /// What is posted to run: the same that any other client would.
    fn body(&self) -> Result<Value, Fault> {
        let mode = self.mode.as_deref().unwrap_or("sync");
        if !["sync", "async", "stream"].contains(&mode) {
            return Err(Fault::usage(format!(
                "--mode: expected sync, async or stream, got '{mode}'"
            )));
        }
        let Some(input) = &self.input else {
            return Ok(json!({ "parameters": self.parameters, "mode": mode }));
        };
        if !self.parameters.is_empty() {
            return Err(Fault::usage("--input and --param exclude each other"));
        }
        let text = if input == "-" {
            let read = std::io::read_to_string(std::io::stdin());
            read.map_err(|error| Fault::usage(format!("--input -: cannot read: {error}")))?
        } else {
            input.clone()
        };
        let inputs: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| Fault::usage(format!("--input: expected a JSON object: {error}")))?;
        Ok(json!({ "inputs": inputs, "mode": mode }))
    }
}

/// `name=value`: JSON where it is JSON, else a text.
fn parameter(text: &str) -> Result<(String, Value), Fault> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            Ok((name.to_owned(), value))
        }
        _ => Err(Fault::usage(format!(
            "--param: expected NAME=VALUE, got '{text}'"
        ))),
    }
}

fn misunderstood(words: &[&str]) -> Fault {
    Fault::usage(match words {
        [] => "a command is missing: list, run, session or health".to_owned(),
        ["run"] => "run needs a workflow's name".to_owned(),
        ["session"] => "session needs one of create, get, set, end".to_owned(),
        ["session", "get" | "set" | "end"] => "this needs a session's id".to_owned(),
        [known @ ("list" | "run" | "session" | "health"), ..] => {
            format!("{known} does not take these words: {}", words[1..].join(" "))
        }
        [unknown, ..] => format!("unknown command '{unknown}': expected list, run, session or health"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Parsed, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words).map_err(|fault| fault.words)
    }

    fn body(line: &str) -> Value {
        match read(line).unwrap().command {
            Command::Run { body, .. } => body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parameters_are_json_first_and_text_otherwise() {
        let told = body("run x --param n=3 --param=s=a=b --param q=\"3\" --param o={\"a\":[null]}");
        let expected = json!({ "n": 3, "s": "a=b", "q": "3", "o": { "a": [null] } });
        assert_eq!(told, json!({ "parameters": expected, "mode": "sync" }));
        assert_eq!(
            body("run x --mode=async --input {\"a\":1}"),
            json!({ "inputs": { "a": 1 }, "mode": "async" })
        );
    }

    #[test]
    fn options_stand_anywhere() {
        let parsed = read("--url http://h:1 list --json --token=t").unwrap();
        assert_eq!(
            (
                parsed.command,
                parsed.url.as_deref(),
                parsed.token.as_deref(),
                parsed.json
            ),
            (Command::List, Some("http://h:1"), Some("t"), true)
        );
        let parsed = read("session set abc --param a=1").unwrap();
        let SessionCommand::Set(id, values) = (match parsed.command {
            Command::Session(command) => command,
            other => panic!("{other:?}"),
        }) else {
            panic!("no set");
        };
        assert_eq!((id.as_str(), &values["a"]), ("abc", &json!(1)));
    }

    #[test]
    fn wrong_usage_names_the_culprit() {
        for (line, expected) in [
            ("", "a command is missing: list, run, session or health"),
            (
                "lits",
                "unknown command 'lits': expected list, run, session or health",
            ),
            ("run", "run needs a workflow's name"),
            ("run x y", "run does not take these words: x y"),
            ("run x --param", "--param needs a value"),
            ("run x --param =1", "--param: expected NAME=VALUE, got '=1'"),
            (
                "run x --mode later",
                "--mode: expected sync, async or stream, got 'later'",
            ),
            (
                "run x --input {} --param a=1",
                "--input and --param exclude each other",
            ),
            ("list --mode sync", "list does not take --mode"),
            ("list --verbose x", "unknown option --verbose"),
            ("list --url a --url b", "--url is given twice"),
            ("session get", "this needs a session's id"),
            ("session set abc", "session set needs --param NAME=VALUE"),
        ] {
            assert_eq!(read(line), Err(expected.to_owned()), "{line}");
        }
        assert!(
            read("run x --input [1]")
                .unwrap_err()
                .starts_with("--input: expected a JSON object")
        );
    }
}
