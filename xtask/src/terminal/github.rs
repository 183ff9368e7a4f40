//! The words that GitHub's log understands: groups that fold, and annotations beside files and lines.

use crate::report::Place;

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
    pub place: Option<Place>,
}

impl Annotation {
    pub fn line(&self) -> String {
        let level = if self.is_error { "error" } else { "warning" };
        let place = self.place.as_ref();
        let place = place.map(|place| format!("file={},line={},", property(&place.path), place.line));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_one_line_whatever_it_says() {
        let annotation = Annotation {
            is_error: true,
            title: "a, b: lint".into(),
            message: "100 %\nhint: x::y, z".into(),
            place: Some(Place {
                path: "docker/Dockerfile.a".into(),
                line: 12,
            }),
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
}
