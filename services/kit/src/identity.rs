//! Whom a request speaks for, as the gateway proved it. Services behind the gateway trust these headers, since
//! only it can reach them; the gateway itself never reads them.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

const USER: HeaderName = HeaderName::from_static("x-user");
const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
const ROLE: HeaderName = HeaderName::from_static("x-role");
/// Longer tenants than this are no tenants.
const LONGEST_TENANT: usize = 64;

/// Whom a request speaks for. What was not sent, or is malformed, is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name of the user.
    pub user: Option<String>,
    /// The tenant whose data is meant: a letter or digit, then letters, digits, `_` or `-`, 64 at most.
    pub tenant: Option<String>,
    /// What the user may do.
    pub role: Option<String>,
}

impl Identity {
    /// Reads `X-User`, `X-Tenant-ID` and `X-Role`.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.to_owned()).filter(|value| !value.is_empty())
        };
        Identity {
            user: text(&USER),
            tenant: text(&TENANT).filter(|tenant| is_tenant(tenant)),
            role: text(&ROLE),
        }
    }

    /// The headers for a call on behalf of this identity.
    pub fn headers(&self) -> HeaderMap {
        let pairs = [(USER, &self.user), (TENANT, &self.tenant), (ROLE, &self.role)];
        pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value.as_deref()?).ok()?)))
            .collect()
    }
}

/// Whether a text may name a tenant.
pub fn is_tenant(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric();
    text.len() <= LONGEST_TENANT
        && text.bytes().next().is_some_and(word)
        && text
            .bytes()
            .all(|byte| word(byte) || byte == b'_' || byte == b'-')
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Identity::from_headers(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read_and_sent_on() {
        let identity = Identity {
            user: Some("ada".into()),
            tenant: Some("acme".into()),
            role: None,
        };
        assert_eq!(Identity::from_headers(&identity.headers()), identity);
    }

    #[test]
    fn a_malformed_tenant_is_none() {
        for wrong in ["", "-a", "a b", "a'; drop", &"a".repeat(65)] {
            assert!(!is_tenant(wrong), "{wrong}");
        }
        for right in ["a", "default", "A1_b-c", &"a".repeat(64)] {
            assert!(is_tenant(right), "{right}");
        }
    }
}
