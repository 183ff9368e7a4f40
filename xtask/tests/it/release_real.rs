//! Releases into a real registry on 127.0.0.1, with TLS and token authentication, the way GHCR does it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::checkout::ended;
use crate::real_registry::{ADA, BOB, RealRegistry, image_of};
use crate::releasing::{OWNER, Releasing};
use crate::stub::Stub;

/// A registry, and a checkout that is ready to be released to it.
fn begin() -> (RealRegistry, Releasing) {
    let mut releasing = Releasing::new("rel-real", &Stub::start());
    let plan = releasing.checkout.run(&["plan", "--format", "json"]);
    let registry = RealRegistry::start(&image_of(&plan.stdout));
    releasing.use_real_registry(registry.host(), registry.variables(Some(ADA)));
    (registry, releasing)
}

fn released(releasing: &Releasing, words: &[&str]) -> Value {
    let said = releasing.release(words);
    assert_eq!(said.code, Some(0), "{words:?}: {}", said.said());
    serde_json::from_str(&releasing.read("reports/latest/release.json")).unwrap()
}

/// What `verify` says of a tag to somebody who may read, from a machine that knows nothing but the key: exit code and
/// digest.
fn verified(
    registry: &RealRegistry,
    releasing: &Releasing,
    service: usize,
    tag: &str,
) -> (Option<i32>, String) {
    let image = format!("{}/{}:{tag}", registry.host(), releasing.repository(service));
    let key = releasing.checkout.path("keys/release.pub").display().to_string();
    let mut command = releasing
        .checkout
        .command(&["verify", &image, "--key", &key, "--format", "json"]);
    let clean = tempfile::tempdir().unwrap();
    for (name, folder) in [
        ("HOME", "home"),
        ("XDG_STATE_HOME", "state"),
        ("HORME_CACHE_DIR", "cache"),
    ] {
        command.env(name, clean.path().join(folder));
    }
    command.envs(registry.variables(Some(BOB)));
    let said = ended(command.output().unwrap());
    (said.code, said.said())
}

#[test]
fn a_real_registry_gets_a_release_then_what_changed_then_nothing_and_gives_it_back() {
    let (registry, mut releasing) = begin();
    let told = released(&releasing, &[]);
    assert_eq!(told["sent"]["mounted"], json!(1), "{told}");
    let first = [releasing.digest(0), releasing.digest(1)];
    for (service, digest) in first.iter().enumerate() {
        let (code, said) = verified(&registry, &releasing, service, "1.4.2");
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(digest), "{said}");
    }

    releasing.change(0, "second");
    releasing.make_ready("1.4.3");
    let told = released(&releasing, &[]);
    let sent: BTreeMap<&str, u64> = told["images"].as_array().unwrap().iter().map(uploaded).collect();
    assert_eq!(
        sent.values().copied().collect::<Vec<_>>(),
        [2, 0],
        "{OWNER}: {told}"
    );
    assert_eq!((&told["signed"], &told["kept"]), (&json!(4), &json!(4)));
    let (code, said) = verified(&registry, &releasing, 0, "latest");
    assert!(code == Some(0) && said.contains(&releasing.digest(0)), "{said}");

    releasing.make_ready("1.4.4");
    let told = released(&releasing, &[]);
    assert_eq!(
        (&told["sent"]["uploaded"], &told["signed"]),
        (&json!(0), &json!(0))
    );

    released(&releasing, &["--undo", "1.4.4"]);
    released(&releasing, &["--undo", "1.4.3"]);
    let (code, said) = verified(&registry, &releasing, 0, "latest");
    assert!(code == Some(0) && said.contains(&first[0]), "{said}");

    // Who may only read is refused before anything is sent.
    releasing.use_real_registry(registry.host(), registry.variables(Some(BOB)));
    releasing.make_ready("1.4.5");
    let said = releasing.release(&[]);
    assert_eq!(said.code, Some(2), "{}", said.said());
    assert!(said.stderr.contains("docker login"), "{}", said.stderr);
}

fn uploaded(image: &Value) -> (&str, u64) {
    (
        image["image"].as_str().unwrap(),
        image["sent"]["uploaded"].as_u64().unwrap(),
    )
}
