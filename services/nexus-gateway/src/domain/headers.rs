//! Headers on their way from a caller to a service and back: what must not travel, and what the gateway adds.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, FORWARDED, HOST, UPGRADE},
};

/// Meant for one connection only (RFC 9110 section 7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Beginnings of header names by which services learn who calls and from where: only the gateway may set them.
const IDENTITY: [&str; 8] = [
    "x-user",
    "x-tenant",
    "x-role",
    "x-auth",
    "x-remote-",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
];

/// Credentials stay here, host and length belong to the next connection, and the ids are those that the
/// gateway has given the request.
const RENEWED: [&str; 9] = [
    "authorization",
    "x-api-key",
    "cookie",
    "host",
    "content-length",
    "expect",
    "forwarded",
    "x-request-id",
    "traceparent",
];

const X_USER: HeaderName = HeaderName::from_static("x-user");
const X_TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
const X_ROLE: HeaderName = HeaderName::from_static("x-role");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A user's identity as services receive it.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// The tenant whose data the user sees.
    pub tenant: &'a str,
    /// What the user may do.
    pub role: &'a str,
}

/// Where a call came from, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Whether the client came by TLS.
    pub https: bool,
}

/// Turns a caller's headers into those for a service: without the caller's credentials, claims of identity and
/// of origin, and connection headers; with the identity that was proven and the origin that is known.
pub fn to_service(headers: &mut HeaderMap, identity: Identity<'_>, origin: Origin) {
    let host = headers.remove(HOST);
    drop_named(headers, |name| {
        is_hop_by_hop(name) || RENEWED.contains(&name) || names_identity(name)
    });
    let own = [
        (X_USER, identity.user),
        (X_TENANT, identity.tenant),
        (X_ROLE, identity.role),
    ];
    for (name, value) in own {
        // A name that no header can carry is left out: the service then sees no user, which it refuses.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    tell_origin(headers, origin, host);
}

/// `X-Forwarded-*`, and the same by RFC 7239.
fn tell_origin(headers: &mut HeaderMap, origin: Origin, host: Option<HeaderValue>) {
    let proto = if origin.https { "https" } else { "http" };
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    let mut forwarded = String::with_capacity(96);
    if let Some(client) = origin.client {
        let address = client.to_string();
        match client {
            IpAddr::V4(_) => forwarded.extend(["for=", &address, ";"]),
            // Section 6: colons need brackets, and both need quotes.
            IpAddr::V6(_) => forwarded.extend(["for=\"[", &address, "]\";"]),
        }
        if let Ok(value) = HeaderValue::from_str(&address) {
            headers.insert(X_FORWARDED_FOR, value);
        }
    }
    if let Some(host) = host {
        if let Some(name) = host.to_str().ok().filter(|name| !name.contains(['"', '\\'])) {
            forwarded.extend(["host=\"", name, "\";"]);
        }
        headers.insert(X_FORWARDED_HOST, host);
    }
    forwarded.extend(["proto=", proto]);
    if let Ok(value) = HeaderValue::from_maybe_shared(forwarded.into_bytes()) {
        headers.insert(FORWARDED, value);
    }
}

/// Turns a service's headers into those for the caller.
pub fn to_caller(headers: &mut HeaderMap) {
    drop_named(headers, is_hop_by_hop);
}

/// Whether a call asks for another protocol than HTTP on its connection.
#[must_use]
pub fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    headers.get(UPGRADE).is_some_and(websocket)
}

fn names_identity(name: &str) -> bool {
    // Some servers read underscores as dashes.
    let is_dash = |byte: u8| byte == b'-' || byte == b'_';
    let begins = |beginning: &str| {
        let pairs = name.bytes().zip(beginning.bytes());
        name.len() >= beginning.len()
            && pairs
                .into_iter()
                .all(|(n, b)| n == b || (is_dash(n) && is_dash(b)))
    };
    name.starts_with('x') && IDENTITY.iter().any(|beginning| begins(beginning))
}

fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// Drops the headers of these names, and those that `Connection` names. A call has few headers: they are looked
/// through, not asked for one by one.
fn drop_named(headers: &mut HeaderMap, goes: impl Fn(&str) -> bool) {
    let listed = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok());
    let going: Vec<HeaderName> = headers
        .keys()
        .filter(|name| goes(name.as_str()))
        .cloned()
        .chain(listed)
        .collect();
    for name in going {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Identity<'_> = Identity {
        user: "ada",
        tenant: "default",
        role: "admin",
    };

    const ORIGIN: Origin = Origin {
        client: Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9))),
        https: true,
    };

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn forged_identities_are_replaced() {
        let mut sent = headers(&[
            ("x-user", "root"),
            ("x-user", "root again"),
            ("x-user-id", "0"),
            ("x_user", "0"),
            ("x-tenant-id", "other"),
            ("x-roles", "all"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x-forwarded-host", "evil"),
            ("x-real-ip", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("host", "api.example"),
            ("authorization", "Bearer t"),
            ("x-api-key", "k"),
            ("cookie", "a=b"),
            ("accept", "text/html"),
        ]);
        to_service(&mut sent, ADA, ORIGIN);
        let mut left: Vec<(&str, &str)> = sent
            .iter()
            .map(|(n, v)| (n.as_str(), v.to_str().unwrap()))
            .collect();
        left.sort_unstable();
        let expected = [
            ("accept", "text/html"),
            ("forwarded", "for=203.0.113.9;host=\"api.example\";proto=https"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-host", "api.example"),
            ("x-forwarded-proto", "https"),
            ("x-role", "admin"),
            ("x-tenant-id", "default"),
            ("x-user", "ada"),
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn connection_headers_do_not_travel() {
        let mut sent = headers(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-type", "application/json"),
        ]);
        to_caller(&mut sent);
        assert_eq!(
            sent.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["content-type"]
        );
    }
}
