//! What the boot gate must catch: one way to misbehave each.

use super::{Maker, caught, caught_by, passes, violated};
use crate::exit::Exit;
use crate::selftest::fixture::Fixture;
use crate::selftest::scene::{Case, Fault, Scene};
use crate::verdict::Gate;

const CIS: &str = "docker/policy/cis.toml";

pub(super) fn scenes(make: Maker<'_>) -> Vec<Scene> {
    // A folder for a volume that the image does not have is the engine's doing.
    let volume = make.edited(
        "good-with-volume",
        &[("COPY --link bin", "VOLUME /var/kept\nCOPY --link bin")],
    );
    let mut running = vec![passes(make.good("good-service")), passes(volume)];
    running.extend(images(make));
    running.extend(behaviour(make));
    vec![
        Scene::new("boot", &[Gate::Boot], running),
        Scene::new("boot-never-live", &[Gate::Boot], never_live(make)),
        production_stack(make),
        ready_without_store(make),
        policy(
            "boot-unused-acceptance",
            caught(make.good("unused"), of("unused acceptance", "5.5")),
            &["5.5", "5.15"],
        ),
        policy("boot-unknown-item", passes(make.good("unknown")), &["5.99"])
            .refused(Exit::Usage, "item '5.99'"),
    ]
}

fn of(check: &'static str, words: &'static str) -> Fault {
    violated(Gate::Boot, check, words)
}

fn images(make: Maker<'_>) -> Vec<Case> {
    let rooted = Fixture {
        user: "",
        ..make.good("runs-as-root")
    };
    let unchecked = make.edited(
        "no-health-check",
        &[("HEALTHCHECK CMD", "LABEL unhealthy=x\n# CMD")],
    );
    vec![
        caught_by(rooted, &[of("runs as root", "so root"), of("CIS 4.1", "")]),
        caught(unchecked, of("CIS 4.6", "HEALTHCHECK")),
    ]
}

fn behaviour(make: Maker<'_>) -> Vec<Case> {
    let simple = [
        ("drops-in-flight", "in-flight requests", "begun before SIGTERM"),
        ("never-ready", "ready", "/ready gives no JSON"),
        ("wrong-version", "identity", "reports version 0.0.9"),
        (
            "accepts-malformed",
            "malformed settings",
            "exit code 0 instead of 78",
        ),
        ("prints-secret", "secrets in the log", "FIXTURE_TOKEN"),
    ];
    let deaf = [
        of("ends on SIGTERM", "had to be killed"),
        of("in-flight requests", "still running"),
    ];
    let mut cases: Vec<Case> = simple
        .into_iter()
        .map(|(mode, check, words)| caught(make.that(mode), of(check, words)))
        .collect();
    cases.extend([
        caught_by(make.that("deaf"), &deaf),
        caught(
            make.that("writes-root").with_data(""),
            of("writes to its root", "/data"),
        ),
        caught(
            make.that("no-restart").with_data("VOLUME /data\n"),
            of("restart after SIGKILL", "ended with exit code 11"),
        ),
        caught(make.that("leaks-memory"), of("memory under load", "killed")).also(&[
            "answers under load",
            "ends on SIGTERM",
            "descriptors",
        ]),
    ]);
    // Descriptors can be counted only where the engine runs on this machine, as whom we may look into /proc.
    if std::fs::read_dir("/proc/1/fd").is_ok() && std::env::var_os("DOCKER_HOST").is_none() {
        cases.push(caught(
            make.that("leaks-descriptors"),
            of("descriptors", "after them"),
        ));
    }
    cases
}

/// None of these lives; each is told what it lacks.
fn never_live(make: Maker<'_>) -> Vec<Case> {
    let told = |fixture, words| caught(fixture, of("never live", words));
    let no_program = make.edited(
        "not-executable",
        &[("COPY --link bin", "COPY --chmod=0644 --link bin")],
    );
    vec![
        told(no_program, "permission denied").also(&["malformed settings", "--help", "--version"]),
        told(make.that("dies"), "ended with exit code 9"),
        told(make.that("never-live"), "no 200 from /live"),
        told(make.that("wrong-address"), "listens on 127.0.0.1 only"),
        told(
            make.that("needs-writable-root").with_data(""),
            "needs a writable root",
        ),
        told(make.that("needs-capability"), "needs a capability"),
        told(make.that("needs-root"), "needs root"),
        told(make.that("eats-memory"), "needs more memory"),
    ]
}

fn production_stack(make: Maker<'_>) -> Scene {
    let case = caught(make.good("writable-in-production"), of("CIS 5.13", ""));
    Scene::new("boot-production-stack", &[Gate::Boot], vec![case]).prepared(|checkout, _| {
        Ok(checkout.edit_compose(|compose| {
            compose["services"]["writable-in-production"]["read_only"] = false.into();
        })?)
    })
}

fn ready_without_store(make: Maker<'_>) -> Scene {
    let needy = Fixture {
        needs: vec!["vault".to_owned()],
        ..make.good("ready-without-store")
    };
    let case = caught(needy, of("ready without its store", "200 without vault"));
    Scene::new("boot-ready-without-store", &[Gate::Boot], vec![case]).prepared(|checkout, _| {
        Ok(checkout.edit_compose(|compose| compose["networks"]["vault"] = serde_json::json!({}))?)
    })
}

/// A benchmark whose policy accepts these items.
fn policy(name: &'static str, case: Case, items: &[&str]) -> Scene {
    let entry = |item: &&str| format!("[[accepted]]\nitem = \"{item}\"\nowner = \"ann\"\nreason = \"x\"\n");
    let text: String = items.iter().map(entry).collect();
    Scene::new(name, &[Gate::Boot], vec![case]).prepared(move |checkout, _| Ok(checkout.put(CIS, &text)?))
}
