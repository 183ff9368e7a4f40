//! The lines of a journal: what was done, in the words that `--resume` and `--undo` go by.

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub at: jiff::Timestamp,
    pub run_id: String,
    #[serde(flatten)]
    pub step: Step,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// The first one.
    Opened {
        version: u32,
        release: String,
        snapshot: bool,
        commit: String,
        /// What tags pointed to before the same images were released under the same version by an earlier journal.
        inherited: Vec<Former>,
    },
    /// The plan holds, and everything that it pushes lies in the folder. From here on the release can be resumed.
    Staged {
        plan: Box<crate::release::plan::ReleasePlan>,
    },
    /// A statement hangs at its subject already, and is sound.
    Kept(Statement),
    /// A statement is signed; the bundle's hash.
    Signed {
        of: Statement,
        sha256: String,
    },
    /// The same signature as cosign 2 looks for it.
    SignedClassic {
        of: Statement,
        sha256: String,
    },
    /// The repository has the image by its digests.
    Pushed {
        image: String,
        sent: Sent,
    },
    /// All statements about a digest hang at it.
    Attached {
        image: String,
        subject: String,
    },
    /// The registry gives back what was tested.
    ReadBack {
        image: String,
    },
    /// What all tags pointed to before any of them moved.
    Remembered {
        tags: Vec<Former>,
    },
    Claimed {
        image: String,
    },
    /// Tags begin to move: the step that users see.
    Moving,
    Moved(Tag),
    /// A tag points to what it pointed to before.
    PutBack(Tag),
    Done,
    Undoing,
    /// Tags that this registry could not take away, and those of which nobody remembers what they pointed to.
    Undone {
        stayed: Vec<Tag>,
        #[serde(default)]
        forgotten: Vec<Tag>,
    },
}

/// A statement: about which manifest of which image, of which kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Statement {
    pub image: String,
    pub subject: String,
    pub kind: crate::attest::Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag {
    pub image: String,
    pub tag: String,
}

/// What a tag pointed to; `None` where it was not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    #[serde(flatten)]
    pub of: Tag,
    pub manifest: Option<FormerManifest>,
}

/// A manifest as exact text, so that it can be put under its tag again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerManifest {
    pub digest: String,
    pub media_type: String,
    pub text: String,
}

/// What it took to push an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Blobs that were there.
    pub there: usize,
    /// That another repository lent.
    pub mounted: usize,
    pub uploaded: usize,
    /// Of the uploaded ones.
    pub bytes: u64,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.there += other.there;
        self.mounted += other.mounted;
        self.uploaded += other.uploaded;
        self.bytes += other.bytes;
    }
}
