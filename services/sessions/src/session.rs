//! What a session is, and what may be asked of it: words and shapes only.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Whose session it is: nobody else sees that it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Name of the user.
    pub user: String,
    /// The tenant for which the user acts.
    pub tenant: String,
}

/// A way by which a user reaches the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// HTTP.
    Api,
    /// `/ws`.
    Websocket,
    /// The command line.
    Cli,
    /// The Model Context Protocol.
    Mcp,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Api, Self::Websocket, Self::Cli, Self::Mcp];

    /// As it is written everywhere.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Websocket => "websocket",
            Self::Cli => "cli",
            Self::Mcp => "mcp",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Channel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut known = Self::ALL.into_iter();
        known.find(|channel| channel.name() == text).ok_or(())
    }
}

/// When a session ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `ttl` after the last access.
    Sliding,
    /// `ttl` after it was made.
    Fixed,
}

impl Mode {
    /// As it is written everywhere.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sliding => "sliding",
            Self::Fixed => "fixed",
        }
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut known = [Self::Sliding, Self::Fixed].into_iter();
        known.find(|mode| mode.name() == text).ok_or(())
    }
}

/// How a session is. Those that have expired or were ended are gone, and so have no word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Used within the last five minutes.
    Active,
    /// Not used since.
    Idle,
}

/// A session, as services.md section 1.3 describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// 128 random bits, 32 hex digits.
    pub session_id: String,
    pub user_id: String,
    pub tenant: String,
    /// RFC 3339, UTC; so are the next two.
    pub created_at: String,
    pub last_activity: String,
    pub expires_at: String,
    /// Seconds.
    pub ttl: u64,
    pub mode: Mode,
    pub status: Status,
    /// Channels that have used it.
    pub active_channels: Vec<Channel>,
    /// What a channel said of itself when it joined, by its name.
    #[schema(value_type = Object)]
    pub channel_contexts: Map<String, Value>,
    /// What all channels share.
    #[schema(value_type = Object)]
    pub shared_data: Map<String, Value>,
    /// Where workflows that were run in it stand, by a name of the caller's choice.
    #[schema(value_type = Object)]
    pub workflow_states: Map<String, Value>,
    /// Entries in its history, 1000 at most.
    pub event_count: u64,
    /// Grows by one with every change of what it holds.
    pub version: u64,
}

/// One entry of a session's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// RFC 3339, UTC.
    pub at: String,
    /// `session.created`, `session.updated` or `channel.joined`.
    #[serde(rename = "type")]
    pub kind: String,
    pub channel: Channel,
}

/// A session that is to be made.
#[derive(Debug, Clone)]
pub struct New {
    /// How long it lives, in the sense of `mode`.
    pub ttl: Duration,
    pub mode: Mode,
    /// The channel that makes it.
    pub channel: Channel,
    pub shared_data: Map<String, Value>,
}

/// A change of what a session holds. Names are replaced one by one, as a whole; `null` takes one away
/// (RFC 7396 at the first level).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    #[serde(default)]
    #[schema(value_type = Object)]
    pub shared_data: Map<String, Value>,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub workflow_states: Map<String, Value>,
    /// Refuses the change where the session is at another version.
    #[serde(default)]
    pub expected_version: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_in_paths_and_in_json() {
        for channel in Channel::ALL {
            assert_eq!(channel.name().parse(), Ok(channel));
            assert_eq!(serde_json::to_value(channel).unwrap(), channel.name());
        }
        for mode in [Mode::Sliding, Mode::Fixed] {
            assert_eq!(mode.name().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
        }
        assert_eq!("API".parse::<Channel>(), Err(()));
    }

    #[test]
    fn a_patch_with_an_unknown_part_is_none() {
        let wrong = serde_json::from_str::<Patch>(r#"{"shared": {}}"#);
        assert!(wrong.is_err());
    }
}
