//! An eight-digit code `SSFFCCMM` (segment, family, class, commodity) and its place in the hierarchy.

use std::fmt;

/// How deep a code stands in the hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `SS000000`
    Segment,
    /// `SSFF0000`
    Family,
    /// `SSFFCC00`
    Class,
    /// `SSFFCCMM`
    Commodity,
}

impl Level {
    /// From the deepest to the widest.
    pub const DEEPEST_FIRST: [Self; 4] = [Self::Commodity, Self::Class, Self::Family, Self::Segment];

    /// The word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Family => "family",
            Self::Class => "class",
            Self::Commodity => "commodity",
        }
    }

    /// The level named by `word`, if it is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::DEEPEST_FIRST
            .into_iter()
            .find(|level| level.as_str() == word)
    }

    /// What a number of this level is a multiple of.
    fn unit(self) -> u32 {
        match self {
            Self::Segment => 1_000_000,
            Self::Family => 10_000,
            Self::Class => 100,
            Self::Commodity => 1,
        }
    }
}

/// An eight-digit code with a segment other than `00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u32);

impl Code {
    /// Reads exactly eight digits; the segment must not be `00`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: u32 = digits.then(|| text.parse().ok()).flatten()?;
        (number >= Level::Segment.unit()).then_some(Self(number))
    }

    /// The deepest level that is not padded with zeros.
    #[must_use]
    pub fn level(self) -> Level {
        let fits = |level: &Level| self.0.is_multiple_of(level.unit());
        [Level::Segment, Level::Family, Level::Class]
            .into_iter()
            .find(fits)
            .unwrap_or(Level::Commodity)
    }

    /// This code's ancestor at `level`, padded with zeros; itself where it stands no deeper.
    #[must_use]
    pub fn at(self, level: Level) -> Self {
        Self(self.0 - self.0 % level.unit())
    }

    /// The next wider code; none above a segment.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        match self.level() {
            Level::Segment => None,
            Level::Family => Some(self.at(Level::Segment)),
            Level::Class => Some(self.at(Level::Family)),
            Level::Commodity => Some(self.at(Level::Class)),
        }
    }

    /// From the segment down to this code.
    #[must_use]
    pub fn lineage(self) -> Vec<Self> {
        let mut codes = vec![self];
        while let Some(parent) = codes.last().and_then(|code| code.parent()) {
            codes.push(parent);
        }
        codes.reverse();
        codes
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Code {
        Code::parse(text).unwrap()
    }

    #[test]
    fn only_eight_digits_with_a_segment_are_a_code() {
        for wrong in [
            "",
            "1010100",
            "101010011",
            "1010100x",
            "+1010100",
            "00101001",
            "١٠١٠١٠٠١",
        ] {
            assert_eq!(Code::parse(wrong), None, "{wrong}");
        }
        assert_eq!(code("10101001").to_string(), "10101001");
    }

    #[test]
    fn parents_are_padded_with_zeros() {
        let lineage: Vec<String> = code("43232104")
            .lineage()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(lineage, ["43000000", "43230000", "43232100", "43232104"]);
        assert_eq!(code("43000000").parent(), None);
    }

    #[test]
    fn levels_follow_the_zeros() {
        assert_eq!(code("43000000").level(), Level::Segment);
        assert_eq!(code("43230000").level(), Level::Family);
        assert_eq!(code("43232100").level(), Level::Class);
        assert_eq!(code("43232104").level(), Level::Commodity);
        assert_eq!(Level::from_word("class"), Some(Level::Class));
        assert_eq!(Level::from_word("order"), None);
    }
}
