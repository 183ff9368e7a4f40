//! `cargo xtask why <service>`: what differs between the last build of a service in this checkout and now.

use anyhow::Result;
use serde::Serialize;

use crate::cli::Format;
use crate::context::Context;
use crate::exit::Exit;
use crate::fingerprint;
use crate::planning;
use crate::report;
use crate::standing;
use crate::verdict::{Gate, age};

/// How many differences are named before the rest is counted.
const NAMED: usize = 12;

/// The answer, as it is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Answer {
    service: String,
    /// The fingerprint now.
    key: String,
    /// The run that built it last here; absent where none did.
    last_run: Option<String>,
    last_age_s: Option<u64>,
    last_digest: Option<String>,
    differences: Vec<String>,
    /// The run that built an image from the very inputs of now, where one did.
    proven_by: Option<String>,
}

/// Prints the differences; none means that nothing would be built.
///
/// # Errors
/// Exit 2: no such service, a malformed manifest.
pub async fn run(context: &Context, service: &str) -> Result<Exit> {
    let catalogue = planning::read_catalogue(context).await?;
    catalogue.select(&[service.to_owned()])?;
    let (plan, words) = planning::work_out(context, &catalogue, &[Gate::Build]).await?;
    for image in plan.images.iter().filter(|image| image.service.name == service) {
        let last = standing::last_build(context, service);
        let answer = Answer {
            service: service.to_owned(),
            key: image.key.clone(),
            last_run: last.as_ref().map(|last| last.run_id.clone()),
            last_age_s: last.as_ref().map(|last| last.age_s()),
            last_digest: last.as_ref().map(|last| last.value.digest.clone()),
            differences: last.map_or_else(Vec::new, |last| {
                fingerprint::differences(&last.value.inputs, &image.inputs)
            }),
            proven_by: standing::proven_by(context, image),
        };
        report::say(&match context.options.format {
            Format::Json => serde_json::to_string_pretty(&answer)?,
            Format::Human => shown(&answer, &words),
        });
    }
    Ok(Exit::Passed)
}

fn shown(answer: &Answer, words: &[String]) -> String {
    let (Some(run_id), Some(age_s)) = (&answer.last_run, answer.last_age_s) else {
        return format!(
            "{} was never built in this checkout, as far as the cache knows",
            answer.service
        );
    };
    let since = format!("its last build ({} ago, run {run_id})", age(age_s));
    if answer.differences.is_empty() {
        return format!(
            "nothing differs from {since}: {} is not built again",
            answer.service
        );
    }
    let mut lines = vec![format!("{} differs from {since}:", answer.service)];
    lines.extend(
        answer
            .differences
            .iter()
            .take(NAMED)
            .map(|difference| format!("  {difference}")),
    );
    if answer.differences.len() > NAMED {
        lines.push(format!("  and {} more", answer.differences.len() - NAMED));
    }
    if let Some(run_id) = &answer.proven_by {
        lines.push(format!("but run {run_id} built it from the very inputs of now: where that image stands, it is not built again"));
    }
    lines.extend(words.iter().cloned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(differences: usize) -> Answer {
        Answer {
            service: "frontend".into(),
            key: "ab".into(),
            last_run: Some("20261121-101500-abcd".into()),
            last_age_s: Some(240),
            last_digest: Some("sha256:1f".into()),
            differences: (0..differences)
                .map(|n| format!("services/frontend/src/{n}.rs changed"))
                .collect(),
            proven_by: None,
        }
    }

    #[test]
    fn an_answer_says_since_when_and_what() {
        insta::assert_snapshot!(shown(&answer(0), &[]), @"nothing differs from its last build (4 min ago, run 20261121-101500-abcd): frontend is not built again");
        insta::assert_snapshot!(shown(&answer(2), &[]), @r"
        frontend differs from its last build (4 min ago, run 20261121-101500-abcd):
          services/frontend/src/0.rs changed
          services/frontend/src/1.rs changed
        ");
        assert!(shown(&answer(15), &[]).ends_with("and 3 more"));
        let back = Answer {
            proven_by: Some("20261120-x".into()),
            ..answer(1)
        };
        assert!(shown(&back, &[]).ends_with("it is not built again"));
        let never = Answer {
            last_run: None,
            ..answer(0)
        };
        assert!(shown(&never, &[]).contains("never built"));
    }
}
