//! From a struct's tokens to its implementation of `contract::dataflow::Model`. What the service itself checks, such
//! as a pattern's syntax, is left to it; what a compiler can tell is told here, where it stands.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, ExprLit, ExprUnary, Field, Fields, Lit, LitInt, LitStr,
    Result, UnOp,
};

use crate::kinds;

/// Words of DataFlow's types that Rust has no type for.
const OWN_KINDS: [&str; 3] = ["decimal", "datetime", "timestamp"];

/// A key of a JSON object and the tokens of its value.
type Entry = (String, TokenStream);

/// # Errors
/// All that is wrong with the struct, each at its place.
pub(crate) fn model(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "a model is a struct with named fields",
        ));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(Error::new_spanned(
            &input.ident,
            "a model is a struct with named fields",
        ));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a model has no parameters: it is one table",
        ));
    }
    let mut faults: Option<Error> = None;
    let mut note = |error: Error| match &mut faults {
        Some(faults) => faults.combine(error),
        None => faults = Some(error),
    };
    let (name, config) = of_struct(input).unwrap_or_else(|error| {
        note(error);
        (String::new(), Vec::new())
    });
    let mut fields = Vec::new();
    for field in &named.named {
        match of_field(field) {
            Ok(entry) => fields.extend(entry),
            Err(error) => note(error),
        }
    }
    if let Some(faults) = faults {
        return Err(faults);
    }
    let ident = &input.ident;
    let (fields, config) = (object(&fields), object(&config));
    Ok(quote! {
        impl ::contract::dataflow::Model for #ident {
            const NAME: &'static str = #name;

            fn definition() -> ::contract::dataflow::Definition {
                ::contract::dataflow::Definition {
                    name: #name.to_owned(),
                    fields: #fields,
                    config: #config,
                }
            }
        }
    })
}

