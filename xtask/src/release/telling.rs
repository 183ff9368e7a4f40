//! What a reader is told of a release: what was sent, what each image is called now; in the run's folder as
//! `release.json` and `release.md`.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Reached;
use super::journal::{Sent, Tag};
use super::plan::ImageRelease;
use super::put_back::Back;
use super::state::{Phase, State};
use super::work::Work;
use crate::cache::whole;
use crate::cli::ReleaseOptions;
use crate::context::Context;
use crate::exit::Exit;

/// `release.json`.
#[derive(Debug, Serialize)]
struct Told<'a> {
    version: &'a str,
    registry: String,
    commit: &'a str,
    done: bool,
    sent: Sent,
    signed: usize,
    /// Statements that hung there already.
    kept: usize,
    images: Vec<ToldImage<'a>>,
}

#[derive(Debug, Serialize)]
struct ToldImage<'a> {
    image: &'a str,
    repository: &'a str,
    digest: &'a str,
    sent: Sent,
    tags: Vec<ToldTag<'a>>,
}

#[derive(Debug, Serialize)]
struct ToldTag<'a> {
    tag: &'a str,
    from: Option<String>,
    /// What it points to now.
    to: Option<&'a str>,
}

/// Writes what a release came to into the run's folder, and tells it where it is done.
///
/// # Errors
/// The folder cannot be written.
pub fn write(work: &Work, done: bool) -> Result<()> {
    let state = work.journal.state();
    let told = told(work, &state, done);
    let markdown = markdown(&told);
    write_file(
        work.context,
        "release.json",
        &serde_json::to_string_pretty(&told)?,
    )?;
    write_file(work.context, "release.md", &markdown)?;
    if done {
        lines(&told).iter().for_each(|line| work.context.board.line(line));
    }
    Ok(())
}

/// The same of an undoing.
///
/// # Errors
/// The folder cannot be written.
pub fn write_undone(context: &Context, version: &str, back: &Back) -> Result<()> {
    let told = serde_json::json!({ "version": version, "undone": back });
    write_file(context, "release.json", &serde_json::to_string_pretty(&told)?)?;
    let words = format!("# {version} is taken back\n\n{}\n", back.words());
    write_file(context, "release.md", &words)
}

fn write_file(context: &Context, name: &str, text: &str) -> Result<()> {
    let path = context.run_dir.join(name);
    whole(&path, "new", text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn told<'a>(work: &'a Work, state: &State, done: bool) -> Told<'a> {
    let plan = &work.plan;
    Told {
        version: &plan.version,
        registry: [plan.host.as_str(), plan.owner.as_str()]
            .join("/")
            .trim_end_matches('/')
            .to_owned(),
        commit: &plan.commit,
        done,
        sent: state.sent(),
        signed: state.signed.len(),
        kept: state.kept.len(),
        images: plan.images.iter().map(|image| told_image(image, state)).collect(),
    }
}

fn told_image<'a>(image: &'a ImageRelease, state: &State) -> ToldImage<'a> {
    let former = |tag: &str| {
        let is_it = |of: &Tag| of.image == image.image && of.tag == tag;
        let mut all = state.former.iter().flatten();
        all.find(|former| is_it(&former.of))?
            .manifest
            .as_ref()
            .map(|manifest| manifest.digest.clone())
    };
    let tags = image.tags.iter().map(|to| {
        let tag = Tag {
            image: image.image.clone(),
            tag: to.tag.clone(),
        };
        ToldTag {
            tag: &to.tag,
            from: former(&to.tag),
            to: state.moved.contains(&tag).then_some(to.to.as_str()),
        }
    });
    ToldImage {
        image: &image.image,
        repository: &image.repository,
        digest: &image.digest,
        sent: state.pushed.get(&image.image).copied().unwrap_or_default(),
        tags: tags.collect(),
    }
}

/// For a person: an image a line, then what was sent.
fn lines(told: &Told) -> Vec<String> {
    let width = told
        .images
        .iter()
        .map(|image| image.image.len())
        .max()
        .unwrap_or_default();
    let image = |image: &ToldImage| {
        let tags: Vec<String> = image.tags.iter().map(ToldTag::short_words).collect();
        format!(
            "{:width$}  {}  {}",
            image.image,
            short(image.digest),
            tags.join(", ")
        )
    };
    let mut lines: Vec<String> = told.images.iter().map(image).collect();
    lines.push(sent(told));
    lines
}

fn sent(told: &Told) -> String {
    let Sent {
        there,
        mounted,
        uploaded,
        bytes,
    } = told.sent;
    let (signed, kept) = (told.signed, told.kept);
    format!(
        "blobs: {uploaded} uploaded ({:.2} MB), {mounted} mounted, {there} there; statements: {signed} signed, {kept} kept",
        bytes as f64 / 1e6
    )
}

fn markdown(told: &Told) -> String {
    let state = if told.done { "released" } else { "not done" };
    let mut text = format!(
        "# {} at {}: {state}\n\nCommit {}. {}\n\n| image | digest | tags |\n| --- | --- | --- |\n",
        told.version,
        told.registry,
        told.commit,
        sent(told)
    );
    for image in &told.images {
        let tags: Vec<String> = image.tags.iter().map(ToldTag::words).collect();
        text.push_str(&format!(
            "| {} | `{}` | {} |\n",
            image.image,
            image.digest,
            tags.join(", ")
        ));
    }
    text
}

impl ToldTag<'_> {
    /// Of a commit's tag, enough to tell it from others.
    fn short_words(&self) -> String {
        match self.tag.strip_prefix("sha-").and_then(|commit| commit.get(12..)) {
            Some(rest) => self.words().replacen(rest, "", 1),
            None => self.words(),
        }
    }

    fn words(&self) -> String {
        match (self.from.as_deref(), self.to) {
            (_, None) => format!("{} (not moved)", self.tag),
            (None, Some(_)) => format!("{} (new)", self.tag),
            (Some(from), Some(to)) if from == to => format!("{} (as it was)", self.tag),
            (Some(from), Some(_)) => format!("{} (was {})", self.tag, short(from)),
        }
    }
}

/// Enough of a digest to tell it from others.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

/// The last line of a release that is done.
pub fn done(work: &Work) -> String {
    let (plan, seconds) = (&work.plan, work.context.started.elapsed().as_secs_f64());
    let count = plan.images.len();
    format!(
        "release: {count} images are {} at {} after {seconds:.1} s",
        plan.version, plan.host
    )
}

/// The last line of one that is not. Whoever interrupted it must know whether users see a part of it.
pub fn not_done(options: &ReleaseOptions, exit: Exit, reached: Option<&Reached>) -> String {
    let is_cut_off = matches!(exit, Exit::Interrupted | Exit::Terminated);
    let what = match (&options.undo, reached) {
        (Some(version), _) if is_cut_off => {
            format!("interrupted: `cargo xtask release --undo {version}` takes back what is left")
        }
        (Some(_), _) => "not taken back".to_owned(),
        (None, Some(Reached { version, phase })) if is_cut_off && *phase == Phase::Moving => format!(
            "interrupted while tags were moving, some may point to {version} already: `cargo xtask release --resume` \
             moves the rest, `--undo {version}` puts them back"
        ),
        (None, Some(Reached { version, phase })) if is_cut_off && *phase == Phase::Staged => format!(
            "interrupted, no tag has moved: `cargo xtask release --resume` goes on, `--undo {version}` closes it"
        ),
        (None, _) => "not released".to_owned(),
    };
    format!("release: {what}; exit {}", exit.code())
}
