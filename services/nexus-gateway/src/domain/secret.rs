//! Secrets that are made here: random, told once, and kept as hashes. They are long enough that a plain SHA-256
//! cannot be turned around.

use sha2::{Digest, Sha256};

/// Bytes of randomness in a secret.
const RANDOM_BYTES: usize = 32;

/// A new secret after `prefix`: 256 random bits in hex.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn new(prefix: &str) -> Result<String, String> {
    let mut bytes = [0; RANDOM_BYTES];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| "no randomness".to_owned())?;
    Ok(bytes
        .iter()
        .fold(prefix.to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

/// What is kept of a secret.
#[must_use]
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_secret_is_new_each_time_and_starts_with_its_prefix() {
        let (one, two) = (super::new("hr_").unwrap(), super::new("hr_").unwrap());
        assert_eq!((one.len(), &one[..3]), (67, "hr_"));
        assert_ne!(one, two);
        assert_ne!(super::hash(&one), super::hash(&two));
    }
}
