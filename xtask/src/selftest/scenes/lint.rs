//! What the lint gate must catch: faults of Dockerfiles and of compose files.

use super::{Maker, caught, caught_by, passes, violated};
use crate::selftest::fixture::Fixture;
use crate::selftest::scene::{Fault, Scene};
use crate::verdict::Gate;

const LAST_STAGE: &str = "FROM scratch AS prod";

pub(super) fn scenes(make: Maker<'_>) -> Vec<Scene> {
    vec![dockerfiles(make), compose_entry(make)]
}

fn compose_entry(make: Maker<'_>) -> Scene {
    let words = "no service 'no-compose-entry' among somebody-else";
    let faults = ["compose dev", "compose stage", "compose prod", "compose ci"].map(|check| of(check, words));
    let case = caught_by(make.good("no-compose-entry"), &faults);
    Scene::new("lint-compose-entry", &[Gate::Lint], vec![case]).prepared(|checkout, _| {
        let compose = r#"{"name": "horme-fixtures", "services": {"somebody-else": {"image": "x"}}}"#;
        Ok(checkout.put("compose/compose.yaml", compose)?)
    })
}

fn of(check: &'static str, words: &'static str) -> Fault {
    violated(Gate::Lint, check, words)
}

fn dockerfiles(make: Maker<'_>) -> Scene {
    let rooted = Fixture {
        user: "",
        ..make.good("root-user")
    };
    let named_root = Fixture {
        user: "USER root",
        ..make.good("named-root")
    };
    Scene::new(
        "lint",
        &[Gate::Lint],
        vec![
            passes(make.good("good-dockerfile")),
            caught(rooted, of("root user", "no USER")),
            caught(named_root, of("root user", "USER root")).also(&["hadolint"]),
            caught(
                make.edited("floating-base", &[(LAST_STAGE, "FROM debian:bookworm AS prod")]),
                of("floating base", "FROM debian:bookworm has no digest"),
            ),
            caught(
                make.edited("no-health-check", &[("HEALTHCHECK CMD", "# CMD")]),
                of("health check", "no HEALTHCHECK"),
            ),
            caught(
                make.edited(
                    "add-of-a-url",
                    &[("ENV MODE", "ADD https://example.org/x /x\nENV MODE")],
                ),
                of("ADD of a URL", "ADD https://example.org/x"),
            ),
            caught(
                make.edited(
                    "shell-entry-point",
                    &[(
                        "ENTRYPOINT [\"/shell-entry-point\"]",
                        "ENTRYPOINT /shell-entry-point",
                    )],
                ),
                of("entry point", "no ENTRYPOINT in exec form"),
            )
            .also(&["hadolint"]),
            caught(
                make.edited("no-ci-target", &[("AS ci", "AS other")]),
                of("targets", "no target 'ci'"),
            ),
            caught(
                make.edited(
                    "syntax-line",
                    &[(
                        "FROM scratch AS dev",
                        "# syntax=docker/dockerfile:1\nFROM scratch AS dev",
                    )],
                ),
                of("syntax line", "fetch its frontend"),
            ),
        ],
    )
}
