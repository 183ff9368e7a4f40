//! How far a release has come, by the lines of its journal alone. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::journal::{Former, Line, Sent, Statement, Step, Tag};
use super::plan::ReleasePlan;

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// By which run, and when it began.
    pub opened: Option<(String, jiff::Timestamp)>,
    pub commit: String,
    pub snapshot: bool,
    pub inherited: Vec<Former>,
    pub plan: Option<ReleasePlan>,
    pub kept: BTreeSet<Statement>,
    /// With the hash of the bundle.
    pub signed: BTreeMap<Statement, String>,
    pub classic: BTreeMap<Statement, String>,
    /// By image.
    pub pushed: BTreeMap<String, Sent>,
    /// Image and subject.
    pub attached: BTreeSet<(String, String)>,
    pub read_back: BTreeSet<String>,
    /// What tags pointed to before any of them moved.
    pub former: Option<Vec<Former>>,
    pub claimed: BTreeSet<String>,
    pub moved: BTreeSet<Tag>,
    pub phase: Phase,
    /// Tags that could not be taken away when it was undone.
    pub stayed: Vec<Tag>,
    /// Tags that still point to it: what they pointed to before, nobody remembers.
    pub forgotten: Vec<Tag>,
}

/// In order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing was sent: there is nothing to resume.
    #[default]
    Opened,
    Staged,
    /// Users may see a part of it.
    Moving,
    Done,
    Undoing,
    Undone,
}

impl Phase {
    pub fn words(self) -> &'static str {
        match self {
            Phase::Opened => "nothing was sent yet",
            Phase::Staged => "unfinished, no tag has moved",
            Phase::Moving => "unfinished, tags were moving",
            Phase::Done => "done",
            Phase::Undoing => "being undone",
            Phase::Undone => "undone",
        }
    }

    /// A release that was interrupted.
    pub fn is_unfinished(self) -> bool {
        matches!(self, Phase::Staged | Phase::Moving)
    }
}

impl State {
    pub fn of(lines: &[Line]) -> Self {
        let mut state = State::default();
        lines.iter().for_each(|line| state.take(line));
        state
    }

    pub fn take(&mut self, line: &Line) {
        match line.step.clone() {
            Step::Opened {
                snapshot,
                commit,
                inherited,
                ..
            } => {
                self.opened = Some((line.run_id.clone(), line.at));
                (self.snapshot, self.commit, self.inherited) = (snapshot, commit, inherited);
            }
            Step::Staged { plan } => {
                self.plan = Some(*plan);
                self.phase = Phase::Staged;
            }
            Step::Kept(statement) => drop(self.kept.insert(statement)),
            Step::Signed { of, sha256 } => drop(self.signed.insert(of, sha256)),
            Step::SignedClassic { of, sha256 } => drop(self.classic.insert(of, sha256)),
            Step::Pushed { image, sent } => drop(self.pushed.insert(image, sent)),
            Step::Attached { image, subject } => drop(self.attached.insert((image, subject))),
            Step::ReadBack { image } => drop(self.read_back.insert(image)),
            Step::Remembered { tags } => self.former = Some(tags),
            Step::Claimed { image } => drop(self.claimed.insert(image)),
            Step::Moving => self.phase = Phase::Moving,
            Step::Moved(tag) => drop(self.moved.insert(tag)),
            Step::PutBack(tag) => drop(self.moved.remove(&tag)),
            Step::Done => self.phase = Phase::Done,
            Step::Undoing => self.phase = Phase::Undoing,
            Step::Undone { stayed, forgotten } => {
                (self.phase, self.stayed, self.forgotten) = (Phase::Undone, stayed, forgotten);
            }
        }
    }

    /// What it took to push all images.
    pub fn sent(&self) -> Sent {
        self.pushed.values().fold(Sent::default(), |mut all, sent| {
            all += *sent;
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(steps: &[Step]) -> State {
        let line = |step: &Step| Line {
            at: jiff::Timestamp::UNIX_EPOCH,
            run_id: "run".to_owned(),
            step: step.clone(),
        };
        State::of(&steps.iter().map(line).collect::<Vec<_>>())
    }

    fn tag(tag: &str) -> Tag {
        Tag {
            image: "a".to_owned(),
            tag: tag.to_owned(),
        }
    }

    #[test]
    fn a_tag_that_was_put_back_has_not_moved() {
        let moved = [Step::Moving, Step::Moved(tag("1")), Step::Moved(tag("latest"))];
        let state = after(&moved);
        assert!(state.phase.is_unfinished() && state.moved.len() == 2);
        let state = after(&[&moved[..], &[Step::PutBack(tag("1"))]].concat());
        assert_eq!(
            (state.moved, state.phase),
            ([tag("latest")].into(), Phase::Moving)
        );
    }

    #[test]
    fn what_is_done_or_undone_is_not_to_be_resumed() {
        for (step, phase) in [
            (Step::Done, Phase::Done),
            (Step::Undoing, Phase::Undoing),
            (
                Step::Undone {
                    stayed: vec![tag("1")],
                    forgotten: Vec::new(),
                },
                Phase::Undone,
            ),
        ] {
            let state = after(&[Step::Moving, step]);
            assert_eq!(state.phase, phase);
            assert!(!phase.is_unfinished());
        }
        assert!(!after(&[]).phase.is_unfinished(), "nothing was sent");
    }

    #[test]
    fn what_was_sent_is_added_up() {
        let pushed = |image: &str, uploaded, bytes| Step::Pushed {
            image: image.to_owned(),
            sent: Sent {
                uploaded,
                bytes,
                ..Sent::default()
            },
        };
        let sent = after(&[pushed("a", 2, 10), pushed("b", 1, 5)]).sent();
        assert_eq!((sent.uploaded, sent.bytes), (3, 15));
    }
}
