//! From which web pages a browser may call (the CORS protocol of the Fetch standard, section 3.3).

use std::str::FromStr;

/// The origins that are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// None: pages of other origins may not read an answer.
    #[default]
    None,
    /// These, compared as a whole.
    Listed(Vec<String>),
    /// All of them.
    Any,
}

impl FromStr for Origins {
    type Err = String;

    /// Origins between commas, or `*`; the error is the one that is none.
    fn from_str(text: &str) -> Result<Self, String> {
        let listed: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .collect();
        match listed[..] {
            [] => Ok(Self::None),
            ["*"] => Ok(Self::Any),
            _ => match listed.iter().find(|one| !is_origin(one)) {
                Some(wrong) => Err((*wrong).to_owned()),
                None => Ok(Self::Listed(listed.into_iter().map(str::to_owned).collect())),
            },
        }
    }
}

impl Origins {
    /// Whether a page of `origin` may call.
    #[must_use]
    pub fn allow(&self, origin: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Listed(listed) => listed.iter().any(|one| one.as_bytes() == origin),
            Self::Any => true,
        }
    }
}

/// `scheme://host[:port]`, as browsers send it: lower case, without a path.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
        !host.is_empty() && host.bytes().all(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_a_whole() {
        let origins: Origins = "https://a.example, http://localhost:3000".parse().unwrap();
        assert!(origins.allow(b"https://a.example") && origins.allow(b"http://localhost:3000"));
        for other in [
            "https://a.example.evil",
            "http://a.example",
            "https://a.example:443",
            "null",
            "",
        ] {
            assert!(!origins.allow(other.as_bytes()), "{other}");
        }
        assert!(!Origins::None.allow(b"null"));
    }

    #[test]
    fn what_is_no_origin_is_told() {
        for wrong in [
            "a.example",
            "https://a.example/",
            "https://",
            "https://A.example",
            "*.example",
        ] {
            assert_eq!(wrong.parse::<Origins>(), Err(wrong.to_owned()));
        }
        assert_eq!("https://a.example, *".parse::<Origins>(), Err("*".to_owned()));
        assert_eq!("".parse::<Origins>(), Ok(Origins::None));
        assert_eq!("*".parse::<Origins>(), Ok(Origins::Any));
    }
}
