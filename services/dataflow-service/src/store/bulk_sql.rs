//! The statements of bulk calls: a bind a column, each an array of texts, laid side by side by `unnest`.

use super::sql::{cast, quote};
use crate::domain::bulk::{Bulk, Conflict};
use crate::domain::field::Kind;
use crate::domain::items::Group;
use crate::domain::model::Model;

/// `unnest($1::text[], ...) AS u(c1, ...)`: a bind a column, and the columns as text.
fn source(columns: usize) -> String {
    let list = |each: &dyn Fn(usize) -> String| (1..=columns).map(each).collect::<Vec<_>>().join(", ");
    if columns == 0 {
        return "generate_series(1, $1::bigint)".to_owned();
    }
    let binds = list(&|place| format!("${place}::text[]"));
    let names = list(&|place| format!("c{place}"));
    format!("unnest({binds}) AS u({names})")
}

/// `u.c1` as a value of its column's type.
fn typed(place: usize, kind: Kind) -> String {
    cast(kind, &format!("u.c{}", place + 1))
}

/// The tenant's bind comes after those of the columns.
fn tenant_bind(columns: usize) -> String {
    format!("${}::text", columns.max(1) + 1)
}

pub(super) fn insert(model: &Model, tenant: Option<&str>, bulk: &Bulk, group: &Group) -> String {
    let columns = &group.columns;
    let mut names: Vec<String> = columns.iter().map(|(column, _)| quote(column)).collect();
    let mut values: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(place, (_, kind))| typed(place, *kind))
        .collect();
    if tenant.is_some() {
        names.push("\"tenant_id\"".to_owned());
        values.push(tenant_bind(columns.len()));
    }
    if names.is_empty() {
        // A row of nothing but defaults: one column has to be named.
        names.push("\"created_at\"".to_owned());
        values.push("(now() AT TIME ZONE 'UTC')".to_owned());
    }
    let conflict = conflict(model, tenant, bulk, group);
    let ids = if bulk.return_ids {
        "jsonb_agg(id)::text"
    } else {
        "NULL::text"
    };
    format!(
        "WITH w AS (INSERT INTO models.{table} AS t ({names}) SELECT {values} FROM {source}{conflict} \
         RETURNING t.\"id\" AS id, (t.xmax = 0) AS made) \
         SELECT count(*) FILTER (WHERE made), count(*) FILTER (WHERE NOT made), {ids} FROM w",
        table = quote(&model.table()),
        names = names.join(", "),
        values = values.join(", "),
        source = source(columns.len()),
    )
}

/// A deleted row that has the key comes back by it. What was not sent stays as it is.
fn conflict(model: &Model, tenant: Option<&str>, bulk: &Bulk, group: &Group) -> String {
    match bulk.conflict {
        Conflict::Error => return String::new(),
        Conflict::Skip => return " ON CONFLICT DO NOTHING".to_owned(),
        Conflict::Update => {}
    }
    let scope = tenant.map(|_| "tenant_id".to_owned());
    let key: Vec<String> = scope
        .iter()
        .chain(&bulk.conflict_on)
        .map(|column| quote(column))
        .collect();
    let stays = |column: &String| {
        column == "id" || bulk.conflict_on.contains(column) || group.defaulted.contains(column)
    };
    let set: String = group
        .columns
        .iter()
        .filter(|(column, _)| !stays(column))
        .map(|(column, _)| format!(", {name} = EXCLUDED.{name}", name = quote(column)))
        .collect();
    let key = key.join(", ");
    let back = if model.config.soft_delete {
        ", \"deleted_at\" = NULL"
    } else {
        ""
    };
    format!(" ON CONFLICT ({key}) DO UPDATE SET \"updated_at\" = (now() AT TIME ZONE 'UTC'){set}{back}")
}

/// Draws ids up to the last one of the next `$1` that a row has, and tells how many these were.
pub(super) fn free_ids(model: &Model) -> String {
    let table = format!("models.{}", quote(&model.table()));
    format!(
        "WITH made AS (SELECT pg_get_serial_sequence('{table}', 'id')::regclass AS ids), \
         at AS (SELECT ids, coalesce(pg_sequence_last_value(ids), 0) AS n FROM made), \
         taken AS (SELECT ids, n, (SELECT max(id) FROM {table} WHERE id > n AND id <= n + $1) AS last FROM at) \
         SELECT count(nextval(ids)) FROM taken, generate_series(1, last - n)"
    )
}

