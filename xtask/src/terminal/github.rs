//! The words that GitHub's log understands: groups that fold, and annotations beside files and lines.

/// Closes a group.
pub(super) const END: &str = "::endgroup::";

/// Whether the log is GitHub's.
pub fn is_github() -> bool {
    std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true")
}

/// Opens a group.
pub(super) fn group(name: &str) -> String {
    format!("::group::{}", data(name))
}

/// An annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// `error`, or else `warning`.
    pub is_error: bool,
    pub title: String,
    pub message: String,
    /// Where it belongs: a path from the checkout's root, and a line counted from 1.
    pub place: Option<(String, usize)>,
}

impl Annotation {
    pub fn line(&self) -> String {
        let level = if self.is_error { "error" } else { "warning" };
        let place = self.place.as_ref();
        let place = place.map(|(path, line)| format!("file={},line={line},", property(path)));
        let (title, message) = (property(&self.title), data(&self.message));
        format!("::{level} {}title={title}::{message}", place.unwrap_or_default())
    }
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The first `path:line` among the words, of a file that a checkout has.
pub fn place_in(words: &str) -> Option<(String, usize)> {
    words.split_whitespace().find_map(|word| {
        let (path, line) = word.trim_end_matches([':', ',', ';', ')']).rsplit_once(':')?;
        let path = path.trim_start_matches('(');
        let known = ["docker/", "compose/", "services/", "Cargo."];
        known.iter().any(|start| path.starts_with(start)).then_some(())?;
        Some((path.to_owned(), line.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_one_line_whatever_it_says() {
        let annotation = Annotation {
            is_error: true,
            title: "a, b: lint".into(),
            message: "100 %\nhint: x::y, z".into(),
            place: Some(("docker/Dockerfile.a".into(), 12)),
        };
        assert_eq!(
            annotation.line(),
            "::error file=docker/Dockerfile.a,line=12,title=a%2C b%3A lint::100 %25%0Ahint: x::y, z"
        );
        let nowhere = Annotation {
            is_error: false,
            place: None,
            ..annotation
        };
        assert!(
            nowhere.line().starts_with("::warning title="),
            "{}",
            nowhere.line()
        );
    }

    #[test]
    fn a_place_is_a_path_of_the_checkout_with_a_line() {
        let place = place_in("user: docker/Dockerfile.a:42: USER root");
        assert_eq!(place, Some(("docker/Dockerfile.a".into(), 42)));
        assert_eq!(place_in("status 503: http://localhost:8000"), None);
    }
}
