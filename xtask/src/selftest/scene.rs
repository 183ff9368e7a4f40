//! A scene: a checkout of fixtures, the gates that look at it, and what they must find.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::binary;
use super::checkout::Checkout;
use super::fixture::Fixture;
use super::matrix::Row;
use crate::cli::RunOptions;
use crate::context::Context;
use crate::exit::{Exit, explain};
use crate::pipeline;
use crate::plan::Limits;
use crate::verdict::{Check, Gate, Outcome, Record};

/// What a gate must say of a fixture: this check, with this outcome, for a reason that has these words.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub gate: Gate,
    pub check: &'static str,
    pub outcome: Outcome,
    pub words: &'static str,
}

/// A fixture and all that must be found about it; nothing for one that must pass.
#[derive(Debug, Clone)]
pub struct Case {
    pub fixture: Fixture,
    pub faults: Vec<Fault>,
    /// Checks that may find it too: those of tools that a machine may lack, or that differ by version.
    pub also: Vec<&'static str>,
}

impl Case {
    pub fn also(mut self, checks: &[&'static str]) -> Self {
        self.also.extend(checks);
        self
    }
}

/// One run.
pub struct Scene {
    pub name: &'static str,
    /// Without the build, which is part of every scene that looks at images.
    pub gates: Vec<Gate>,
    pub cases: Vec<Case>,
    /// Makes the checkout what it must be, and says how the run is called.
    pub prepare: Prepare,
    /// What the run finds in its cache.
    pub seed: fn(&Context),
    pub limits: Limits,
    /// The run must be refused before any gate: with this exit and these words.
    pub refused: Option<(Exit, &'static str)>,
}

type Prepare = Box<dyn Fn(&Checkout, &mut RunOptions) -> Result<()>>;

impl Scene {
    pub fn new(name: &'static str, gates: &[Gate], cases: Vec<Case>) -> Self {
        Scene {
            name,
            gates: gates.to_vec(),
            cases,
            prepare: Box::new(|_, _| Ok(())),
            seed: |_| {},
            limits: limits(),
            refused: None,
        }
    }

    pub fn prepared(mut self, prepare: impl Fn(&Checkout, &mut RunOptions) -> Result<()> + 'static) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    /// Prepared further.
    pub fn also_prepared(self, more: impl Fn(&Checkout, &mut RunOptions) -> Result<()> + 'static) -> Self {
        let Scene { prepare, .. } = self;
        Scene {
            prepare: Box::new(move |checkout, options| {
                prepare(checkout, options)?;
                more(checkout, options)
            }),
            ..self
        }
    }

    pub fn seeded(mut self, seed: fn(&Context)) -> Self {
        self.seed = seed;
        self
    }

    pub fn refused(mut self, exit: Exit, words: &'static str) -> Self {
        self.refused = Some((exit, words));
        self
    }

    /// Plays the scene in `folder`. `blinded` is a gate that waves everything through, on purpose.
    ///
    /// # Errors
    /// Where the checkout cannot be made: nothing was judged then.
    pub async fn play(
        &self,
        context: &Context,
        program: &Path,
        folder: &Path,
        blinded: Option<Gate>,
    ) -> Result<Vec<Row>> {
        let fixtures = self.cases.iter().map(|case| case.fixture.clone()).collect();
        let checkout =
            Checkout::write(folder, &context.root, fixtures).context("cannot write the checkout")?;
        std::fs::create_dir_all(checkout.path("bin")).context("cannot write the checkout")?;
        for fixture in &checkout.fixtures {
            let binary = checkout.path("bin").join(&fixture.name);
            binary::put(context, program, fixture, &binary).await?;
        }
        let mut options = RunOptions {
            bases: context.options.bases,
            cache_dir: Some(folder.join("cache")),
            ..RunOptions::default()
        };
        (self.prepare)(&checkout, &mut options)?;
        let own = context.inside(folder.to_path_buf(), options, self.limits);
        (self.seed)(&own);
        let mut gates = self.gates.clone();
        if gates.iter().any(|gate| *gate != Gate::Lint) {
            gates.insert(0, Gate::Build);
        }
        gates.retain(|gate| Some(*gate) != blinded);
        let (mut records, ended) = pipeline::judge(&own, &gates).await?;
        if let Some(gate) = blinded.filter(|gate| self.gates.contains(gate)) {
            let blind = |case: &Case| waved_through(&case.fixture.name, gate);
            records.extend(self.cases.iter().map(blind));
        }
        self.keep_logs(context, &own);
        Ok(self.rows(&records, ended.as_ref()))
    }

    fn rows(&self, records: &[Record], ended: Option<&anyhow::Error>) -> Vec<Row> {
        if let Some((exit, words)) = self.refused {
            let said = ended.map(explain);
            let held = said
                .as_ref()
                .is_some_and(|(ended, text)| *ended == exit && text.contains(words));
            let found = said.map_or("not refused".to_owned(), |(_, text)| text.replace('\n', " "));
            return vec![Row::of_refusal(self, exit, found, held)];
        }
        let early = ended.map(|error| explain(error).1);
        self.cases
            .iter()
            .map(|case| Row::of_case(self, case, records, early.as_deref()))
            .collect()
    }

    /// What the gates wrote down, beside the report of the whole.
    fn keep_logs(&self, context: &Context, own: &Context) {
        let to = context.run_dir.join("selftest").join(self.name);
        let _ = std::fs::create_dir_all(&to);
        for entry in std::fs::read_dir(own.run_dir.join("logs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = std::fs::copy(entry.path(), to.join(entry.file_name()));
        }
    }
}

/// The verdict of a gate that does not look.
fn waved_through(service: &str, gate: Gate) -> Record {
    let check = Check::passed(gate.name(), "waved through on purpose");
    Record::from_checks(service, gate, vec![check], "")
}

/// Short deadlines: a fixture that does not answer never will.
fn limits() -> Limits {
    Limits {
        boot_deadline_ms: 4_000,
        stop_deadline_ms: 3_000,
        stack_deadline_ms: 15_000,
        recovery_deadline_ms: 12_000,
        ..Limits::default()
    }
}
