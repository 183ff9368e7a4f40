//! The gateway's rules, free of HTTP servers and databases: passwords, keys and tokens, and what may be passed on.

pub mod apikey;
pub mod breaker;
pub mod call;
pub mod client;
pub mod crypto;
pub mod forwarding;
pub mod headers;
pub mod interest;
pub mod jwks;
pub mod keys;
pub mod limits;
pub mod origins;
pub mod password;
pub mod pem;
pub mod roles;
pub mod secret;
pub mod token;
pub mod verified;
