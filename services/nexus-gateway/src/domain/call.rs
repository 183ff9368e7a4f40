//! What a caller may name and send to a workflow: limits of names and inputs, the same on every channel.

use std::fmt::Write;

use contract::workflow::ExecuteCall;
use serde_json::{Map, Value};

/// Longest name of a workflow, in bytes.
pub const LONGEST_NAME: usize = 128;
/// Longest key of an input, in bytes.
const LONGEST_KEY: usize = 256;
/// What no workflow's name may contain, besides control characters.
const FORBIDDEN: &str = "/\\<>|&;$`!*?";
/// Keys that no input may have, besides those that begin with `__`.
const FORBIDDEN_KEYS: [&str; 3] = ["eval", "exec", "compile"];

/// Why a call is refused, in public words; always 422.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// For programs: `NAME_INVALID`, `NAME_RESERVED`, `INPUTS_INVALID`, `CALL_INVALID`, `EXECUTION_ID_INVALID`.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// What is meant, such as `inputs.__class__`.
    pub field: Option<String>,
}

impl Refused {
    fn new(code: &'static str, message: impl Into<String>, field: Option<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field,
        }
    }
}

/// Whether a text may name a workflow, a signal or a query.
///
/// # Errors
/// `NAME_INVALID`: empty, too long, a path of its own, or with a forbidden character.
pub fn name(text: &str) -> Result<(), Refused> {
    let refused = |message: String| Err(Refused::new("NAME_INVALID", message, None));
    if text.is_empty() || text.len() > LONGEST_NAME {
        return refused(format!("a name has 1 to {LONGEST_NAME} bytes"));
    }
    if let Some(wrong) = text
        .chars()
        .find(|letter| letter.is_control() || FORBIDDEN.contains(*letter))
    {
        return refused(format!("a name has no {wrong:?}"));
    }
    if matches!(text, "." | "..") {
        return refused("a name is no path".to_owned());
    }
    Ok(())
}

/// Whether a text may name a workflow that is new: one that is called like a method of `/ws` could not be run there.
///
/// # Errors
/// As of [`name`]; `NAME_RESERVED`.
pub fn new_name(text: &str) -> Result<(), Refused> {
    name(text)?;
    if !is_ours(text) {
        return Ok(());
    }
    let message = "ping, subscribe, unsubscribe and names that begin with workflow. or session. are methods of /ws; \
                   give the workflow another name";
    Err(Refused::new("NAME_RESERVED", message, Some("name".to_owned())))
}

/// Whether a method of `/ws` is one of the gateway's own, or may become one: no workflow is called so.
#[must_use]
pub fn is_ours(method: &str) -> bool {
    matches!(method, "ping" | "subscribe" | "unsubscribe")
        || method.starts_with("workflow.")
        || method.starts_with("session.")
}

/// Whether a text may name a run.
///
/// # Errors
/// `EXECUTION_ID_INVALID`: not 1 to 64 letters, digits or dashes.
pub fn execution_id(text: &str) -> Result<(), Refused> {
    let letters = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if (1..=64).contains(&text.len()) && letters {
        return Ok(());
    }
    let message = "an execution's id has 1 to 64 letters, digits or dashes";
    Err(Refused::new("EXECUTION_ID_INVALID", message, None))
}

/// Reads the body of a run: `{"inputs"?, "parameters"?, "config"?, "mode"?}`; null is an empty one.
///
/// # Errors
/// `CALL_INVALID` or `INPUTS_INVALID`, with the field.
pub fn read(body: Value) -> Result<ExecuteCall, Refused> {
    let Value::Object(fields) = body else {
        if body.is_null() {
            return Ok(ExecuteCall::default());
        }
        return Err(Refused::new("CALL_INVALID", "the body is no object", None));
    };
    for slot in ["inputs", "parameters", "config"] {
        if fields
            .get(slot)
            .is_some_and(|value| !value.is_object() && !value.is_null())
        {
            let code = if slot == "config" {
                "CALL_INVALID"
            } else {
                "INPUTS_INVALID"
            };
            let message = format!("{slot} is no object");
            return Err(Refused::new(code, message, Some(slot.to_owned())));
        }
    }
    let call: ExecuteCall = serde_json::from_value(Value::Object(fields))
        .map_err(|error| Refused::new("CALL_INVALID", error.to_string(), None))?;
    limits(&call)?;
    Ok(call)
}

