//! A model's table: its columns, keys, indexes, references and policies. Names are quoted; the only values are fields'
//! defaults.

use super::connections::ROLE;
use super::ddl::Place;
use super::sql::{Sql, cast, column_type};
use crate::domain::field::{Field, Kind, Metric, OnDelete};
use crate::domain::model::{Model, STAMPS};
use crate::domain::naming::constraint_of;

/// PostgreSQL's own moment, as the stamps are stored.
const NOW: &str = "(now() AT TIME ZONE 'UTC')";

/// The table with everything that hangs on it.
pub(super) fn create(model: &Model, place: Place<'_>) -> String {
    let mut columns: Vec<String> = model
        .fields
        .iter()
        .map(|(name, field)| column(name, field))
        .collect();
    if model.config.multi_tenant {
        columns.push("\"tenant_id\" text NOT NULL".to_owned());
    }
    if model.config.soft_delete {
        columns.push("\"deleted_at\" timestamp".to_owned());
    }
    columns.extend(STAMPS.map(|stamp| format!("\"{stamp}\" timestamp NOT NULL DEFAULT {NOW}")));
    columns.push(format!("PRIMARY KEY ({})", within_tenant(model, "id")));
    let fields = || model.fields.iter().filter(|(name, _)| *name != "id");
    columns.extend(
        fields()
            .filter(|(_, field)| field.unique)
            .map(|(name, _)| unique(model, name)),
    );
    columns.extend(fields().filter_map(|(name, _)| reference(model, name, place)));
    let mut statements = vec![extension(model.fields.values())];
    statements.push(format!("CREATE TABLE {} ({})", table(model), columns.join(", ")));
    statements.extend(
        fields()
            .filter(|(_, field)| field.index && !field.unique)
            .map(|(name, field)| index(model, name, field, "")),
    );
    if model.config.multi_tenant {
        statements.extend(policies(model));
    }
    statements.push(privileges(model, place.has_role));
    statements.retain(|statement| !statement.is_empty());
    statements.join("; ")
}

/// A row is its tenant's: nobody else's connection sees it, changes it, or moves it (PostgreSQL documentation, 5.9).
/// The owner is bound, too, except where it says that it does the tables' maintenance.
pub(super) fn policies(model: &Model) -> Vec<String> {
    let table = table(model);
    let own = "\"tenant_id\" = current_setting('dataflow.tenant', true)";
    let all = "current_setting('dataflow.maintenance', true) = 'on'";
    vec![
        format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"),
        format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY"),
        format!("CREATE POLICY \"tenant\" ON {table} USING ({own}) WITH CHECK ({own})"),
        format!("CREATE POLICY \"maintenance\" ON {table} TO CURRENT_USER USING ({all}) WITH CHECK ({all})"),
    ]
}

/// What row connections may do with the table. A replica that does not know yet that rows stay cannot delete them.
pub(super) fn privileges(model: &Model, has_role: bool) -> String {
    if !has_role {
        return String::new();
    }
    let allowed = match (model.config.append_only, model.config.soft_delete) {
        (true, _) => "SELECT, INSERT",
        (false, true) => "SELECT, INSERT, UPDATE",
        (false, false) => "SELECT, INSERT, UPDATE, DELETE",
    };
    let table = table(model);
    format!(
        "REVOKE ALL ON {table} FROM {ROLE}; GRANT {allowed} ON {table} TO {ROLE}; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA models TO {ROLE}"
    )
}

/// Vectors are pgvector's.
pub(super) fn extension<'a>(fields: impl IntoIterator<Item = &'a Field>) -> String {
    let mut fields = fields.into_iter();
    if fields.any(|field| matches!(field.kind, Kind::Vector(_))) {
        "CREATE EXTENSION IF NOT EXISTS vector".to_owned()
    } else {
        String::new()
    }
}

/// A foreign key; within the tenant where the other model has tenants, so that no row refers to another tenant's.
pub(super) fn reference(model: &Model, name: &str, place: Place<'_>) -> Option<String> {
    let field = model.fields.get(name)?;
    let to = field.references.as_ref()?;
    let target = place.targets.get(&to.model)?;
    let (from, to) = match target.config.multi_tenant {
        true => (within_tenant(model, name), within_tenant(target, &to.field)),
        false => (quoted(name), quoted(&to.field)),
    };
    let on_delete = match field.on_delete.unwrap_or(OnDelete::Restrict) {
        OnDelete::Restrict => "RESTRICT".to_owned(),
        OnDelete::Cascade => "CASCADE".to_owned(),
        OnDelete::SetNull => format!("SET NULL ({})", quoted(name)),
    };
    Some(format!(
        "CONSTRAINT {} FOREIGN KEY ({from}) REFERENCES {} ({to}) ON DELETE {on_delete}",
        refers(model, name),
        table(target)
    ))
}

/// The name of a field's foreign key.
pub(super) fn refers(model: &Model, name: &str) -> String {
    quoted(&format!("{name}__to__{}", model.table()))
}

