//! The command line as a process, beside the HTTP whose answers it must give.
#![expect(
    clippy::unwrap_used,
    reason = "the scenes of a test are functions; what panics there fails it"
)]

use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{Exit, Service};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::{NOWHERE, gateway, rig::Rig};

const BINARY: &str = env!("CARGO_BIN_EXE_nexus-gateway");

/// `nexus`, as the image has it: a link beside the gateway's binary.
struct Nexus {
    program: PathBuf,
    settings: Vec<(&'static str, String)>,
    _folder: Folder,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Nexus {
    fn new(url: &str, token: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("nexus-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let program = folder.join("nexus");
        std::os::unix::fs::symlink(BINARY, &program).unwrap();
        Self {
            program,
            settings: vec![("NEXUS_URL", url.to_owned()), ("NEXUS_TOKEN", token.to_owned())],
            _folder: Folder(folder),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().args(words).kill_on_drop(true);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    async fn run(&self, words: &[&str]) -> Exit {
        let output = self.command(words).output();
        let output = tokio::time::timeout(std::time::Duration::from_secs(20), output).await;
        let output = output.expect("it ends within 20 s").expect("it starts");
        Exit {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The JSON of a command that succeeds.
    async fn told(&self, words: &[&str]) -> Value {
        let exit = self.run(words).await;
        assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""), "{words:?}");
        serde_json::from_str(&exit.stdout).unwrap_or_else(|_| panic!("{words:?}: {}", exit.stdout))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_gives_the_answers_of_http() {
    let rig = Rig::start().await;
    rig.register().await;
    let nexus = Nexus::new(rig.one.url(), &rig.token);
    results_are_the_same(&rig, &nexus).await;
    a_stream_is_printed_as_it_comes(&rig, &nexus).await;
    sessions_are_kept(&rig, &nexus).await;
    refusals_name_culprit_and_remedy(&rig, &nexus).await;
    it_finds_its_own_gateway(&rig).await;
    let (url, token) = (rig.one.url().to_owned(), rig.token.clone());
    drop(rig);
    let away = Nexus::new(&url, &token).run(&["list"]).await;
    assert_eq!((away.code, away.stdout.as_str()), (Some(3), ""));
    assert!(
        away.stderr.contains("cannot reach") && away.stderr.contains("hint: "),
        "{}",
        away.stderr
    );
    assert!(!away.stderr.contains(&token));
}

async fn results_are_the_same(rig: &Rig, nexus: &Nexus) {
    assert_eq!(
        nexus.told(&["list", "--json"]).await,
        rig.get("/workflows").await.body
    );
    let table = nexus.run(&["list"]).await.stdout;
    assert_eq!(table, "greet  1.0.0  says hello\nhold   1.0.0\n");
    let http = rig
        .post(
            "/workflows/greet/execute",
            &json!({ "parameters": { "name": "you", "n": 3 } }),
        )
        .await
        .body;
    let parameters = ["run", "greet", "--param", "name=you", "--param", "n=3"];
    for words in [
        &parameters[..],
        &["run", "greet", "--input", "{\"name\":\"you\"}"],
    ] {
        let told = nexus.told(words).await;
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            (&told["outputs"], keys(&told)),
            (&http["outputs"], keys(&http)),
            "{words:?}"
        );
        assert_eq!(told["workflow_id"], http["workflow_id"]);
    }
    let accepted = nexus
        .told(&["run", "greet", "--param", "name=you", "--mode=async"])
        .await;
    rig.until(accepted["execution_id"].as_str().unwrap(), "completed")
        .await;
    let healthy = nexus.run(&["health"]).await;
    assert_eq!(healthy.code, Some(0), "{}", healthy.stderr);
    assert!(
        healthy.stdout.contains("workflow-engine         ready\n"),
        "{}",
        healthy.stdout
    );
    assert_eq!(nexus.told(&["health", "--json"]).await["status"], "healthy");
}

async fn a_stream_is_printed_as_it_comes(rig: &Rig, nexus: &Nexus) {
    let mut command = nexus.command(&["run", "hold", "--mode", "stream"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = String::new();
    while !told.starts_with("data:") {
        told = lines.next_line().await.unwrap().unwrap();
    }
    let start: Value = serde_json::from_str(told.trim_start_matches("data:")).unwrap();
    let id = start["execution_id"].as_str().unwrap();
    rig.until(id, "waiting").await;
    rig.post(&format!("/workflows/{id}/signals/go"), &json!({})).await;
    let mut rest = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        rest.push_str(&line);
    }
    assert!(rest.contains("event: complete"), "{rest}");
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    let failed = nexus
        .run(&["run", "greet", "--mode", "stream", "--param", "name=1"])
        .await;
    assert_eq!(failed.code, Some(1), "{}", failed.stdout);
}

async fn sessions_are_kept(rig: &Rig, nexus: &Nexus) {
    let made = nexus.told(&["session", "create", "--param", "a=1"]).await;
    let id = made["session_id"].as_str().unwrap();
    let set = nexus
        .told(&["session", "set", id, "--param", "b={\"c\":[2]}"])
        .await;
    let wanted = json!({ "a": 1, "b": { "c": [2] } });
    assert_eq!(set["shared_data"], wanted);
    assert_eq!(nexus.told(&["session", "get", id]).await["shared_data"], wanted);
    nexus
        .told(&["run", "greet", "--param", "name=you", "--session", id])
        .await;
    let seen = rig.get(&format!("/sessions/{id}")).await.body;
    assert_eq!(seen["shared_data"], wanted);
    let channels = seen["active_channels"].to_string();
    assert!(channels.contains("cli"), "{channels}");
    let ended = nexus.run(&["session", "end", id]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert_eq!(nexus.run(&["session", "get", id]).await.code, Some(1));
}

async fn refusals_name_culprit_and_remedy(rig: &Rig, nexus: &Nexus) {
    for (words, code, expected) in [
        (&["run", "greet"][..], 1, "INPUTS_INVALID"),
        (&["run", "nobody"], 1, "hint: nexus list tells the workflows"),
        (&["run", "a/b"], 1, "NAME_INVALID"),
        (&["run"], 2, "run needs a workflow's name"),
        (&[], 2, "a command is missing"),
        (&["dance"], 2, "unknown command 'dance'"),
        (&["list", "--url", "localhost"], 2, "http://localhost:8000"),
    ] {
        let exit = nexus.run(words).await;
        assert_eq!((exit.code, exit.stdout.as_str()), (Some(code), ""), "{words:?}");
        assert!(exit.stderr.contains(expected), "{words:?}: {}", exit.stderr);
    }
    let anonymous = Nexus::new(rig.one.url(), "").run(&["list"]).await;
    assert_eq!(anonymous.code, Some(1));
    assert!(
        anonymous.stderr.contains("missing_token") && anonymous.stderr.contains("NEXUS_TOKEN"),
        "{}",
        anonymous.stderr
    );
    let ill = gateway()
        .set("MCP_URL", format!("http://{NOWHERE}"))
        .start()
        .await;
    let told = Nexus::new(ill.url(), "").run(&["health"]).await;
    assert_eq!(told.code, Some(1));
    assert!(
        told.stderr.contains("mcp-server is unreachable"),
        "{}",
        told.stderr
    );
}

/// As by `docker exec`: nothing is told but the container's own settings, and a file with the token.
async fn it_finds_its_own_gateway(rig: &Rig) {
    let port = rig.one.url().rsplit(':').next().unwrap().to_owned();
    let mut nexus = Nexus::new("", "");
    let file = nexus.program.with_file_name("token");
    std::fs::write(&file, format!("{}\n", rig.token)).unwrap();
    nexus.settings = vec![
        ("HOST", "0.0.0.0".to_owned()),
        ("PORT", port),
        ("NEXUS_TOKEN_FILE", file.display().to_string()),
    ];
    assert_eq!(nexus.told(&["list", "--json"]).await["greet"]["version"], "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_tells_both_sides_of_the_binary() {
    let help = Service::new(BINARY).run(&["--help"]).await;
    assert_eq!(help.code, Some(0));
    for word in [
        "healthcheck",
        "run WORKFLOW",
        "session create|get|set|end",
        "NEXUS_TOKEN_FILE",
    ] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    let nexus = Nexus::new("http://127.0.0.1:9", "");
    let help = nexus.run(&["--help"]).await;
    assert!(
        help.code == Some(0) && help.stdout.contains("run WORKFLOW"),
        "{}",
        help.stdout
    );
    assert_eq!(nexus.run(&["run", "x", "--help"]).await.code, Some(0));
    let by_word = Service::new(BINARY)
        .set("NEXUS_URL", "http://127.0.0.1:9")
        .run(&["list"])
        .await;
    assert_eq!(by_word.code, Some(3), "{}", by_word.stderr);
}
