//! What the size gate must catch.

use serde_json::json;

use super::{Maker, caught, passes, violated};
use crate::exit::Exit;
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
    let gone = json!({ "local": { "horme-gone": accepted } });
    let baseline = json!({ "local": images, "upstream": images });
    vec![
        Scene::new(
            "budget-unknown-policy",
            &[Gate::Budget],
            vec![passes(make.good("any"))],
        )
        .prepared(|checkout, _| Ok(checkout.put("docker/policy/budget.toml", "wasted_bytes = 1\n")?))
        .refused(Exit::Usage, "docker/policy/budget.toml"),
        Scene::new(
            "budget-baseline-of-nobody",
            &[Gate::Budget],
            vec![passes(make.good("any"))],
        )
        .prepared(move |checkout, _| Ok(checkout.put("reports/baseline.json", &gone.to_string())?))
        .refused(Exit::Usage, "no service has the image 'horme-gone' any more"),
        Scene::new(
            "budget",
            &[Gate::Budget],
            vec![
                passes(make.good("small-enough")),
                caught(
                    make.edited(
                        "wasteful",
                        &[("COPY --link bin", "COPY bin/wasteful /wasteful\nCOPY --link bin")],
                    ),
                    violated(Gate::Budget, "wasted bytes", "/wasteful"),
                ),
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
