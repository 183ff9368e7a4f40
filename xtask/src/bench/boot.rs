//! From create to the first 200: each image, as its boot gate measures it, against a service that does nothing
//! but answer, on the same base and under the same constraints.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Bench;
use super::cold::build_call;
use super::dockerfile;
use super::measure::{in_turn, report_of, run, timed};
use super::row::{Row, Samples};
use crate::context::{Deadline, poll};
use crate::engine::{Container, ContainerSpec, run_tag};
use crate::plan::ImagePlan;
use crate::report::Report;
use crate::verdict::Gate;

const CASE: &str = "boot";
/// Where the hello world listens.
const PORT: u16 = 8000;
/// As often as the boot gate asks.
const POLL_EVERY: Duration = Duration::from_millis(15);

pub async fn measure(bench: &Bench<'_>) -> Vec<Row> {
    let ready = async {
        bench.build(CASE).await?;
        Hello::build(bench).await
    };
    let hello = match ready.await {
        Ok(hello) => hello,
        Err(error) => {
            return bench
                .plan
                .images
                .iter()
                .map(|image| row(image).failed(&error))
                .collect();
        }
    };
    let mut rows = Vec::new();
    for image in &bench.plan.images {
        rows.push(row(image).measured(samples(bench, &hello, image).await));
    }
    rows
}

fn row(image: &ImagePlan) -> Row {
    let name = &image.service.name;
    Row::new(format!("{CASE} {name}"), format!("{name}, create to first 200"), "near 1")
        .against("a hello-world service, create to first 200")
        .note("`first_answer_ms` of `cargo xtask boot --fresh` for this service alone, so that nothing else boots meanwhile")
}

async fn samples(bench: &Bench<'_>, hello: &Hello, image: &ImagePlan) -> Result<Samples> {
    let name = &image.service.name;
    let call = bench.xtask(CASE, &["boot", "--fresh", "--service", name]);
    in_turn(
        bench.repeat,
        async |_| {
            let (_, output) = run(bench.context, &call).await?;
            first_answer_s(&report_of(bench.context, &output.stdout)?, name)
        },
        async |_| hello.first_answer_s(bench).await,
    )
    .await
}

/// The boot gate's own figure, in seconds.
fn first_answer_s(report: &Report, service: &str) -> Result<f64> {
    let record = report.record(service, Gate::Boot);
    let figure = record.and_then(|record| record.figures.get("first_answer_ms")?.as_f64());
    Ok(figure.context("the boot gate tells no `first_answer_ms`")? / 1000.0)
}

/// The image to compare with. Its name holds the run's id: the sweep takes it away.
struct Hello {
    image: String,
    http: reqwest::Client,
}

impl Hello {
    async fn build(bench: &Bench<'_>) -> Result<Self> {
        let first = bench
            .plan
            .images
            .first()
            .context("there is no image to compare with")?;
        let own = std::fs::read_to_string(bench.context.root.join(first.service.dockerfile()))?;
        bench.write("hello/main.rs", include_bytes!("hello.rs.in"))?;
        let file = bench.write("hello/Dockerfile", dockerfile::hello(&own)?.as_bytes())?;
        let image = format!("bench-hello:{}", run_tag(&bench.context.run_id));
        let call = build_call(&bench.plan, &file, &image, &[], &bench.folder().join("hello"));
        timed(bench.context, &call.log(bench.log("boot-hello"))).await?;
        let http = crate::http::client().no_proxy().timeout(Duration::from_secs(5));
        Ok(Hello {
            image,
            http: http.build().context("cannot make an HTTP client")?,
        })
    }

    /// Seconds from create to the first 200. The container is removed before this returns.
    async fn first_answer_s(&self, bench: &Bench<'_>) -> Result<f64> {
        let limits = &bench.plan.limits;
        let spec = ContainerSpec {
            name: format!("horme-{}-bench-hello", bench.context.run_id),
            image: self.image.clone(),
            run_id: bench.context.run_id.clone(),
            publish: Some(PORT),
            memory_bytes: limits.memory_bytes,
            pids: limits.pids,
            ..Default::default()
        };
        let begun = Instant::now();
        let container = bench.engine.create(&spec).await?;
        let answered = async {
            bench.engine.start(&container).await?;
            self.until_answered(bench, &container).await?;
            Ok(begun.elapsed().as_secs_f64())
        };
        let answered = answered.await;
        bench.engine.remove(&container).await?;
        answered
    }

    async fn until_answered(&self, bench: &Bench<'_>, container: &Container) -> Result<()> {
        let limit = Duration::from_millis(bench.plan.limits.boot_deadline_ms);
        let published = bench.engine.published()?;
        let answered = poll(Deadline::within(limit), POLL_EVERY, || async {
            let state = match bench.engine.state(container).await {
                Ok(state) => state,
                Err(error) => return Some(Err(error)),
            };
            if !state.running {
                let code = state.exit_code.unwrap_or(-1);
                return Some(Err(anyhow::anyhow!(
                    "the hello world ended with exit code {code}"
                )));
            }
            let address = SocketAddr::new(published, state.host_port?);
            let url = format!("http://{address}/live");
            let answer = self.http.get(url).send().await.ok()?;
            answer.status().is_success().then_some(Ok(()))
        });
        let late = || format!("the hello world did not answer within {} s", limit.as_secs());
        answered.await.with_context(late)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::verdict::Record;

    #[test]
    fn the_figure_is_the_gates_own() {
        let mut report = sample();
        assert!(first_answer_s(&report, "shop").is_err());
        let record = Record::from_checks("shop", Gate::Boot, Vec::new(), "");
        report.records.push(record.figure("first_answer_ms", 243));
        assert_eq!(first_answer_s(&report, "shop").unwrap(), 0.243);
    }
}
