//! What a model's new definition changes of its table, one fact at a time and in an order in which it can be done.

use super::field::{Field, Kind};
use super::model::Model;

/// One change. Names are fields'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    CreateTable,
    DropTable,
    /// The table is made anew, which only an empty one may be: tenants came or went.
    RemakeTable,
    /// With what hangs on it: uniqueness, an index, a reference.
    AddField(String),
    DropField(String),
    Retype(String, Kind, Kind),
    SetDefault(String),
    /// Null is refused from now on.
    Require(String),
    AllowNull(String),
    AddUnique(String),
    DropUnique(String),
    AddIndex(String),
    DropIndex(String),
    AddReference(String),
    DropReference(String),
    AddSoftDelete,
    DropSoftDelete,
    /// Rows may be changed, or not any more.
    Privileges,
    /// The service itself checks other values than before; the table stays.
    TightenRules(String),
    LoosenRules(String),
    /// How long rows are kept.
    Retention,
}

impl Change {
    /// What takes it back.
    pub(crate) fn inverse(&self) -> Change {
        match self.clone() {
            Change::CreateTable => Change::DropTable,
            Change::DropTable => Change::CreateTable,
            Change::AddField(name) => Change::DropField(name),
            Change::DropField(name) => Change::AddField(name),
            Change::Retype(name, from, to) => Change::Retype(name, to, from),
            Change::Require(name) => Change::AllowNull(name),
            Change::AllowNull(name) => Change::Require(name),
            Change::AddUnique(name) => Change::DropUnique(name),
            Change::DropUnique(name) => Change::AddUnique(name),
            Change::AddIndex(name) => Change::DropIndex(name),
            Change::DropIndex(name) => Change::AddIndex(name),
            Change::AddReference(name) => Change::DropReference(name),
            Change::DropReference(name) => Change::AddReference(name),
            Change::AddSoftDelete => Change::DropSoftDelete,
            Change::DropSoftDelete => Change::AddSoftDelete,
            Change::TightenRules(name) => Change::LoosenRules(name),
            Change::LoosenRules(name) => Change::TightenRules(name),
            same => same,
        }
    }
}

/// The changes that make `after` of `before`.
///
/// # Errors
/// What cannot be had by changing a table, with the remedy.
pub(crate) fn diff(before: &Model, after: &Model) -> Result<Vec<Change>, String> {
    refuse(before, after)?;
    if before.config.multi_tenant != after.config.multi_tenant {
        return Ok(vec![Change::RemakeTable]);
    }
    let mut changes = Vec::new();
    for (name, field) in &after.fields {
        match before.fields.get(name) {
            None => changes.push(Change::AddField(name.clone())),
            Some(former) if former != field => changed(&mut changes, name, former, field)?,
            Some(_) => {}
        }
    }
    of_config(&mut changes, before, after);
    // What cannot be taken back comes last, so that nothing after it can fail.
    for name in before
        .fields
        .keys()
        .filter(|name| !after.fields.contains_key(*name))
    {
        changes.push(Change::DropField(name.clone()));
    }
    Ok(changes)
}

fn refuse(before: &Model, after: &Model) -> Result<(), String> {
    if before.name != after.name || before.table() != after.table() {
        return Err(format!(
            "the table {} is not renamed: register another model, and copy its rows",
            before.table()
        ));
    }
    if before.id_kind() != after.id_kind() {
        return Err("an id keeps its type: register another model, and copy its rows".to_owned());
    }
    Ok(())
}

fn changed(changes: &mut Vec<Change>, name: &str, from: &Field, to: &Field) -> Result<(), String> {
    let mut push = |change: fn(String) -> Change| changes.push(change(name.to_owned()));
    // What hangs on the column goes before its type changes, and comes after.
    let indexed = |field: &Field| field.index && !field.unique;
    let other_index = indexed(from) && indexed(to) && from.metric != to.metric;
    let refers = |field: &Field| (field.references.clone(), field.on_delete);
    if from.references.is_some() && refers(from) != refers(to) {
        push(Change::DropReference);
    }
    if from.unique && !to.unique {
        push(Change::DropUnique);
    }
    if indexed(from) && !indexed(to) || other_index {
        push(Change::DropIndex);
    }
    if from.default != to.default && to.default.is_none() {
        push(Change::SetDefault);
    }
    if from.required && !to.required {
        push(Change::AllowNull);
    }
    if from.kind != to.kind {
        castable(name, from.kind, to.kind)?;
        changes.push(Change::Retype(name.to_owned(), from.kind, to.kind));
    }
    let mut push = |change: fn(String) -> Change| changes.push(change(name.to_owned()));
    if from.default != to.default && to.default.is_some() {
        push(Change::SetDefault);
    }
    if !from.required && to.required {
        push(Change::Require);
    }
    if to.unique && !from.unique {
        push(Change::AddUnique);
    }
    if indexed(to) && !indexed(from) || other_index {
        push(Change::AddIndex);
    }
    if to.references.is_some() && refers(from) != refers(to) {
        push(Change::AddReference);
    }
    match rules(from, to) {
        Some(true) => push(Change::TightenRules),
        Some(false) => push(Change::LoosenRules),
        None => {}
    }
    Ok(())
}

