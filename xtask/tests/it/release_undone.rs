//! `--undo` where it is not the newest that is taken back, where another journal knows more, where tags cannot be
//! deleted: users never get a mix that nobody tested without being told.

use std::collections::BTreeMap;

use crate::releasing::Releasing;
use crate::stub::{Look, Stub, Then, When};

fn well(releasing: &Releasing, words: &[&str]) -> String {
    let said = releasing.release(words);
    assert_eq!(said.code, Some(0), "{words:?}: {}", said.said());
    said.stdout
}

/// What a floating tag names, service by service.
fn tag(stub: &Stub, releasing: &Releasing, tag: &str) -> [Option<String>; 2] {
    [0, 1].map(|service| stub.content().tag(&releasing.repository(service), tag))
}

fn deleting() -> Stub {
    Stub::with(Look {
        deletes_tags: true,
        ..Look::default()
    })
}

/// Three releases: the second changed both, the third the first alone.
fn three(prefix: &str, stub: &Stub, third_elsewhere: bool) -> Releasing {
    let mut releasing = Releasing::new(prefix, stub);
    well(&releasing, &[]);
    releasing.change(0, "second");
    releasing.change(1, "second");
    releasing.make_ready("1.4.3");
    well(&releasing, &[]);
    releasing.change(0, "third");
    releasing.make_ready("1.4.4");
    if third_elsewhere {
        let journal = releasing.checkout.path("state/elsewhere");
        well(&releasing, &["--journal", journal.to_str().unwrap()]);
    } else {
        well(&releasing, &[]);
    }
    releasing
}

#[test]
fn a_release_that_is_not_the_newest_leaves_the_newest_ones_tags_alone_on_every_image() {
    for (prefix, elsewhere) in [("undo-middle", false), ("undo-other", true)] {
        let stub = deleting();
        let releasing = three(prefix, &stub, elsewhere);
        let newest = ["1.4", "1", "latest"].map(|name| tag(&stub, &releasing, name));
        let said = well(&releasing, &["--undo", "1.4.3"]);
        assert!(
            said.contains("left alone, because a later release has it: 1, 1.4, latest of"),
            "{said}"
        );
        assert_eq!(
            ["1.4", "1", "latest"].map(|name| tag(&stub, &releasing, name)),
            newest,
            "{prefix}: no mix of two releases"
        );
        assert_eq!(tag(&stub, &releasing, "1.4.3"), [None, None]);
    }
}

#[test]
fn a_repeated_release_that_fails_early_forgets_nothing() {
    let stub = deleting();
    let mut releasing = Releasing::new("undo-twice", &stub);
    well(&releasing, &[]);
    let before = tag(&stub, &releasing, "latest");
    releasing.change(0, "second");
    releasing.make_ready("1.4.3");
    well(&releasing, &[]);
    // A layer spoils when it was looked at already, and is not laid down yet.
    let layer = releasing.layers(0)[1].replace("sha256:", "images/blobs/sha256/");
    let (layer, path) = (
        releasing.checkout.path(&layer),
        format!("/{}/manifests/claim-1.4.3", releasing.repository(0)),
    );
    stub.on("HEAD", &path, 1, When::Before, move || {
        std::fs::write(&layer, "spoilt").unwrap();
        Then::GoOn
    });
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(
        said.stderr.contains("is not what its name says"),
        "{}",
        said.stderr
    );
    well(&releasing, &["--undo", "1.4.3"]);
    assert_eq!(tag(&stub, &releasing, "latest"), before);
    assert_eq!(tag(&stub, &releasing, "1.4.3"), [None, None]);
}

#[test]
fn what_no_journal_remembers_is_named() {
    let stub = deleting();
    let mut releasing = Releasing::new("undo-lost", &stub);
    well(&releasing, &[]);
    releasing.change(0, "second");
    releasing.change(1, "second");
    releasing.make_ready("1.4.3");
    let killed = releasing.signalled(&stub, "-KILL", "PUT", "/manifests/latest");
    assert_eq!(killed.code, None, "{}", killed.said());
    // Another machine begins it anew: two of three floating tags name it already.
    std::fs::remove_dir_all(releasing.journal("1.4.3")).unwrap();
    well(&releasing, &[]);
    let said = releasing.release(&["--undo", "1.4.3"]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(
        said.stderr.contains("1.4.3 is taken back, but 1, 1.4 of"),
        "{}",
        said.stderr
    );
    assert!(
        said.stdout
            .contains("stays, because it pointed to this release before"),
        "{}",
        said.stdout
    );
    let latest = tag(&stub, &releasing, "latest");
    assert_ne!(latest, [0, 1].map(|service| Some(releasing.digest(service))));
    // A second time it is no better.
    let said = releasing.release(&["--undo", "1.4.3"]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(said.stderr.contains("but 1, 1.4 of"), "{}", said.stderr);
    // Until the next release has taken them.
    releasing.change(0, "third");
    releasing.change(1, "third");
    releasing.make_ready("1.4.4");
    well(&releasing, &[]);
    well(&releasing, &["--undo", "1.4.3"]);
}

#[test]
fn a_version_that_was_taken_back_holds_no_hotfix_back() {
    // No tag can be deleted here: 1.5.0 stays.
    let stub = Stub::start();
    let mut releasing = Releasing::new("undo-fix", &stub);
    well(&releasing, &[]);
    releasing.change(0, "second");
    releasing.make_ready("1.5.0");
    well(&releasing, &[]);
    releasing.change(0, "fix");
    releasing.make_ready("1.4.3");
    let said = well(&releasing, &["--dry-run"]);
    assert!(said.contains("1, latest stay: 1.5.0 is released"), "{said}");
    well(&releasing, &["--undo", "1.5.0"]);
    well(&releasing, &[]);
    let released = [0, 1].map(|service| Some(releasing.digest(service)));
    assert_eq!(tag(&stub, &releasing, "latest"), released);
}

#[test]
fn a_half_moved_release_is_ended_before_another_begins() {
    let stub = Stub::start();
    let mut releasing = Releasing::new("undo-half", &stub);
    let killed = releasing.signalled(&stub, "-KILL", "PUT", "/manifests/latest");
    assert_eq!(killed.code, None, "{}", killed.said());
    releasing.change(0, "second");
    releasing.make_ready("2.0.0");
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(2), "{}", said.said());
    assert!(
        said.stderr
            .contains("the release 1.4.2 is unfinished, tags were moving"),
        "{}",
        said.stderr
    );
    well(&releasing, &["--undo", "1.4.2"]);
    well(&releasing, &[]);
    let tags: BTreeMap<String, String> = stub.content().tags();
    assert!(
        tags.contains_key(&format!("{}:2.0.0", releasing.repository(1))),
        "{tags:?}"
    );
}
