//! Roles: what a user may do. Each may do what the ones before it may.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a user may do; ordered, so that `role >= Role::Deployer` is the question to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs workflows and works with data.
    User,
    /// Registers and removes workflows, too.
    Deployer,
    /// Manages users and reads the audit log, too.
    Admin,
}

impl Role {
    /// The role's word, as in tokens, headers and the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Deployer => "deployer",
            Self::Admin => "admin",
        }
    }

    /// The role of this word; nobody has one that is not listed.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::User, Self::Deployer, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn roles_are_ordered_and_known_by_their_words() {
        assert!(Role::User < Role::Deployer && Role::Deployer < Role::Admin);
        for role in [Role::User, Role::Deployer, Role::Admin] {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        for wrong in ["", "Admin", "root", "admin "] {
            assert_eq!(Role::parse(wrong), None, "{wrong}");
        }
    }
}
