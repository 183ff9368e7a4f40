//! Programs that outlived the run that started them: each carries the run's id in its environment.

use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::context::{Deadline, poll};

/// The variable that names the run in the environment of every program that it starts.
pub const MARK: &str = "HORME_RUN_ID";

/// How long the kernel may take to end what was killed.
const LIMIT: Duration = Duration::from_secs(5);

/// Ends every program of a dead run, and returns how many there were. What starts another meanwhile is found in
/// the next round, until none is left.
pub async fn end_orphans(run_id: &str) -> usize {
    let ended = std::cell::RefCell::new(std::collections::BTreeSet::new());
    poll(Deadline::within(LIMIT), Duration::from_millis(20), || async {
        let found = end_all(run_id);
        let none = found.is_empty();
        ended.borrow_mut().extend(found);
        none.then_some(())
    })
    .await;
    ended.into_inner().len()
}

/// How many programs of a dead run there are.
pub fn orphans(run_id: &str) -> usize {
    others().filter(|pid| is_marked(*pid, run_id)).count()
}

fn end_all(run_id: &str) -> Vec<i32> {
    others().filter(|pid| end(*pid, run_id)).collect()
}

/// All processes but this one.
fn others() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id() as i32)
}

fn is_marked(pid: i32, run_id: &str) -> bool {
    let mark = format!("{MARK}={run_id}");
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|entry| entry == mark.as_bytes())
}

/// Ends a process if it is the run's. It is held first, so that no other can get its number meanwhile.
fn end(pid: i32, run_id: &str) -> bool {
    let held = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let Some(held) = held else { return false };
    is_marked(pid, run_id) && pidfd_send_signal(&held, Signal::KILL).is_ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::process::{Call, start};

    #[tokio::test]
    async fn a_program_of_a_dead_run_is_ended_with_what_it_started_and_no_other_is() {
        let id = format!("orphans-{}", std::process::id());
        let two = Call::new(["sh", "-c", "sleep 600 & echo; wait"]);
        let mut of_the_run = start(&two, &id).unwrap();
        let mut started = of_the_run.stdout.take().unwrap();
        started.read_u8().await.unwrap();
        let mut of_another = start(&Call::new(["sleep", "600"]), &format!("{id}x")).unwrap();
        let ended = end_orphans(&id).await;
        assert!(
            (2..=3).contains(&ended),
            "the shell and what it had started: {ended}"
        );
        assert!(!of_the_run.wait().await.unwrap().success());
        assert_eq!(end_orphans(&id).await, 0);
        assert!(
            of_another.try_wait().unwrap().is_none(),
            "another run's was touched"
        );
        of_another.kill().await.unwrap();
    }

    #[tokio::test]
    async fn what_a_finishing_program_starts_lives_on() {
        let id = format!("finishing-{}", std::process::id());
        let mut finishing = start(&Call::new(["sleep", "600"]).finishing(), &id).unwrap();
        let mut bound = start(&Call::new(["sleep", "600"]), &id).unwrap();
        // Started, not only forked: before that both look like this very process.
        bound.stdin.take();
        let dead = async { bound.wait().await.unwrap() };
        let ended = async {
            loop {
                if end_orphans(&id).await > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(dead, ended) })
            .await
            .unwrap();
        assert!(finishing.try_wait().unwrap().is_none(), "it was ended");
        finishing.kill().await.unwrap();
    }

    #[tokio::test]
    async fn marked_programs_are_counted_without_harm() {
        let id = format!("counted-{}", std::process::id());
        let mut one = start(&Call::new(["sleep", "600"]), &id).unwrap();
        let seen = poll(
            Deadline::within(Duration::from_secs(10)),
            Duration::from_millis(10),
            || async { (orphans(&id) == 1).then_some(()) },
        );
        assert!(seen.await.is_some());
        assert!(one.try_wait().unwrap().is_none(), "it was ended");
        one.kill().await.unwrap();
        assert_eq!(orphans(&id), 0);
    }
}
