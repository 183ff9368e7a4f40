//! Key sets of other issuers (RFC 7517 section 5): RSA and P-256 keys for signatures. What else a set holds is
//! passed over, as section 5 asks.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;

use super::keys::Key;

/// Keys of a set that are kept.
const MOST_KEYS: usize = 64;

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// The usable keys of a set.
///
/// # Errors
/// It is no key set, or holds no key that can be used.
pub fn keys(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let set: Set = serde_json::from_slice(bytes).map_err(|_| "it is no JSON Web Key Set".to_owned())?;
    let keys: Vec<Key> = set.keys.into_iter().filter_map(usable).take(MOST_KEYS).collect();
    if keys.is_empty() {
        return Err("it holds no RSA or P-256 key for signatures".to_owned());
    }
    Ok(keys)
}

/// The algorithm follows from the key, never from the token: an `alg` of the key that says otherwise rules it out.
fn usable(value: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let fits = common.key_algorithm.is_none_or(|said| said == named)
        && matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| fits)?;
    Some(Key::public(common.key_id.clone(), algorithm, key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const N: &str = "sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1WlUzewbgBHod5pcM9H95GQRV3JDXboIRROSBigeC5yjU1hGzHHyXss8UDprecbAYxknTcQkhslANGRUZmdTOQ5qTRsLAt6BTYuyvVRdhS8exSZEy_c4gs_7svlJJQ4H9_NxsiIoLwAEk7-Q3UXERGYw_75IDrGA84-lA_-Ct4eTlXHBIY2EaV7t7LjJaynVJCpkv4LKjTTAumiGUIuQhrNhZLuF_RJLqHpM2kgWFLU7-VTdL1VbC2tejvcI2BlMkEpk1BzBZI0KQB0GaDWFLN-aEAw3vRw";

    #[test]
    fn what_cannot_be_used_is_passed_over() {
        let rsa = json!({ "kty": "RSA", "kid": "a", "use": "sig", "n": N, "e": "AQAB" });
        let with = |name: &str, value: &str| {
            let mut other = rsa.clone();
            other[name] = json!(value);
            other
        };
        let set = json!({ "keys": [
            rsa,
            with("alg", "RS512"),
            with("alg", "HS256"),
            with("use", "enc"),
            with("kty", "XYZ"),
            { "kty": "oct", "kid": "b", "k": "AAAA" },
            { "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" },
            { "kty": "RSA", "n": "!", "e": "AQAB" },
            "x",
        ] });
        let found = keys(set.to_string().as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].kid(), found[0].algorithm()),
            (Some("a"), Algorithm::RS256)
        );
    }

    #[test]
    fn a_set_without_keys_is_refused() {
        for wrong in ["", "{}", "[]", "{\"keys\":[]}", "{\"keys\":{}}"] {
            assert!(keys(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
