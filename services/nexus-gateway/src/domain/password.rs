//! Passwords: argon2id hashes in PHC string form (RFC 9106), with the library's default costs
//! (19 MiB, 2 passes, 1 lane: the first choice of OWASP's cheat sheet).

use std::sync::LazyLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};

/// Shorter ones are refused where a password is set.
pub const MIN_PASSWORD_BYTES: usize = 12;

/// Longer ones are refused before any hashing, so that nobody buys time with megabytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Whether `name` can be a user's: 1 to 64 ASCII letters, digits or `_ . @ -`, the first a letter or digit.
#[must_use]
pub fn is_username(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@-".contains(&byte);
    (1..=64).contains(&name.len()) && name.as_bytes()[0].is_ascii_alphanumeric() && name.bytes().all(allowed)
}

/// Whether a password may be set: by its length alone (NIST SP 800-63B section 5.1.1.2: no rules of composition).
#[must_use]
pub fn is_acceptable(password: &str) -> bool {
    (MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES).contains(&password.len())
}

/// Of a password that nobody has: verified against when the user is unknown, so that the time of an answer
/// does not tell which names exist.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash("nobody has this password").unwrap_or_default());

/// Hashes `password` with a fresh random salt. Takes tens of milliseconds: not on an async thread.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn hash(password: &str) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
}

/// Whether `password` belongs to `stored`. With no stored hash the same work is done, in vain.
#[must_use]
pub fn verify(password: &str, stored: Option<&str>) -> bool {
    let known = stored.is_some();
    let Ok(parsed) = PasswordHash::new(stored.unwrap_or(&NOBODY)) else {
        return false;
    };
    Argon2::default()
        .verify_password(password.as_bytes(), &parsed)
        .is_ok()
        && known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_argon2id_and_salted() {
        let (one, two) = (hash("secret").unwrap(), hash("secret").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
    }

    #[test]
    fn usernames_are_plain() {
        assert!(
            ["ada", "ada.l@example.org", "7-up"]
                .iter()
                .all(|name| is_username(name))
        );
        assert!(
            !["", ".ada", "ada l", "ädа", "a\n"]
                .iter()
                .any(|name| is_username(name))
        );
        assert!(!is_username(&"a".repeat(65)));
    }

    #[test]
    fn only_the_password_itself_fits() {
        let stored = hash("secret").unwrap();
        assert!(verify("secret", Some(&stored)));
        assert!(!verify("Secret", Some(&stored)));
        assert!(!verify("secret", Some("not a hash")));
        assert!(!verify("nobody has this password", None));
    }
}
