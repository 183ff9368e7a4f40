//! The page that shows the OpenAPI document: made once, of HTML and a style sheet alone. It needs no script, and its
//! policy allows none.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("docs.css");
const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

/// The page for a document.
pub(crate) fn page(document: &Value) -> String {
    let info = &document["info"];
    let tags = document["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    let links: String = tags
        .iter()
        .map(|tag| format!("<a href=\"#{0}\">{0}</a> ", text(&tag["name"])))
        .collect();
    let sections: String = tags.iter().map(|tag| section(tag, document)).collect();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\
         <h1>{title} <small>{version}</small></h1><p>{about}</p>\
         <p>The same for programs: <a href=\"/openapi.json\">/openapi.json</a> (OpenAPI {openapi}).</p>\
         <nav>{links}<a href=\"#schemas\">schemas</a></nav>{sections}\
         <h2 id=\"schemas\">schemas</h2>{schemas}</body></html>",
        title = text(&info["title"]),
        version = text(&info["version"]),
        about = text(&info["description"]),
        openapi = text(&document["openapi"]),
        schemas = schemas(document),
    )
}

/// The policy under which the page's own style alone works.
pub(crate) fn policy() -> String {
    let hash = base64(&Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn section(tag: &Value, document: &Value) -> String {
    let operations: String = entries(&document["paths"])
        .flat_map(|(path, item)| METHODS.map(|method| (path, method, &item[method])))
        .filter(|(.., operation)| operation["tags"][0] == tag["name"])
        .map(|(path, method, operation)| shown(path, method, operation, document))
        .collect();
    let name = text(&tag["name"]);
    format!(
        "<section><h2 id=\"{name}\">{name}</h2><p>{}</p>{operations}</section>",
        text(&tag["description"])
    )
}

fn shown(path: &str, method: &str, operation: &Value, document: &Value) -> String {
    let needed = operation.get("security").unwrap_or(&document["security"]);
    let public = needed
        .as_array()
        .is_some_and(|needed| needed.iter().any(|one| entries(one).count() == 0));
    let credential = if public {
        "No credential is needed."
    } else {
        "Needs a credential."
    };
    format!(
        "<details><summary><b>{method}</b><code>{path}</code><span>{summary}</span></summary><div>\
         <p>{description} {credential}</p>{parameters}{body}{responses}</div></details>",
        method = method.to_uppercase(),
        path = escaped(path),
        summary = text(&operation["summary"]),
        description = text(&operation["description"]),
        parameters = parameters(&operation["parameters"]),
        body = body(&operation["requestBody"]),
        responses = responses(&operation["responses"]),
    )
}

fn parameters(all: &Value) -> String {
    let rows: Vec<[String; 3]> = (all.as_array().into_iter().flatten())
        .map(|one| {
            let place = format!("{}, {}", text(&one["in"]), kind(&one["schema"]));
            [code(&text(&one["name"])), place, text(&one["description"])]
        })
        .collect();
    table("Parameters", &["name", "where, what", ""], &rows)
}

fn body(body: &Value) -> String {
    let rows: Vec<[String; 3]> = entries(&body["content"])
        .map(|(media, content)| {
            [
                code(&escaped(media)),
                kind(&content["schema"]),
                text(&body["description"]),
            ]
        })
        .collect();
    table("Body", &["media type", "what", ""], &rows)
}

fn responses(all: &Value) -> String {
    let rows: Vec<[String; 3]> = entries(all)
        .map(|(status, response)| {
            let what = entries(&response["content"]).map(|(_, content)| kind(&content["schema"]));
            let what: Vec<String> = what.collect();
            [
                code(&escaped(status)),
                what.join(" or "),
                text(&response["description"]),
            ]
        })
        .collect();
    table("Answers", &["status", "what", ""], &rows)
}

fn schemas(document: &Value) -> String {
    entries(&document["components"]["schemas"])
        .map(|(name, schema)| {
            let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
            let rows: Vec<[String; 3]> = entries(&schema["properties"])
                .map(|(property, schema)| {
                    let must = required.iter().any(|one| one == property);
                    let kind = format!("{}{}", kind(schema), if must { ", required" } else { "" });
                    [code(&escaped(property)), kind, text(&schema["description"])]
                })
                .collect();
            let fields = match rows[..] {
                [] => format!("<p>{}</p>", kind(schema)),
                _ => table("", &["field", "what", ""], &rows),
            };
            format!(
                "<details id=\"{name}\"><summary><code>{name}</code><span>{}</span></summary><div>{fields}</div></details>",
                text(&schema["description"]),
                name = escaped(name),
            )
        })
        .collect()
}

/// A schema in a few words, with a link where it has a name.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#{0}\">{0}</a>", escaped(name));
    }
    for (word, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        if let Some(parts) = schema[word].as_array() {
            return parts.iter().map(kind).collect::<Vec<_>>().join(between);
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .map(|word| code(&text(word)))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let types: Vec<String> = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect(),
        Value::Null => vec!["any value".to_owned()],
        one => vec![text(one)],
    };
    match (schema.get("items"), schema.get("additionalProperties")) {
        (Some(items), _) => format!("{} of {}", types.join(" or "), kind(items)),
        (None, Some(values @ Value::Object(_))) => format!("{} of {}", types.join(" or "), kind(values)),
        _ => types.join(" or "),
    }
}

fn table(title: &str, heads: &[&str; 3], rows: &[[String; 3]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    let rows: String = rows
        .iter()
        .map(|cells| {
            cells
                .iter()
                .map(|cell| format!("<td>{cell}</td>"))
                .collect::<String>()
        })
        .map(|cells| format!("<tr>{cells}</tr>"))
        .collect();
    format!("<h4>{title}</h4><div class=\"wide\"><table><tr>{heads}</tr>{rows}</table></div>")
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let entries = value.as_object().into_iter().flat_map(Map::iter);
    entries.map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn code(html: &str) -> String {
    format!("<code>{html}</code>")
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
    html
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = bytes.chunks(3).flat_map(|chunk| {
        let byte = |index: usize| u32::from(*chunk.get(index).unwrap_or(&0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        (0..4).map(move |index| match index <= chunk.len() {
            true => char::from(LETTERS[(bits >> (18 - 6 * index) & 63) as usize]),
            false => '=',
        })
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn what_the_document_says_is_text() {
        let document = json!({
            "info": { "title": "<b>&\"" },
            "tags": [{ "name": "t" }],
            "paths": { "/a/{id}": { "get": { "tags": ["t"], "summary": "<script>", "responses": {} } } },
        });
        let page = page(&document);
        assert!(
            page.contains("&lt;b&gt;&amp;&quot;") && page.contains("&lt;script&gt;"),
            "{page}"
        );
        assert!(!page.contains("<script") && !page.contains("<b>&"), "{page}");
        assert!(page.contains("<code>/a/{id}</code>"), "{page}");
    }
}