pub(super) fn column(name: &str, field: &Field) -> String {
    if name == "id" {
        return match field.kind {
            Kind::Int => "\"id\" serial".to_owned(),
            kind => format!("\"id\" {} NOT NULL", column_type(kind)),
        };
    }
    let mut text = format!("{} {}", quoted(name), column_type(field.kind));
    if let Some(default) = default_of(field) {
        text.push_str(&format!(" DEFAULT {default}"));
    }
    if field.required {
        text.push_str(" NOT NULL");
    }
    text
}

/// The default as SQL. The service sends defaults itself; this one is for rows that are there before the field.
pub(super) fn default_of(field: &Field) -> Option<String> {
    let text = field.accept(field.default.as_ref()?).ok()??;
    Some(cast(field.kind, &format!("'{}'", text.replace('\'', "''"))))
}

pub(super) fn unique(model: &Model, name: &str) -> String {
    format!(
        "CONSTRAINT {} UNIQUE ({})",
        constraint(model, name),
        within_tenant(model, name)
    )
}

/// JSONB has no useful B-tree order: GIN answers containment. Vectors are near each other by one distance.
pub(super) fn index(model: &Model, name: &str, field: &Field, word: &str) -> String {
    let method = match field.kind {
        kind if kind.is_json() => format!("USING gin ({})", quoted(name)),
        Kind::Vector(_) => {
            let distance = match field.metric.unwrap_or_default() {
                Metric::Cosine => "vector_cosine_ops",
                Metric::L2 => "vector_l2_ops",
                Metric::Ip => "vector_ip_ops",
            };
            format!("USING hnsw ({} {distance})", quoted(name))
        }
        _ => format!("({})", within_tenant(model, name)),
    };
    format!(
        "CREATE INDEX {word}{} ON {} {method}",
        constraint(model, name),
        table(model)
    )
}

/// Uniqueness and order hold within a tenant: whether another tenant has a value is nobody's business.
pub(super) fn within_tenant(model: &Model, name: &str) -> String {
    if model.config.multi_tenant {
        format!("\"tenant_id\", {}", quoted(name))
    } else {
        quoted(name)
    }
}

pub(super) fn table(model: &Model) -> String {
    Sql::default().table(&model.table()).into_text()
}

pub(super) fn quoted(name: &str) -> String {
    Sql::default().name(name).into_text()
}

pub(super) fn constraint(model: &Model, name: &str) -> String {
    quoted(&constraint_of(name, &model.table()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::store::ddl::tests::place;

    fn model(fields: Value) -> Model {
        Model::define("Product", fields.as_object().unwrap()).unwrap()
    }

    #[test]
    fn a_table_has_its_fields_its_stamps_and_its_indexes() {
        let model = model(json!({
            "sku": { "type": "str", "required": true, "unique": true, "default": "it's" },
            "tags": { "type": "dict", "index": true },
        }));
        let stamp = "timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')";
        assert_eq!(
            create(&model, place(false)),
            format!(
                "CREATE TABLE models.\"products\" (\"id\" serial, \"sku\" text DEFAULT 'it''s'::text NOT NULL, \
                 \"tags\" jsonb, \"created_at\" {stamp}, \"updated_at\" {stamp}, PRIMARY KEY (\"id\"), CONSTRAINT \
                 \"sku__of__products\" UNIQUE (\"sku\")); CREATE INDEX \"tags__of__products\" ON models.\"products\" \
                 USING gin (\"tags\")"
            )
        );
    }

    #[test]
    fn a_tenants_table_has_keys_within_the_tenant_and_forced_policies() {
        let mut model = model(json!({ "sku": { "type": "str", "unique": true } }));
        model.config.multi_tenant = true;
        let text = create(&model, place(true));
        for wanted in [
            "PRIMARY KEY (\"tenant_id\", \"id\")",
            "UNIQUE (\"tenant_id\", \"sku\")",
            "FORCE ROW LEVEL SECURITY",
            "WITH CHECK (\"tenant_id\" = current_setting('dataflow.tenant', true))",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON models.\"products\" TO dataflow_rows",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        model.config.append_only = true;
        assert!(create(&model, place(true)).contains("GRANT SELECT, INSERT ON"));
    }

    #[test]
    fn references_stay_within_the_tenant_and_vectors_have_their_index() {
        let mut maker = Model::define("Maker", json!({ "code": "str" }).as_object().unwrap()).unwrap();
        maker.config.multi_tenant = true;
        let mut product = model(json!({
            "maker": { "type": "int", "references": "Maker", "on_delete": "set_null" },
            "near": { "type": "vector(3)", "index": true, "metric": "l2" },
        }));
        product.config.multi_tenant = true;
        let targets = BTreeMap::from([("Maker".to_owned(), maker)]);
        let place = Place {
            targets: &targets,
            ..place(false)
        };
        let text = create(&product, place);
        assert!(
            text.starts_with("CREATE EXTENSION IF NOT EXISTS vector; "),
            "{text}"
        );
        for wanted in [
            "CONSTRAINT \"maker__to__products\" FOREIGN KEY (\"tenant_id\", \"maker\") REFERENCES \
             models.\"makers\" (\"tenant_id\", \"id\") ON DELETE SET NULL (\"maker\")",
            "USING hnsw (\"near\" vector_l2_ops)",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
    }
}
