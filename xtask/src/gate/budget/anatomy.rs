//! Where an image's bytes are: its layers, folders and largest files, as the record's figures and the report tell
//! them. Data only.

use serde::{Deserialize, Serialize};

/// How many files, and how many wasted ones, are named one by one.
const NAMED: usize = 20;

/// An image by its parts. Sizes in bytes; places count layers from 0, base first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Anatomy {
    /// Of the uncompressed layers.
    pub unpacked_bytes: u64,
    /// Of the layer blobs.
    pub compressed_bytes: u64,
    pub layers: Vec<LayerPart>,
    /// By the first folder of the path, the largest first. Contents alone: a layer also has a header a file.
    pub folders: Vec<FolderPart>,
    /// The largest first.
    pub files: Vec<FilePart>,
    /// All that [`wasted`](Self::wasted) would name, were it not cut off.
    pub wasted_bytes: u64,
    /// The largest first.
    pub wasted: Vec<Wasted>,
    /// What the image starts, where that is a file in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<BinaryPart>,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerPart {
    pub digest: String,
    /// `base` or `ours`; `unknown` where the image's history does not tell the Dockerfile's own steps apart.
    pub from: String,
    /// The instruction, as the image's history has it; empty where it has none.
    pub created_by: String,
    pub unpacked_bytes: u64,
    pub compressed_bytes: u64,
}

/// A folder at the root, with all beneath it; `/` has the files of the root itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FolderPart {
    pub path: String,
    pub files_count: u64,
    pub size_bytes: u64,
}

/// A file that the image shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilePart {
    pub path: String,
    pub layer: usize,
    pub size_bytes: u64,
}

/// A file whose bytes serve nobody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wasted {
    pub path: String,
    pub layer: usize,
    pub size_bytes: u64,
    /// `removed by layer 2`, `overwritten by layer 2`, `the same content as /x`.
    pub why: String,
}

/// The binary that the image starts, by the crates that its code and data come from: their sizes, `other_bytes`
/// and `unattributed_bytes` add up to `size_bytes`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BinaryPart {
    pub path: String,
    pub size_bytes: u64,
    /// The largest first; empty where nothing tells whose code it is.
    pub crates: Vec<CratePart>,
    /// Of symbols that are not Rust's: C, assembly.
    pub other_bytes: u64,
    /// Of what has no symbol: constants, unwinding tables, relocations, headers.
    pub unattributed_bytes: u64,
    /// The same by section, the largest first; what is of none is left out.
    #[serde(default)]
    pub unattributed: Vec<SectionPart>,
    /// Why the crates are not told, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crates_absent: Option<String>,
}

/// A crate in the binary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CratePart {
    pub name: String,
    pub code_bytes: u64,
    pub data_bytes: u64,
}

/// What no symbol tells of a section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SectionPart {
    pub name: String,
    pub size_bytes: u64,
}

impl CratePart {
    pub(super) fn new(name: String) -> Self {
        CratePart {
            name,
            code_bytes: 0,
            data_bytes: 0,
        }
    }

    pub(super) fn bytes_of(&mut self, code: bool) -> &mut u64 {
        if code {
            &mut self.code_bytes
        } else {
            &mut self.data_bytes
        }
    }

    pub fn size_bytes(&self) -> u64 {
        self.code_bytes + self.data_bytes
    }
}

impl Anatomy {
    /// The anatomy in a record's figures; nothing where they are of another kind.
    pub fn of_figures(figures: &serde_json::Map<String, serde_json::Value>) -> Option<Self> {
        serde_json::from_value(serde_json::Value::Object(figures.clone())).ok()
    }

    /// Puts the largest first, and names the largest alone.
    pub(super) fn sorted(mut self) -> Self {
        self.folders
            .sort_by(|a, b| (b.size_bytes, &a.path).cmp(&(a.size_bytes, &b.path)));
        self.files
            .sort_by(|a, b| (b.size_bytes, &a.path).cmp(&(a.size_bytes, &b.path)));
        self.files.truncate(NAMED);
        self.wasted
            .sort_by(|a, b| (b.size_bytes, &a.path).cmp(&(a.size_bytes, &b.path)));
        self.wasted.truncate(NAMED);
        self
    }
}
