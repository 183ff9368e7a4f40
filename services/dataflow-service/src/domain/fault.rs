//! The codes of DataFlow's errors, and a refusal in public words.

/// A parameter that a node does not accept, or one that is missing.
pub(crate) const PARAMETER: &str = "DF-101";
/// The database cannot be reached.
pub(crate) const NO_DATABASE: &str = "DF-201";
/// Nothing in the database keeps one tenant's rows from another.
pub(crate) const UNGUARDED: &str = "DF-202";
/// Every connection of the pool was in use for as long as a request may wait.
pub(crate) const POOL_EXHAUSTED: &str = "DF-203";
/// A multi-tenant model, and a request without a tenant.
pub(crate) const TENANT_REQUIRED: &str = "TENANT_REQUIRED";
/// Another change of tables holds the lock.
pub(crate) const MIGRATION_LOCKED: &str = "DF-301";
/// A migration that needs `confirm: true`.
pub(crate) const MIGRATION_UNCONFIRMED: &str = "DF-302";
/// `AUTO_MIGRATE=false`: nothing is migrated by itself.
pub(crate) const MIGRATION_OFF: &str = "DF-303";
/// No change of the table leads there; the message has the remedy.
pub(crate) const MIGRATION_IMPOSSIBLE: &str = "DF-304";
/// PostgreSQL refused a step; nothing of the migration remains.
pub(crate) const MIGRATION_FAILED: &str = "DF-305";
/// No migration of that version.
pub(crate) const MIGRATION_UNKNOWN: &str = "DF-306";
/// What was applied was edited afterwards.
pub(crate) const MIGRATION_ALTERED: &str = "DF-307";
/// Only the newest applied migration of a model is rolled back.
pub(crate) const MIGRATION_NOT_NEWEST: &str = "DF-308";
/// The model changed between the request's arrival and its statement.
pub(crate) const MODEL_CHANGED: &str = "DF-309";
/// A statement took too long.
pub(crate) const TOO_SLOW: &str = "DF-501";
/// Others changed the same rows at the same time, again and again.
pub(crate) const CONTENDED: &str = "DF-503";
/// No job of that id.
pub(crate) const JOB_UNKNOWN: &str = "DF-504";
/// A job is in another state than the call needs.
pub(crate) const JOB_STATE: &str = "DF-505";
/// A definition that is no model.
pub(crate) const MODEL_INVALID: &str = "DF-601";
/// The name or the table is taken by another definition.
pub(crate) const MODEL_EXISTS: &str = "DF-602";
/// No model of that name.
pub(crate) const MODEL_UNKNOWN: &str = "DF-603";
/// No node of that name.
pub(crate) const NODE_UNKNOWN: &str = "DF-700";
/// A filter with an unknown field or operator, or a value that does not fit.
pub(crate) const FILTER: &str = "DF-701";
/// `Read` without an id.
pub(crate) const READ_WITHOUT_ID: &str = "DF-702";
/// `Read` of a row that does not exist.
pub(crate) const ROW_NOT_FOUND: &str = "DF-703";
/// `Update` without an id in its filter.
pub(crate) const UPDATE_WITHOUT_ID: &str = "DF-704";
/// `Delete` without an id.
pub(crate) const DELETE_WITHOUT_ID: &str = "DF-705";
/// `Upsert` without `where`.
pub(crate) const UPSERT_WITHOUT_WHERE: &str = "DF-706";
/// `Upsert` by fields that do not tell rows apart.
pub(crate) const UPSERT_CONFLICT: &str = "DF-707";
/// `Upsert` with neither `update` nor `create`.
pub(crate) const UPSERT_NOTHING: &str = "DF-708";
/// `Upsert` with an operator or null in `where`.
pub(crate) const UPSERT_OPERATOR: &str = "DF-709";
/// `Upsert` whose telling field has no value, or two.
pub(crate) const UPSERT_NO_VALUE: &str = "DF-710";
/// Another row has the same value in a unique field.
pub(crate) const ROW_EXISTS: &str = "DF-711";
/// A row that a reference names does not exist, or a row is still referred to.
pub(crate) const REFERENCE: &str = "DF-712";
/// A change of every row that was not confirmed.
pub(crate) const BULK_UNCONFIRMED: &str = "DF-713";
/// A change of rows that are never changed.
pub(crate) const APPEND_ONLY: &str = "DF-714";
/// The database does not accept a value.
pub(crate) const VALUE: &str = "DF-715";
/// A field that the service sets itself.
pub(crate) const FIELD_STAMP: &str = "VAL-005";
/// A field whose name is not in snake case.
pub(crate) const FIELD_NAME: &str = "VAL-008";

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// The field or parameter it is about.
    pub(crate) field: Option<String>,
}

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Fault {
            code,
            message: message.into(),
            field: None,
        }
    }

    /// `{code, field, message}`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "code": self.code, "field": self.field, "message": self.message })
    }

    pub(crate) fn about(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Fault {
            field: Some(field.to_owned()),
            ..Fault::new(code, message)
        }
    }
}
