//! The statements that change a model's table, and in which steps they are run.

use std::collections::BTreeMap;

use super::beside_use;
use super::sql::{cast, column_type};
use super::table::{
    column, constraint, create, default_of, extension, index, privileges, quoted, reference, refers, table,
    unique,
};
use crate::domain::field::{Field, Kind};
use crate::domain::migration::Change;
use crate::domain::model::Model;
use crate::domain::plan::{Judged, Mode, Plan, Step};
use crate::domain::risk::Rows;

/// What the statements depend on besides the models.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// Whether rows are touched as the role `dataflow_rows`.
    pub(super) has_role: bool,
    pub(super) rows: &'a Rows,
    /// The models that fields refer to, by name.
    pub(super) targets: &'a BTreeMap<String, Model>,
}

/// The plan's steps, in order.
pub(super) fn steps(plan: &Plan, place: Place<'_>) -> Vec<Step> {
    plan.changes
        .iter()
        .flat_map(|judged| steps_of(judged, plan, place))
        .collect()
}

fn steps_of(judged: &Judged, plan: &Plan, place: Place<'_>) -> Vec<Step> {
    let step = |(sql, reverse, mode): (String, Option<String>, Mode)| Step {
        sql,
        reverse,
        mode,
        risk: judged.risk,
        reason: judged.reason.clone(),
    };
    let model = |first: &Option<Model>, second: &Option<Model>| first.clone().or_else(|| second.clone());
    let (Some(before), Some(after)) = (model(&plan.before, &plan.after), model(&plan.after, &plan.before))
    else {
        return Vec::new();
    };
    // A change of type cannot be taken back whole: then all happens in one transaction, or nothing.
    let may_commit_between = !plan.changes.iter().any(|judged| rewrites(&judged.change));
    let beside_use = place.rows.many && may_commit_between;
    let special = match &judged.change {
        Change::Require(name) if place.rows.with_nulls.contains(name) => {
            beside_use::fill_and_require(&after, name, may_commit_between)
        }
        Change::AddField(name) if beside_use => beside_use::field(&after, name, place),
        Change::AddIndex(name) if beside_use => vec![beside_use::index(&after, name)],
        Change::AddUnique(name) if beside_use => beside_use::unique(&after, name),
        Change::AddReference(name) if beside_use => beside_use::reference(&after, name, place),
        change => {
            let reverse = statement(&change.inverse(), &before, place);
            let sql = statement(change, &after, place);
            // What the service alone checks has no statement; the step is told all the same.
            vec![(sql, Some(reverse), Mode::Together)]
        }
    };
    special.into_iter().map(step).collect()
}

/// Whether the table's rows are written anew. JSON of one type is JSON of the other.
fn rewrites(change: &Change) -> bool {
    matches!(change, Change::Retype(_, from, to) if !(from.is_json() && to.is_json()))
}

