//! What can go wrong with a session. Who answers a caller chooses the words.

use std::fmt;

/// A call to the store that did not do what was asked.
#[derive(Debug)]
pub enum Error {
    /// No such session, or not one of this owner: the two are not told apart.
    NotFound,
    /// Somebody else wrote since `expected_version`.
    Changed {
        /// The session's version now.
        version: u64,
    },
    /// What the session would hold is more than this many bytes; or one write names more than [`crate::MAX_NAMES`].
    TooLarge {
        /// [`crate::MAX_DATA_BYTES`].
        limit: usize,
    },
    /// The user has this many sessions already.
    TooMany {
        /// [`crate::Limits::per_user`].
        limit: u64,
    },
    /// Redis does not answer, or refuses.
    Store(redis::RedisError),
    /// Redis answered what no session is made of.
    Malformed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such session"),
            Self::Changed { version } => {
                write!(f, "the session was changed meanwhile and is at version {version}")
            }
            Self::TooLarge { limit } => write!(
                f,
                "a session holds at most {limit} bytes, and one write has at most {} names",
                crate::MAX_NAMES
            ),
            Self::TooMany { limit } => write!(f, "a user has at most {limit} sessions; end one first"),
            Self::Store(error) => write!(f, "the session store does not answer: {error}"),
            Self::Malformed(what) => write!(f, "the session store holds no session: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<redis::RedisError> for Error {
    fn from(error: redis::RedisError) -> Self {
        Self::Store(error)
    }
}
