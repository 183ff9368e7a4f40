//! The statements that make a model's table.

use super::sql::{Sql, column_type};
use crate::domain::field::{Field, Kind};
use crate::domain::model::{Model, STAMPS};
use crate::domain::naming::constraint_of;

/// The table, then its indexes.
pub(super) fn create(model: &Model) -> Vec<String> {
    let table = model.table();
    let columns = Sql::new("CREATE TABLE ").table(&table).push(" (").joined(
        &model.fields,
        ", ",
        |sql, (name, field)| column(sql, &table, name, field),
    );
    let columns = STAMPS.iter().fold(columns, |sql, stamp| {
        sql.push(", ")
            .name(stamp)
            .push(" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')")
    });
    let mut statements = vec![columns.push(")").into_text()];
    let indexed = model
        .fields
        .iter()
        .filter(|(_, field)| field.index && !field.unique);
    statements.extend(indexed.map(|(name, field)| {
        // JSONB has no useful B-tree order; GIN answers containment.
        let method = if matches!(field.kind, Kind::Dict | Kind::List) {
            " USING gin ("
        } else {
            " ("
        };
        Sql::new("CREATE INDEX ")
            .name(&constraint_of(name, &table))
            .push(" ON ")
            .table(&table)
            .push(method)
            .name(name)
            .push(")")
            .into_text()
    }));
    statements
}

fn column(sql: Sql, table: &str, name: &str, field: &Field) -> Sql {
    let sql = sql.name(name).push(" ");
    if name == "id" {
        return match field.kind {
            Kind::Int => sql.push("serial PRIMARY KEY"),
            _ => sql.push("text PRIMARY KEY"),
        };
    }
    let sql = sql.push(column_type(field.kind));
    let sql = if field.required {
        sql.push(" NOT NULL")
    } else {
        sql
    };
    if field.unique {
        return sql
            .push(" CONSTRAINT ")
            .name(&constraint_of(name, table))
            .push(" UNIQUE");
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_has_its_fields_its_stamps_and_its_indexes() {
        let fields = json!({
            "sku": { "type": "str", "required": true, "unique": true },
            "tags": { "type": "dict", "index": true },
        });
        let model = Model::define("Product", fields.as_object().unwrap()).unwrap();
        let stamp = "timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')";
        assert_eq!(
            create(&model),
            [
                format!(
                    "CREATE TABLE models.\"products\" (\"id\" serial PRIMARY KEY, \"sku\" text NOT NULL CONSTRAINT \
                     \"sku__of__products\" UNIQUE, \"tags\" jsonb, \"created_at\" {stamp}, \"updated_at\" {stamp})"
                ),
                "CREATE INDEX \"tags__of__products\" ON models.\"products\" USING gin (\"tags\")".to_owned(),
            ]
        );
    }
}
