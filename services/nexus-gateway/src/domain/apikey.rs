//! API keys: `hk_<id>_<secret>`. The id is public and names the key; the whole is told once and kept as a hash.

use super::secret;

const PREFIX: &str = "hk_";
const ID_CHARS: usize = 12;
const SECRET_CHARS: usize = 64;
/// Longer names of keys are refused.
const MAX_NAME_CHARS: usize = 64;

/// A key that was just made.
#[derive(Debug)]
pub struct New {
    /// Its public name.
    pub id: String,
    /// The whole, for its owner alone.
    pub key: String,
}

/// A new key.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn new() -> Result<New, String> {
    let id = secret::new("")?[..ID_CHARS].to_owned();
    let key = secret::new(&format!("{PREFIX}{id}_"))?;
    Ok(New { id, key })
}

/// The id of a key of the right form; only such a key is looked for.
#[must_use]
pub fn id(key: &str) -> Option<&str> {
    let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
    (is_id(id) && secret.len() == SECRET_CHARS && is_hex(secret)).then_some(id)
}

/// Whether a key can have this id.
#[must_use]
pub fn is_id(id: &str) -> bool {
    id.len() == ID_CHARS && is_hex(id)
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether a key may be called so: 1 to 64 characters, none of them a control character.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let chars = name.chars().count();
    (1..=MAX_NAME_CHARS).contains(&chars) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_holds_its_id() {
        let made = new().unwrap();
        assert_eq!(id(&made.key), Some(made.id.as_str()));
    }

    #[test]
    fn what_is_no_key_has_no_id() {
        let good = new().unwrap().key;
        let long = format!("{good}0");
        let upper = good.to_uppercase();
        for wrong in ["", "hk_", "hk__", "hk_a_b", &good[1..], &long, &upper, "hk_äöü_"] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
    }
}
