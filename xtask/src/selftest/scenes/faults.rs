//! What `cargo xtask faults` must catch: a request that hangs, a service that never comes back, a row that is lost.

use super::network::{on_store, stack};
use super::{Maker, caught, violated};
use crate::cli::FaultKind;
use crate::selftest::scene::Scene;
use crate::verdict::Gate;

/// Writes through the edge for as long as the fault lasts, and reads back what was acknowledged.
const TRAFFIC: &str = r#"{
    "request": {"name": "write", "method": "GET", "path": "/write/${n}",
        "expect": {"status": 201, "json": {"/number": "${n}"}}},
    "read_back": {"name": "read", "method": "GET", "path": "/read/${n}",
        "expect": {"status": 200, "json": {"/number": "${n}"}}}
}"#;

pub(super) fn scenes(make: Maker<'_>) -> Vec<Scene> {
    let scene = |name, kind, mode, check, words| {
        let case = caught(on_store(make, mode), violated(Gate::Faults, check, words));
        stack(name, &[Gate::Faults], case).also_prepared(move |checkout, options| {
            options.faults = vec![kind];
            Ok(checkout.put("services/service/faults/rows.json", TRAFFIC)?)
        })
    };
    vec![
        scene(
            "faults-hang",
            FaultKind::Frozen,
            "hang-on-frozen",
            "vault frozen: answers to rows",
            "hung",
        ),
        scene(
            "faults-no-recovery",
            FaultKind::Killed,
            "no-recovery",
            "vault killed: recovery",
            "",
        )
        .also(&["vault killed: answers to rows"]),
        scene(
            "faults-lost-row",
            FaultKind::Killed,
            "forgets",
            "vault killed: acknowledged rows",
            "lost",
        ),
    ]
}
