//! Rust's types as the names of DataFlow's.

use syn::{Error, GenericArgument, PathArguments, Result, Type, TypePath};

/// The name of the type that a Rust type is; `None` for `Vec<f32>`, whose length an attribute has to say.
///
/// # Errors
/// The type has no counterpart; the message lists those that have.
pub(crate) fn of(kind: &Type) -> Result<Option<&'static str>> {
    let inner = parameter(kind, "Option").unwrap_or(kind);
    let unknown = || {
        let message = "no type of DataFlow for this one; known are i32, String, f64, bool, Uuid, Vec<u8>, Vec<f32>, \
                       Vec<T>, Map, HashMap, BTreeMap and Value, each also in an Option; another one needs \
                       #[model(kind = \"...\")]";
        Error::new_spanned(kind, message)
    };
    let word = last_word(inner).ok_or_else(unknown)?;
    Ok(match word.as_str() {
        "i8" | "i16" | "i32" | "u8" | "u16" => Some("int"),
        "i64" | "u32" | "u64" | "isize" | "usize" | "i128" | "u128" => {
            let message = "an int has 32 bits: take i32, or #[model(decimal)]";
            return Err(Error::new_spanned(kind, message));
        }
        "String" | "str" => Some("str"),
        "f32" | "f64" => Some("float"),
        "bool" => Some("bool"),
        "Uuid" => Some("uuid"),
        "Value" => Some("json"),
        "Map" | "HashMap" | "BTreeMap" => Some("dict"),
        "Vec" => match parameter(inner, "Vec").and_then(last_word).as_deref() {
            Some("u8") => Some("bytes"),
            Some("f32") => None,
            _ => Some("list"),
        },
        _ => return Err(unknown()),
    })
}

/// Whether it is an `Option`.
pub(crate) fn is_optional(kind: &Type) -> bool {
    parameter(kind, "Option").is_some()
}

/// `T` of `Word<T>`.
fn parameter<'a>(kind: &'a Type, word: &str) -> Option<&'a Type> {
    let Type::Path(TypePath { path, .. }) = kind else {
        return None;
    };
    let last = path.segments.last().filter(|segment| segment.ident == word)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(inner) => Some(inner),
        _ => None,
    })
}

fn last_word(kind: &Type) -> Option<String> {
    let Type::Path(TypePath { path, .. }) = kind else {
        return None;
    };
    path.segments.last().map(|segment| segment.ident.to_string())
}
