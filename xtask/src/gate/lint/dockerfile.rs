//! Our own Dockerfile rules, for what hadolint does not ask: pinned bases, a non-root user, a health check by
//! the binary, the three targets, nothing fetched by `ADD`.

use std::path::Path;

use crate::verdict::Check;

/// A stage: `FROM <base> AS <name>` and the instructions under it.
#[derive(Debug, Default)]
struct Stage {
    line: usize,
    base: String,
    name: String,
    instructions: Vec<Instruction>,
}

#[derive(Debug)]
struct Instruction {
    line: usize,
    word: String,
    rest: String,
}

/// Judges a Dockerfile by its text. `path` is for the messages.
pub(super) fn judge(path: &Path, text: &str) -> Vec<Check> {
    let stages = parse(text);
    if stages.is_empty() {
        return vec![Check::violated(
            "dockerfile",
            format!("{}: no FROM", path.display()),
            "write a Dockerfile",
        )];
    }
    let at = |line: usize| format!("{}:{line}", path.display());
    vec![
        no_syntax_line(text, &at),
        pinned_bases(&stages, &at),
        targets(&stages, path),
        last_stage(&stages, &at),
        no_remote_add(&stages, &at),
    ]
}

fn parse(text: &str) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for (line, logical) in logical_lines(text) {
        let (word, rest) = logical.split_once(char::is_whitespace).unwrap_or((&logical, ""));
        let (word, rest) = (word.to_ascii_uppercase(), rest.trim().to_owned());
        if word == "FROM" {
            let words: Vec<&str> = rest
                .split_whitespace()
                .filter(|word| !word.starts_with("--"))
                .collect();
            let name = words.get(2).map(|name| (*name).to_owned()).unwrap_or_default();
            let base = words.first().map(|base| (*base).to_owned()).unwrap_or_default();
            stages.push(Stage {
                line,
                base,
                name,
                instructions: Vec::new(),
            });
        } else if let Some(stage) = stages.last_mut() {
            stage.instructions.push(Instruction { line, word, rest });
        }
    }
    stages
}

/// Instructions with their continuation lines joined, comments and blank lines left out, heredoc bodies skipped.
pub fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = text.lines().enumerate();
    let mut logical: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    while let Some((index, raw)) = lines.next() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (number, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        joined.push_str(line.trim_end_matches('\\'));
        if line.ends_with('\\') {
            open = Some((number, joined));
            continue;
        }
        if let Some(end) = heredoc_end(&joined) {
            lines.by_ref().find(|(_, body)| body.trim() == end);
        }
        logical.push((number, joined));
    }
    logical.extend(open);
    logical
}

fn heredoc_end(line: &str) -> Option<String> {
    let word = line
        .split("<<")
        .nth(1)?
        .trim_start_matches('-')
        .split_whitespace()
        .next()?;
    let word = word.trim_matches(['"', '\'']);
    (!word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then(|| word.to_owned())
}

fn no_syntax_line(text: &str, at: &impl Fn(usize) -> String) -> Check {
    match text
        .lines()
        .position(|line| line.replace(' ', "").to_lowercase().starts_with("#syntax="))
    {
        Some(index) => Check::violated(
            "syntax line",
            format!(
                "{}: makes the build fetch its frontend from a registry",
                at(index + 1)
            ),
            "leave the `# syntax` line out",
        ),
        None => Check::passed("syntax line", "none"),
    }
}

fn pinned_bases(stages: &[Stage], at: &impl Fn(usize) -> String) -> Check {
    let bases = stages
        .iter()
        .map(|stage| (stage.base.as_str(), stage.name.as_str()));
    match floating(bases).map(|place| &stages[place]) {
        Some(stage) => Check::violated(
            "floating base",
            format!("{}: FROM {} has no digest", at(stage.line), stage.base),
            "pin it by tag and digest: `name:tag@sha256:...`",
        ),
        None => Check::passed("pinned bases", "every base by tag and digest"),
    }
}

/// Of stages as (base, name), in their order: the first whose base is neither pinned by digest, nor nothing, nor a
/// stage above it.
pub fn floating<'a>(stages: impl Iterator<Item = (&'a str, &'a str)>) -> Option<usize> {
    let mut names: Vec<String> = Vec::new();
    for (place, (base, name)) in stages.enumerate() {
        if base != "scratch" && !base.contains("@sha256:") && !names.contains(&base.to_lowercase()) {
            return Some(place);
        }
        names.extend((!name.is_empty()).then(|| name.to_lowercase()));
    }
    None
}

fn targets(stages: &[Stage], path: &Path) -> Check {
    let missing = ["dev", "ci", "prod"]
        .into_iter()
        .find(|target| stages.iter().all(|stage| stage.name != *target));
    match missing {
        Some(target) => Check::violated(
            "targets",
            format!("{}: no target '{target}'", path.display()),
            "a Dockerfile has the targets dev, ci and prod",
        ),
        None if stages.last().is_some_and(|stage| stage.name != "prod") => Check::violated(
            "targets",
            format!("{}: the last stage is not 'prod'", path.display()),
            "a plain `docker build` makes the last stage: let it be prod",
        ),
        None => Check::passed("targets", "dev, ci, prod"),
    }
}