/// One change as statements of one transaction; empty where the table stays as it is. `model` is the definition
/// that holds afterwards, or that held before where the change drops something.
fn statement(change: &Change, model: &Model, place: Place<'_>) -> String {
    let alter = |what: &str| format!("ALTER TABLE {} {what}", table(model));
    let field = |name: &str| model.fields.get(name);
    match change {
        Change::CreateTable => create(model, place),
        Change::DropTable => format!("DROP TABLE {}", table(model)),
        Change::RemakeTable => remake(model, place),
        Change::AddField(name) => {
            field(name).map_or_else(String::new, |field| add(model, name, field, place))
        }
        Change::DropField(name) => alter(&format!("DROP COLUMN {}", quoted(name))),
        Change::Retype(name, from, to) => alter(&retype(model, name, *from, *to)),
        Change::SetDefault(name) => match field(name).and_then(default_of) {
            Some(default) => alter(&format!("ALTER COLUMN {} SET DEFAULT {default}", quoted(name))),
            None => alter(&format!("ALTER COLUMN {} DROP DEFAULT", quoted(name))),
        },
        Change::Require(name) => alter(&format!("ALTER COLUMN {} SET NOT NULL", quoted(name))),
        Change::AllowNull(name) => alter(&format!("ALTER COLUMN {} DROP NOT NULL", quoted(name))),
        Change::AddUnique(name) => alter(&format!("ADD {}", unique(model, name))),
        Change::DropUnique(name) => alter(&format!("DROP CONSTRAINT IF EXISTS {}", constraint(model, name))),
        Change::AddIndex(name) => field(name).map_or_else(String::new, |field| index(model, name, field, "")),
        Change::DropIndex(name) => format!("DROP INDEX IF EXISTS models.{}", constraint(model, name)),
        Change::AddReference(name) => reference(model, name, place)
            .map_or_else(String::new, |reference| alter(&format!("ADD {reference}"))),
        Change::DropReference(name) => alter(&format!("DROP CONSTRAINT IF EXISTS {}", refers(model, name))),
        Change::AddSoftDelete => format!(
            "{}{}",
            alter("ADD COLUMN \"deleted_at\" timestamp"),
            after(&privileges(model, place.has_role))
        ),
        Change::DropSoftDelete => format!(
            "DELETE FROM {} WHERE \"deleted_at\" IS NOT NULL; {}{}",
            table(model),
            alter("DROP COLUMN \"deleted_at\""),
            after(&privileges(model, place.has_role))
        ),
        Change::Privileges => privileges(model, place.has_role),
        Change::TightenRules(_) | Change::LoosenRules(_) | Change::Retention => String::new(),
    }
}

/// Only of an empty table, and nobody can put a row into it meanwhile.
fn remake(model: &Model, place: Place<'_>) -> String {
    let table = table(model);
    format!(
        "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; DO $$ BEGIN IF EXISTS (SELECT 1 FROM {table}) THEN \
         RAISE EXCEPTION 'the table is not empty' USING ERRCODE = 'object_in_use'; END IF; END $$; \
         DROP TABLE {table}; {}",
        create(model, place)
    )
}

fn add(model: &Model, name: &str, field: &Field, place: Place<'_>) -> String {
    let mut text = add_alone(model, name, field);
    if let Some(reference) = reference(model, name, place) {
        text.push_str(&format!(", ADD {reference}"));
    }
    if field.unique {
        text.push_str(&format!(", ADD {}", unique(model, name)));
    } else if field.index {
        text.push_str(&after(&index(model, name, field, "")));
    }
    text
}

/// The column, without what hangs on it.
pub(super) fn add_alone(model: &Model, name: &str, field: &Field) -> String {
    let text = format!("ALTER TABLE {} ADD COLUMN {}", table(model), column(name, field));
    match extension([field]) {
        none if none.is_empty() => text,
        extension => format!("{extension}; {text}"),
    }
}

fn retype(model: &Model, name: &str, from: Kind, to: Kind) -> String {
    let (column, wanted) = (quoted(name), column_type(to));
    let value = match (from, to) {
        (Kind::Float | Kind::Decimal, Kind::Int) => format!("round({column})::{wanted}"),
        (Kind::Datetime, Kind::Timestamp) | (Kind::Timestamp, Kind::Datetime) => {
            format!("{column} AT TIME ZONE 'UTC'")
        }
        (Kind::Str, to) => cast(to, &column),
        _ => format!("{column}::{wanted}"),
    };
    let mut parts = vec![format!("ALTER COLUMN {column} DROP DEFAULT")];
    parts.push(format!("ALTER COLUMN {column} TYPE {wanted} USING {value}"));
    if let Some(default) = model.fields.get(name).and_then(default_of) {
        parts.push(format!("ALTER COLUMN {column} SET DEFAULT {default}"));
    }
    parts.join(", ")
}