/// The tokens of a `serde_json::Map`.
fn object(entries: &[Entry]) -> TokenStream {
    let inserts = entries.iter().map(|(key, value)| {
        quote! { map.insert(#key.to_owned(), #value); }
    });
    quote! {{
        #[allow(unused_mut)]
        let mut map = ::serde_json::Map::new();
        #(#inserts)*
        map
    }}
}

fn json(value: impl quote::ToTokens) -> TokenStream {
    quote! { ::serde_json::json!(#value) }
}

/// Each item of the struct's or the field's `#[model(...)]`.
fn items(
    attributes: &[Attribute],
    mut each: impl FnMut(&ParseNestedMeta<'_>, &str) -> Result<()>,
) -> Result<()> {
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("model"))
    {
        attribute.parse_nested_meta(|meta| {
            let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            each(&meta, &word)
        })?;
    }
    Ok(())
}

fn of_struct(input: &DeriveInput) -> Result<(String, Vec<Entry>)> {
    let (mut name, mut config) = (input.ident.to_string(), Vec::new());
    items(&input.attrs, |meta, word| {
        match word {
            "soft_delete" | "multi_tenant" | "append_only" => config.push((word.to_owned(), json(true))),
            "name" => name = text(meta)?.value(),
            "table" => config.push(("table_name".to_owned(), json(text(meta)?))),
            "retention" => config.push(("retention".to_owned(), retention(meta)?)),
            _ => {
                return Err(
                    meta.error("known are soft_delete, multi_tenant, append_only, table, name and retention")
                );
            }
        }
        Ok(())
    })?;
    Ok((name, config))
}

fn retention(meta: &ParseNestedMeta<'_>) -> Result<TokenStream> {
    let mut entries = Vec::new();
    meta.parse_nested_meta(|meta| {
        let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match word.as_str() {
            "policy" | "cutoff_field" => entries.push((word, json(text(&meta)?))),
            "after_days" => entries.push((word, json(meta.value()?.parse::<LitInt>()?))),
            _ => return Err(meta.error("known are policy, after_days and cutoff_field")),
        }
        Ok(())
    })?;
    if !entries.iter().any(|(key, _)| key == "policy") || !entries.iter().any(|(key, _)| key == "after_days")
    {
        return Err(meta.error("retention needs policy and after_days"));
    }
    let object = object(&entries);
    Ok(quote! { ::serde_json::Value::Object(#object) })
}

/// `None` for the stamps, which every model has.
fn of_field(field: &Field) -> Result<Option<Entry>> {
    let name = field
        .ident
        .as_ref()
        .map(|ident| ident.to_string().trim_start_matches("r#").to_owned());
    let name = name.unwrap_or_default();
    if ["created_at", "updated_at"].contains(&name.as_str()) {
        return Err(Error::new_spanned(
            field,
            "every model has created_at and updated_at: leave it out",
        ));
    }
    let (mut kind, mut rules) = (None, Vec::new());
    items(&field.attrs, |meta, word| {
        match word {
            "unique" | "index" => rules.push((word.to_owned(), json(true))),
            "min" | "max" => rules.push((word.to_owned(), json(number(&meta.value()?.parse()?)?))),
            "pattern" | "references" | "on_delete" | "metric" => {
                rules.push((word.to_owned(), json(text(meta)?)))
            }
            "default" => rules.push(("default".to_owned(), json(literal(meta.value()?.parse()?)?))),
            "one_of" => rules.push(("enum".to_owned(), choices(meta)?)),
            "kind" => kind = Some(text(meta)?.value()),
            "vector" => {
                kind = Some(format!(
                    "vector({})",
                    meta.value()?.parse::<LitInt>()?.base10_parse::<u16>()?
                ))
            }
            own if OWN_KINDS.contains(&own) => kind = Some(own.to_owned()),
            _ => return Err(meta.error(KNOWN)),
        }
        Ok(())
    })?;
    let required = !kinds::is_optional(&field.ty);
    let kind = match kind {
        Some(kind) => kind,
        None => match kinds::of(&field.ty)? {
            Some(kind) => kind.to_owned(),
            None => {
                return Err(Error::new_spanned(
                    &field.ty,
                    "how long is the vector? #[model(vector = 384)]",
                ));
            }
        },
    };
    let mut entries = vec![("type".to_owned(), json(kind))];
    // An id is never null, and a whole number is made by the database where none is sent.
    if required && name != "id" {
        entries.push(("required".to_owned(), json(true)));
    }
    entries.extend(rules);
    let object = object(&entries);
    Ok(Some((name, quote! { ::serde_json::Value::Object(#object) })))
}

const KNOWN: &str = "known are unique, index, default, min, max, pattern, one_of, references, on_delete, kind, decimal, \
                     datetime, timestamp, vector and metric";

fn text(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    meta.value()?.parse()
}

fn number(expression: &Expr) -> Result<Expr> {
    match literal(expression.clone())? {
        Expr::Lit(ExprLit {
            lit: Lit::Int(_) | Lit::Float(_),
            ..
        })
        | Expr::Unary(_) => Ok(expression.clone()),
        other => Err(Error::new(other.span(), "expected a number")),
    }
}

/// A literal, or a negative number.
fn literal(expression: Expr) -> Result<Expr> {
    let is_number = |inner: &Expr| {
        matches!(
            inner,
            Expr::Lit(ExprLit {
                lit: Lit::Int(_) | Lit::Float(_),
                ..
            })
        )
    };
    match &expression {
        Expr::Lit(ExprLit {
            lit: Lit::Str(_) | Lit::Int(_) | Lit::Float(_) | Lit::Bool(_),
            ..
        }) => Ok(expression),
        Expr::Unary(ExprUnary {
            op: UnOp::Neg(_),
            expr,
            ..
        }) if is_number(expr) => Ok(expression),
        _ => Err(Error::new_spanned(
            expression,
            "expected a text, a number, true or false",
        )),
    }
}

fn choices(meta: &ParseNestedMeta<'_>) -> Result<TokenStream> {
    let content;
    syn::parenthesized!(content in meta.input);
    let values = content.parse_terminated(<Expr as syn::parse::Parse>::parse, syn::Token![,])?;
    let values: Vec<Expr> = values.into_iter().map(literal).collect::<Result<_>>()?;
    Ok(quote! { ::serde_json::json!([#(#values),*]) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    /// The messages of a struct that is no model.
    fn refused(input: DeriveInput) -> Vec<String> {
        let error = model(&input).expect_err("it is no model");
        error.into_iter().map(|error| error.to_string()).collect()
    }

    #[test]
    fn it_implements_the_trait_and_nothing_else() {
        let input = parse_quote! { struct Product { #[model(unique)] sku: String } };
        let tokens = model(&input).unwrap().to_string();
        assert!(
            tokens.starts_with("impl :: contract :: dataflow :: Model for Product {"),
            "{tokens}"
        );
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let faults = refused(parse_quote! {
            struct Product {
                a: std::time::Duration,
                #[model(uniqe)] b: String,
                #[model(min = "x")] c: i32,
                d: Vec<f32>,
                e: i64,
                created_at: String,
            }
        });
        assert_eq!(faults.len(), 6, "{faults:#?}");
        assert!(faults[0].contains("no type of DataFlow"), "{faults:#?}");
        assert!(faults[1].contains("known are unique"), "{faults:#?}");
        assert!(faults[3].contains("vector = 384"), "{faults:#?}");
        assert!(faults[4].contains("32 bits"), "{faults:#?}");
    }

    #[test]
    fn what_is_no_struct_of_one_table_is_refused() {
        for wrong in [
            parse_quote! { enum Product { A } },
            parse_quote! { struct Product(String); },
            parse_quote! { struct Product<T> { a: T } },
            parse_quote! { #[model(soft)] struct Product { a: String } },
            parse_quote! { #[model(retention(policy = "delete"))] struct Product { a: String } },
        ] {
            assert_eq!(refused(wrong).len(), 1);
        }
    }
}
