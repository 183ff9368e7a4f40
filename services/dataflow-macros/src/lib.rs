//! `#[derive(Model)]`: a struct as a model of the dataflow service.

mod expand;
mod kinds;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `contract::dataflow::Model` for a struct with named fields: `Product::definition()` is what `POST /models`
/// would be sent. The crate that derives needs `contract` and `serde_json` among its dependencies.
///
/// A field's type follows from Rust's: `i32` int, `String` str, `f64` float, `bool` bool, `Uuid` uuid, `Vec<u8>` bytes,
/// `Vec<f32>` a vector, other `Vec<T>` list, `Map<String, Value>`, `HashMap` and `BTreeMap` dict, `Value` json. An
/// `Option<T>` is not required, everything else is. An `id: Option<i32>` may be left out.
///
/// ```
/// use contract::dataflow::Model as _;
/// use dataflow_macros::Model;
///
/// #[derive(Model)]
/// #[model(soft_delete, multi_tenant, table = "wares", retention(policy = "delete", after_days = 30))]
/// struct Product {
///     #[model(unique, min = 3, max = 40, pattern = "^[A-Z]")]
///     sku: String,
///     #[model(kind = "decimal", min = 0)]
///     price: Option<String>,
///     #[model(default = 0, index)]
///     stock: i32,
///     #[model(references = "Maker", on_delete = "set_null")]
///     maker: Option<i32>,
///     #[model(vector = 384, index, metric = "cosine")]
///     embedding: Option<Vec<f32>>,
/// }
/// assert_eq!(Product::NAME, "Product");
/// assert_eq!(Product::definition().fields["embedding"]["type"], "vector(384)");
/// ```
///
/// On the struct: `soft_delete`, `multi_tenant`, `append_only`, `table = "..."`, `name = "..."`, `retention(policy = "...",
/// after_days = N, cutoff_field = "...")`. On a field: `unique`, `index`, `default = ...`, `min = N`, `max = N`,
/// `pattern = "..."`, `one_of("a", "b")`, `references = "Model.field"`, `on_delete = "..."`, `kind = "..."` (or the word
/// alone: `decimal`, `datetime`, `timestamp`), `vector = N`, `metric = "..."`.
#[proc_macro_derive(Model, attributes(model))]
pub fn derive_model(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::model(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