/// The call of a channel with a single slot (CLI, WebSocket): bound flat and, as a whole, under `parameters`.
///
/// # Errors
/// `INPUTS_INVALID`, with the field.
pub fn envelope(parameters: Map<String, Value>) -> Result<ExecuteCall, Refused> {
    let call = ExecuteCall {
        parameters: Some(parameters),
        ..ExecuteCall::default()
    };
    limits(&call)?;
    Ok(call)
}

fn limits(call: &ExecuteCall) -> Result<(), Refused> {
    let slots = [("inputs", &call.inputs), ("parameters", &call.parameters)];
    for (slot, values) in slots {
        for key in values.iter().flat_map(Map::keys) {
            let what = if key.len() > LONGEST_KEY {
                format!("a key has at most {LONGEST_KEY} bytes")
            } else if key.starts_with("__") || FORBIDDEN_KEYS.contains(&key.as_str()) {
                "no input may have this name".to_owned()
            } else {
                continue;
            };
            let shown: String = key.chars().take(64).collect();
            return Err(Refused::new(
                "INPUTS_INVALID",
                what,
                Some(format!("{slot}.{shown}")),
            ));
        }
    }
    Ok(())
}

/// A name as one segment of a path (RFC 3986 section 2.1): all but unreserved characters are escaped.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use contract::workflow::Mode;
    use serde_json::json;

    use super::*;

    #[test]
    fn names_have_limits() {
        for right in ["a", "order intake", "größe-1.2", &"n".repeat(128)] {
            assert_eq!(name(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            ".",
            "..",
            "a/b",
            "a?b",
            "$(x)",
            "a`b",
            "a\nb",
            &"n".repeat(129),
        ] {
            assert_eq!(
                name(wrong).map_err(|refused| refused.code),
                Err("NAME_INVALID"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_run_is_named_by_letters_digits_and_dashes() {
        assert_eq!(execution_id("0197c1c2-7a4e-7000-8000-000000000000"), Ok(()));
        for wrong in ["", "a/b", "a:b", "a b", &"a".repeat(65)] {
            assert!(execution_id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_body_may_be_absent_and_has_objects_alone() {
        let call = read(Value::Null).unwrap();
        assert!(call.inputs.is_none() && call.parameters.is_none() && call.mode == Mode::Sync);
        let call = read(json!({ "inputs": { "a": 1 }, "parameters": null, "mode": "async" })).unwrap();
        assert_eq!(
            (call.inputs.unwrap()["a"].clone(), call.mode),
            (json!(1), Mode::Async)
        );
        let refused = |body: Value| {
            let refused = read(body).unwrap_err();
            (refused.code, refused.field.unwrap_or_default())
        };
        assert_eq!(
            refused(json!({ "inputs": [1] })),
            ("INPUTS_INVALID", "inputs".into())
        );
        assert_eq!(refused(json!([])), ("CALL_INVALID", String::new()));
        assert_eq!(
            refused(json!({ "mode": "later" })),
            ("CALL_INVALID", String::new())
        );
        assert_eq!(refused(json!({ "imputs": {} })), ("CALL_INVALID", String::new()));
    }

    #[test]
    fn dangerous_and_endless_keys_are_refused() {
        for key in ["__class__", "eval", "exec", "compile", &"k".repeat(257)] {
            for slot in ["inputs", "parameters"] {
                let refused = read(json!({ slot: { key: 1 } })).unwrap_err();
                assert_eq!(refused.code, "INPUTS_INVALID", "{slot} {key}");
                assert!(refused.field.unwrap().len() < 90);
            }
        }
        assert!(read(json!({ "inputs": { "evaluate": 1, "_a": 2 } })).is_ok());
    }

    #[test]
    fn a_segment_stays_one_segment() {
        assert_eq!(segment("a b/ü%2e"), "a%20b%2F%C3%BC%252e");
    }
}
