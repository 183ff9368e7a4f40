//! The gateway's rules, free of HTTP servers and databases: passwords, tokens, and what may be passed on.

pub mod forwarding;
pub mod hs256;
pub mod password;
pub mod token;
