//! What `cargo xtask faults` must catch: a request that hangs, a service that never comes back, a row that is lost.

use super::network::{on_store, stack};
use super::{Maker, caught, passes, violated};
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
    let scene = |name, kind, case| {
        stack(name, &[Gate::Faults], case).also_prepared(move |checkout, options| {
            options.faults = vec![kind];
            Ok(checkout.put("services/service/faults/rows.json", TRAFFIC)?)
        })
    };
    let that = |mode, check, words| caught(on_store(make, mode), violated(Gate::Faults, check, words));
    vec![
        scene("faults", FaultKind::Reset, passes(on_store(make, "good"))),
        scene(
            "faults-hang",
            FaultKind::Frozen,
            that("hang-on-frozen", "vault frozen: answers to rows", "hung"),
        ),
        scene(
            "faults-no-recovery",
            FaultKind::Killed,
            that("no-recovery", "vault killed: recovery", "not ready")
                .also(&["vault killed: acknowledged rows", "faults"]),
        ),
        scene(
            "faults-lost-row",
            FaultKind::Killed,
            that("forgets", "vault killed: acknowledged rows", "lost"),
        ),
    ]
}
