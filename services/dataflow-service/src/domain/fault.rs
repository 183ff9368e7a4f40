//! The codes of DataFlow's errors, and a refusal in public words.

/// A parameter that a node does not accept, or one that is missing.
pub(crate) const PARAMETER: &str = "DF-101";
/// The database cannot be reached.
pub(crate) const NO_DATABASE: &str = "DF-201";
/// Another change of tables holds the lock.
pub(crate) const MIGRATION_LOCKED: &str = "DF-301";
/// A statement took too long.
pub(crate) const TOO_SLOW: &str = "DF-501";
/// The node exists by contract, but not in this version.
pub(crate) const NOT_IMPLEMENTED: &str = "DF-502";
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
/// Another row has the same value in a unique field.
pub(crate) const ROW_EXISTS: &str = "DF-711";

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

    pub(crate) fn about(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Fault {
            field: Some(field.to_owned()),
            ..Fault::new(code, message)
        }
    }
}
