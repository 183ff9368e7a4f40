//! Which pages may open a connection (RFC 6455 section 10.2): a list, exact or `https://*.domain`.

/// The origins that are let in.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    any: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
enum Rule {
    /// The whole origin.
    Exact(String),
    /// What an origin below a domain ends with: `.example.org`, or `.example.org:8443`.
    Below(String),
}

impl Origins {
    /// Reads a comma-separated list; `*` counts where `any` allows it.
    ///
    /// # Errors
    /// What was expected, where an item is none.
    pub fn parse(list: &str, any: bool) -> Result<Self, String> {
        let mut origins = Self::default();
        let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
        for item in items {
            match item {
                "*" if any => origins.any = true,
                "*" => return Err("'*' lets every page in; it needs WS_ALLOW_ANY_ORIGIN=true".to_owned()),
                item => origins.rules.push(rule(item)?),
            }
        }
        Ok(origins)
    }

    /// Whether a page of this origin is let in.
    #[must_use]
    pub fn allow(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.any || self.rules.iter().any(|rule| rule.allows(&origin))
    }
}

impl Rule {
    fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Exact(exact) => origin == exact,
            Self::Below(end) => origin
                .strip_prefix("https://")
                .and_then(|host| host.strip_suffix(end.as_str()))
                .is_some_and(|label| label.bytes().all(is_host_byte) && is_name(label)),
        }
    }
}

fn rule(item: &str) -> Result<Rule, String> {
    let expected = || "expected origins such as https://app.example.org or https://*.example.org".to_owned();
    let lower = item.to_ascii_lowercase();
    let host = lower
        .strip_prefix("https://")
        .or_else(|| lower.strip_prefix("http://"));
    let host = host.ok_or_else(expected)?;
    if let Some(below) = host.strip_prefix("*.") {
        // A wildcard of plain HTTP would trust whoever sits on the wire.
        let known = lower.starts_with("https://") && is_authority(below) && below.contains('.');
        return known
            .then(|| Rule::Below(format!(".{below}")))
            .ok_or_else(expected);
    }
    is_authority(host)
        .then_some(Rule::Exact(lower))
        .ok_or_else(expected)
}

/// A host with an optional port, and nothing behind it.
fn is_authority(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    is_name(host) && host.bytes().all(is_host_byte) && port.parse::<u16>().is_ok()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(['.', '-']) && !text.ends_with(['.', '-'])
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::Origins;

    #[test]
    fn exact_and_below_and_nothing_else() {
        let list = "https://app.example.org, http://localhost:8080 ,https://*.shop.example";
        let origins = Origins::parse(list, false).unwrap();
        for good in [
            "https://app.example.org",
            "HTTPS://App.Example.Org",
            "http://localhost:8080",
            "https://a.shop.example",
            "https://a.b.shop.example",
        ] {
            assert!(origins.allow(good), "{good}");
        }
        for bad in [
            "",
            "null",
            "*",
            "http://app.example.org",
            "https://app.example.org:8443",
            "https://app.example.org.evil.example",
            "https://evil.example/https://app.example.org",
            "https://shop.example",
            "https://.shop.example",
            "https://evilshop.example",
            "http://a.shop.example",
            "https://a.shop.example:444",
            "https://evil.example#.shop.example",
            "https://evil.example/.shop.example",
            "https://user@a.shop.example",
            "http://localhost",
        ] {
            assert!(!origins.allow(bad), "{bad}");
        }
        assert!(!Origins::default().allow("https://app.example.org"));
    }

    #[test]
    fn a_list_that_says_something_else_is_refused() {
        for bad in [
            "*",
            "app.example.org",
            "https://",
            "https://*",
            "https://*.org",
            "http://*.example.org",
            "https://a.example/path",
            "https://a.*.example",
            "ftp://a.example",
            "https://a.example:port",
        ] {
            assert!(Origins::parse(bad, false).is_err(), "{bad}");
        }
        assert!(Origins::parse("*", true).unwrap().allow("https://any.example"));
    }
}
