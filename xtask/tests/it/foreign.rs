//! What a sweep has to find, and what it must not touch: a run's things in the engine and on disk, and things of
//! others that look like them.

use std::process::{Command, Stdio};

use crate::checkout::Checkout;

/// What the docker command prints, a line each; empty where it fails.
pub(crate) fn docker(words: &[&str]) -> Vec<String> {
    let mut command = Command::new("docker");
    let output = command.args(words).stderr(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

/// Everything of a run that is still there: in the engine by label and by name, on disk, and among the processes.
pub(crate) fn left_of(checkout: &Checkout, run_id: &str) -> Vec<String> {
    let label = format!("label=dev.horme.run={run_id}");
    let project = format!("label=com.docker.compose.project=horme-{run_id}");
    let mut left = Vec::new();
    for filter in [&label, &project] {
        for (kind, list) in [
            ("container", vec!["ps", "--all", "--format", "{{.Names}}"]),
            ("network", vec!["network", "ls", "--format", "{{.Name}}"]),
            ("volume", vec!["volume", "ls", "--format", "{{.Name}}"]),
        ] {
            let found = docker(&[&list[..], &["--filter", filter]].concat());
            left.extend(found.iter().map(|name| format!("{kind} {name}")));
        }
    }
    let pattern = format!("reference=*:run-{run_id}");
    let tags = docker(&[
        "image",
        "ls",
        "--format",
        "{{.Repository}}:{{.Tag}}",
        "--filter",
        &pattern,
    ]);
    left.extend(tags.iter().map(|tag| format!("image {tag}")));
    left.extend(processes_of(run_id).iter().map(|name| format!("process {name}")));
    left.extend(on_disk(checkout, run_id));
    left.sort();
    left.dedup();
    left
}

fn on_disk(checkout: &Checkout, run_id: &str) -> Vec<String> {
    let run_dir = checkout.path("reports").join(run_id);
    let mut paths = vec![
        checkout.path("state/horme/leases").join(run_id),
        run_dir.join("bench"),
        run_dir.join("images"),
        run_dir.join("secrets"),
    ];
    let scans = std::fs::read_dir(run_dir.join("scan"))
        .into_iter()
        .flatten()
        .flatten();
    paths.extend(
        scans
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "cache")),
    );
    let there = paths.into_iter().filter(|path| path.exists());
    there
        .map(|path| {
            format!(
                "on disk {}",
                path.strip_prefix(checkout.path("")).unwrap().display()
            )
        })
        .collect()
}

/// The programs that carry the mark of a run.
pub(crate) fn processes_of(run_id: &str) -> Vec<String> {
    let mark = format!("HORME_RUN_ID={run_id}");
    let marked = |pid: &String| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == mark.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let named = pids.filter(marked).map(|pid| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        format!("{pid} {}", words.replace('\0', " "))
    });
    named.collect()
}

/// Things of others: one of each kind under another run's label, and one of each kind with a name like ours.
pub(crate) struct Foreign {
    names: Vec<(&'static str, String)>,
}

impl Foreign {
    /// `like` is the id of a run whose things are about to be swept; `image` is any image.
    pub(crate) fn new(area: &str, like: &str, image: &str) -> Self {
        let other = format!("dev.horme.run={like}x");
        let cut = format!("dev.horme.run={}", &like[..like.len() - 1]);
        let labelled = format!("horme-test-{area}-{}", std::process::id());
        let named = format!("horme-{like}-{area}");
        let tag = format!("horme-test-{area}-foreign:run-{like}x");
        docker(&["create", "--name", &labelled, "--label", &other, image]);
        docker(&["create", "--name", &named, "--label", &cut, image]);
        docker(&["network", "create", "--internal", "--label", &other, &labelled]);
        docker(&["network", "create", "--internal", &named]);
        docker(&["volume", "create", "--label", &other, &labelled]);
        docker(&["volume", "create", "--label", "dev.horme.run", &named]);
        docker(&["tag", image, &tag]);
        let kinds = ["container", "network", "volume"];
        let names = [labelled, named]
            .into_iter()
            .flat_map(|name| kinds.map(|kind| (kind, name.clone())));
        let foreign = Foreign {
            names: names.chain([("image", tag)]).collect(),
        };
        assert_eq!(foreign.missing(), Vec::<String>::new(), "could not be made");
        foreign
    }

    /// Those that are gone.
    pub(crate) fn missing(&self) -> Vec<String> {
        let is_gone =
            |(kind, name): &&(&str, String)| docker(&[kind, "inspect", "--format", "there", name]).is_empty();
        let gone = self.names.iter().filter(is_gone);
        gone.map(|(kind, name)| format!("{kind} {name}")).collect()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for (kind, name) in &self.names {
            let force: &[&str] = if *kind == "network" { &[] } else { &["--force"] };
            docker(&[&[*kind, "rm"], force, &[name]].concat());
        }
    }
}
