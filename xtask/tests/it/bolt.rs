//! Writes a vulnerability database as Trivy reads it: a bbolt file, small enough for a leaf page a bucket. The
//! one that is committed is made by this; the format is bbolt's, version 2 (page.go, meta.go, bucket.go).
//! (The crate bbolt-rs begins its files with a magic number of its own, which Trivy does not read.)

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::checkout::repository;

const PAGE: usize = 4096;
const BUCKET: u32 = 1;

pub(crate) enum Entry {
    Value(Vec<u8>),
    Bucket(Bucket),
}

pub(crate) type Bucket = BTreeMap<String, Entry>;

/// An advisory for a crate. Without patched versions none is fixed.
pub(crate) struct Advisory {
    pub(crate) id: &'static str,
    pub(crate) package: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) patched: &'static [&'static str],
    pub(crate) title: &'static str,
}

/// The first is real; the others are what such a database seldom shows: low, without a fix, without a rating.
const COMMITTED: [Advisory; 4] = [
    Advisory {
        id: "CVE-2021-25900",
        package: "smallvec",
        severity: "CRITICAL",
        patched: &[">= 0.6.14, < 1.0.0", ">= 1.6.1"],
        title: "Buffer overflow in SmallVec::insert_many",
    },
    Advisory {
        id: "CVE-2099-0001",
        package: "horme-fixture-low",
        severity: "LOW",
        patched: &[">= 1.0.1"],
        title: "Invented: of low severity, fixed in 1.0.1",
    },
    Advisory {
        id: "CVE-2099-0002",
        package: "horme-fixture-unfixed",
        severity: "CRITICAL",
        patched: &[],
        title: "Invented: critical, and nobody has fixed it",
    },
    Advisory {
        id: "CVE-2099-0003",
        package: "horme-fixture-unrated",
        severity: "UNKNOWN",
        patched: &[">= 1.0.1"],
        title: "Invented: nobody has rated it, fixed in 1.0.1",
    },
];

/// The bytes of a database that knows these advisories, and nothing else.
pub(crate) fn database(advisories: &[Advisory]) -> Vec<u8> {
    const SOURCE: &str = "cargo::GitHub Security Advisory Rust";
    let mut crates = Bucket::new();
    let mut details = Bucket::new();
    for advisory in advisories {
        // An advisory without any range matches no version.
        let vulnerable: &[&str] = if advisory.patched.is_empty() {
            &[">= 0.0.0"]
        } else {
            &[]
        };
        let versions = json!({"PatchedVersions": advisory.patched, "UnaffectedVersions": [], "VulnerableVersions": vulnerable});
        let of_crate = crates
            .entry(advisory.package.to_owned())
            .or_insert_with(|| Entry::Bucket(Bucket::new()));
        if let Entry::Bucket(ids) = of_crate {
            ids.insert(advisory.id.to_owned(), value(&versions));
        }
        let words = json!({"Title": advisory.title, "Severity": advisory.severity});
        details.insert(advisory.id.to_owned(), value(&words));
    }
    let about = json!({"ID": "ghsa", "Name": "RustSec (converted)", "URL": "https://rustsec.org"});
    let sources = Bucket::from([(SOURCE.to_owned(), value(&about))]);
    file(&Bucket::from([
        (SOURCE.to_owned(), Entry::Bucket(crates)),
        ("data-source".to_owned(), Entry::Bucket(sources)),
        ("vulnerability".to_owned(), Entry::Bucket(details)),
    ]))
}

fn value(json: &Value) -> Entry {
    Entry::Value(json.to_string().into_bytes())
}

/// Two meta pages, an empty list of free pages, then a page (with overflow) for each bucket, the root's last.
fn file(root: &Bucket) -> Vec<u8> {
    let mut pages = vec![Vec::new(); 2];
    let mut free = header(2, 0x10, 0, 0);
    free.resize(PAGE, 0);
    pages.push(free);
    let root = write(root, &mut pages);
    let total = pages.len() as u64;
    for (number, page) in pages.iter_mut().enumerate().take(2) {
        *page = meta(number as u64, root, total);
    }
    pages.concat()
}

fn meta(number: u64, root: u64, total: u64) -> Vec<u8> {
    let mut body: Vec<u8> = [0xED0C_DAED_u32, 2, PAGE as u32, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    for word in [root, 0, 2, total, number] {
        body.extend(word.to_le_bytes());
    }
    let checksum = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    body.extend(checksum.to_le_bytes());
    let mut page = header(number, 0x04, 0, 0);
    page.extend(body);
    page.resize(PAGE, 0);
    page
}

fn header(number: u64, kind: u16, count: u16, overflow: u32) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(overflow.to_le_bytes());
    bytes
}

/// Writes a bucket and those in it to pages of their own; the number of its page.
fn write(bucket: &Bucket, pages: &mut Vec<Vec<u8>>) -> u64 {
    let entries: Vec<(u32, &str, Vec<u8>)> = bucket
        .iter()
        .map(|(key, entry)| match entry {
            Entry::Value(bytes) => (0, key.as_str(), bytes.clone()),
            Entry::Bucket(inner) => {
                let page = write(inner, pages);
                (BUCKET, key.as_str(), [page.to_le_bytes(), [0; 8]].concat())
            }
        })
        .collect();
    let (number, body) = (pages.len() as u64, leaf(&entries));
    let overflow = (16 + body.len()).div_ceil(PAGE) - 1;
    let mut page = header(number, 0x02, entries.len() as u16, overflow as u32);
    page.extend(body);
    page.resize(PAGE * (overflow + 1), 0);
    pages.extend(page.chunks(PAGE).map(<[u8]>::to_vec));
    number
}

/// The elements, each with its distance to key and value, then all keys and values.
fn leaf(entries: &[(u32, &str, Vec<u8>)]) -> Vec<u8> {
    let (mut elements, mut data) = (Vec::new(), Vec::new());
    for (index, (flags, key, value)) in entries.iter().enumerate() {
        let distance = (entries.len() - index) * 16 + data.len();
        for word in [*flags, distance as u32, key.len() as u32, value.len() as u32] {
            elements.extend(word.to_le_bytes());
        }
        data.extend(key.as_bytes());
        data.extend(value);
    }
    [elements, data].concat()
}

/// Puts a database into a Trivy cache folder, made so many days ago.
pub(crate) fn put(folder: &Path, bytes: &[u8], days_old: i64) {
    let made = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days_old);
    let about =
        json!({"Version": 2, "UpdatedAt": made, "NextUpdate": "2099-01-01T00:00:00Z", "DownloadedAt": made});
    std::fs::create_dir_all(folder.join("db")).unwrap();
    std::fs::write(folder.join("db/metadata.json"), about.to_string()).unwrap();
    std::fs::write(folder.join("db/trivy.db"), bytes).unwrap();
}

/// What is committed is what is written above; `HORME_ACCEPT=1` writes it anew.
#[test]
fn the_committed_database_is_made_of_what_stands_here() {
    let path = repository().join("xtask/src/selftest/database/trivy.db");
    let made = database(&COMMITTED);
    if std::env::var_os("HORME_ACCEPT").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert!(
        std::fs::read(&path).unwrap() == made,
        "{} is another one",
        path.display()
    );
}
