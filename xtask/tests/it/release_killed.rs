//! SIGKILL at every request of a release, before and after it was carried out, and at every line of its journal:
//! `--resume` always comes to the same end. HORME_RELEASE_KILLS=all kills at each of them, otherwise some are picked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::checkout::ended;
use crate::releasing::Releasing;
use crate::stub::{Stub, Then, When};

/// How many are picked where not all are asked for.
const PICKED: usize = 6;

/// Everything that a reader can find, by name: signatures differ from one signing to the next, their places do not.
fn end_state(stub: &Stub) -> BTreeMap<String, usize> {
    let all = stub.content().snapshot();
    let tags = all.iter().flat_map(|(name, repository)| {
        repository.tags.iter().map(move |(tag, digest)| {
            let is_list = tag.starts_with("sha256-");
            let digest = if is_list { "a list" } else { digest };
            (format!("{name}:{tag} {digest}"), 1)
        })
    });
    let counts = all.iter().flat_map(|(name, repository)| {
        [
            (format!("{name} blobs"), repository.blobs.len()),
            (format!("{name} manifests"), repository.manifests.len()),
        ]
    });
    tags.chain(counts).collect()
}

/// Releases, and is killed at the n-th request: whether it was.
fn kill_at(stub: &Stub, releasing: &Releasing, number: usize, when: When) -> bool {
    let pid = Arc::new(Mutex::new(None::<u32>));
    let (of_child, killed) = (pid.clone(), Arc::new(Mutex::new(false)));
    let has_killed = killed.clone();
    stub.forget();
    stub.at(number, when, move || {
        // The test holds the lock until it knows the child.
        let pid = of_child.lock().unwrap().unwrap();
        let kill = std::process::Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status();
        assert!(kill.unwrap().success());
        *has_killed.lock().unwrap() = true;
        Then::Cut
    });
    let mut known = pid.lock().unwrap();
    let child = releasing.command(&[]).spawn().unwrap();
    *known = Some(child.id());
    drop(known);
    let ended = ended(child.wait_with_output().unwrap());
    stub.behave();
    let was_killed = *killed.lock().unwrap();
    assert_eq!(
        ended.code,
        if was_killed { None } else { Some(0) },
        "{}",
        ended.said()
    );
    was_killed
}

/// Goes on with it; where it had not begun, from the beginning.
fn go_on(releasing: &Releasing, place: &str) {
    let said = releasing.release(&["--resume"]);
    if said.code == Some(2) && said.stderr.contains("to go on with") {
        let said = releasing.release(&[]);
        assert_eq!(said.code, Some(0), "{place}: {}", said.said());
    } else {
        assert_eq!(said.code, Some(0), "{place}: {}", said.said());
    }
}

/// Releases, and is killed when its journal has so many lines.
fn kill_at_line(releasing: &Releasing, count: usize) {
    let journal = releasing.journal("1.4.2").join("journal.jsonl");
    let lines =
        || std::fs::read(&journal).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
    let mut child = releasing.command(&[]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while lines() < count && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Where it was quicker, it has ended.
    let _ = child.kill();
    child.wait().unwrap();
}

/// What one release comes to that nobody interrupts.
struct Whole {
    end: BTreeMap<String, usize>,
    requests: usize,
    /// Lines of the journal.
    lines: usize,
}

impl Whole {
    fn of(releasing: &mut Releasing) -> Self {
        let stub = Stub::start();
        releasing.use_registry(&stub);
        let said = releasing.release(&[]);
        assert_eq!(said.code, Some(0), "{}", said.said());
        Whole {
            end: end_state(&stub),
            requests: stub.seen().len(),
            lines: releasing.steps("1.4.2").len(),
        }
    }

    /// From 1 on, all of them or some.
    fn picked(count: usize) -> impl Iterator<Item = usize> {
        let all = std::env::var("HORME_RELEASE_KILLS").is_ok_and(|which| which == "all");
        (1..=count).step_by(if all { 1 } else { count.div_ceil(PICKED) })
    }

    fn is_reached(&self, stub: &Stub, releasing: &Releasing, place: &str) {
        assert_eq!(end_state(stub), self.end, "{place}");
        let steps = releasing.steps("1.4.2");
        assert_eq!(steps.last().unwrap()["step"], "done", "{place}");
        let signed = steps.iter().filter(|line| line["step"] == "signed").count();
        assert_eq!(signed, 8, "{place}: nothing is signed twice");
    }
}

#[test]
fn killed_at_any_request_a_release_is_resumed_to_the_same_end() {
    let mut releasing = Releasing::new("rel-kill", &Stub::start());
    let whole = Whole::of(&mut releasing);
    let (begun, mut kills) = (Instant::now(), 0);
    for number in Whole::picked(whole.requests) {
        for when in [When::Before, When::After] {
            let (place, stub) = (format!("{when:?} request {number}"), Stub::start());
            releasing.use_registry(&stub);
            if kill_at(&stub, &releasing, number, when) {
                kills += 1;
                go_on(&releasing, &place);
            }
            whole.is_reached(&stub, &releasing, &place);
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!("{} requests: killed {kills} times in {took:.0} s", whole.requests);
    assert!(kills > 0);
}

#[test]
fn killed_at_any_step_of_its_journal_a_release_is_resumed_to_the_same_end() {
    let mut releasing = Releasing::new("rel-line", &Stub::start());
    let whole = Whole::of(&mut releasing);
    let begun = Instant::now();
    for count in Whole::picked(whole.lines) {
        let (place, stub) = (format!("at line {count}"), Stub::start());
        releasing.use_registry(&stub);
        kill_at_line(&releasing, count);
        let is_done = releasing
            .steps("1.4.2")
            .last()
            .is_some_and(|line| line["step"] == "done");
        if !is_done {
            go_on(&releasing, &place);
        }
        whole.is_reached(&stub, &releasing, &place);
    }
    println!("{} lines: {:.0} s", whole.lines, begun.elapsed().as_secs_f64());
}