/// A further statement, if there is one.
fn after(statement: &str) -> String {
    if statement.is_empty() {
        String::new()
    } else {
        format!("; {statement}")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn model(fields: Value) -> Model {
        Model::define("Product", fields.as_object().unwrap()).unwrap()
    }

    pub(in crate::store) fn place(has_role: bool) -> Place<'static> {
        static NOTHING: (Rows, BTreeMap<String, Model>) = (
            Rows {
                any: false,
                many: false,
                with_nulls: std::collections::BTreeSet::new(),
            },
            BTreeMap::new(),
        );
        Place {
            has_role,
            rows: &NOTHING.0,
            targets: &NOTHING.1,
        }
    }

    fn planned(before: Option<Model>, after: Model, rows: &Rows) -> Vec<(String, Mode)> {
        let plan = Plan::make(before, Some(after), rows).unwrap();
        let place = Place { rows, ..place(false) };
        let steps = steps(&plan, place).into_iter();
        steps.map(|step| (step.sql, step.mode)).collect()
    }

    #[test]
    fn a_field_that_is_required_from_now_on_is_filled_in_batches() {
        let before = model(json!({ "stock": "int" }));
        let after = model(json!({ "stock": { "type": "int", "required": true, "default": 0 } }));
        let rows = Rows {
            any: true,
            many: false,
            with_nulls: ["stock".to_owned()].into(),
        };
        let modes: Vec<Mode> = planned(Some(before), after, &rows)
            .into_iter()
            .map(|step| step.1)
            .collect();
        let (together, batches) = (Mode::Together, Mode::Batches);
        assert_eq!(modes, [together, together, batches, together, together]);
    }

    #[test]
    fn a_field_of_a_large_table_gets_what_hangs_on_it_while_the_table_is_used() {
        let before = model(json!({ "sku": "str" }));
        let after = model(json!({
            "sku": "str", "code": { "type": "str", "unique": true }, "near": { "type": "vector(3)", "index": true },
            "under": { "type": "int", "references": "Product", "index": true },
        }));
        let rows = Rows {
            any: true,
            many: true,
            ..Rows::default()
        };
        let targets = BTreeMap::from([("Product".to_owned(), before.clone())]);
        let plan = Plan::make(Some(before), Some(after), &rows).unwrap();
        let place = Place {
            rows: &rows,
            targets: &targets,
            ..place(false)
        };
        let steps = steps(&plan, place);
        let begins: Vec<(&str, Mode)> = steps
            .iter()
            .map(|step| (step.sql.split(" \"").next().unwrap_or_default(), step.mode))
            .collect();
        let (together, alone) = (Mode::Together, Mode::Alone);
        let add = "ALTER TABLE models.\"products\" ADD COLUMN";
        let constrain = "ALTER TABLE models.\"products\" ADD CONSTRAINT";
        let vector = "CREATE EXTENSION IF NOT EXISTS vector; ALTER TABLE models.\"products\" ADD COLUMN";
        assert_eq!(
            begins,
            [
                (add, together),
                ("CREATE UNIQUE INDEX CONCURRENTLY", alone),
                (constrain, together),
                (vector, together),
                ("CREATE INDEX CONCURRENTLY", alone),
                (add, together),
                ("CREATE INDEX CONCURRENTLY", alone),
                (constrain, together),
                ("ALTER TABLE models.\"products\" VALIDATE CONSTRAINT", alone),
            ]
        );
        assert!(steps[7].sql.ends_with("NOT VALID"), "{}", steps[7].sql);
        let back: Vec<_> = steps.iter().map(|step| step.reverse.is_some()).collect();
        assert_eq!(back, [true, true, true, true, true, true, true, true, false]);
    }

    #[test]
    fn a_large_table_is_indexed_while_it_is_used() {
        let before = model(json!({ "sku": "str" }));
        let after = model(json!({ "sku": { "type": "str", "index": true } }));
        let rows = Rows {
            any: true,
            many: true,
            ..Rows::default()
        };
        let steps = planned(Some(before), after, &rows);
        assert_eq!(steps[0].1, Mode::Alone);
        assert!(
            steps[0].0.starts_with("CREATE INDEX CONCURRENTLY"),
            "{}",
            steps[0].0
        );
    }
}
