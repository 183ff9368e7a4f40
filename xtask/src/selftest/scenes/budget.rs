//! What the size gate must catch.

use serde_json::json;

use super::{Maker, caught, passes, violated};
use crate::selftest::fixture::Fixture;
use crate::selftest::scene::Scene;
use crate::verdict::Gate;

pub(super) fn scenes(make: Maker<'_>) -> Vec<Scene> {
    let fat = Fixture {
        budget: "10 kB",
        ..make.good("over-budget")
    };
    let grown = make.good("grown");
    let accepted = json!({ "unpacked_bytes": 100_000, "compressed_bytes": 50_000 });
    let images = json!({ grown.image.clone(): accepted });
    let baseline = json!({ "local": images, "upstream": images });
    vec![
        Scene::new(
            "budget",
            &[Gate::Budget],
            vec![
                passes(make.good("small-enough")),
                caught(
                    fat,
                    violated(Gate::Budget, "over budget", "over the budget of 0.01 MB"),
                ),
                caught(grown, violated(Gate::Budget, "growth", "since the baseline")),
            ],
        )
        .prepared(move |checkout, _| Ok(checkout.put("reports/baseline.json", &baseline.to_string())?)),
    ]
}