/// Whether values that were taken may be refused now; `None` where the rules are the same.
fn rules(from: &Field, to: &Field) -> Option<bool> {
    let same =
        from.min == to.min && from.max == to.max && from.allowed == to.allowed && from.pattern == to.pattern;
    if same {
        return None;
    }
    let raised = to
        .min
        .is_some_and(|min| from.min.is_none_or(|former| min > former));
    let lowered = to
        .max
        .is_some_and(|max| from.max.is_none_or(|former| max < former));
    let fewer = !to.allowed.is_empty()
        && (from.allowed.is_empty() || from.allowed.iter().any(|value| !to.allowed.contains(value)));
    let other_pattern = to.pattern.is_some() && from.pattern != to.pattern;
    Some(raised || lowered || fewer || other_pattern)
}

fn of_config(changes: &mut Vec<Change>, before: &Model, after: &Model) {
    match (before.config.soft_delete, after.config.soft_delete) {
        (false, true) => changes.push(Change::AddSoftDelete),
        (true, false) => changes.push(Change::DropSoftDelete),
        _ => {}
    }
    if before.config.append_only != after.config.append_only {
        changes.push(Change::Privileges);
    }
    if before.config.retention != after.config.retention {
        changes.push(Change::Retention);
    }
}

/// Whether PostgreSQL can make one type's values the other's at all.
fn castable(name: &str, from: Kind, to: Kind) -> Result<(), String> {
    let has_text = |kind: Kind| !kind.is_json() && !matches!(kind, Kind::Bytes | Kind::Vector(_));
    let date = |kind| matches!(kind, Kind::Datetime | Kind::Timestamp);
    let can = to == Kind::Str && has_text(from)
        || from == Kind::Str && has_text(to)
        || from.is_number() && to.is_number()
        || date(from) && date(to)
        || from.is_json() && to == Kind::Json;
    if can {
        return Ok(());
    }
    Err(format!(
        "the values of {name} cannot become the other type: add a field of another name, and drop this one"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn model(fields: Value) -> Model {
        Model::define("Product", fields.as_object().unwrap()).unwrap()
    }

    fn changes(before: Value, after: Value) -> Result<Vec<Change>, String> {
        diff(&model(before), &model(after))
    }

    #[test]
    fn the_same_definition_changes_nothing() {
        let fields = json!({ "sku": { "type": "str", "unique": true } });
        assert_eq!(changes(fields.clone(), fields), Ok(vec![]));
    }

    #[test]
    fn each_difference_is_one_change_and_what_goes_goes_last() {
        let before = json!({ "old": "str", "sku": "str", "stock": { "type": "int", "unique": true } });
        let after = json!({
            "new": { "type": "int", "required": true, "default": 1, "index": true },
            "sku": { "type": "str", "required": true, "min": null }, "stock": "float",
        });
        let name = str::to_owned;
        let wanted = vec![
            Change::AddField(name("new")),
            Change::Require(name("sku")),
            Change::DropUnique(name("stock")),
            Change::Retype(name("stock"), Kind::Int, Kind::Float),
            Change::DropField(name("old")),
        ];
        assert_eq!(changes(before, after), Ok(wanted));
    }

    #[test]
    fn rules_are_tighter_or_looser() {
        let field = |rules: Value| {
            let mut field = json!({ "type": "int" });
            field
                .as_object_mut()
                .unwrap()
                .extend(rules.as_object().unwrap().clone());
            json!({ "n": field })
        };
        let tight = Ok(vec![Change::TightenRules("n".to_owned())]);
        let loose = Ok(vec![Change::LoosenRules("n".to_owned())]);
        assert_eq!(changes(field(json!({})), field(json!({ "min": 1 }))), tight);
        assert_eq!(
            changes(field(json!({ "max": 5 })), field(json!({ "max": 9 }))),
            loose
        );
        assert_eq!(
            changes(field(json!({ "enum": [1, 2] })), field(json!({ "enum": [2, 3] }))),
            tight
        );
        assert_eq!(
            changes(field(json!({ "enum": [1] })), field(json!({ "enum": [1, 2] }))),
            loose
        );
    }

    #[test]
    fn what_no_change_of_a_table_can_do_is_refused_with_the_remedy() {
        let types = changes(json!({ "a": "dict" }), json!({ "a": "int" })).unwrap_err();
        assert!(types.contains("another name"), "{types}");
        let id = changes(
            json!({ "id": "str", "a": "int" }),
            json!({ "id": "int", "a": "int" }),
        )
        .unwrap_err();
        assert!(id.contains("id keeps its type"), "{id}");
    }

    #[test]
    fn tenants_make_the_table_anew() {
        let before = model(json!({ "a": "int" }));
        let mut after = before.clone();
        after.config.multi_tenant = true;
        assert_eq!(diff(&before, &after), Ok(vec![Change::RemakeTable]));
    }
}
