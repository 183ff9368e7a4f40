//! SIGKILL at points spread over a whole run: the next sweep leaves nothing of it, and nothing of others is touched.
//! HORME_KILL_POINTS says how many points (8 by default).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::checkout::{Checkout, Fixture, ended};
use crate::foreign::{Foreign, left_of, processes_of};

/// When to kill: at the n-th thing that the engine tells of the run, at the n-th file or line that the run writes,
/// or so long after its start.
#[derive(Debug, Clone, Copy)]
enum Point {
    Event(usize),
    Written(usize),
    Time(Duration),
}

/// What one uninterrupted run comes to.
struct Whole {
    events: usize,
    written: usize,
    took: Duration,
}

impl Whole {
    fn points(&self, count: usize) -> Vec<Point> {
        let point = |index: usize| match index % 3 {
            0 => Point::Event(1 + self.events * index / count),
            1 => Point::Written(1 + self.written * index / count),
            _ => Point::Time(self.took * (1 + index as u32) / (1 + count as u32)),
        };
        (0..count).map(point).collect()
    }
}

/// Everything that the engine tells, from now on.
struct Events {
    lines: Arc<Mutex<Vec<String>>>,
    listener: Child,
}

impl Events {
    fn listen() -> Self {
        let mut command = Command::new("docker");
        command.args(["events", "--format", "{{json .}}"]);
        let mut listener = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (kept, stdout) = (lines.clone(), listener.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Events { lines, listener }
    }

    fn of(&self, run_id: &str) -> usize {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| line.contains(run_id)).count()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

fn pair(prefix: &str) -> Checkout {
    let (caller, callee) = (format!("{prefix}-caller"), format!("{prefix}-callee"));
    Checkout::new(vec![
        Fixture {
            calls: vec![callee.clone()],
            mode: "good",
            ..Fixture::new(&caller)
        },
        Fixture {
            mode: "good",
            ..Fixture::new(&callee)
        },
    ])
}

fn runs(checkout: &Checkout) -> BTreeSet<String> {
    let entries = std::fs::read_dir(checkout.path("reports"))
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with("20")).collect()
}

/// Files below a folder, and the lines of those that are logs.
fn written(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let count = entries.map(|entry| match entry.path() {
        path if path.is_dir() => written(&path),
        path if path.extension().is_some_and(|end| end == "log") => {
            std::fs::read(&path).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
        }
        _ => 1,
    });
    count.sum()
}

/// Starts a run and waits until it has a folder.
fn begin(checkout: &Checkout, words: &[&str]) -> (Child, String) {
    begun(checkout, &mut checkout.command(words))
}

fn begun(checkout: &Checkout, command: &mut Command) -> (Child, String) {
    let before = runs(checkout);
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(run_id) = runs(checkout).difference(&before).next() {
            return (child, run_id.clone());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the run never began");
}

fn uninterrupted(checkout: &Checkout, events: &Events) -> Whole {
    let begun = Instant::now();
    let (child, run_id) = begin(checkout, &["ci", "--fresh"]);
    let said = ended(child.wait_with_output().unwrap());
    let took = begun.elapsed();
    // The fixture's binary lists no crates: that its scan is violated is known, and judged elsewhere.
    assert_eq!(said.code, Some(1), "{}", said.said());
    assert_eq!(left_of(checkout, &run_id), Vec::<String>::new());
    let whole = Whole {
        events: events.of(&run_id),
        written: written(&checkout.path("reports").join(&run_id)),
        took,
    };
    assert!(whole.events > 20 && whole.written > 20, "the steps leave traces");
    whole
}

/// Kills a run at a point; its id, and whether it was still under way.
fn kill_at(checkout: &Checkout, events: &Events, point: Point) -> (String, bool) {
    let begun = Instant::now();
    let (mut child, run_id) = begin(checkout, &["ci", "--fresh"]);
    let folder = checkout.path("reports").join(&run_id);
    let reached = || match point {
        Point::Event(count) => events.of(&run_id) >= count,
        Point::Written(count) => written(&folder) >= count,
        Point::Time(after) => begun.elapsed() >= after,
    };
    while !reached() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    (run_id, status.code().is_none())
}

/// Sweeps by turns: with `clean`; with a `clean` that is killed itself, then another; with the next run.
fn sweep(checkout: &Checkout, index: usize) {
    let words: &[&str] = if index % 4 == 3 {
        &["boot", "--fresh"]
    } else {
        &["clean"]
    };
    if index % 4 == 1 {
        let mut child = checkout.command(words).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 * (index as u64 % 7)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let swept = checkout.run(words);
    // Killed before the first images stood: the next run has nothing to boot, and sweeps nothing.
    if swept.code == Some(2) && swept.stderr.contains("not built yet") {
        assert_eq!(checkout.run(&["clean"]).code, Some(0));
    } else {
        assert_eq!(swept.code, Some(0), "{}", swept.said());
    }
}

#[test]
fn killed_at_any_point_a_run_leaves_nothing_that_the_next_sweep_does_not_find() {
    let count = std::env::var("HORME_KILL_POINTS").ok();
    let count = count.map_or(8, |count| count.parse().unwrap());
    let (checkout, events) = (pair("kill"), Events::listen());
    let whole = uninterrupted(&checkout, &events);
    let alive = Alive::start(&checkout);
    let (mut foreign, mut swept, mut found, mut late) = (None, Vec::new(), 0, 0);
    for (index, point) in whole.points(count).into_iter().enumerate() {
        let (run_id, under_way) = kill_at(&checkout, &events, point);
        let foreign =
            foreign.get_or_insert_with(|| Foreign::new("kill", &run_id, "horme-test-kill-callee:latest"));
        let left = left_of(&checkout, &run_id);
        sweep(&checkout, index);
        let after = left_of(&checkout, &run_id);
        println!("{point:?}: under way {under_way}, left {left:?}");
        assert_eq!(after, Vec::<String>::new(), "after the sweep at {point:?}");
        assert_eq!(foreign.missing(), Vec::<String>::new(), "at {point:?}");
        assert!(alive.is_untouched(), "the living run was touched at {point:?}");
        found += left.len();
        late += usize::from(!under_way);
        swept.push(run_id);
    }
    // What was still on its way into the engine would have arrived by now.
    std::thread::sleep(Duration::from_secs(1));
    for run_id in &swept {
        assert_eq!(left_of(&checkout, run_id), Vec::<String>::new(), "came back");
    }
    println!(
        "{count} points over {} engine events, {} files and lines, {:.1} s: {found} things found, {late} runs had ended",
        whole.events,
        whole.written,
        whole.took.as_secs_f64()
    );
    assert!(found > count, "runs that are killed leave things");
    assert!(late * 3 <= count, "most points lie inside a run");
    whole_files_alone(&checkout);
    alive.end();
}

/// Nothing that the killed runs wrote is half: reports are whole or absent, and a later run believes the cache.
fn whole_files_alone(checkout: &Checkout) {
    for run_id in runs(checkout) {
        let report = checkout.path("reports").join(run_id).join("report.json");
        if let Ok(text) = std::fs::read_to_string(report) {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
    let ended = checkout.run(&["ci"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(!ended.said().contains("discarded"), "{}", ended.said());
}

/// A run that lives, and is stopped in the middle of its boot gate: it holds its lease and its container.
struct Alive {
    checkout: Checkout,
    child: Child,
    run_id: String,
    left: Vec<String>,
}

impl Alive {
    fn start(beside: &Checkout) -> Self {
        let checkout = Checkout::new(vec![Fixture {
            mode: "never-live",
            ..Fixture::new("kill-alive")
        }]);
        assert_eq!(checkout.run(&["build"]).code, Some(0));
        let mut command = checkout.command(&["boot"]);
        command.env("XDG_STATE_HOME", beside.path("state"));
        let (child, run_id) = begun(&checkout, &mut command);
        let has_container = || {
            let left = left_of(&checkout, &run_id);
            left.iter().any(|thing| thing.starts_with("container"))
        };
        until("the living run has a container", has_container);
        let mut alive = Alive {
            checkout,
            child,
            run_id,
            left: Vec::new(),
        };
        alive.signal("-STOP");
        alive.left = left_of(&alive.checkout, &alive.run_id);
        alive
    }

    fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        let sent = kill
            .args([signal, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    fn is_untouched(&self) -> bool {
        left_of(&self.checkout, &self.run_id) == self.left
    }

    fn end(mut self) {
        self.signal("-TERM");
        self.signal("-CONT");
        assert_eq!(self.child.wait().unwrap().code(), Some(143));
        assert_eq!(left_of(&self.checkout, &self.run_id), Vec::<String>::new());
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for thing in left_of(&self.checkout, &self.run_id) {
            if let Some(name) = thing.strip_prefix("container ") {
                crate::foreign::docker(&["rm", "--force", name]);
            }
        }
    }
}

#[test]
fn what_a_killed_run_had_started_ends_with_it_and_creates_nothing_more() {
    let (checkout, events) = (pair("orphan"), Events::listen());
    assert_eq!(checkout.run(&["build"]).code, Some(0));
    let (mut child, run_id) = begin(&checkout, &["network"]);
    // The first network of the stack exists: compose is in the middle of its work.
    let composes = || processes_of(&run_id).iter().any(|name| name.contains("compose"));
    until("compose is at work", || events.of(&run_id) > 0 && composes());
    child.kill().unwrap();
    child.wait().unwrap();
    until("compose ended", || processes_of(&run_id).is_empty());
    assert_eq!(checkout.run(&["clean"]).code, Some(0));
    assert_eq!(left_of(&checkout, &run_id), Vec::<String>::new());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(left_of(&checkout, &run_id), Vec::<String>::new(), "came later");
}

#[test]
fn a_program_that_would_run_for_ever_ends_with_a_killed_run() {
    let checkout = pair("bound");
    assert_eq!(checkout.run(&["build"]).code, Some(0));
    // The docker command, but for `compose up`, which never comes to an end and says nothing.
    let real = Command::new("which").arg("docker").output().unwrap().stdout;
    let real = String::from_utf8(real).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *' up '*) exec sleep 604;; esac\nexec {} \"$@\"\n",
        real.trim()
    );
    checkout.write("path/docker", &script);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(checkout.path("path/docker"), executable).unwrap();
    let path = format!(
        "{}:{}",
        checkout.path("path").display(),
        std::env::var("PATH").unwrap()
    );
    let (mut child, run_id) = begun(&checkout, checkout.command(&["network"]).env("PATH", path));
    let sleeps = || {
        processes_of(&run_id)
            .iter()
            .any(|name| name.contains("sleep 604"))
    };
    until("the program began", sleeps);
    child.kill().unwrap();
    child.wait().unwrap();
    until("it ended, and nobody swept", || processes_of(&run_id).is_empty());
    assert_eq!(checkout.run(&["clean"]).code, Some(0));
    assert_eq!(left_of(&checkout, &run_id), Vec::<String>::new());
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_dead_run_left_in_another_engine_is_kept_in_mind() {
    let checkout = pair("elsewhere");
    let lease = "state/horme/leases/20260101-000000-abcd";
    checkout.write(
        lease,
        "{\"engine\": \"an engine of yesterday\", \"run_dir\": \"/nowhere\"}",
    );
    let swept = checkout.run(&["clean"]);
    assert_eq!(swept.code, Some(0), "{}", swept.said());
    assert!(
        swept.stdout.contains("lies in another engine"),
        "{}",
        swept.stdout
    );
    assert!(checkout.path(lease).is_file());
    // One that names no engine, or half of one, was cut off before anything was created.
    checkout.write(lease, "{\"engine\": \"an eng");
    assert_eq!(checkout.run(&["clean"]).stdout, "swept nothing of dead runs\n");
    assert!(!checkout.path(lease).exists());
}
