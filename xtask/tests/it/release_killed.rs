//! SIGKILL at every request of a release, before and after it was carried out: `--resume` always comes to the same
//! end. HORME_RELEASE_KILLS=all kills at each of them, otherwise some are picked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::checkout::ended;
use crate::releasing::Releasing;
use crate::stub::{Stub, Then, When};

/// How many requests are picked where not all are asked for.
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
        let kill = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
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
    assert_eq!(ended.code, if was_killed { None } else { Some(0) }, "{}", ended.said());
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

#[test]
fn killed_at_any_request_a_release_is_resumed_to_the_same_end() {
    let stub = Stub::start();
    let mut releasing = Releasing::new("rel-kill", &stub);
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    let (expected, count) = (end_state(&stub), stub.seen().len());
    let steps = releasing.steps("1.4.2").len();
    let all = std::env::var("HORME_RELEASE_KILLS").is_ok_and(|which| which == "all");
    let step = if all { 1 } else { count.div_ceil(PICKED) };
    let begun = std::time::Instant::now();
    let mut kills = 0;
    for number in (1..=count + 1).step_by(step) {
        let whens: &[When] = match (all, number / step % 2) {
            (true, _) => &[When::Before, When::After],
            (false, 0) => &[When::Before],
            (false, _) => &[When::After],
        };
        for when in whens {
            let place = format!("{when:?} request {number}");
            let stub = Stub::start();
            releasing.use_registry(&stub);
            if kill_at(&stub, &releasing, number, *when) {
                kills += 1;
                go_on(&releasing, &place);
            }
            assert_eq!(end_state(&stub), expected, "{place}");
            let journal = releasing.steps("1.4.2");
            assert_eq!(journal.last().unwrap()["step"], "done", "{place}");
            let signed = journal.iter().filter(|line| line["step"] == "signed").count();
            assert_eq!(signed, 8, "{place}: nothing is signed twice");
        }
    }
    println!("{count} requests, {steps} steps: killed {kills} times in {:.0} s", begun.elapsed().as_secs_f64());
    assert!(kills > 0);
}