pub(super) fn update(model: &Model, tenant: Option<&str>, columns: &[(String, Kind)]) -> String {
    let set: String = columns
        .iter()
        .enumerate()
        .filter(|(_, (column, _))| column != "id")
        .map(|(place, (column, kind))| format!(", {} = {}", quote(column), typed(place, *kind)))
        .collect();
    format!(
        "UPDATE models.{table} AS t SET \"updated_at\" = (now() AT TIME ZONE 'UTC'){set} FROM {source} WHERE {named}",
        table = quote(&model.table()),
        source = source(columns.len()),
        named = named(model, tenant, columns),
    )
}

pub(super) fn delete(model: &Model, tenant: Option<&str>, columns: &[(String, Kind)]) -> String {
    let (table, source) = (quote(&model.table()), source(columns.len()));
    let named = named(model, tenant, columns);
    if model.config.soft_delete {
        let now = "(now() AT TIME ZONE 'UTC')";
        return format!("UPDATE models.{table} AS t SET \"deleted_at\" = {now} FROM {source} WHERE {named}");
    }
    format!("DELETE FROM models.{table} AS t USING {source} WHERE {named}")
}

/// The rows that the items name, of the tenant, and not deleted.
fn named(model: &Model, tenant: Option<&str>, columns: &[(String, Kind)]) -> String {
    let id = columns
        .iter()
        .position(|(column, _)| column == "id")
        .unwrap_or_default();
    let mut named = format!("t.\"id\" = {}", typed(id, model.id_kind()));
    if tenant.is_some() {
        named.push_str(&format!(" AND t.\"tenant_id\" = {}", tenant_bind(columns.len())));
    }
    if model.config.soft_delete {
        named.push_str(" AND t.\"deleted_at\" IS NULL");
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bulk::BulkOperation;
    use serde_json::json;

    #[test]
    fn a_statement_has_a_bind_a_column_and_the_tenant_last() {
        let fields = json!({ "sku": { "type": "str", "unique": true }, "since": "datetime" });
        let mut model = Model::define("Part", fields.as_object().unwrap()).unwrap();
        model.config.soft_delete = true;
        let sent = json!({ "data": [], "conflict_resolution": "update", "conflict_on": ["sku"] });
        let bulk = Bulk::parse(BulkOperation::Upsert, &model, sent.as_object().unwrap().clone()).unwrap();
        let columns = [
            ("since".to_owned(), Kind::Datetime),
            ("sku".to_owned(), Kind::Str),
        ];
        let mut group = Group {
            columns: columns.to_vec(),
            defaulted: Vec::new(),
            items: Vec::new(),
        };
        let upsert = insert(&model, Some("acme"), &bulk, &group);
        assert!(upsert.contains("(\"since\", \"sku\", \"tenant_id\") SELECT (u.c1::timestamptz AT TIME ZONE 'UTC'), u.c2::text, $3::text FROM unnest($1::text[], $2::text[]) AS u(c1, c2)"), "{upsert}");
        assert!(
            upsert.contains("ON CONFLICT (\"tenant_id\", \"sku\") DO UPDATE"),
            "{upsert}"
        );
        assert!(upsert.contains("\"since\" = EXCLUDED.\"since\"") && !upsert.contains("\"sku\" = EXCLUDED"));
        group.defaulted = vec!["since".to_owned()];
        let upsert = insert(&model, Some("acme"), &bulk, &group);
        assert!(!upsert.contains("EXCLUDED"), "what was not sent stays: {upsert}");
        let ids = [("id".to_owned(), Kind::Int)];
        let gone = delete(&model, Some("acme"), &ids);
        assert!(
            gone.starts_with("UPDATE")
                && gone.ends_with("t.\"tenant_id\" = $2::text AND t.\"deleted_at\" IS NULL"),
            "{gone}"
        );
    }
}
