//! Background jobs: what a call to `POST /jobs` may ask for, and the lines of an import.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::bulk::{Bulk, BulkOperation, Refusal};
use super::fault::{Fault, PARAMETER};
use super::model::Model;

/// Rows of an import that are written in one transaction.
pub(crate) const CHUNK_ROWS: usize = 1000;
/// A chunk ends here, too: long rows make short chunks.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;
/// One row of an import at most, as JSON.
pub(crate) const LONGEST_ROW: usize = 1024 * 1024;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobKind {
    /// Writes rows, a line of JSON each.
    Import,
    /// Deletes or archives rows that are too old, as the model's `retention` says.
    Retention,
    /// Builds the indexes of a model's table anew, without locking it.
    Reindex,
}

impl JobKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            JobKind::Import => "import",
            JobKind::Retention => "retention",
            JobKind::Reindex => "reindex",
        }
    }

    pub(crate) fn of(word: &str) -> Option<Self> {
        [JobKind::Import, JobKind::Retention, JobKind::Reindex]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

/// Body of `POST /jobs`, or its query where the body is NDJSON.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobRequest {
    pub(crate) kind: JobKind,
    pub(crate) model: String,
    /// Rows of an import, where they are not sent as NDJSON.
    #[serde(default)]
    pub(crate) data: Option<Vec<Value>>,
    /// `create` (default) or `upsert`.
    #[serde(default)]
    pub(crate) operation: Option<String>,
    /// As of the bulk nodes.
    #[serde(default)]
    pub(crate) conflict_resolution: Option<String>,
    /// One column, as of the bulk nodes.
    #[serde(default)]
    pub(crate) conflict_on: Option<String>,
    /// `continue` (default; refused rows are counted and the first are named) or `abort`.
    #[serde(default)]
    pub(crate) on_error: Option<String>,
}

impl JobRequest {
    /// What the job is to remember.
    ///
    /// # Errors
    /// What does not fit its kind or its model.
    pub(crate) fn check(&self, model: &Model) -> Result<Map<String, Value>, Refusal> {
        let about = |field: &str, message: &str| Refusal::from(Fault::about(PARAMETER, field, message));
        let import = self.kind == JobKind::Import;
        let only_imports = [
            ("data", self.data.is_some()),
            ("operation", self.operation.is_some()),
            ("conflict_resolution", self.conflict_resolution.is_some()),
            ("conflict_on", self.conflict_on.is_some()),
            ("on_error", self.on_error.is_some()),
        ];
        if let Some((name, _)) = only_imports.iter().find(|(_, given)| *given && !import) {
            return Err(about(name, &format!("{name} is for imports only")));
        }
        if self.kind == JobKind::Retention && model.config.retention.is_none() {
            return Err(about(
                "model",
                &format!("{} has no retention in its config", model.name),
            ));
        }
        let options = self.options();
        if import {
            chunk(&options, model, "")?;
        }
        Ok(options)
    }

    fn options(&self) -> Map<String, Value> {
        let given = [
            ("operation", self.operation.clone().map(Value::from)),
            (
                "conflict_resolution",
                self.conflict_resolution.clone().map(Value::from),
            ),
            (
                "conflict_on",
                self.conflict_on.clone().map(|column| json!([column])),
            ),
            ("on_error", self.on_error.clone().map(Value::from)),
        ];
        let given = given
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        given.collect()
    }
}

/// A chunk of an import as the bulk call that it is. A line that is no JSON is refused as an item.
///
/// # Errors
/// The options do not fit the model; or, where one refused row stops the import, the rows.
pub(crate) fn chunk(options: &Map<String, Value>, model: &Model, lines: &str) -> Result<Bulk, Refusal> {
    let mut parameters = options.clone();
    let operation = match parameters.remove("operation").as_ref().map(Value::as_str) {
        None | Some(Some("create")) => BulkOperation::Create,
        Some(Some("upsert")) => BulkOperation::Upsert,
        Some(_) => {
            let message = "operation must be create or upsert";
            return Err(Fault::about(PARAMETER, "operation", message).into());
        }
    };
    parameters
        .entry("on_error")
        .or_insert_with(|| Value::from("continue"));
    let rows = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or(Value::Null));
    parameters.insert("data".to_owned(), rows.collect());
    Bulk::parse(operation, model, parameters)
}

