//! What a Dockerfile takes from the build context by name (inputs beside the crate's own folders), and its stages.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::gate::lint::logical_lines;

/// The paths of `COPY`, `ADD` and of bind mounts that come from the context, up to their first wildcard or
/// variable; the empty path is the whole context. `COPY . .` is not among them: the shared steps slice what
/// they copy so by crate.
pub fn copied(text: &str) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    for (_, line) in logical_lines(text) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        match word.to_ascii_uppercase().as_str() {
            "COPY" | "ADD" => paths.extend(sources(rest).iter().filter_map(|path| named(path))),
            "RUN" => paths.extend(rest.split_whitespace().filter_map(bound)),
            _ => {}
        }
    }
    paths
}

/// A stage of a Dockerfile: its name, what it stands on, and the first words of its instructions.
#[derive(Debug, PartialEq, Eq)]
pub struct Stage {
    pub name: String,
    pub base: String,
    pub words: Vec<String>,
}

/// The stages of a Dockerfile, in their order.
pub fn stages(text: &str) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for (_, line) in logical_lines(text) {
        let mut words = line.split_whitespace().filter(|word| !word.starts_with("--"));
        let word = words.next().unwrap_or_default().to_ascii_uppercase();
        if word == "FROM" {
            let base = words.next().unwrap_or_default().to_owned();
            let name = words.nth(1).unwrap_or_default().to_owned();
            stages.push(Stage {
                name,
                base,
                words: Vec::new(),
            });
        } else if let Some(stage) = stages.last_mut() {
            stage.words.push(word);
        }
    }
    stages
}

/// The sources of a `COPY`: all words but the flags and the last one. From another stage: none.
fn sources(rest: &str) -> Vec<String> {
    if rest.contains("--from=") {
        return Vec::new();
    }
    let listed: Option<Vec<String>> = serde_json::from_str(rest.trim_start_matches(|c| c != '[')).ok();
    let words = || {
        rest.split_whitespace()
            .filter(|word| !word.starts_with("--"))
            .map(str::to_owned)
            .collect()
    };
    let mut words: Vec<String> = listed.unwrap_or_else(words);
    words.pop();
    words.retain(|word| !word.contains("://"));
    words
}

/// The source of `--mount=...` where it binds something out of the context (binding is the default); without a
/// source it is the whole context.
fn bound(word: &str) -> Option<PathBuf> {
    let options: Vec<&str> = word.strip_prefix("--mount=")?.split(',').collect();
    let value = |name: &str| options.iter().find_map(|option| option.strip_prefix(name));
    if value("type=").is_some_and(|kind| kind != "bind") || value("from=").is_some() {
        return None;
    }
    Some(
        value("source=")
            .or(value("src="))
            .and_then(named)
            .unwrap_or_default(),
    )
}

/// A path up to its first wildcard or variable; nothing where it is written as the context itself.
fn named(path: &str) -> Option<PathBuf> {
    let mut parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .peekable();
    parts.peek()?;
    Some(
        parts
            .take_while(|part| !part.contains(['*', '?', '[', '$']))
            .collect(),
    )
}

/// What the stage that ships, and those of this file that it stands on, are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shipped {
    /// The image outside this file.
    pub base: String,
    /// The first words of the instructions that were added to it: each is one entry in an image's history.
    pub words: Vec<String>,
}

/// Reads the stage that ships: `prod`, or else the last one.
pub fn shipped(text: &str) -> Shipped {
    let mut stages = stages(text);
    let is_named = |stage: &Stage, name: &str| stage.name.eq_ignore_ascii_case(name);
    if let Some(place) = stages.iter().position(|stage| is_named(stage, "prod")) {
        stages.truncate(place + 1);
    }
    let Some(Stage { base, words, .. }) = stages.pop() else {
        return Shipped::default();
    };
    let mut shipped = Shipped { base, words };
    while let Some(stage) = stages.pop() {
        if is_named(&stage, &shipped.base) {
            shipped.words.splice(0..0, stage.words);
            shipped.base = stage.base;
        }
    }
    shipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_and_comes_from_the_context_counts() {
        let text = "FROM a AS planner\nCOPY . .\nCOPY --from=planner /x /y\nCOPY --link config/a.toml \\\n  ./extra/ /etc/\n\
                    ADD [\"with space/f\", \"/f\"]\nADD https://x/y /z\nCOPY data/*.csv /data/\n\
                    RUN --mount=type=bind,source=scripts,target=/s --mount=type=secret,id=x true\n\
                    RUN --mount=type=bind,from=a,source=/q,target=/q true\nRUN --mount=source=bound,target=/b true\n";
        let expected = [
            "bound",
            "config/a.toml",
            "data",
            "extra",
            "scripts",
            "with space/f",
        ]
        .map(PathBuf::from);
        assert_eq!(copied(text), BTreeSet::from(expected));
    }

    #[test]
    fn an_image_is_made_by_the_stage_that_ships_and_those_beneath() {
        let text = "FROM a AS build\nRUN x\nFROM --platform=linux/amd64 b AS base\nENV A=1\nFROM build AS ci\nRUN y\n\
                    FROM Base AS prod\nCOPY --from=build \\\n  /x /x\nUSER 1\nFROM ci AS late\nRUN z\n";
        let names: Vec<_> = stages(text).into_iter().map(|stage| stage.name).collect();
        assert_eq!(names, ["build", "base", "ci", "prod", "late"]);
        assert_eq!(shipped(text).words, ["ENV", "COPY", "USER"]);
        assert!(shipped("").words.is_empty());
    }

    #[test]
    fn what_cannot_be_told_is_the_whole_context() {
        for line in [
            "COPY $DIR/a /a",
            "COPY *.toml /a",
            "RUN --mount=target=/src true",
            "COPY\t${A} /a",
        ] {
            assert_eq!(
                copied(&format!("FROM a\n{line}\n")),
                BTreeSet::from([PathBuf::new()]),
                "{line}"
            );
        }
    }

    #[test]
    fn what_ships_is_counted_from_its_base_on() {
        let text = "ARG X=1\nFROM rust AS build\nRUN a \\\n  b\nFROM --platform=linux/amd64 distroless@sha256:1 AS root\n\
                    ENV A=b\n# a word\nFROM root AS prod\nCOPY --from=build a /a\nUSER 1\nFROM build AS ci\nRUN c\n";
        let shipped_of = |text: &str| (shipped(text).base, shipped(text).words.len());
        assert_eq!(shipped_of(text), ("distroless@sha256:1".to_owned(), 3));
        assert_eq!(shipped_of("FROM scratch\nCOPY a /a\n"), ("scratch".to_owned(), 1));
        assert_eq!(shipped_of(""), (String::new(), 0));
    }
}
