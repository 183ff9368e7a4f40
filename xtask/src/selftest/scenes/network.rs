//! What the network gate must catch: edges that policy and packets disagree about, ways out, stores that are lost,
//! stories that are not true.

use serde_json::{Value, json};

use super::{Maker, caught, caught_by, passes, violated};
use crate::exit::Exit;
use crate::selftest::checkout::Checkout;
use crate::selftest::fixture::Fixture;
use crate::selftest::scene::{Case, Fault, Scene};
use crate::verdict::Gate;

pub(super) fn scenes(make: Maker<'_>) -> Vec<Scene> {
    let undeclared = || vec![of("undeclared edge callee -> caller", "open by")];
    let mut open = pair(make, vec![], undeclared());
    open[0].fixture.own_address = false;
    vec![
        Scene::new("network", &[Gate::Network], pair(make, vec![], vec![])),
        Scene::new("network-reverse-edge", &[Gate::Network], open),
        compose(
            "network-undeclared-edge",
            pair(make, vec![], undeclared()),
            |compose| compose["services"]["callee"]["networks"]["caller"] = json!({}),
        ),
        compose(
            "network-closed-edge",
            pair(make, vec![of("declared edge caller -> callee", "closed")], vec![]),
            |compose| {
                if let Some(networks) = compose["services"]["caller"]["networks"].as_object_mut() {
                    networks.remove("callee");
                }
            },
        ),
        // Whoever is in that network can leave it.
        compose(
            "network-way-out",
            pair(make, vec![of("ways out", "")], vec![of("ways out", "")]),
            |compose| compose["networks"]["callee"]["internal"] = false.into(),
        ),
        stack("network-store", &[Gate::Network], passes(on_store(make, "good"))),
        stack(
            "network-no-recovery",
            &[Gate::Network],
            caught(on_store(make, "no-recovery"), of("vault is back", "not ready")),
        ),
        stack(
            "network-wrong-on-loss",
            &[Gate::Network],
            caught(
                Fixture {
                    on_loss: "{ vault = \"degrade\" }",
                    ..on_store(make, "good")
                },
                of("without vault", "should be ready, degraded"),
            ),
        ),
        stack(
            "network-dies-without-store",
            &[Gate::Network],
            caught(
                on_store(make, "dies-without-store"),
                of("without vault", "ended with exit code 12"),
            )
            .also(&["vault is back"]),
        ),
        story(
            "network-story",
            "6",
            caught(
                on_store(make, "good"),
                of("story first", "expected 6 at /number, got 7"),
            ),
        ),
        story(
            "network-malformed-story",
            "7, \"statuss\": 1",
            passes(on_store(make, "good")),
        )
        .refused(Exit::Usage, "services/service/stories/first.json"),
    ]
}

fn of(check: &'static str, words: &'static str) -> Fault {
    violated(Gate::Network, check, words)
}

fn pair(make: Maker<'_>, caller: Vec<Fault>, callee: Vec<Fault>) -> Vec<Case> {
    let own = Fixture {
        calls: vec!["callee".to_owned()],
        ..make.good("caller")
    };
    vec![caught_by(own, &caller), caught_by(make.good("callee"), &callee)]
}

fn compose(name: &'static str, cases: Vec<Case>, edit: impl Fn(&mut Value) + 'static) -> Scene {
    Scene::new(name, &[Gate::Network], cases).prepared(move |checkout, _| Ok(checkout.edit_compose(&edit)?))
}

/// A service that keeps its rows in a store.
pub(super) fn on_store(make: Maker<'_>, mode: &'static str) -> Fixture {
    Fixture {
        mode,
        needs: vec!["vault".to_owned()],
        ..make.good("service")
    }
}

/// That service, its store `vault` and an edge before it, all of one image; what hangs is told after 4 s.
pub(super) fn stack(name: &'static str, gates: &[Gate], case: Case) -> Scene {
    let image = format!("{}:latest", case.fixture.image);
    Scene::new(name, gates, vec![case]).prepared(move |checkout, _| Ok(add_store_and_edge(checkout, &image)?))
}

fn add_store_and_edge(checkout: &Checkout, image: &str) -> std::io::Result<()> {
    checkout.edit_compose(|compose| {
        let services = &mut compose["services"];
        services["service"]["environment"]["STORE"] = json!("own.vault:8000");
        services["service"]["environment"]["REQUEST_TIMEOUT"] = json!("2");
        // Started last: what takes its place before it may take its address, so it listens on any it is given.
        services["vault"] = json!({
            "image": image, "user": "0", "expose": ["8000"],
            "environment": { "MODE": "store" }, "depends_on": ["service"],
            "networks": { "vault": { "aliases": ["own.vault"] } },
        });
        services["edge"] = json!({
            "image": image, "expose": ["8000"],
            "environment": { "MODE": "relay", "TO": "own.service:8000", "HOST": "own.edge" },
            "networks": { "edge": { "aliases": ["own.edge"] }, "service": {} },
        });
        compose["networks"]["vault"] = json!({ "internal": true });
        compose["networks"]["edge"] = json!({});
    })?;
    let ports = json!({ "services": { "edge": { "ports": ["${HORME_PUBLISH:-127.0.0.1}::8000"] } } });
    checkout.put("compose/compose.ci.yaml", &ports.to_string())
}

/// A story that writes 7 and expects to read another number.
fn story(name: &'static str, number: &str, case: Case) -> Scene {
    let steps = format!(
        "[{{\"name\": \"write\", \"method\": \"GET\", \"path\": \"/write/7\", \"expect\": {{\"status\": 201}}}},
          {{\"name\": \"read\", \"method\": \"GET\", \"path\": \"/read/7\",
            \"expect\": {{\"status\": 200, \"json\": {{\"/number\": {number}}}}}}}]"
    );
    stack(name, &[Gate::Network], case)
        .also_prepared(move |checkout, _| Ok(checkout.put("services/service/stories/first.json", &steps)?))
}
