//! The words of a report that policy is written in: how bad a finding is, and whether its makers have mended it.

use serde::{Deserialize, Serialize};

/// As the database rates it. What is absent, `null` or an unheard-of word is `Unknown`, never harmless.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all(serialize = "UPPERCASE"), from = "Option<String>")]
pub enum Severity {
    #[default]
    Unknown,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// From the worst to the one that nobody knows.
    pub const ALL: [Severity; 5] = [
        Severity::Critical,
        Severity::High,
        Severity::Medium,
        Severity::Low,
        Severity::Unknown,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Severity::Critical => "CRITICAL",
            Severity::High => "HIGH",
            Severity::Medium => "MEDIUM",
            Severity::Low => "LOW",
            Severity::Unknown => "UNKNOWN",
        }
    }

    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.word() == word)
    }
}

impl From<Option<String>> for Severity {
    fn from(word: Option<String>) -> Self {
        let word = word.unwrap_or_default().to_uppercase();
        Severity::named(&word).unwrap_or_default()
    }
}

/// What the makers of a package say about a vulnerability in it. An unheard-of word is `Unknown`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all(serialize = "snake_case"), from = "Option<String>")]
pub enum Status {
    #[default]
    Unknown,
    /// There is a version without it.
    Fixed,
    /// There is none.
    Affected,
    WillNotFix,
    FixDeferred,
    EndOfLife,
    UnderInvestigation,
}

impl Status {
    pub const ALL: [Status; 7] = [
        Status::Fixed,
        Status::Affected,
        Status::WillNotFix,
        Status::FixDeferred,
        Status::EndOfLife,
        Status::UnderInvestigation,
        Status::Unknown,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Status::Fixed => "fixed",
            Status::Affected => "affected",
            Status::WillNotFix => "will_not_fix",
            Status::FixDeferred => "fix_deferred",
            Status::EndOfLife => "end_of_life",
            Status::UnderInvestigation => "under_investigation",
            Status::Unknown => "unknown",
        }
    }

    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

impl From<Option<String>> for Status {
    fn from(word: Option<String>) -> Self {
        let word = word.unwrap_or_default().to_lowercase();
        Status::named(&word).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for severity in Severity::ALL {
            assert_eq!(
                serde_json::to_value(severity).unwrap(),
                severity.word(),
                "{severity:?}"
            );
            let read: Severity = serde_json::from_value(severity.word().into()).unwrap();
            assert_eq!(read, severity);
        }
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.word(), "{status:?}");
            let read: Status = serde_json::from_value(status.word().into()).unwrap();
            assert_eq!(read, status);
        }
    }

    #[test]
    fn what_nobody_has_heard_of_is_unknown_and_another_type_is_an_error() {
        let severity = |text: &str| serde_json::from_str::<Severity>(text);
        assert_eq!(severity("null").unwrap(), Severity::Unknown);
        assert_eq!(severity("\"NEGLIGIBLE\"").unwrap(), Severity::Unknown);
        assert_eq!(severity("\"high\"").unwrap(), Severity::High);
        assert!(severity("4").is_err());
        let status = |text: &str| serde_json::from_str::<Status>(text);
        assert_eq!(status("\"rejected\"").unwrap(), Status::Unknown);
        assert!(status("[]").is_err());
    }
}
