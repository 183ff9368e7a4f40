//! Which events somebody wants to hear, and may: those of the own tenant and those that belong to none.

use std::sync::Arc;

use contract::events::Event;

/// Types that one listener may name.
const MOST_KINDS: usize = 32;
/// Longest type, in bytes.
const LONGEST_KIND: usize = 160;

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    tenant: Arc<str>,
    /// Empty: all.
    kinds: Vec<Kind>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Exactly(String),
    /// All that begin so, from `dataflow.*`.
    Beginning(String),
}

/// Why a list of types is none, in public words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

impl Filter {
    /// `kinds` are types separated by commas, such as `handler.completed,dataflow.*`; none: all.
    ///
    /// # Errors
    /// A type is no word of letters, digits, `_`, `-` and `.`, with `*` or `.*` at its end alone; or there are too many.
    pub fn parse(tenant: &Arc<str>, kinds: Option<&str>) -> Result<Self, Malformed> {
        let texts: Vec<&str> = kinds
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .collect();
        if texts.len() > MOST_KINDS {
            return Err(Malformed(format!("event_type: at most {MOST_KINDS} types")));
        }
        let kinds: Result<Vec<Kind>, Malformed> = texts.into_iter().map(kind).collect();
        Ok(Self {
            tenant: tenant.clone(),
            kinds: kinds?,
        })
    }

    /// Whether this event is heard.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        let own = event
            .tenant
            .as_deref()
            .is_none_or(|tenant| tenant == &*self.tenant);
        own && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.takes(&event.kind)))
    }
}

impl Kind {
    fn takes(&self, told: &str) -> bool {
        match self {
            Self::Exactly(kind) => told == kind,
            Self::Beginning(beginning) => told.starts_with(beginning),
        }
    }
}

fn kind(text: &str) -> Result<Kind, Malformed> {
    let wild = text == "*" || text.ends_with(".*");
    let word = if wild { &text[..text.len() - 1] } else { text };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if text.len() > LONGEST_KIND || !word.bytes().all(letter) {
        let example = "such as handler.completed or dataflow.Product.*";
        return Err(Malformed(format!("event_type: expected types {example}")));
    }
    Ok(if wild {
        Kind::Beginning(word.to_owned())
    } else {
        Kind::Exactly(word.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn heard(kinds: &str, kind: &str, tenant: Option<&str>) -> bool {
        let filter = Filter::parse(&"acme".into(), Some(kinds)).unwrap();
        filter.takes(&Event {
            id: "1".into(),
            kind: kind.into(),
            tenant: tenant.map(str::to_owned),
            at: String::new(),
            data: Value::Null,
        })
    }

    #[test]
    fn the_own_tenant_is_heard_and_what_belongs_to_none() {
        assert!(heard("", "handler.called", Some("acme")));
        assert!(heard("", "handler.registered", None));
        assert!(!heard("", "handler.called", Some("other")));
        assert!(!heard("*", "handler.called", Some("other")));
    }

    #[test]
    fn types_are_exact_or_a_beginning() {
        let own = Some("acme");
        assert!(heard(
            "handler.called, dataflow.*",
            "dataflow.Product.create",
            own
        ));
        assert!(heard("dataflow.Product.*", "dataflow.Product.create", own));
        assert!(!heard("dataflow.Product.*", "dataflow.ProductX.create", own));
        assert!(!heard("handler.called", "handler.completed", own));
        assert!(heard("*", "custom", own));
    }

    #[test]
    fn what_is_no_type_is_refused() {
        let many = vec!["a"; 33].join(",");
        for wrong in ["dataflow.*.create", "a b", "**", "*.x", "data*", &many] {
            assert!(Filter::parse(&"acme".into(), Some(wrong)).is_err(), "{wrong}");
        }
    }
}
