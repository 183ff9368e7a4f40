//! One key for a definition: two that mean the same have the same, in whatever order their keys were written.

use contract::workflow::Definition;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256 of the definition's canonical JSON, 64 hex digits.
///
/// # Errors
/// The definition cannot be written as JSON.
pub(crate) fn of(definition: &Definition) -> Result<String, serde_json::Error> {
    let mut canonical = String::new();
    write(&serde_json::to_value(definition)?, &mut canonical);
    let digest = Sha256::digest(canonical.as_bytes());
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// JSON without spaces, keys in order.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, member) in members {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(member, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write(item, out);
                out.push(',');
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(json: &str) -> String {
        of(&serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn order_of_keys_does_not_matter_and_content_does() {
        let one = r#"{"name":"a","nodes":[{"id":"n","type":"T","config":{"x":1,"y":2}}]}"#;
        let other = r#"{"nodes":[{"type":"T","config":{"y":2,"x":1},"id":"n"}],"name":"a"}"#;
        let third = r#"{"name":"a","nodes":[{"id":"n","type":"T","config":{"x":1,"y":3}}]}"#;
        assert_eq!(fingerprint(one), fingerprint(other));
        assert_ne!(fingerprint(one), fingerprint(third));
        assert_eq!(fingerprint(one).len(), 64);
    }
}
