//! `test --in-image` on small checkouts whose stage `ci` is a shell that says what tests say: how it ends, what it counts,
//! and that what could not be run is no test that failed.

use serde_json::json;

use crate::checkout::{Checkout, Ended, Fixture, builder, ended};

const RAN: &str = "echo 'test one ... ok'; echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured'";

/// A checkout of services whose `ci` runs these words of a shell, over this base.
fn checkout(names: &[&str], base: &str, words: &str) -> Checkout {
    let checkout = Checkout::new(names.iter().map(|name| Fixture::new(name)).collect());
    for name in names {
        let file = format!(
            "FROM {base} AS ci\nARG TESTS_RUN=unknown\nRUN {words}; mkdir /coverage\n\
             FROM scratch AS coverage\nCOPY --from=ci /coverage /\n\
             FROM scratch AS dev\nFROM scratch AS prod\nCOPY --link bin/fixture /{name}\n"
        );
        checkout.write(&format!("docker/Dockerfile.{name}"), &file);
    }
    checkout
}

fn tested(checkout: &Checkout) -> Ended {
    checkout.run(&["test", "--in-image", "--bases", "local"])
}

#[test]
fn services_that_share_the_stage_share_the_run_and_it_is_run_each_time() {
    let checkout = checkout(&["inimg-a", "inimg-b"], &builder(), RAN);
    for _ in 0..2 {
        let ended = tested(&checkout);
        assert_eq!(ended.code, Some(0), "{}", ended.said());
        let last = ended.stdout.lines().last();
        assert_eq!(last, Some("1 passed, 0 failed, 0 skipped"), "{}", ended.said());
        assert!(
            ended.stdout.contains("no coverage can be told"),
            "{}",
            ended.said()
        );
    }
}

#[test]
fn a_test_that_fails_is_named_and_one_that_does_not_compile_is_quoted() {
    let fails = "echo 'test ours::two ... FAILED'; echo 'test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured'; false";
    let ended = tested(&checkout(&["inimg-fails"], &builder(), fails));
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(
        ended.stderr.contains("tests failed: ours::two"),
        "{}",
        ended.said()
    );
    assert!(
        ended.stdout.contains("0 passed, 1 failed, 0 skipped"),
        "{}",
        ended.said()
    );

    let broken = "echo 'error[E0425]: cannot find value `x`'; exit 101";
    let ended = tested(&checkout(
        &["inimg-broken", "inimg-broken-too"],
        &builder(),
        broken,
    ));
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(ended.stderr.contains("error[E0425]"), "{}", ended.said());
}

#[test]
fn a_base_that_nobody_gives_is_undecided() {
    let base = format!("127.0.0.1:1/inimg@sha256:{}", "a".repeat(64));
    let ended = tested(&checkout(&["inimg-away"], &base, RAN));
    assert_eq!(ended.code, Some(3), "{}", ended.said());
    assert!(
        ended.stderr.contains("the tests could not be run"),
        "{}",
        ended.said()
    );
}

#[test]
fn a_builder_that_sees_no_bases_is_undecided_here_and_in_reproduce() {
    let checkout = checkout(&["inimg-builder"], &builder(), RAN);
    crate::reproduce::commit(&checkout);
    let folder = checkout.path("docker-config");
    checkout.write("docker-config/config.json", &json!({}).to_string());
    let mut create = std::process::Command::new("docker");
    create.env("DOCKER_CONFIG", &folder).args([
        "buildx",
        "create",
        "--name",
        "inimg-far",
        "--driver",
        "remote",
        "tcp://127.0.0.1:1",
    ]);
    let made = ended(create.output().unwrap());
    assert_eq!(made.code, Some(0), "{}", made.said());
    for words in [&["test", "--in-image"][..], &["reproduce"]] {
        let mut command = checkout.command(words);
        command
            .args(["--bases", "local"])
            .env("DOCKER_CONFIG", &folder)
            .env("BUILDX_BUILDER", "inimg-far");
        let said = ended(command.output().unwrap());
        assert_eq!(said.code, Some(3), "{words:?}: {}", said.said());
        let why = "the builder 'inimg-far' (remote) does not see the base images";
        assert!(said.stderr.contains(why), "{words:?}: {}", said.said());
    }
}
