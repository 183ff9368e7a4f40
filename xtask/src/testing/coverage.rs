//! Coverage by line: out of what instrumented tests counted (`*.profraw`) and the parts of their programs that say
//! which lines the counters are of (`*.map`). Lines of test modules are set aside.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use llvm_profparser::{CoverageMapping, CoverageResult, SourceLocation, merge_profiles};
use serde::Serialize;

/// Where the services' crates lie: what stands before it in a path is the build's own folder.
const CRATES: &str = "services/";

/// How often each line was run, by file (from the root of the checkout) and line number.
#[derive(Debug, Default)]
pub(super) struct Coverage(BTreeMap<String, BTreeMap<usize, usize>>);

/// Lines that could be run, and those that were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Lines {
    pub(super) covered: usize,
    pub(super) all: usize,
}

impl Lines {
    fn add(&mut self, lines: &BTreeMap<usize, usize>) {
        self.all += lines.len();
        self.covered += lines.values().filter(|count| **count > 0).count();
    }

    /// `71.3 %`; `-` of nothing.
    pub(super) fn percent(self) -> String {
        match self.all {
            0 => "-".to_owned(),
            all => format!("{:.1} %", 100.0 * self.covered as f64 / all as f64),
        }
    }
}

impl Coverage {
    /// Reads what lies in `folder`; `root` holds the sources.
    ///
    /// # Errors
    /// Nothing was counted, or it is written down in a way that is not known here.
    pub(super) fn read(folder: &Path, root: &Path) -> Result<Self> {
        let (profiles, maps) = (files(folder, "profraw")?, files(folder, "map")?);
        anyhow::ensure!(
            !profiles.is_empty() && !maps.is_empty(),
            "{} counts and {} programs: nothing to tell it from",
            profiles.len(),
            maps.len()
        );
        let profile = merge_profiles(&profiles).context("the counts cannot be read")?;
        let mapping = CoverageMapping::new(&maps, &profile, false)?;
        let ours = |paths: &[PathBuf]| paths.iter().any(|path| inside(path).is_some());
        let report = mapping.generate_subreport(ours)?;
        let mut coverage = Coverage::default();
        for (path, result) in &report.files {
            let Some(path) = inside(path) else { continue };
            let Ok(text) = std::fs::read_to_string(root.join(&path)) else {
                continue;
            };
            let end = tests_begin(&text);
            let mut lines = by_line(result);
            lines.retain(|line, _| *line < end);
            let known = coverage.0.entry(path).or_default();
            for (line, count) in lines {
                let known = known.entry(line).or_default();
                *known = count.max(*known);
            }
        }
        Ok(coverage)
    }

    /// Crate -> lines.
    pub(super) fn by_crate(&self) -> BTreeMap<String, Lines> {
        let mut crates: BTreeMap<String, Lines> = BTreeMap::new();
        for (path, lines) in &self.0 {
            let name = path.trim_start_matches(CRATES).split('/').next();
            crates
                .entry(name.unwrap_or_default().to_owned())
                .or_default()
                .add(lines);
        }
        crates
    }

    pub(super) fn in_all(&self) -> Lines {
        let mut all = Lines::default();
        self.0.values().for_each(|lines| all.add(lines));
        all
    }

    /// A row a crate, and one for all, as Markdown.
    pub(super) fn table(&self) -> String {
        let mut text = "| crate | lines | covered | |\n| --- | --- | --- | --- |\n".to_owned();
        let mut rows: Vec<(String, Lines)> = self.by_crate().into_iter().collect();
        rows.push(("in all".to_owned(), self.in_all()));
        for (name, lines) in rows {
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} |",
                lines.all,
                lines.covered,
                lines.percent()
            );
        }
        text
    }

    /// As LCOV tracefile, which viewers and editors read.
    pub(super) fn lcov(&self) -> String {
        let mut text = String::new();
        for (path, lines) in &self.0 {
            let _ = writeln!(text, "SF:{path}");
            for (line, count) in lines {
                let _ = writeln!(text, "DA:{line},{count}");
            }
            let mut figures = Lines::default();
            figures.add(lines);
            let _ = writeln!(text, "LF:{}\nLH:{}\nend_of_record", figures.all, figures.covered);
        }
        text
    }
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .collect();
    paths.sort();
    Ok(paths)
}

/// A path of ours from the root of the checkout on; nothing of a dependency's.
fn inside(path: &Path) -> Option<String> {
    let path = path.to_str()?;
    let start = path.find(CRATES)?;
    let is_whole = start == 0 || path[..start].ends_with('/');
    (is_whole && !path.starts_with("/crates/") && !path.starts_with("/rustc/"))
        .then(|| path[start..].to_owned())
}

/// The line at which a file's test modules begin; behind its last one where it has none.
fn tests_begin(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_module = |pair: &[&str]| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].ends_with('{')
    };
    let found = lines.windows(2).position(is_module);
    found.unwrap_or(lines.len()) + 1
}

