//! A migration before it happens: what changes, how risky each change is, and the steps that make it.

use serde::{Deserialize, Serialize};

use super::migration::{Change, diff};
use super::model::Model;
use super::risk::{Risk, Rows, judge};

/// Changes, each judged by the rows that are there. Without changes there is nothing to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// `None` where the model is new.
    pub(crate) before: Option<Model>,
    /// `None` where the model goes.
    pub(crate) after: Option<Model>,
    pub(crate) changes: Vec<Judged>,
}

/// A change, its risk, and the reason for it.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) change: Change,
    pub(crate) risk: Risk,
    pub(crate) reason: String,
}

/// How a step is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// In one transaction with what stands beside it.
    Together,
    /// Outside any transaction, as PostgreSQL demands of `CREATE INDEX CONCURRENTLY`.
    Alone,
    /// Again and again, each time a transaction of its own, until no row is left.
    Batches,
}

/// One step, as it is shown and as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) sql: String,
    /// What takes it back; `None` where nothing has to or can.
    pub(crate) reverse: Option<String>,
    pub(crate) mode: Mode,
    pub(crate) risk: Risk,
    pub(crate) reason: String,
}

impl Plan {
    /// The way from one definition to the other. The rows are those of the table as it is.
    ///
    /// # Errors
    /// Everything that cannot be had, with its remedy.
    pub(crate) fn make(
        before: Option<Model>,
        after: Option<Model>,
        rows: &Rows,
    ) -> Result<Self, Vec<String>> {
        let changes = match (&before, &after) {
            (Some(before), Some(after)) => diff(before, after).map_err(|why| vec![why])?,
            (None, Some(_)) => vec![Change::CreateTable],
            (Some(_), None) => vec![Change::DropTable],
            (None, None) => Vec::new(),
        };
        let (mut judged, mut refused) = (Vec::new(), Vec::new());
        for change in changes {
            match after
                .as_ref()
                .or(before.as_ref())
                .map(|model| judge(&change, model, rows))
            {
                Some(Ok((risk, reason))) => judged.push(Judged { change, risk, reason }),
                Some(Err(why)) => refused.push(why),
                None => {}
            }
        }
        if refused.is_empty() {
            Ok(Plan {
                before,
                after,
                changes: judged,
            })
        } else {
            Err(refused)
        }
    }

    /// The worst of its changes'.
    pub(crate) fn risk(&self) -> Risk {
        let risks = self.changes.iter().map(|judged| judged.risk);
        risks.max().unwrap_or(Risk::Safe)
    }

    /// The model's name.
    pub(crate) fn model(&self) -> &str {
        let model = self.after.as_ref().or(self.before.as_ref());
        model.map_or("", |model| &model.name)
    }

    /// What it does, in a few words.
    pub(crate) fn name(&self) -> String {
        match &self.changes[..] {
            [] => "nothing".to_owned(),
            [only] => words(&only.change),
            [first, rest @ ..] => format!("{} and {} more", words(&first.change), rest.len()),
        }
    }
}

fn words(change: &Change) -> String {
    match change {
        Change::CreateTable => "create the table".to_owned(),
        Change::DropTable => "drop the table".to_owned(),
        Change::RemakeTable => "make the table anew".to_owned(),
        Change::AddField(name) => format!("add {name}"),
        Change::DropField(name) => format!("drop {name}"),
        Change::Retype(name, ..) => format!("change the type of {name}"),
        Change::SetDefault(name) => format!("change the default of {name}"),
        Change::Require(name) => format!("require {name}"),
        Change::AllowNull(name) => format!("require {name} no more"),
        Change::AddUnique(name) => format!("make {name} unique"),
        Change::DropUnique(name) => format!("make {name} unique no more"),
        Change::AddIndex(name) => format!("index {name}"),
        Change::DropIndex(name) => format!("index {name} no more"),
        Change::AddReference(name) => format!("let {name} refer to rows"),
        Change::DropReference(name) => format!("let {name} refer to rows no more"),
        Change::AddSoftDelete => "mark deleted rows".to_owned(),
        Change::DropSoftDelete => "mark deleted rows no more".to_owned(),
        Change::Privileges => "change who may write".to_owned(),
        Change::TightenRules(name) | Change::LoosenRules(name) => format!("change the rules of {name}"),
        Change::Retention => "change how long rows are kept".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn model(fields: Value) -> Model {
        Model::define("Product", fields.as_object().unwrap()).unwrap()
    }

    #[test]
    fn a_plan_is_as_risky_as_its_worst_change() {
        let before = model(json!({ "a": "int", "b": "int" }));
        let after = model(json!({ "a": "int", "c": "str" }));
        let rows = Rows {
            any: true,
            ..Rows::default()
        };
        let plan = Plan::make(Some(before), Some(after), &rows).unwrap();
        assert_eq!(
            (plan.risk(), plan.name().as_str()),
            (Risk::Lossy, "add c and 1 more")
        );
    }

    #[test]
    fn every_refusal_is_told_at_once() {
        let required = json!({ "type": "str", "required": true });
        let before = model(json!({ "a": "int" }));
        let after = model(json!({ "a": "int", "b": required, "c": required }));
        let rows = Rows {
            any: true,
            ..Rows::default()
        };
        assert_eq!(Plan::make(Some(before), Some(after), &rows).unwrap_err().len(), 2);
    }
}
