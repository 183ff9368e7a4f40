//! `rescan`: what the world has found out since about images that are out. Each published image is fetched, scanned
//! with today's database, and judged against what its release knew. Nothing is built, pushed or opened.

mod fetch;
mod known;

use std::sync::Arc;

use anyhow::Result;
use futures_util::{StreamExt, stream};

use crate::attest::Trust;
use crate::catalogue::Service;
use crate::cli::RescanOptions;
use crate::context::Context;
use crate::engine::Lease;
use crate::event::Event;
use crate::exit::{Exit, Failure};
use crate::gate::scan::published::{self, Published};
use crate::gate::{self, scan};
use crate::pipeline::{self, Said};
use crate::planning;
use crate::registry::{Client, Repository};
use crate::release::settings::Settings;
use crate::release::tags;
use crate::setup;
use crate::verdict::{Gate, Outcome, Record};

/// The check, of an image for one platform.
const CHECK: &str = "new findings";

/// Each fetches an image and starts a scanner.
const SIDE_BY_SIDE: usize = 2;

/// # Errors
/// Only where the run's folder cannot be made: whatever else is wrong is reported.
pub async fn run(context: &Context, options: &RescanOptions) -> Result<Exit> {
    context.create_run_dir()?;
    context.begin("rescan");
    let mut said = Said::default();
    let ended = steps(context, options, &mut said).await;
    pipeline::finish(context, "rescan", said, ended).await
}

async fn steps(context: &Context, options: &RescanOptions, said: &mut Said) -> Result<()> {
    let planning = context.board.step("planning");
    let catalogue = planning::read_catalogue(context).await?;
    let services = catalogue.select(&context.options.services)?;
    let policies = scan::Settings::read(context, &catalogue)?;
    let settings = Settings::read(context, options.registry.as_deref()).await?;
    drop(planning);
    setup::scanner_alone(context).await?;
    let scanner = scan::Scanner::new(context, &policies)?;
    let rescan = Rescan {
        context,
        scanner: &scanner,
        client: Client::new(context, &settings.host)?,
        settings: &settings,
        tag: &options.tag,
    };
    context.board.tell(Event::Planned {
        services: services.iter().map(|service| service.name.clone()).collect(),
        gates: vec![Gate::Scan],
    });
    if settings.trust.is_none() {
        let words = "nobody is trusted (docker/policy/release.toml), so what a release knew counts for nothing: \
                     everything that fails reads as new";
        context.board.note(words);
        said.notes.push(words.to_owned());
    }
    // What is fetched goes with the run, however it ends.
    let lease = Lease::take(&Lease::dir(), &context.run_id, context.estate(None))?;
    let mut judged = stream::iter(services)
        .map(|service| rescan.judged(service))
        .buffer_unordered(SIDE_BY_SIDE);
    while let Some(record) = judged.next().await {
        context.board.judged(&record);
        said.records.push(record);
    }
    said.records.sort_by(|one, other| one.service.cmp(&other.service));
    lease.end();
    looked_at_something(&said.records, &settings, &options.tag)
}

/// # Errors
/// Exit 3: no image was there to be looked at. Nothing found in nothing is no news.
fn looked_at_something(records: &[Record], settings: &Settings, tag: &str) -> Result<()> {
    if records.iter().any(|record| record.outcome != Outcome::Skipped) {
        return Ok(());
    }
    let what = format!(
        "no image was looked at: none is published as {}",
        settings.repository(&format!("*:{tag}"))
    );
    let hint = "correct --tag or --registry, or release first";
    Err(Failure::undecided(format!("{}: {what}", settings.host), hint).into())
}

/// What all images share.
struct Rescan<'a> {
    context: &'a Context,
    scanner: &'a scan::Scanner,
    client: Arc<Client>,
    settings: &'a Settings,
    tag: &'a str,
}

impl Rescan<'_> {
    async fn judged(&self, service: Service) -> Record {
        let look = self.look(&service);
        gate::judged(self.context, &service.name, Gate::Scan, || None, look).await
    }

    /// Each platform of the image that the tag points to, one after the other.
    async fn look(&self, service: &Service) -> Result<Record> {
        let repository = self.client.repository(&self.settings.repository(&service.image));
        let shown = format!("{}:{}", repository.shown(), self.tag);
        let Some(top) = repository.manifest(self.tag).await? else {
            return self.without(service, &repository, &shown).await;
        };
        let images = fetch::images(&repository, &top).await?;
        let (mut checks, mut findings) = (Vec::new(), Vec::new());
        for image in &images {
            let name = match &image.platform {
                Some(platform) if images.len() > 1 => format!("{CHECK} ({platform})"),
                _ => CHECK.to_owned(),
            };
            let folder = self.context.run_dir.join("images").join(&service.name);
            let layout = fetch::fetch(&repository, &image.raw, &folder).await?;
            let trust: Option<&Trust> = self.settings.trust.as_ref();
            let manifest = layout.blob(&image.raw.digest);
            let image = Published {
                service,
                digest: &image.raw.digest,
                layout: layout.folder(),
                known: known::by_release(self.context, trust, &repository, &manifest).await?,
            };
            let looked = published::again(self.context, self.scanner, &image, &name).await;
            let _ = std::fs::remove_dir_all(&folder);
            let (check, found) = looked?;
            checks.push(check);
            findings.extend(found);
        }
        let mut record =
            Record::from_checks(&service.name, Gate::Scan, checks, format!("{shown}: nothing new"));
        record.digest = Some(top.digest);
        if !findings.is_empty() {
            record = record.figure("findings", serde_json::json!(findings));
        }
        Ok(self.scanner.figures(record))
    }

    /// A service that was never released is left out; one that was, and not under this tag, could not be looked at.
    async fn without(&self, service: &Service, repository: &Repository, shown: &str) -> Result<Record> {
        let tags = repository.tags().await?;
        let released = tags::versions(tags.iter().map(String::as_str));
        Ok(match released.last() {
            None => Record::skipped(&service.name, Gate::Scan, format!("{shown} is not published")),
            Some(version) => Record::undecided(
                &service.name,
                Gate::Scan,
                format!("there is no {shown}, though {version} was released"),
                "see who took the tag away, or name another: --tag",
            ),
        })
    }
}
