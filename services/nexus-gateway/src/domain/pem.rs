//! Public keys in PEM (RFC 7468), as `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7): RSA and P-256.

use jsonwebtoken::{Algorithm, DecodingKey};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};

use super::keys::Key;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// The algorithm identifier of an RSA key: 1.2.840.113549.1.1.1, NULL (RFC 3279 section 2.3.1).
const RSA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// That of a key on P-256: 1.2.840.10045.2.1, 1.2.840.10045.3.1.7 (RFC 5480 section 2.1.1).
const P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
/// Keys that are read from one setting.
const MOST_KEYS: usize = 16;

/// The keys of a text that holds `-----BEGIN PUBLIC KEY-----` once or several times.
///
/// # Errors
/// What is wrong with which of them, in words that hold no key.
pub fn public_keys(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for (index, found) in SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes()).enumerate() {
        let number = index + 1;
        if number > MOST_KEYS {
            return Err(format!("expected at most {MOST_KEYS} public keys"));
        }
        let der = found.map_err(|_| format!("key {number} is no PEM"))?;
        let key = public_key(&der).ok_or_else(|| {
            format!("key {number} is neither an RSA key of 2048 bits or more nor one on P-256")
        })?;
        keys.push(key);
    }
    if keys.is_empty() {
        return Err("expected -----BEGIN PUBLIC KEY-----".to_owned());
    }
    Ok(keys)
}

fn public_key(der: &[u8]) -> Option<Key> {
    let (info, rest) = value(SEQUENCE, der)?;
    let (algorithm, bits) = value(SEQUENCE, info)?;
    let (key, end) = value(BIT_STRING, bits)?;
    // The first byte counts the unused bits of the last: none.
    let (0, key) = key.split_first().map(|(unused, key)| (*unused, key))? else {
        return None;
    };
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    match algorithm {
        RSA => (key.len() > 256).then(|| Key::public(None, Algorithm::RS256, DecodingKey::from_rsa_der(key))),
        P256 => (key.len() == 65).then(|| Key::public(None, Algorithm::ES256, DecodingKey::from_ec_der(key))),
        _ => None,
    }
}

/// The value with this tag at the beginning of DER (X.690 section 8.1), and what follows it.
fn value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (
            usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])),
            &rest[2..],
        ),
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA_PEM: &str = include_str!("../../tests/keys/for-tests-only.rsa.pub.pem");
    /// The example of RFC 7517 appendix A.1 as `SubjectPublicKeyInfo`.
    const P256_PEM: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMKBCTNIcKUSDii11ySs3526iDZ8A
iTo7Tu6KPAqv7D7gS2XpJFbZiItSs3m9+9Ue6GnvHw/GW2ZZaVtszggXIw==
-----END PUBLIC KEY-----
";
    const ED25519_PEM: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

    fn algorithms(text: &str) -> Result<Vec<Algorithm>, String> {
        let keys = public_keys(text)?;
        Ok(keys.iter().map(Key::algorithm).collect())
    }

    #[test]
    fn several_keys_are_read_each_with_its_algorithm() {
        let text = format!("a comment\n{RSA_PEM}\n{P256_PEM}");
        assert_eq!(algorithms(&text), Ok(vec![Algorithm::RS256, Algorithm::ES256]));
    }

    #[test]
    fn what_is_no_usable_key_is_refused() {
        let truncated = RSA_PEM.replacen("MIIB", "MIIC", 1);
        for wrong in [
            "",
            "x",
            ED25519_PEM,
            &truncated,
            &format!("{P256_PEM}{ED25519_PEM}"),
        ] {
            assert!(algorithms(wrong).is_err(), "{wrong}");
        }
        assert!(
            algorithms(&format!("{P256_PEM}{ED25519_PEM}"))
                .unwrap_err()
                .starts_with("key 2 ")
        );
        assert!(algorithms(&P256_PEM.repeat(MOST_KEYS + 1)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = public_key(&bytes);
            for tag in [SEQUENCE, BIT_STRING] {
                let _ = value(tag, &bytes);
            }
        }
    }
}