/// How often each line was run: the most of what begins on it; where nothing does, the innermost region around it.
fn by_line(result: &CoverageResult) -> BTreeMap<usize, usize> {
    let regions: Vec<(&SourceLocation, usize)> = result.hits.iter().map(|(at, count)| (at, *count)).collect();
    let numbers = regions.iter().flat_map(|(at, _)| at.line_start..=at.line_end);
    let mut lines: BTreeMap<usize, usize> = numbers.map(|line| (line, 0)).collect();
    for (line, count) in &mut lines {
        let begins = regions.iter().filter(|(at, _)| at.line_start == *line);
        let around = regions
            .iter()
            .filter(|(at, _)| at.line_start < *line && *line <= at.line_end)
            .max_by_key(|(at, _)| (at.line_start, at.column_start));
        let most = begins.map(|(_, count)| *count).max();
        *count = most.or(around.map(|(_, count)| *count)).unwrap_or_default();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::RunOptions;
    use crate::context::Context;
    use crate::process::{self, Call};

    const TINY: &str = "fn twice(n: u32) -> u32 {\n    n * 2\n}\n\nfn never() {\n    println!();\n}\n\n\
                        fn main() {\n    if twice(1) > 2 {\n        never();\n    }\n}\n";

    /// The format is the compiler's own and changes with it: a new toolchain that is not understood fails here.
    #[tokio::test]
    async fn what_this_compiler_counts_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let source = "services/tiny/src/main.rs";
        std::fs::create_dir_all(folder.path().join("services/tiny/src")).unwrap();
        std::fs::write(folder.path().join(source), TINY).unwrap();
        let context = Context::new(folder.path().to_path_buf(), RunOptions::default());
        let does = async |words: &[&str]| {
            let call = Call::new(words.iter().copied()).cwd(folder.path());
            let call = call.env("LLVM_PROFILE_FILE", "tiny.profraw");
            process::run_ok(&context, &call).await.unwrap();
        };
        does(&[
            "rustc",
            "--edition=2024",
            "-O",
            "-C",
            "instrument-coverage",
            "-o",
            "tiny",
            source,
        ])
        .await;
        does(&["./tiny"]).await;
        let sections = [
            "-j",
            "__llvm_covmap",
            "-j",
            "__llvm_covfun",
            "-j",
            "__llvm_prf_names",
        ];
        does(&[&["objcopy"], &sections[..], &["tiny", "tiny.map"]].concat()).await;
        let coverage = Coverage::read(folder.path(), folder.path()).unwrap();
        let lines = &coverage.0[source];
        let count = |line: usize| lines.get(&line).copied();
        assert_eq!(
            [count(2), count(6), count(9), count(11)],
            [Some(1), Some(0), Some(1), Some(0)],
            "{lines:?}"
        );
        assert_eq!(coverage.by_crate()["tiny"], coverage.in_all());
    }

    fn region(start: usize, end: usize) -> SourceLocation {
        SourceLocation {
            line_start: start,
            column_start: 1,
            line_end: end,
            column_end: 9,
        }
    }

    #[test]
    fn the_innermost_region_counts_a_line() {
        let hits = [(region(1, 6), 3), (region(3, 4), 0), (region(6, 6), 2)];
        let result = CoverageResult {
            hits: hits.into_iter().collect(),
            ..CoverageResult::default()
        };
        let lines: Vec<(usize, usize)> = by_line(&result).into_iter().collect();
        assert_eq!(lines, [(1, 3), (2, 3), (3, 0), (4, 0), (5, 3), (6, 2)]);
    }

    #[test]
    fn paths_of_dependencies_are_not_ours() {
        let ours = |path: &str| inside(Path::new(path));
        assert_eq!(
            ours("/workspace/services/kit/src/a.rs").as_deref(),
            Some("services/kit/src/a.rs")
        );
        assert_eq!(
            ours("services/kit/src/a.rs").as_deref(),
            Some("services/kit/src/a.rs")
        );
        assert_eq!(ours("/crates/index/x-1.0.0/services/a.rs"), None);
        assert_eq!(ours("/workspace/microservices/a.rs"), None);
    }

    #[test]
    fn test_modules_are_set_aside() {
        assert_eq!(tests_begin("fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n"), 3);
        assert_eq!(tests_begin("#[cfg(test)]\nmod testing;\nfn a() {}\n"), 4);
        assert_eq!(tests_begin(""), 1);
    }

    #[test]
    fn figures_by_crate_and_in_all() {
        let lines = |counts: &[usize]| {
            counts
                .iter()
                .enumerate()
                .map(|(at, count)| (at + 1, *count))
                .collect()
        };
        let coverage = Coverage(BTreeMap::from([
            ("services/kit/src/a.rs".to_owned(), lines(&[1, 0])),
            ("services/kit/src/b.rs".to_owned(), lines(&[1, 1])),
            ("services/web/src/main.rs".to_owned(), lines(&[0])),
        ]));
        insta::assert_snapshot!(coverage.table(), @r"
        | crate | lines | covered | |
        | --- | --- | --- | --- |
        | kit | 4 | 3 | 75.0 % |
        | web | 1 | 0 | 0.0 % |
        | in all | 5 | 3 | 60.0 % |
        ");
        assert!(
            coverage
                .lcov()
                .starts_with("SF:services/kit/src/a.rs\nDA:1,1\nDA:2,0\nLF:2\nLH:1\nend_of_record\n")
        );
        assert_eq!(Lines::default().percent(), "-");
    }
}
