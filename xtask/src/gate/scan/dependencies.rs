//! What a scan's judgement needs to know of the crates beside Trivy's report: who pulls them in, their licences,
//! whether the registry took them back. Read once a run, shared by all images.

use anyhow::Result;
use tokio::sync::OnceCell;

use super::layers::Layers;
use super::licences::Licences;
use super::look::Seen;
use super::origin::Origins;
use super::policy::{Disclosed, Policy};
use super::since::{self, Since};
use super::yanked::{self, Answers};
use crate::catalogue::{Catalogue, Service};
use crate::context::Context;
use crate::graph::Graph;
use crate::plan::ImagePlan;
use crate::verdict::Check;

#[derive(Debug, Default)]
pub struct Dependencies {
    graph: Graph,
    licences: Licences,
    answers: OnceCell<Option<Answers>>,
    since: OnceCell<Option<Since>>,
}

impl Dependencies {
    /// # Errors
    /// Exit 2: see [`Licences::read`].
    pub fn read(context: &Context, catalogue: &Catalogue) -> Result<Self> {
        Ok(Dependencies {
            graph: catalogue.graph.clone(),
            licences: Licences::read(&context.root, catalogue)?,
            ..Dependencies::default()
        })
    }

    /// Judges what needs no scanner. The first image's judgement asks the registry for all.
    pub async fn judge(&self, context: &Context, service: &Service, policy: &Policy) -> Vec<Check> {
        let answers = self.answers.get_or_init(|| yanked::ask(context)).await.as_ref();
        vec![
            self.licences.judge(service, &self.graph),
            yanked::judge(service, &self.graph, answers, policy.yanked),
        ]
    }

    /// The same of an image that is out: it is compared with what its release knew, not with the history.
    pub fn origins_of<'a>(&'a self, service: &'a Service, layers: &'a Layers) -> Origins<'a> {
        Origins {
            service,
            graph: &self.graph,
            layers,
            since: None,
            before: None,
            same_base: None,
            policy: Disclosed::Fail,
            strict: true,
        }
    }

    /// What is known of where an image's findings come from. Git is asked where there are any.
    pub async fn origins<'a>(
        &'a self,
        context: &Context,
        plan: &'a ImagePlan,
        policy: &Policy,
        seen: &'a Seen,
    ) -> Origins<'a> {
        let service = &plan.service;
        let mut since = None;
        let mut same_base = None;
        if seen.report.vulnerabilities().next().is_some() {
            since = self.since.get_or_init(|| since::find(context)).await.as_ref();
        }
        if let (Some(since), Ok(now)) = (
            since,
            std::fs::read_to_string(context.root.join(service.dockerfile())),
        ) {
            same_base = since.same_base(context, plan, &now).await;
        }
        Origins {
            service,
            graph: &self.graph,
            layers: &seen.layers,
            since,
            before: since.map(|since| since.crates(&service.name)),
            same_base,
            policy: policy.disclosed,
            strict: context.options.strict,
        }
    }
}