/// What ships: a user that is not root, a health check and an entry point in exec form.
fn last_stage(stages: &[Stage], at: &impl Fn(usize) -> String) -> Check {
    let Some(stage) = stages.last() else {
        return Check::passed("last stage", "");
    };
    let last = |word: &str| {
        stage
            .instructions
            .iter()
            .rev()
            .find(|instruction| instruction.word == word)
    };
    match last("USER") {
        None => {
            return Check::violated(
                "root user",
                format!("{}: no USER", at(stage.line)),
                "add `USER 65532:65532`",
            );
        }
        Some(user) if is_root(&user.rest) => {
            return Check::violated(
                "root user",
                format!("{}: USER {}", at(user.line), user.rest),
                "add `USER 65532:65532`",
            );
        }
        Some(_) => {}
    }
    match last("HEALTHCHECK") {
        Some(check) if !check.rest.eq_ignore_ascii_case("none") => {}
        _ => {
            return Check::violated(
                "health check",
                format!("{}: no HEALTHCHECK", at(stage.line)),
                "let the binary check itself: HEALTHCHECK CMD [\"/<binary>\", \"healthcheck\"]",
            );
        }
    }
    match last("ENTRYPOINT") {
        Some(entry) if entry.rest.starts_with('[') => {
            Check::passed("last stage", "non-root, health check, entry point")
        }
        _ => Check::violated(
            "entry point",
            format!("{}: no ENTRYPOINT in exec form", at(stage.line)),
            "ENTRYPOINT [\"/<binary>\"]: a shell would swallow SIGTERM",
        ),
    }
}

/// Whether a USER is root by itself; `00` is 0 too.
pub fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default().trim();
    matches!(name, "" | "root") || name.parse::<i64>() == Ok(0)
}

fn no_remote_add(stages: &[Stage], at: &impl Fn(usize) -> String) -> Check {
    let remote = |instruction: &&Instruction| instruction.word == "ADD" && instruction.rest.contains("://");
    match stages.iter().flat_map(|stage| &stage.instructions).find(remote) {
        Some(add) => Check::violated(
            "ADD of a URL",
            format!("{}: ADD {}", at(add.line), add.rest),
            "fetch it in a RUN with a checksum, or vendor it",
        ),
        None => Check::passed("no remote ADD", "none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    const GOOD: &str = "FROM rust:1@sha256:aa AS build\nRUN cargo build \\\n  --release\nFROM build AS dev\nFROM build AS ci\n\
        FROM base:1@sha256:bb AS prod\nCOPY --from=build /x /x\nUSER 65532:65532\nHEALTHCHECK CMD [\"/x\", \"healthcheck\"]\n\
        ENTRYPOINT [\"/x\"]\n";

    fn violations(text: &str) -> Vec<String> {
        let checks = judge(Path::new("docker/Dockerfile.x"), text);
        let violated = checks
            .into_iter()
            .filter(|check| check.outcome == Outcome::Violated);
        violated.map(|check| check.name).collect()
    }

    #[test]
    fn a_good_file_passes_and_each_fault_is_named() {
        assert!(violations(GOOD).is_empty(), "{:?}", violations(GOOD));
        assert_eq!(violations(&GOOD.replace("USER 65532:65532\n", "")), ["root user"]);
        assert_eq!(violations(&GOOD.replace("65532:65532", "root")), ["root user"]);
        assert_eq!(violations(&GOOD.replace("65532:65532", "00")), ["root user"]);
        assert_eq!(violations(&GOOD.replace("@sha256:bb", "")), ["floating base"]);
        assert_eq!(
            violations(&GOOD.replace("HEALTHCHECK CMD", "# HEALTHCHECK CMD")),
            ["health check"]
        );
        assert_eq!(
            violations(&GOOD.replace("ENTRYPOINT [\"/x\"]", "ENTRYPOINT /x")),
            ["entry point"]
        );
        assert_eq!(violations(&GOOD.replace("AS ci", "AS other")), ["targets"]);
        assert_eq!(
            violations(&GOOD.replace("COPY --from=build /x /x", "ADD https://example.org/x /x")),
            ["ADD of a URL"]
        );
        assert_eq!(
            violations(&format!("# syntax=docker/dockerfile:1\n{GOOD}")),
            ["syntax line"]
        );
        assert_eq!(violations("# nothing\n"), ["dockerfile"]);
    }

    #[test]
    fn a_base_is_a_stage_only_below_it() {
        for from in ["FROM debian AS debian", "FROM late AS early", "FROM debian"] {
            let text = format!("{from}\n{}", GOOD.replace("AS build", "AS late"));
            let text = text.replace("FROM build", "FROM Late");
            assert_eq!(violations(&text), ["floating base"], "{from}");
        }
    }

    #[test]
    fn a_heredoc_is_not_read_as_instructions() {
        let text = GOOD.replace(
            "RUN cargo build \\\n  --release",
            "RUN <<EOT\nADD https://example.org/x\nEOT",
        );
        assert!(violations(&text).is_empty(), "{:?}", violations(&text));
    }
}
