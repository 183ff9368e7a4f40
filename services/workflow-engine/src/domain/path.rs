//! Dotted paths into JSON: `product.tags.0`. A segment is an object's key or an array's index.

use serde_json::{Map, Value};

/// Whether it is a path: segments that are not empty, joined by dots.
pub(crate) fn is_path(text: &str) -> bool {
    text.len() <= 256
        && text
            .split('.')
            .all(|segment| !segment.is_empty() && segment.trim() == segment)
}

/// The value at `path`. A key that holds dots itself wins over the way through objects.
pub(crate) fn get<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let mut segments = path.split('.');
    let mut value = object.get(segments.next()?)?;
    for segment in segments {
        value = match value {
            Value::Object(inner) => inner.get(segment)?,
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_go_through_objects_and_arrays() {
        let value = json!({ "a": { "b": [1, { "c": "x" }] }, "d.e": 2 });
        let object = value.as_object().unwrap();
        assert_eq!(get(object, "a.b.1.c"), Some(&json!("x")));
        assert_eq!(get(object, "d.e"), Some(&json!(2)));
        for absent in ["a.x", "a.b.7", "a.b.x", "a.b.0.c", ""] {
            assert_eq!(get(object, absent), None, "{absent}");
        }
        assert!(is_path("a.b") && !is_path("") && !is_path("a..b") && !is_path("a. b"));
    }
}
