//! Changes of large tables, in steps of which none keeps others from the table for long.

use super::ddl::{Place, add_alone};
use super::table::{self, constraint, default_of, quoted, refers, table, within_tenant};
use crate::domain::model::Model;
use crate::domain::plan::Mode;

/// Rows that one transaction of a backfill fills.
const BATCH: usize = 5000;

/// A statement, what takes it back, and how it is run.
pub(super) type Part = (String, Option<String>, Mode);

/// A new field: the column, which PostgreSQL adds without reading the table, then what hangs on it.
pub(super) fn field(model: &Model, name: &str, place: Place<'_>) -> Vec<Part> {
    let Some(field) = model.fields.get(name) else {
        return Vec::new();
    };
    let leave = format!(
        "ALTER TABLE {} DROP COLUMN IF EXISTS {}",
        table(model),
        quoted(name)
    );
    let mut parts = vec![(add_alone(model, name, field), Some(leave), Mode::Together)];
    if field.unique {
        parts.extend(unique(model, name));
    } else if field.index {
        parts.push(index(model, name));
    }
    parts.extend(reference(model, name, place));
    parts
}

/// A reference: new rows are held to it at once; then those that are there are read, while others write.
pub(super) fn reference(model: &Model, name: &str, place: Place<'_>) -> Vec<Part> {
    let Some(reference) = table::reference(model, name, place) else {
        return Vec::new();
    };
    let (table, refers) = (table(model), refers(model, name));
    let add = format!("ALTER TABLE {table} ADD {reference} NOT VALID");
    let leave = format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {refers}");
    // In a transaction with other steps, it would hold their locks while it reads.
    let check = format!("ALTER TABLE {table} VALIDATE CONSTRAINT {refers}");
    vec![(add, Some(leave), Mode::Together), (check, None, Mode::Alone)]
}

/// An index, built while rows are read and written.
pub(super) fn index(model: &Model, name: &str) -> Part {
    let sql = model.fields.get(name).map_or_else(String::new, |field| {
        table::index(model, name, field, "CONCURRENTLY ")
    });
    (sql, Some(drop_index(model, name)), Mode::Alone)
}

/// Uniqueness, by an index that is built so.
pub(super) fn unique(model: &Model, name: &str) -> Vec<Part> {
    let constraint = constraint(model, name);
    let build = format!(
        "CREATE UNIQUE INDEX CONCURRENTLY {constraint} ON {} ({})",
        table(model),
        within_tenant(model, name)
    );
    let take = format!(
        "ALTER TABLE {} ADD CONSTRAINT {constraint} UNIQUE USING INDEX {constraint}",
        table(model)
    );
    let leave = format!(
        "ALTER TABLE {} DROP CONSTRAINT IF EXISTS {constraint}",
        table(model)
    );
    vec![
        (build, Some(drop_index(model, name)), Mode::Alone),
        (take, Some(leave), Mode::Together),
    ]
}

fn drop_index(model: &Model, name: &str) -> String {
    format!(
        "DROP INDEX CONCURRENTLY IF EXISTS models.{}",
        constraint(model, name)
    )
}

/// Nulls become the default in batches, while new rows are checked already; then the column is NOT NULL, which
/// PostgreSQL takes from the constraint without reading the table.
pub(super) fn fill_and_require(model: &Model, name: &str, in_batches: bool) -> Vec<Part> {
    let (table, column) = (table(model), quoted(name));
    let check = quoted(&format!("{name}__set__{}", model.table()));
    let default = model.fields.get(name).and_then(default_of).unwrap_or_default();
    let alter = |what: String| format!("ALTER TABLE {table} {what}");
    let accept_null = alter(format!("ALTER COLUMN {column} DROP NOT NULL"));
    if !in_batches {
        let fill = format!("UPDATE {table} SET {column} = {default} WHERE {column} IS NULL");
        let require = alter(format!("ALTER COLUMN {column} SET NOT NULL"));
        return vec![(format!("{fill}; {require}"), Some(accept_null), Mode::Together)];
    }
    let refuse_new = format!(
        "ALTER COLUMN {column} SET DEFAULT {default}, ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"
    );
    let accept_again = format!("DROP CONSTRAINT IF EXISTS {check}, ALTER COLUMN {column} DROP DEFAULT");
    let fill = format!(
        "UPDATE {table} SET {column} = {default} WHERE ctid IN (SELECT ctid FROM {table} WHERE {column} IS NULL LIMIT {BATCH})"
    );
    vec![
        (alter(refuse_new), Some(alter(accept_again)), Mode::Together),
        (fill, None, Mode::Batches),
        (
            alter(format!("VALIDATE CONSTRAINT {check}")),
            None,
            Mode::Together,
        ),
        (
            alter(format!(
                "ALTER COLUMN {column} SET NOT NULL, DROP CONSTRAINT {check}"
            )),
            Some(accept_null),
            Mode::Together,
        ),
    ]
}