/// Cuts lines of JSON into chunks as they come.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    line: Vec<u8>,
    chunk: String,
    rows: usize,
}

impl Cutter {
    /// Takes some bytes; whatever chunks are full come out.
    ///
    /// # Errors
    /// A line is too long, or is not UTF-8.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<(String, usize)>, Fault> {
        let mut full = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            self.end_line()?;
            if self.rows >= CHUNK_ROWS || self.chunk.len() >= CHUNK_BYTES {
                full.push((std::mem::take(&mut self.chunk), std::mem::take(&mut self.rows)));
            }
        }
        self.line.extend_from_slice(rest);
        if self.line.len() > LONGEST_ROW {
            let message = format!("a row is longer than {LONGEST_ROW} bytes");
            return Err(Fault::about(PARAMETER, "data", message));
        }
        Ok(full)
    }

    /// The last chunk, if there is one.
    ///
    /// # Errors
    /// As of `take`.
    pub(crate) fn end(mut self) -> Result<Option<(String, usize)>, Fault> {
        self.end_line()?;
        Ok((self.rows > 0).then_some((self.chunk, self.rows)))
    }

    fn end_line(&mut self) -> Result<(), Fault> {
        let line = std::mem::take(&mut self.line);
        let text = std::str::from_utf8(&line)
            .map_err(|_| Fault::about(PARAMETER, "data", "a row is not UTF-8"))?
            .trim();
        // PostgreSQL's text cannot hold it, and JSON must not have it bare.
        if text.contains('\0') {
            return Err(Fault::about(
                PARAMETER,
                "data",
                "a row holds the character U+0000",
            ));
        }
        if !text.is_empty() {
            self.chunk.push_str(text);
            self.chunk.push('\n');
            self.rows += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let fields = json!({ "sku": { "type": "str", "unique": true } });
        Model::define("Product", fields.as_object().unwrap()).unwrap()
    }

    #[test]
    fn lines_are_cut_wherever_the_bytes_come_apart() {
        let text = "{\"a\":1}\r\n\n {\"a\":\"\u{e9}\"}\n{\"a\":3}";
        for size in 1..text.len() {
            let mut cutter = Cutter::default();
            for bytes in text.as_bytes().chunks(size) {
                assert_eq!(cutter.take(bytes).unwrap(), []);
            }
            let (chunk, rows) = cutter.end().unwrap().unwrap();
            assert_eq!((chunk.lines().count(), rows), (3, 3));
            assert_eq!(chunk.lines().nth(1), Some("{\"a\":\"\u{e9}\"}"));
        }
    }

    #[test]
    fn chunks_are_bounded() {
        let mut cutter = Cutter::default();
        let full = cutter.take("{}\n".repeat(CHUNK_ROWS * 2 + 1).as_bytes()).unwrap();
        assert_eq!(
            full.iter().map(|chunk| chunk.1).collect::<Vec<_>>(),
            [CHUNK_ROWS; 2]
        );
        assert_eq!(cutter.end().unwrap().unwrap().1, 1);
        assert!(Cutter::default().take(&vec![b'x'; LONGEST_ROW + 1]).is_err());
        assert!(Cutter::default().take(b"\xff\n").is_err());
    }

    #[test]
    fn a_chunk_is_a_bulk_call_and_names_its_bad_lines() {
        let bulk = chunk(&Map::new(), &model(), "{\"sku\":\"a\"}\nnonsense\n{\"nope\":1}\n").unwrap();
        let bad: Vec<usize> = bulk.faults.iter().map(|item| item.index).collect();
        assert_eq!((bulk.sent, bad), (3, vec![1, 2]));
        let abort = json!({ "on_error": "abort" });
        assert!(chunk(abort.as_object().unwrap(), &model(), "nonsense").is_err());
        let wrong = json!({ "operation": "delete" });
        assert!(chunk(wrong.as_object().unwrap(), &model(), "").is_err());
    }

    #[test]
    fn what_is_for_imports_is_for_imports_only() {
        let request = |body: Value| {
            serde_json::from_value::<JobRequest>(body)
                .unwrap()
                .check(&model())
        };
        assert!(request(json!({ "kind": "import", "model": "Product", "on_error": "abort" })).is_ok());
        assert!(request(json!({ "kind": "reindex", "model": "Product", "on_error": "abort" })).is_err());
        assert!(request(json!({ "kind": "retention", "model": "Product" })).is_err());
    }
}
