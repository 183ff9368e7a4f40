//! Which commits lie between the runs before and after a jump, in git's words where it still knows them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::jump::Jump;
use super::series::{Point, Series};
use crate::context::Context;
use crate::history::Entry;
use crate::process;
use crate::tool::git;

/// So many pairs of commits are looked up in git: it is a program to start for each.
const LOOKED_UP: usize = 50;

/// So much of a commit's subject is shown.
const SUBJECT: usize = 60;

/// A jump of a series, and where it came from.
#[derive(Debug, Clone)]
pub struct Named<'a> {
    /// Place of its series among all.
    pub series: usize,
    pub jump: Jump,
    /// The first run after it.
    pub run: &'a Entry,
    pub place: Place,
}

/// Between which commits a jump lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The last commit known before it.
    pub good: Option<String>,
    /// The first known after it.
    pub bad: Option<String>,
    /// How many commits it may be, where git knows.
    pub commits: Option<usize>,
    /// `at 1a2b3c4 "subject"`, for a reader.
    pub words: String,
}

/// What git says of two commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Between {
    /// Commits of the good one alone, and of the bad one alone.
    left: usize,
    right: usize,
    /// The newest commit's, of the bad one where it has any.
    subject: String,
}

/// Every jump of some series, the latest first, each with its commits.
pub async fn name<'a>(context: &Context, runs: &'a [Entry], series: &[Series<'a>]) -> Vec<Named<'a>> {
    let mut found = Vec::new();
    for (index, series) in series.iter().enumerate() {
        for jump in series.jumps() {
            found.push((
                index,
                jump,
                last_before(runs, series, jump),
                series.points[jump.at].entry,
            ));
        }
    }
    found.sort_by_key(|(_, _, _, after)| std::cmp::Reverse(after.at));
    let mut known: BTreeMap<(String, String), Option<Between>> = BTreeMap::new();
    let mut named = Vec::new();
    for (series, jump, before, run) in found {
        let between = match pair(before, run) {
            Some(pair) if known.contains_key(&pair) => known[&pair].clone(),
            Some(pair) if known.len() < LOOKED_UP => {
                let between = ask(context, &pair.0, &pair.1).await;
                known.insert(pair, between.clone());
                between
            }
            _ => None,
        };
        let place = place(before, run, between.as_ref());
        named.push(Named {
            series,
            jump,
            run,
            place,
        });
    }
    named
}

/// The last run that is known to be before a jump: of an exact figure also one that saw the same image again.
fn last_before<'a>(runs: &'a [Entry], series: &Series<'a>, jump: Jump) -> &'a Entry {
    let (before, after): (Point, Point) = (series.points[jump.at - 1], series.points[jump.at]);
    let digest = |entry: &Entry| entry.images.get(&series.of)?.digest.clone();
    let same = |entry: &&Entry| digest(entry).is_some() && digest(entry) == digest(before.entry);
    let between = &runs[before.run..after.run];
    let last = between
        .iter()
        .rev()
        .find(same)
        .filter(|_| series.metric.is_exact());
    last.unwrap_or(before.entry)
}

/// The two commits, where they are two and look like some: what stands in the file may be anything.
fn pair(before: &Entry, after: &Entry) -> Option<(String, String)> {
    let id = |entry: &Entry| {
        let id = entry.commit.as_ref()?.id.clone();
        let is_id = (7..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then_some(id)
    };
    let (good, bad) = (id(before)?, id(after)?);
    (good != bad).then_some((good, bad))
}

async fn ask(context: &Context, good: &str, bad: &str) -> Option<Between> {
    let output = process::run(context, &git::between(&context.root, good, bad))
        .await
        .ok()?;
    if !output.success() {
        return None;
    }
    let commits = git::parse_between(&output.stdout);
    let of = |side| commits.iter().filter(move |commit| commit.0 == side);
    let newest = of('>').next().or_else(|| of('<').next())?;
    Some(Between {
        left: of('<').count(),
        right: of('>').count(),
        subject: newest.1.clone(),
    })
}

fn place(before: &Entry, after: &Entry, between: Option<&Between>) -> Place {
    let id = |entry: &Entry| entry.commit.as_ref().map(|commit| commit.id.clone());
    let dirty = |entry: &Entry| entry.commit.as_ref().is_some_and(|commit| commit.dirty);
    let (good, bad) = (id(before), id(after));
    let mut words = match (&good, &bad) {
        (Some(good), Some(bad)) if good == bad && !dirty(before) && !dirty(after) => {
            format!("not by a commit: {} before and after", short(bad))
        }
        (Some(good), Some(bad)) if good == bad => format!("at {}", short(bad)),
        (Some(good), Some(bad)) => range(&short(good), &short(bad), between),
        (_, Some(bad)) => format!("at {} or before: git was not there", short(bad)),
        (_, None) => "at an unknown commit: git was not there".to_owned(),
    };
    match (dirty(before), dirty(after)) {
        (_, true) => words.push_str(", with uncommitted changes"),
        (true, false) => words.push_str(", after uncommitted changes"),
        (false, false) => {}
    }
    Place {
        commits: between.map(|between| between.left + between.right),
        good,
        bad,
        words,
    }
}

fn range(good: &str, bad: &str, between: Option<&Between>) -> String {
    let Some(between) = between else {
        return format!("in {good}..{bad}, which git no longer knows");
    };
    let subject = subject(&between.subject);
    match (between.left, between.right) {
        (0, 1) => format!("at {bad} \"{subject}\""),
        (0, count) => format!("in {good}..{bad}, {count} commits up to \"{subject}\""),
        (_, 0) => format!("going back from {good} to {bad}, without \"{subject}\""),
        (left, right) => {
            let count = left + right;
            format!("in {good}...{bad}, two branches {count} commits apart, to \"{subject}\"")
        }
    }
}

fn short(id: &str) -> String {
    super::printable(&id.chars().take(7).collect::<String>())
}

fn subject(text: &str) -> String {
    let text = super::printable(text);
    if text.chars().count() <= SUBJECT {
        return text;
    }
    text.chars().take(SUBJECT - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Figures;
    use crate::history::tests::runs;
    use crate::trend::metric::Metric;

    fn words(change: impl FnOnce(&mut [Entry]), between: Option<(usize, usize, &str)>) -> String {
        let mut runs = runs(2);
        change(&mut runs);
        let between = between.map(|(left, right, subject)| Between {
            left,
            right,
            subject: subject.to_owned(),
        });
        place(&runs[0], &runs[1], between.as_ref()).words
    }

    #[test]
    fn a_place_says_what_is_known_of_it() {
        let ids = |runs: &mut [Entry]| {
            for (run, letter) in runs.iter_mut().zip(["a", "b"]) {
                run.commit.as_mut().unwrap().id = letter.repeat(40);
            }
        };
        let one = words(ids, Some((0, 1, "Grow\u{1b}[31m")));
        assert_eq!(one, "at bbbbbbb \"Grow\u{fffd}[31m\"");
        let several = words(ids, Some((0, 3, "Grow")));
        assert_eq!(several, "in aaaaaaa..bbbbbbb, 3 commits up to \"Grow\"");
        let back = words(ids, Some((2, 0, "Grow")));
        assert_eq!(back, "going back from aaaaaaa to bbbbbbb, without \"Grow\"");
        let lost = words(ids, None);
        assert_eq!(lost, "in aaaaaaa..bbbbbbb, which git no longer knows");
        let apart = words(ids, Some((1, 2, &"x".repeat(90))));
        assert!(
            apart.contains("two branches 3 commits apart") && apart.ends_with("xx…\""),
            "{apart}"
        );
        let dirty = words(|runs| runs[1].commit.as_mut().unwrap().dirty = true, None);
        assert!(dirty.ends_with(", with uncommitted changes"), "{dirty}");
        let same = words(|runs| runs[1].commit = runs[0].commit.clone(), None);
        assert_eq!(same, "not by a commit: 0000000 before and after");
        assert!(words(|runs| runs[1].commit = None, None).starts_with("at an unknown commit"));
        assert!(words(|runs| runs[0].commit = None, None).starts_with("at 0000001 or before"));
    }

    #[test]
    fn a_run_that_saw_the_same_image_again_narrows_the_range() {
        let mut runs = runs(3);
        for (run, (digest, bytes)) in
            runs.iter_mut()
                .zip([("a", Some(1)), ("a", None), ("b", Some(9_000_000))])
        {
            let figures = Figures {
                digest: Some(digest.into()),
                unpacked_bytes: bytes,
                ..Figures::default()
            };
            run.images.insert("frontend".into(), figures);
        }
        let series = Series::of_image(&runs, Metric::Unpacked, "frontend").unwrap();
        let jumps = series.jumps();
        assert_eq!(jumps.len(), 1);
        assert_eq!(last_before(&runs, &series, jumps[0]).run_id, runs[1].run_id);
    }

    #[test]
    fn what_is_no_commit_is_never_asked_about() {
        let mut runs = runs(2);
        runs[1].commit.as_mut().unwrap().id = "--output=/etc/passwd".into();
        assert_eq!(pair(&runs[0], &runs[1]), None);
    }
}
