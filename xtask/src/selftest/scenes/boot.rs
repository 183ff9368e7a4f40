//! What the boot gate must catch: one way to misbehave each.

use super::{Maker, caught, violated};
use crate::selftest::fixture::Fixture;
use crate::selftest::scene::{Fault, Scene};
use crate::verdict::Gate;

pub(super) fn scenes(make: Maker<'_>) -> Vec<Scene> {
    let that = |mode| make.that(mode);
    let rooted = Fixture {
        user: "",
        ..make.good("runs-as-root")
    };
    vec![Scene::new(
        "boot",
        &[Gate::Boot],
        vec![
            caught(rooted, of("runs as root", "so root")),
            caught(that("deaf"), of("ends on SIGTERM", "had to be killed")),
            caught(that("dies"), of("never live", "ended with exit code 9")),
            caught(that("never-live"), of("never live", "no 200 from /live")),
            caught(that("wrong-version"), of("identity", "0.0.9")),
            caught(
                that("accepts-malformed"),
                of("malformed settings", "exit code 0 instead of 78"),
            ),
        ],
    )]
}

fn of(check: &'static str, words: &'static str) -> Fault {
    violated(Gate::Boot, check, words)
}
