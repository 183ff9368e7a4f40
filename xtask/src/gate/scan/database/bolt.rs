//! Whether a file is a whole bbolt database (format version 2), page by page. bbolt checks nothing but its two meta
//! pages when it opens a file, and the scanner asks only for the crates that an image has.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Result as IoResult;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const HEADER: usize = 16;
const ELEMENT: usize = 16;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const IS_BUCKET: u32 = 1;

/// More would be a cycle, not a tree.
const DEEPEST: usize = 32;

/// The buckets of advisories for Rust crates, one a source.
const CRATES: &[u8] = b"cargo::";

/// How many crates the database has advisories for; why it is damaged where it is.
///
/// # Errors
/// The file cannot be read.
pub fn crates(file: &Path) -> IoResult<Result<usize, String>> {
    let file = File::open(file)?;
    let length = file.metadata()?.len();
    Ok(Walk::begin(&file, length).and_then(|(mut walk, root)| {
        walk.bucket(root, 0, true)?;
        Ok(walk.crates)
    }))
}

struct Walk<'f> {
    file: &'f File,
    page_size: usize,
    /// How many pages there are.
    pages: u64,
    seen: BTreeSet<u64>,
    crates: usize,
}

/// A meta page's words.
struct Meta {
    page_size: usize,
    root: u64,
    pages: u64,
    transaction: u64,
}

impl<'f> Walk<'f> {
    /// The walk, and the page of the root bucket.
    fn begin(file: &'f File, length: u64) -> Result<(Self, u64), String> {
        let meta = meta(file).ok_or("no database, or one whose beginning is damaged")?;
        let whole = meta.pages.saturating_mul(meta.page_size as u64);
        if length < whole {
            return Err(format!("cut off: {length} of {whole} bytes"));
        }
        let walk = Walk {
            file,
            page_size: meta.page_size,
            pages: meta.pages,
            seen: BTreeSet::new(),
            crates: 0,
        };
        Ok((walk, meta.root))
    }

    /// Walks a bucket from the page of its root; the number of its keys. `top`: of the bucket that holds all others.
    fn bucket(&mut self, page: u64, depth: usize, top: bool) -> Result<usize, String> {
        let broken = |why: &str| format!("page {page} is damaged: {why}");
        if depth > DEEPEST || !self.seen.insert(page) {
            return Err(broken("it stands in two places"));
        }
        let bytes = self.page(page)?;
        if u64_at(&bytes, 0) != Some(page) {
            return Err(broken("it is another one"));
        }
        self.elements(&bytes, depth, top).map_err(|why| {
            if why.starts_with("page ") {
                why
            } else {
                broken(&why)
            }
        })
    }

    fn page(&self, page: u64) -> Result<Vec<u8>, String> {
        let read = |count: u64| {
            let end = page.checked_add(count).filter(|end| *end <= self.pages);
            end.ok_or(format!("page {page} is damaged: it lies outside the file"))?;
            let mut bytes = vec![0; count as usize * self.page_size];
            let read = self.file.read_exact_at(&mut bytes, page * self.page_size as u64);
            read.map_err(|error| format!("page {page} cannot be read: {error}"))?;
            Ok(bytes)
        };
        let first: Vec<u8> = read(1)?;
        match u32_at(&first, 12).unwrap_or_default() {
            0 => Ok(first),
            overflow => read(u64::from(overflow) + 1),
        }
    }

    /// The keys of one page, those of the pages below it, and the buckets in it.
    fn elements(&mut self, page: &[u8], depth: usize, top: bool) -> Result<usize, String> {
        let (Some(kind), Some(count)) = (u16_at(page, 8), u16_at(page, 10)) else {
            return Err("it has no header".to_owned());
        };
        let mut keys = 0;
        let mut last: Option<&[u8]> = None;
        for index in 0..usize::from(count) {
            let at = HEADER + index * ELEMENT;
            let (key, next) = match kind {
                LEAF => leaf(page, at).map(|(key, flags, value)| (key, Next::of(flags, value))),
                BRANCH => branch(page, at).map(|(key, below)| (key, Next::Page(below))),
                other => return Err(format!("kind {other}")),
            }
            .ok_or("an entry lies outside of it")?;
            if last.is_some_and(|last| last >= key) {
                return Err("its keys are in no order".to_owned());
            }
            last = Some(key);
            keys += match next {
                Next::Value => 1,
                Next::Page(below) => self.bucket(below, depth + 1, top)?,
                Next::Bucket(value) => {
                    let inside = self.inner(value, depth + 1)?;
                    if top && key.starts_with(CRATES) {
                        self.crates += inside;
                    }
                    1
                }
            };
        }
        Ok(keys)
    }

