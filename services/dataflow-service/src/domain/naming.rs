//! Names: a model's (`OrderItem`), its table's (`order_items`), a field's. What passes here needs no escaping
//! anywhere; SQL quotes it all the same.

const LONGEST_MODEL: usize = 40;
const LONGEST_FIELD: usize = 40;
/// PostgreSQL cuts longer identifiers, and then two of them may be one (documentation, 4.1.1).
const LONGEST_IDENTIFIER: usize = 63;

/// A letter, then letters, digits and underscores.
pub(crate) fn is_model_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= LONGEST_MODEL
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A lower-case letter, then lower-case letters, digits and underscores.
pub(crate) fn is_field_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= LONGEST_FIELD
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The name of a unique constraint or an index. They share one name space with tables, so it holds both names.
pub(crate) fn constraint_of(field: &str, table: &str) -> String {
    format!("{field}__of__{table}")
}

/// Whether a field's constraint can have its name whole.
pub(crate) fn fits(field: &str, table: &str) -> bool {
    constraint_of(field, table).len() <= LONGEST_IDENTIFIER
}

/// The plural in snake case, as DataFlow makes it: `Product` is `products`, `Category` is `categories`.
pub(crate) fn table_of(model: &str) -> String {
    plural(&snake(model))
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut before_was_lower = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && before_was_lower {
            snake.push('_');
        }
        before_was_lower = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn plural(word: &str) -> String {
    let ends_in_consonant_y = word
        .strip_suffix('y')
        .filter(|stem| stem.ends_with(|letter: char| !matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u' | '_')));
    if let Some(stem) = ends_in_consonant_y {
        return format!("{stem}ies");
    }
    let hisses = ["s", "x", "z", "ch", "sh"].iter().any(|end| word.ends_with(end));
    format!("{word}{}", if hisses { "es" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_plural_snake_case() {
        for (model, table) in [
            ("Product", "products"),
            ("OrderItem", "order_items"),
            ("Category", "categories"),
            ("Day", "days"),
            ("Box", "boxes"),
            ("HTTPRoute", "httproutes"),
        ] {
            assert_eq!(table_of(model), table);
        }
    }

    #[test]
    fn nothing_that_would_need_quoting_is_a_name() {
        for wrong in ["", "1a", "a-b", "a\"b", "a b", "ä", &"a".repeat(41)] {
            assert!(!is_field_name(wrong) && !is_model_name(wrong), "{wrong}");
        }
        assert!(is_model_name("OrderItem2") && is_field_name("unit_price_2"));
        assert!(!is_field_name("Price"));
    }
}
