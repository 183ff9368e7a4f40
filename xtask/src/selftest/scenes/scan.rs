//! What the scan gate must catch.

use super::{Maker, caught, passes, violated};
use crate::selftest::fixture::{Fixture, Lists};
use crate::selftest::scene::{Fault, Scene};
use crate::verdict::Gate;

pub(super) fn scenes(make: Maker<'_>) -> Vec<Scene> {
    vec![images(make)]
}

fn of(check: &'static str, words: &'static str) -> Fault {
    violated(Gate::Scan, check, words)
}

/// One more file in the image: where the binary is copied, copy it there first.
fn with_file(make: Maker<'_>, name: &'static str, copy: &str) -> Fixture {
    make.edited(
        name,
        &[("COPY --link bin", &format!("COPY {copy}\nCOPY --link bin"))],
    )
}

fn images(make: Maker<'_>) -> Scene {
    let opaque = Fixture {
        lists: Lists::Nothing,
        ..make.good("no-crates")
    };
    let partial = Fixture {
        lists: Lists::ItselfAlone,
        crates: vec![("quiet", "1.0.0")],
        ..make.good("crates-missing")
    };
    let mut labelled = make.good("secret-in-label");
    labelled
        .labels
        .push("api_token=ghp_0123456789abcdefghij0123456789abcdef".to_owned());
    Scene::new(
        "scan",
        &[Gate::Scan],
        vec![
            passes(make.good("good-image")),
            caught(opaque, of("crates", "sees no crates")),
            caught(partial, of("crates", "not seen: quiet 1.0.0")),
            caught(
                make.edited(
                    "secret-in-env",
                    &[("ENV MODE=", "ENV DB_PASSWORD=hunter2-of-the-fixture MODE=")],
                ),
                of("secrets in the configuration", "DB_PASSWORD"),
            )
            .also(&["misconfigurations"]),
            caught(labelled, of("secrets in the configuration", "api_token")).also(&["secrets"]),
            caught(
                with_file(make, "setuid-file", "--chmod=4755 bin/setuid-file /su"),
                of("files", "/su runs as its owner or group"),
            ),
            caught(
                with_file(
                    make,
                    "package-manager",
                    "--chmod=755 bin/package-manager /usr/bin/apt-get",
                ),
                of("files", "/usr/bin/apt-get is a package manager"),
            ),
            caught(
                with_file(make, "writable-file", "--chmod=666 bin/writable-file /etc/passwd"),
                of("files", "/etc/passwd may be written by everybody"),
            ),
        ],
    )
}
