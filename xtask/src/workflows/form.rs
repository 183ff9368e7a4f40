//! A workflow of GitHub Actions, as far as this repository uses the form. A key that is not here is refused, so that
//! nobody brings in a shell, a container or a default that no rule looks at.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What a job or a workflow may: scope -> `read`, `write`.
pub type Permissions = BTreeMap<String, String>;

/// The values of one machine's share of a matrix: name -> value.
pub type Row = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workflow {
    #[serde(rename = "name")]
    _name: String,
    pub on: Value,
    pub permissions: Permissions,
    pub concurrency: Concurrency,
    pub jobs: BTreeMap<String, Job>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Concurrency {
    pub group: String,
    #[serde(rename = "cancel-in-progress")]
    _cancel_in_progress: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Job {
    #[serde(rename = "name")]
    _name: String,
    /// The job that comes before.
    pub needs: Option<String>,
    pub r#if: Option<String>,
    pub runs_on: Option<String>,
    pub timeout_minutes: Option<u32>,
    #[serde(rename = "environment")]
    _environment: Option<String>,
    pub permissions: Permissions,
    pub strategy: Option<Strategy>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Another workflow, instead of steps.
    pub uses: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Strategy {
    #[serde(rename = "fail-fast")]
    _fail_fast: Option<bool>,
    matrix: Matrix,
}

/// Rows in full, or the values of one name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Matrix {
    Rows { include: Vec<Row> },
    Values(BTreeMap<String, Vec<String>>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    pub name: String,
    #[serde(rename = "if")]
    _if: Option<String>,
    pub uses: Option<String>,
    #[serde(default)]
    pub with: BTreeMap<String, Value>,
    pub run: Option<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Reads a workflow's text.
pub fn parse(text: &str) -> Result<Workflow, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

impl Job {
    /// One for each machine that works at the job.
    pub fn rows(&self) -> Vec<Row> {
        match self.strategy.as_ref().map(|strategy| &strategy.matrix) {
            None => vec![Row::new()],
            Some(Matrix::Rows { include }) => include.clone(),
            Some(Matrix::Values(values)) => values.iter().fold(vec![Row::new()], |rows, (name, values)| {
                let with = |row: &Row, value: &String| {
                    let mut row = row.clone();
                    row.insert(name.clone(), value.clone());
                    row
                };
                let each = rows
                    .iter()
                    .flat_map(|row| values.iter().map(move |value| with(row, value)));
                each.collect()
            }),
        }
    }

    /// Steps that use an action, whatever its commit.
    pub fn using(&self, action: &str) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(move |step| step.action() == Some(action))
    }

    /// The argv of every `cargo xtask` of this job, for every row of its matrix.
    pub fn commands(&self) -> Result<Vec<Vec<String>>, String> {
        let mut commands = Vec::new();
        for row in self.rows() {
            for step in &self.steps {
                commands.extend(step.command(&row)?);
            }
        }
        Ok(commands)
    }
}

impl Step {
    /// The action without its commit, `actions/checkout`.
    pub fn action(&self) -> Option<&str> {
        self.uses.as_deref()?.split('@').next()
    }

    /// An input of the action, as text, filled in from the matrix.
    pub fn input(&self, name: &str, row: &Row) -> String {
        match self.with.get(name) {
            Some(Value::String(text)) => filled(text, row),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    /// What `run` starts, without `cargo xtask`: one program, and words that mean themselves to any shell.
    pub fn command(&self, row: &Row) -> Result<Option<Vec<String>>, String> {
        let Some(run) = &self.run else { return Ok(None) };
        let step = &self.name;
        let words = run
            .trim_end()
            .strip_prefix("cargo xtask ")
            .filter(|rest| !rest.contains('\n'));
        let words = words.ok_or_else(|| format!("step {step:?} is not one `cargo xtask`: {run:?}"))?;
        let mut argv = Vec::new();
        for word in words.split(' ') {
            let variable = word
                .strip_prefix("\"$")
                .and_then(|rest| rest.strip_suffix('"'))
                .and_then(|name| self.env.get(name));
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./_=-".contains(&byte);
            match variable {
                Some(value) => argv.push(filled(value, row)),
                None if !word.is_empty() && word.bytes().all(is_plain) => argv.push(word.to_owned()),
                None => return Err(format!("step {step:?}: {word:?} is logic of the shell's")),
            }
        }
        Ok(Some(argv))
    }
}

/// A text with the values of a row in it.
fn filled(text: &str, row: &Row) -> String {
    row.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{{ matrix.{name} }}}}"), value)
    })
}
