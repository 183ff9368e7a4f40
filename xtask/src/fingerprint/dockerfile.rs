//! What a Dockerfile takes from the build context by name: inputs beside the crate's own folders.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// The paths of `COPY`, `ADD` and of bind mounts that come from the context, up to their first wildcard. The
/// context as a whole (`COPY . .`) is not among them: the shared steps slice it by crate.
pub fn copied(text: &str) -> BTreeSet<PathBuf> {
    let joined = text.replace("\\\n", " ");
    let mut paths = BTreeSet::new();
    for line in joined.lines() {
        let (word, rest) = line.trim_start().split_once(' ').unwrap_or((line, ""));
        match word.to_ascii_uppercase().as_str() {
            "COPY" | "ADD" => paths.extend(sources(rest)),
            "RUN" => paths.extend(rest.split_whitespace().filter_map(bound)),
            _ => {}
        }
    }
    paths.into_iter().filter_map(|path| named(&path)).collect()
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

/// The source of `--mount=type=bind,source=...` out of the context.
fn bound(word: &str) -> Option<String> {
    let options: Vec<&str> = word.strip_prefix("--mount=")?.split(',').collect();
    let value = |names: [&str; 2]| {
        options
            .iter()
            .find_map(|option| names.iter().find_map(|name| option.strip_prefix(name)))
    };
    if !options.contains(&"type=bind") || value(["from=", "from="]).is_some() {
        return None;
    }
    value(["source=", "src="]).map(str::to_owned)
}

/// A path up to its first wildcard; nothing for the context itself.
fn named(path: &str) -> Option<PathBuf> {
    let parts = path
        .trim_start_matches("./")
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    let named: PathBuf = parts
        .take_while(|part| !part.contains(['*', '?', '[', '$']))
        .collect();
    (!named.as_os_str().is_empty()).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_and_comes_from_the_context_counts() {
        let text = "FROM a AS planner\nCOPY . .\nCOPY --from=planner /x /y\nCOPY --link config/a.toml \\\n  ./extra/ /etc/\n\
                    ADD [\"with space/f\", \"/f\"]\nADD https://x/y /z\nCOPY data/*.csv /data/\n\
                    RUN --mount=type=bind,source=scripts,target=/s --mount=type=secret,id=x true\n\
                    RUN --mount=type=bind,from=a,source=/q,target=/q true\n";
        let expected = ["config/a.toml", "data", "extra", "scripts", "with space/f"].map(PathBuf::from);
        assert_eq!(copied(text), BTreeSet::from(expected));
    }
}