    /// A bucket in a bucket: on a page of its own, or, where it is small, in place.
    fn inner(&mut self, value: &[u8], depth: usize) -> Result<usize, String> {
        match u64_at(value, 0).ok_or("a bucket has no root")? {
            0 if depth > DEEPEST => Err("buckets without end".to_owned()),
            0 => self.elements(value.get(16..).unwrap_or_default(), depth, false),
            page => self.bucket(page, depth, false),
        }
    }
}

/// What an entry leads to.
enum Next<'p> {
    Value,
    Bucket(&'p [u8]),
    Page(u64),
}

impl<'p> Next<'p> {
    fn of(flags: u32, value: &'p [u8]) -> Self {
        match flags & IS_BUCKET {
            0 => Next::Value,
            _ => Next::Bucket(value),
        }
    }
}

/// The newer of the two meta pages that are whole.
fn meta(file: &File) -> Option<Meta> {
    let first = meta_at(file, 0);
    // Where the first is damaged, the second lies a page further, of a size that only itself says.
    let sizes = [4096, 8192, 16384, 65536, 1024, 2048, 32768];
    let second = match &first {
        Some(meta) => meta_at(file, meta.page_size as u64),
        None => sizes.into_iter().find_map(|size| meta_at(file, size)),
    };
    first
        .into_iter()
        .chain(second)
        .max_by_key(|meta| meta.transaction)
}

fn meta_at(file: &File, at: u64) -> Option<Meta> {
    let mut page = [0; 80];
    file.read_exact_at(&mut page, at).ok()?;
    let body = &page[HEADER..];
    let checksum = body[..56].iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let page_size = u32_at(body, 8)? as usize;
    let whole = u32_at(body, 0)? == MAGIC && u32_at(body, 4)? == VERSION && u64_at(body, 56)? == checksum;
    (whole && page_size.is_power_of_two() && (1024..=65536).contains(&page_size)).then_some(Meta {
        page_size,
        root: u64_at(body, 16)?,
        pages: u64_at(body, 40)?,
        transaction: u64_at(body, 48)?,
    })
}

/// A leaf's entry: key, flags, value.
fn leaf(page: &[u8], at: usize) -> Option<(&[u8], u32, &[u8])> {
    let flags = u32_at(page, at)?;
    let start = at.checked_add(u32_at(page, at + 4)? as usize)?;
    let middle = start.checked_add(u32_at(page, at + 8)? as usize)?;
    let end = middle.checked_add(u32_at(page, at + 12)? as usize)?;
    Some((page.get(start..middle)?, flags, page.get(middle..end)?))
}

/// A branch's entry: the first key below, and its page.
fn branch(page: &[u8], at: usize) -> Option<(&[u8], u64)> {
    let start = at.checked_add(u32_at(page, at)? as usize)?;
    let end = start.checked_add(u32_at(page, at + 4)? as usize)?;
    Some((page.get(start..end)?, u64_at(page, at + 8)?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &[u8] = include_bytes!("../../../selftest/database/trivy.db");
    const PAGE: usize = 4096;

    fn walked(bytes: &[u8]) -> Result<usize, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        crates(file.path()).unwrap()
    }

    fn changed(change: impl Fn(&mut Vec<u8>)) -> Result<usize, String> {
        let mut bytes = TINY.to_vec();
        change(&mut bytes);
        walked(&bytes)
    }

    #[test]
    fn a_whole_database_says_how_many_crates_it_knows() {
        assert_eq!(walked(TINY), Ok(4));
        assert_eq!(
            changed(|bytes| bytes[20] ^= 1),
            Ok(4),
            "the second meta page is whole"
        );
    }

    #[test]
    fn it_is_told_how_one_is_damaged() {
        let no_database = changed(|bytes| bytes[..2 * PAGE].fill(0)).unwrap_err();
        assert!(no_database.contains("beginning is damaged"), "{no_database}");
        let cut = walked(&TINY[..TINY.len() - 1]).unwrap_err();
        assert!(cut.starts_with("cut off: "), "{cut}");
        let zeroed = changed(|bytes| bytes[4 * PAGE..5 * PAGE].fill(0)).unwrap_err();
        assert_eq!(zeroed, "page 4 is damaged: it is another one");
        let elsewhere = changed(|bytes| bytes[5 * PAGE + HEADER + 7] = 0xff).unwrap_err();
        assert!(elsewhere.starts_with("page 5 is damaged"), "{elsewhere}");
    }

    /// Whatever a byte says: an answer, and never more crates than there are.
    #[test]
    fn no_byte_can_make_it_panic() {
        for at in (0..TINY.len()).step_by(61) {
            for flip in [0xff, 0x01] {
                let found = changed(|bytes| bytes[at] ^= flip);
                assert!(
                    found.as_ref().map_or(true, |found| *found <= 4),
                    "{at}: {found:?}"
                );
            }
        }
    }
}
