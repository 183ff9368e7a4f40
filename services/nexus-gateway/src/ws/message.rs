//! Messages of `/ws`: what a client's text says, and what is said back. No input makes it panic.

use serde_json::{Map, Value, json};

/// The text is no JSON.
pub const PARSE_ERROR: i64 = -32700;
/// The JSON is no call.
pub const INVALID_REQUEST: i64 = -32600;
/// There is no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The call failed; `data` says how, as the HTTP answer would.
pub const FAILED: i64 = -32000;

const MAX_ID_BYTES: usize = 128;
const MAX_METHOD_BYTES: usize = 256;

/// A call: `{"id", "method", "params"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// A text or a whole number, given back as it came.
    pub id: Value,
    pub method: String,
    /// Empty where none were sent.
    pub params: Map<String, Value>,
}

/// A call that failed, or was none.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcError {
    /// The call's, where it could be read; else `null`.
    pub id: Value,
    pub code: i64,
    /// For people.
    pub message: String,
    /// For programs: `{"code", "error", ...}` as in the HTTP answer, with its `status`.
    pub data: Option<Value>,
}

/// Reads a call.
///
/// # Errors
/// [`PARSE_ERROR`], [`INVALID_REQUEST`]. Neither repeats what was sent.
pub fn parse(text: &str) -> Result<Call, RpcError> {
    let sent: Value = serde_json::from_str(text).map_err(|_| RpcError {
        id: Value::Null,
        code: PARSE_ERROR,
        message: "the message is no JSON".to_owned(),
        data: None,
    })?;
    let Value::Object(mut sent) = sent else {
        return Err(invalid(
            Value::Null,
            "expected an object with id, method and params",
        ));
    };
    let id = match sent.remove("id") {
        Some(id) if is_id(&id) => id,
        _ => return Err(invalid(Value::Null, "id: expected a text or a whole number")),
    };
    let method = match sent.remove("method") {
        Some(Value::String(method)) if (1..=MAX_METHOD_BYTES).contains(&method.len()) => method,
        _ => return Err(invalid(id, "method: expected the name of a method")),
    };
    let params = match sent.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(invalid(id, "params: expected an object")),
    };
    Ok(Call { id, method, params })
}

fn is_id(id: &Value) -> bool {
    match id {
        Value::String(text) => text.len() <= MAX_ID_BYTES,
        Value::Number(number) => number.is_i64() || number.is_u64(),
        _ => false,
    }
}

fn invalid(id: Value, message: &str) -> RpcError {
    RpcError {
        id,
        code: INVALID_REQUEST,
        message: message.to_owned(),
        data: None,
    }
}

/// `{"id", "result"}`.
#[must_use]
pub fn result(id: &Value, result: &Value) -> String {
    json!({ "id": id, "result": result }).to_string()
}

/// `{"id", "error": {"code", "message"[, "data"]}}`.
#[must_use]
pub fn error(error: &RpcError) -> String {
    let mut told = json!({ "code": error.code, "message": error.message });
    if let Some(data) = &error.data {
        told["data"] = data.clone();
    }
    json!({ "id": error.id, "error": told }).to_string()
}

/// `{"event", "data"}`: what nobody asked for just now.
#[must_use]
pub fn event(name: &str, data: &Value) -> String {
    json!({ "event": name, "data": data }).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> (i64, Value) {
        let error = parse(text).expect_err(text);
        (error.code, error.id)
    }

    #[test]
    fn a_call_is_read_and_answered_under_its_id() {
        let call = parse(r#"{"id": "a", "method": "ping"}"#).unwrap();
        assert_eq!((&call.id, call.method.as_str()), (&json!("a"), "ping"));
        assert!(call.params.is_empty());
        let call = parse(r#"{"id": 7, "method": "x", "params": {"a": [1]}, "jsonrpc": "2.0"}"#).unwrap();
        assert_eq!(call.params["a"], json!([1]));
        assert_eq!(result(&call.id, &json!({})), r#"{"id":7,"result":{}}"#);
    }

    #[test]
    fn what_is_no_call_is_told_with_the_id_where_it_has_one() {
        for text in ["", "{", "nul", "{\"id\":1,\"method\":\"a\"} x", "\u{feff}{}"] {
            assert_eq!(refused(text), (PARSE_ERROR, Value::Null), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(refused(&deep), (PARSE_ERROR, Value::Null));
        for text in [
            "1",
            "[]",
            r#"[{"id":1,"method":"a"}]"#,
            "{}",
            r#"{"method":"a"}"#,
            r#"{"id":null,"method":"a"}"#,
            r#"{"id":1.5,"method":"a"}"#,
            r#"{"id":{},"method":"a"}"#,
        ] {
            assert_eq!(refused(text), (INVALID_REQUEST, Value::Null), "{text}");
        }
        for text in [
            r#"{"id":1}"#,
            r#"{"id":1,"method":""}"#,
            r#"{"id":1,"method":2}"#,
            r#"{"id":1,"method":"a","params":[]}"#,
        ] {
            assert_eq!(refused(text), (INVALID_REQUEST, json!(1)), "{text}");
        }
        let long = json!({ "id": "x".repeat(129), "method": "a" }).to_string();
        assert_eq!(refused(&long), (INVALID_REQUEST, Value::Null));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("id|method|params|[a-z]{0,3}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[\\[\\]{}\":,0-9a-z\\\\ ]*") {
            if let Err(error) = parse(&text) {
                prop_assert!(!error.message.is_empty());
                prop_assert!(serde_json::from_str::<Value>(&super::error(&error)).is_ok());
            }
        }

        #[test]
        fn a_call_is_what_has_all_parts_and_no_error_loses_a_good_id(value in any_json()) {
            let id = value.get("id").filter(|id| is_id(id));
            match parse(&value.to_string()) {
                Ok(call) => {
                    prop_assert_eq!(Some(&call.id), id);
                    prop_assert_eq!(Some(call.method.as_str()), value["method"].as_str());
                }
                Err(error) => {
                    prop_assert_eq!(error.code, INVALID_REQUEST);
                    prop_assert_eq!(&error.id, id.unwrap_or(&Value::Null));
                }
            }
        }
    }
}
