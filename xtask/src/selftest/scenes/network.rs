//! What the network gate must catch: edges that policy and packets disagree about, and stores that matter.

use serde_json::json;

use super::{Maker, caught_by, violated};
use crate::selftest::fixture::Fixture;
use crate::selftest::scene::{Fault, Scene};
use crate::verdict::Gate;

pub(super) fn scenes(make: Maker<'_>) -> Vec<Scene> {
    let pair = |caller: Vec<Fault>, callee: Vec<Fault>| {
        let own = Fixture {
            calls: vec!["callee".to_owned()],
            ..make.good("caller")
        };
        vec![caught_by(own, &caller), caught_by(make.good("callee"), &callee)]
    };
    let mut open = pair(vec![], vec![of("undeclared edge callee -> caller", "open by")]);
    open[0].fixture.own_address = false;
    vec![
        Scene::new("network", &[Gate::Network], pair(vec![], vec![])),
        Scene::new("network-reverse-edge", &[Gate::Network], open),
        Scene::new(
            "network-undeclared-edge",
            &[Gate::Network],
            pair(vec![], vec![of("undeclared edge callee -> caller", "open by")]),
        )
        .prepared(|checkout, _| {
            let join = |compose: &mut serde_json::Value| {
                compose["services"]["callee"]["networks"]["caller"] = json!({})
            };
            Ok(checkout.edit_compose(join)?)
        }),
        Scene::new(
            "network-closed-edge",
            &[Gate::Network],
            pair(vec![of("declared edge caller -> callee", "closed")], vec![]),
        )
        .prepared(|checkout, _| {
            let leave = |compose: &mut serde_json::Value| {
                if let Some(networks) = compose["services"]["caller"]["networks"].as_object_mut() {
                    networks.remove("callee");
                }
            };
            Ok(checkout.edit_compose(leave)?)
        }),
    ]
}

fn of(check: &'static str, words: &'static str) -> Fault {
    violated(Gate::Network, check, words)
}
