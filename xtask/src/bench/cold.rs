//! Everything from nothing: the joint build against stand-alone builds, and against the host. Nothing that the
//! user has cached is thrown away: the stages that count are told not to use the cache.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Bench;
use super::checkout::Checkout;
use super::dockerfile::{self, COLD_STAGES};
use super::measure::{DEADLINE_S, timed};
use super::row::{Row, Samples};
use crate::engine::run_tag;
use crate::plan::{ImagePlan, Plan};
use crate::process::Call;

const CASE: &str = "cold";

pub async fn measure(bench: &Bench<'_>) -> Vec<Row> {
    let ours = "joint bake of all images, no stage cached but `chef`";
    let alone = Row::new(CASE, ours, "0.4")
        .against("an ordinary cargo-chef Dockerfile for each, built one after the other, summed")
        .note("one sample; the stage `chef` (the tools of the build) is cached on both sides");
    let host = Row::new(format!("{CASE}-host"), ours, "1.3")
        .against("`cargo build --release --workspace --locked` on the host, fresh target folder")
        .note("one sample; crates are downloaded in the bake, the host may have them already");
    let joint = match joint(bench).await {
        Ok(seconds) => seconds,
        Err(error) => return vec![alone.failed(&error), host.failed(&error)],
    };
    let pair = |seconds: f64| Samples {
        ours: vec![joint],
        theirs: vec![seconds],
    };
    vec![
        alone.measured(stand_alone(bench).await.map(pair)),
        host.measured(on_host(bench).await.map(pair)),
    ]
}

/// Seconds of the joint bake.
async fn joint(bench: &Bench<'_>) -> Result<f64> {
    let checkout = bench.checkout().await?;
    let plan = checkout.plan().await?;
    let mut definition = bench.definition(&checkout.context.root, &plan);
    // The tools of the build first, for both sides.
    let tools = each_target(&definition, |target| {
        target["target"] = json!("chef");
        target["tags"] = json!([]);
        target["output"] = json!(["type=cacheonly"]);
    });
    timed(bench.context, &bench.bake_definition("cold-tools", &tools)?).await?;
    bench.forget_images().await?;
    definition = each_target(&definition, |target| {
        target["no-cache-filter"] = json!(COLD_STAGES)
    });
    timed(bench.context, &bench.bake_definition(CASE, &definition)?).await
}

/// A bake definition with every target changed.
fn each_target(definition: &Value, change: impl Fn(&mut Value)) -> Value {
    let mut changed = definition.clone();
    let targets = changed.get_mut("target").and_then(Value::as_object_mut);
    targets
        .into_iter()
        .flatten()
        .for_each(|(_, target)| change(target));
    changed
}

/// Seconds of all stand-alone builds together.
async fn stand_alone(bench: &Bench<'_>) -> Result<f64> {
    let checkout = bench.checkout().await?;
    let plan = checkout.plan().await?;
    let mut sum = 0.0;
    for image in &plan.images {
        let file = write_ordinary(bench, checkout, image)?;
        let tag = format!("bench-{}:{}", image.service.image, run_tag(&bench.context.run_id));
        let call = build_call(&plan, &file, &tag, &COLD_STAGES, &checkout.context.root);
        sum += timed(bench.context, &call.log(bench.log("cold-alone"))).await?;
    }
    Ok(sum)
}

fn write_ordinary(bench: &Bench<'_>, checkout: &Checkout, image: &ImagePlan) -> Result<std::path::PathBuf> {
    let own = checkout.context.root.join(image.service.dockerfile());
    let text = std::fs::read_to_string(&own).with_context(|| format!("cannot read {}", own.display()))?;
    let name = format!("Dockerfile.{}", image.service.name);
    bench.write(
        &name,
        dockerfile::ordinary(&text, &image.service.name)?.as_bytes(),
    )
}

/// `docker buildx build` of a Dockerfile of the benchmark's own, on the same bases as ours and with the same output.
pub fn build_call(plan: &Plan, file: &Path, tag: &str, uncached: &[&str], context: &Path) -> Call {
    let mut argv: Vec<String> = [
        "docker",
        "buildx",
        "build",
        "--progress=plain",
        "--platform=linux/amd64",
    ]
    .map(Into::into)
    .to_vec();
    argv.extend(["--output=type=docker".to_owned(), format!("--tag={tag}")]);
    argv.push(format!("--file={}", file.display()));
    argv.extend(uncached.iter().map(|stage| format!("--no-cache-filter={stage}")));
    let bases = plan.bases.contexts.iter();
    argv.extend(bases.map(|(from, to)| format!("--build-context={from}={to}")));
    if let Some(bundle) = &plan.ca_bundle {
        argv.push(format!("--secret=id=ca-bundle,src={}", bundle.display()));
    }
    argv.push(context.display().to_string());
    Call::new(argv)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .deadline_s(DEADLINE_S)
}

/// Seconds of the bare build on the host.
async fn on_host(bench: &Bench<'_>) -> Result<f64> {
    let checkout = bench.checkout().await?;
    checkout.forget_host_build()?;
    timed(bench.context, &checkout.host_build().log(bench.log("cold-host"))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_changed_and_nothing_else() {
        let definition = json!({"group": {"default": {}}, "target": {"a": {"tags": ["x"]}, "b": {}}});
        let changed = each_target(&definition, |target| target["no-cache-filter"] = json!(["cook"]));
        let expected = json!({
            "group": {"default": {}},
            "target": {"a": {"tags": ["x"], "no-cache-filter": ["cook"]}, "b": {"no-cache-filter": ["cook"]}},
        });
        assert_eq!(changed, expected);
    }
}
