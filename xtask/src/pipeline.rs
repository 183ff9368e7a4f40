//! The order of a run: one line and one comment a step. No step knows the next one.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use futures_util::{StreamExt, stream};
use tokio::sync::OnceCell;

use crate::build::{self, Built};
use crate::bundle::Bundle;
use crate::catalogue::{Catalogue, Service};
use crate::cleaning;
use crate::context::Context;
use crate::engine::{Engine, Lease};
use crate::event::Event;
use crate::evidence::{self, Subject};
use crate::exit::{Exit, Failure};
use crate::gate::boot::cis::{self, Benchmark};
use crate::gate::budget::baseline::Baseline;
use crate::gate::{self, boot, budget, faults, lint, network, scan};
use crate::history;
use crate::plan::Plan;
use crate::planning;
use crate::proof::{self, Proven};
use crate::report::{self, Report};
use crate::setup;
use crate::standing;
use crate::story;
use crate::verdict::{Gate, Outcome, Record, exit_of};

/// How many images are scanned, or booted, at a time: more would blur the boot times on two cores.
const SIDE_BY_SIDE: usize = 2;

/// Runs the gates that were asked for; the report is written whatever happens, and says what ended the run
/// early where something did.
///
/// # Errors
/// Only where the run's folder cannot be made.
pub async fn run(context: &Context, command: &str, gates: &[Gate]) -> Result<Exit> {
    context.create_run_dir()?;
    context.begin(command);
    let mut said = Said::default();
    let ended = steps(context, gates, &mut said).await;
    finish(context, command, said, ended).await
}

/// The end of every run that judges: its proof, its report in each form, its line of history, its bundle, and how it
/// ends.
///
/// # Errors
/// None that a report could not say.
pub async fn finish(context: &Context, command: &str, mut said: Said, mut ended: Result<()>) -> Result<Exit> {
    let board = &context.board;
    said.records
        .iter_mut()
        .for_each(|record| context.witness.clean(record));
    if ended.is_ok() {
        ended = said.keep(context).await;
    }
    if let Err(error) = &ended {
        board.tell(Event::error(error));
    }
    board.finish();
    let mut exit = exit_of(&said.records, context.options.strict);
    if let Err(error) = &ended {
        exit = exit.worst(crate::exit::explain(error).0);
    }
    let interrupted = context.interrupted();
    exit = interrupted.map_or(exit, |signal| exit.worst(signal));
    let mut report = Report::new(context, command, said.plan.as_ref(), said.records, exit);
    report.error = ended
        .as_ref()
        .err()
        .map(|error| context.witness.masked(&crate::exit::explain(error).1));
    report.environment = said.environment;
    report.machine = said.machine;
    report.notes = said.notes;
    let bundle = Bundle::begin(context, &report);
    report.bundle = bundle.as_ref().map(Bundle::folder);
    let exit = write(context, &mut report, exit);
    report.summarize(context);
    if let Err(error) = history::append(&context.root, &history::Entry::of(&report)).await {
        board.note(&format!("{error:#}"));
    }
    // Last, for it takes the longest and the most room: what it costs, it does not cost the report.
    if let Some(bundle) = bundle {
        bundle.fill(&report, said.plan.as_ref()).await;
    }
    report::show(context, &report);
    Ok(exit)
}

/// Writes the report, and how the run ends then: what nobody can read is no verdict, whatever it was, and the forms
/// that can be written say so.
fn write(context: &Context, report: &mut Report, exit: Exit) -> Exit {
    let history = history::read(&context.root);
    let Err(error) = report.write(context, &history) else {
        return exit;
    };
    context.board.tell(Event::error(&error));
    let text = crate::exit::explain(&error).1;
    // Told at the end, with what ended the run early; an interrupted one tells only of this.
    if context.interrupted().is_some() {
        report::complain(&text);
    }
    let exit = exit.worst(Exit::Undecided);
    report.exit_code = exit.code();
    let earlier = report.error.take().map(|earlier| format!("{earlier}\n"));
    report.error = Some(earlier.unwrap_or_default() + &text);
    let _ = report.write(context, &history);
    exit
}

/// What a run came to so far: whole or not, it is reported.
#[derive(Default)]
pub struct Said {
    pub plan: Option<Plan>,
    pub records: Vec<Record>,
    pub environment: Vec<String>,
    /// The kind of machine that it ran on.
    pub machine: String,
    /// What a reader should know of how the plan came about.
    pub notes: Vec<String>,
    /// What it has in its hands at its end, for a proof.
    proven: Option<Proven>,
}

impl Said {
    /// Writes the proof of what was said, and exports the images where that was asked for.
    async fn keep(&self, context: &Context) -> Result<()> {
        match (&self.proven, &self.plan) {
            (Some(proven), Some(plan)) => proven.keep(context, plan, &self.records, &self.environment).await,
            _ => Ok(()),
        }
    }
}

/// The verdicts of a run that nobody watches, and what ended it early where something did.
pub async fn judge(context: &Context, gates: &[Gate]) -> Result<(Vec<Record>, Option<anyhow::Error>)> {
    context.create_run_dir()?;
    let mut said = Said::default();
    let ended = steps(context, gates, &mut said).await;
    Ok((said.records, ended.err()))
}

async fn steps(context: &Context, gates: &[Gate], said: &mut Said) -> Result<()> {
    let board = &context.board;
    let planning = board.step("planning");
    // What is to be done: the catalogue, the bases, every detail of every image.
    let catalogue = planning::read_catalogue(context).await?;
    let (plan, words) = planning::work_out(context, &catalogue, gates).await?;
    let plan = &*said.plan.insert(plan);
    // A faulty policy, database or story is told before it costs a build.
    let settings = scan::Settings::read(context, &catalogue)?;
    let policies = Policies::read(context, &catalogue, plan, context.options.accept)?;
    if plan.gates.contains(&Gate::Faults) {
        faults::refuse_unknown(context, plan)?;
    }
    story::form::refuse_malformed(&context.root, &catalogue, gates)?;
    context.refuse_faulty_engine()?;
    if let Some(folder) = &context.options.export {
        proof::refuse(folder)?;
    }
    drop(planning);
    // What must be there: provisioned with --setup; otherwise an engine at least, to ask what stands already.
    let engine = engine(context, plan).await?;
    refuse_another_platform(plan, &engine)?;
    said.environment = facts(context, &engine, &settings);
    said.machine = history::machine(&engine);
    let names: Vec<String> = catalogue
        .services
        .iter()
        .map(|service| service.name.clone())
        .collect();
    board.tell(Event::Planned {
        services: names,
        gates: gates.to_vec(),
    });
    engine.whereabouts().iter().for_each(|words| board.note(words));
    words.iter().for_each(|word| board.note(word));
    said.notes = words;
    skipped(plan, board, &mut said.records);
    let mut run = Run::new(context, &engine, plan, &settings, &policies);
    run.stores = engine.ids(plan.bases.images.values().map(String::as_str)).await?;
    // What earlier runs built and found.
    let standing = run.standing().await?;
    let ended = if run.knows_all(&standing) {
        run.gates(standing, &mut said.records).await
    } else {
        run.looks(&settings, standing, &mut said.records).await
    };
    let ended = ended.map(|proven| said.proven = Some(proven));
    if context.options.accept && ended.is_ok() {
        accept(context, plan, &policies.baseline, &said.records)?;
    }
    for word in context.cache.words() {
        board.note(&word);
        said.notes.push(word);
    }
    ended
}

/// The plan is made before set-up starts an engine.
fn refuse_another_platform(plan: &Plan, engine: &Engine) -> Result<()> {
    if plan.platform == engine.platform {
        return Ok(());
    }
    let what = format!(
        "planned for {}, the engine runs {}",
        plan.platform, engine.platform
    );
    Err(Failure::undecided(what, "the engine was started or changed meanwhile: run again").into())
}

/// Everything that the run needs is there, or the run does not begin.
async fn engine(context: &Context, plan: &Plan) -> Result<Engine> {
    if context.options.setup {
        let _under_way = context.board.step("set-up");
        setup::provision(context, &plan.bases).await?;
    }
    match context.engine().await {
        Ok(engine) => Ok(engine),
        // Whatever else is missing is told at once.
        Err(error) => preflight(context, plan).await.and(Err(error)),
    }
}

async fn preflight(context: &Context, plan: &Plan) -> Result<()> {
    let problems = setup::preflight(context, &plan.bases).await;
    let hint = "`--setup` provisions what can be provisioned, and so does `cargo xtask setup`";
    setup::refuse(&problems, hint)
}

/// Facts about this machine that a reader of the report may ask for.
fn facts(context: &Context, engine: &Engine, settings: &scan::Settings) -> Vec<String> {
    let database = settings
        .database_dir(context)
        .map_or("no vulnerability database".to_owned(), |dir| {
            format!("vulnerability database in {}", dir.display())
        });
    let mut facts = vec![
        format!("xtask {}", env!("CARGO_PKG_VERSION")),
        engine.words(),
        database,
    ];
    facts.extend(engine.whereabouts());
    facts
}

/// What the gates are told by the checkout, besides the scanner's policy.
struct Policies {
    baseline: Baseline,
    benchmark: Benchmark,
    ways_out: network::Policy,
}

impl Policies {
    /// # Errors
    /// Exit 2: each names its file and key.
    fn read(context: &Context, catalogue: &Catalogue, plan: &Plan, accepting: bool) -> Result<Self> {
        let root = &context.root;
        Ok(Policies {
            baseline: Baseline::read(root, catalogue, plan, accepting)?,
            benchmark: Benchmark::new(cis::Policy::read(root)?),
            ways_out: network::Policy::read(root)?,
        })
    }
}

/// One run's parts, for the steps below.
struct Run<'a> {
    context: &'a Context,
    engine: &'a Engine,
    plan: &'a Plan,
    policies: &'a Policies,
    /// `None` while there is no scanner, or where no scan was asked for.
    scanner: Option<scan::Scanner>,
    /// Every service that has an image, for compose entries that have none.
    known: BTreeSet<&'a str>,
    /// What stands behind the name of each store's image now.
    stores: BTreeMap<String, String>,
}

impl<'a> Run<'a> {
    fn new(
        context: &'a Context,
        engine: &'a Engine,
        plan: &'a Plan,
        settings: &scan::Settings,
        policies: &'a Policies,
    ) -> Self {
        let planned = plan.images.iter().map(|image| image.service.name.as_str());
        let mut run = Run {
            context,
            engine,
            plan,
            policies,
            scanner: None,
            known: planned.chain(plan.left_out.iter().map(String::as_str)).collect(),
            stores: BTreeMap::new(),
        };
        if run.wants(Gate::Scan) {
            run.scanner = scan::Scanner::new(context, settings).ok();
        }
        run
    }

    fn wants(&self, gate: Gate) -> bool {
        self.plan.gates.contains(&gate)
    }

    /// The images that need no build: proven by their key, or, for a gate that is run alone, whatever stands
    /// here under the plain name.
    async fn standing(&self) -> Result<Vec<Built>> {
        if self.wants(Gate::Build) {
            let (found, words) = standing::find(self.context, self.engine, self.plan).await?;
            words.iter().for_each(|word| self.context.board.note(word));
            Ok(found)
        } else if self.plan.gates.iter().any(|gate| *gate != Gate::Lint) {
            build::existing(self.context, self.engine, self.plan).await
        } else {
            Ok(Vec::new())
        }
    }

    /// Whether every verdict that was asked for is known: then nothing is built, started or looked at.
    fn knows_all(&self, standing: &[Built]) -> bool {
        let needs_images = self.plan.gates.iter().any(|gate| *gate != Gate::Lint);
        if needs_images && standing.len() < self.plan.images.len() {
            return false;
        }
        let judged = || self.plan.judged().map(|image| &image.service);
        self.plan
            .gates
            .iter()
            .all(|gate| judged().all(|service| self.knows(*gate, service, standing)))
    }

    /// Whether an earlier run's verdict, or its evidence, answers for a gate on a service.
    fn knows(&self, gate: Gate, service: &Service, standing: &[Built]) -> bool {
        let known = |subject: &Subject| self.is_known(subject);
        if gate == Gate::Lint {
            return known(&self.lint_subject(service));
        }
        let Some(image) = standing
            .iter()
            .find(|image| image.plan.service.name == service.name)
        else {
            return false;
        };
        match gate {
            Gate::Lint | Gate::Build => true,
            Gate::Scan => self
                .scanner
                .as_ref()
                .is_some_and(|scanner| scanner.knows(self.context, image)),
            Gate::Budget => known(&self.budget_subject(image)),
            Gate::Boot => known(&self.boot_subject(image)),
            Gate::Network => {
                standing.len() == self.plan.images.len()
                    && known(&self.parts(standing).subject(&service.name))
            }
            // Asked for to be looked at: traffic and trouble are never quite the same twice.
            Gate::Faults => false,
        }
    }

    fn is_known(&self, subject: &Subject) -> bool {
        evidence::verdict(self.context, subject).is_some()
    }

    /// A run that has to look: everything it needs must be there, and nothing of it stays.
    async fn looks(
        mut self,
        settings: &scan::Settings,
        standing: Vec<Built>,
        records: &mut Vec<Record>,
    ) -> Result<Proven> {
        // Listed all at once where --setup has not seen to it.
        if !self.context.options.setup {
            preflight(self.context, self.plan).await?;
        }
        if self.wants(Gate::Scan) {
            self.scanner = Some(scan::Scanner::new(self.context, settings)?);
        }
        // From here on things are created: a lease tells the next run that we live, or lived.
        let lease = Lease::take(
            &Lease::dir(),
            &self.context.run_id,
            self.context.estate(Some(self.engine)),
        )?;
        let held = self.hold(standing).await;
        {
            let _under_way = self.context.board.step("sweeping what dead runs left");
            cleaning::sweep_the_dead(self.context, self.engine).await;
        }
        let done = match held {
            Ok(standing) => self.gates(standing, records).await,
            Err(error) => Err(error),
        };
        // Whatever happened, nothing of this run stays.
        let _under_way = self.context.board.step("cleaning up");
        cleaning::clean_up(self.context, self.engine, lease).await;
        self.context.cache.forget_old();
        done
    }

    /// The images that stand, under names that this run alone moves; one that went away meanwhile is built.
    async fn hold(&self, standing: Vec<Built>) -> Result<Vec<Built>> {
        let mut held = Vec::new();
        for image in standing {
            match image.hold(self.context, self.engine).await {
                Ok(()) => held.push(image),
                Err(error) if self.engine.image(&image.digest).await?.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(held)
    }

    async fn gates(&self, standing: Vec<Built>, records: &mut Vec<Record>) -> Result<Proven> {
        // lint needs no image: its verdicts come while nothing is built yet.
        if self.wants(Gate::Lint) {
            records.extend(self.lint().await);
        }
        // One joint build of what does not stand here already.
        let images = if self.wants(Gate::Build) {
            let built = build::build(self.context, self.engine, self.plan, standing).await?;
            records.extend(built.records);
            built.images
        } else {
            standing
        };
        // All gates of an image run, even if one fails.
        let judged: Vec<&Built> = images.iter().filter(|image| !image.plan.support).collect();
        if self.wants(Gate::Budget) {
            let subject = |image: &Built| Some(self.budget_subject(image));
            let unknown = judged.iter().copied();
            let unknown = unknown.filter(|image| !self.is_known(&self.budget_subject(image)));
            let twins = budget::twin::Twins::new(self.context, self.plan, unknown);
            let look =
                |image| budget::check(self.context, self.engine, image, &self.policies.baseline, &twins);
            records.extend(self.each(&judged, Gate::Budget, subject, look).await);
        }
        if let Some(scanner) = &self.scanner {
            // Its evidence is kept by the gate itself: policy and age are applied anew.
            let look = |image| scan::check(self.context, self.engine, scanner, image);
            let mut scans = self.each(&judged, Gate::Scan, |_| None, look).await;
            if self.plan.left_out.is_empty() && scan::unused_exceptions(scanner, &mut scans) {
                scans.iter().for_each(|record| self.context.board.judged(record));
            }
            records.extend(scans);
        }
        if self.wants(Gate::Boot) {
            let subject = |image: &Built| Some(self.boot_subject(image));
            let limits = &self.plan.limits;
            let look =
                |image| boot::check(self.context, self.engine, image, limits, &self.policies.benchmark);
            let mut boots = self.each(&judged, Gate::Boot, subject, look).await;
            if self.plan.left_out.is_empty() && cis::unused(&self.policies.benchmark.policy, &mut boots) {
                boots.iter().for_each(|record| self.context.board.judged(record));
            }
            records.extend(boots);
        }
        // Joined: the stack over the digests that booted.
        if self.wants(Gate::Network) {
            records.extend(self.network(&images, records).await);
        }
        // Each store troubled while the stack is in use.
        if self.wants(Gate::Faults) {
            records.extend(self.faults(&images, records).await);
        }
        self.unjudged(records);
        let bills = self.scanner.as_ref().map(scan::Scanner::take_bills);
        Ok(Proven {
            engine: self.engine.clone(),
            images,
            bills: bills.unwrap_or_default(),
        })
    }

    fn lint_subject(&self, service: &Service) -> Subject {
        lint::subject(self.context, service, &self.known)
    }

    fn budget_subject(&self, image: &Built) -> Subject {
        budget::subject(self.context, image, &self.policies.baseline)
    }

    fn boot_subject(&self, image: &Built) -> Subject {
        boot::subject(
            self.context,
            self.engine,
            image,
            &self.plan.limits,
            &self.policies.benchmark,
        )
    }

    fn parts<'r>(&'r self, images: &'r [Built]) -> network::Parts<'r> {
        network::Parts {
            context: self.context,
            engine: self.engine,
            plan: self.plan,
            images,
            stores: &self.stores,
            policy: &self.policies.ways_out,
        }
    }

    /// One gate for each image, a few at a time.
    async fn each<'i, F, Fut>(
        &self,
        images: &[&'i Built],
        gate: Gate,
        subject: impl Fn(&'i Built) -> Option<Subject>,
        look: F,
    ) -> Vec<Record>
    where
        F: Fn(&'i Built) -> Fut,
        Fut: Future<Output = Result<Record>>,
    {
        let looks = images.iter().map(|image| {
            let (service, digest) = (&image.plan.service.name, image.digest.clone());
            let (subject, look) = (|| subject(image), look(image));
            async move {
                self.context.board.begin(service, gate);
                let mut record = gate::judged(self.context, service, gate, subject, look).await;
                record.digest = Some(digest);
                let strict = self.context.options.strict;
                self.context.witness.settle(self.engine, &record, strict).await;
                self.context.board.judged(&record);
                record
            }
        });
        stream::iter(looks).buffer_unordered(SIDE_BY_SIDE).collect().await
    }

    async fn lint(&self) -> Vec<Record> {
        let environments = OnceCell::new();
        let mut records = Vec::new();
        for image in self.plan.judged() {
            let service = &image.service;
            self.context.board.begin(&service.name, Gate::Lint);
            let subject = || Some(self.lint_subject(service));
            let look = lint::check(self.context, service, &environments, &self.known);
            let record = gate::judged(self.context, &service.name, Gate::Lint, subject, look).await;
            self.context.board.judged(&record);
            records.push(record);
        }
        records
    }

    async fn faults(&self, images: &[Built], records: &[Record]) -> Vec<Record> {
        if let Some(why) = self.no_stack(images, records) {
            return self.without_a_stack(Gate::Faults, &why);
        }
        for image in self.plan.judged() {
            self.context.board.begin(&image.service.name, Gate::Faults);
        }
        let found = faults::check(self.context, self.engine, self.plan, images).await;
        found.iter().for_each(|record| self.context.board.judged(record));
        found
    }

    fn without_a_stack(&self, gate: Gate, why: &str) -> Vec<Record> {
        let hint = "the stack is tested once all of it boots";
        let judged = self.plan.judged();
        let undecided = judged.map(|image| Record::undecided(&image.service.name, gate, why, hint));
        undecided
            .inspect(|record| self.context.board.judged(record))
            .collect()
    }

    /// The network gate, unless an image of the stack was not built or did not boot: nothing is proven then.
    async fn network(&self, images: &[Built], records: &[Record]) -> Vec<Record> {
        if let Some(why) = self.no_stack(images, records) {
            return self.without_a_stack(Gate::Network, &why);
        }
        let parts = self.parts(images);
        let names: Vec<&str> = self
            .plan
            .judged()
            .map(|image| image.service.name.as_str())
            .collect();
        let subjects = || names.iter().map(|name| parts.subject(name)).collect::<Vec<_>>();
        let before = subjects();
        let known = before
            .iter()
            .map(|subject| evidence::verdict(self.context, subject));
        let records = match known.collect::<Option<Vec<_>>>() {
            Some(known) => known,
            None => {
                names
                    .iter()
                    .for_each(|name| self.context.board.begin(name, Gate::Network));
                let records = network::check(parts).await;
                // What changed meanwhile is kept under no name.
                for subject in subjects().iter().filter(|subject| before.contains(subject)) {
                    let own = records.iter().filter(|record| record.service == subject.of);
                    own.for_each(|record| evidence::keep_verdict(self.context, subject, record));
                }
                records
            }
        };
        let mut records = records;
        for record in &mut records {
            let own = images
                .iter()
                .find(|image| image.plan.service.name == record.service);
            // The subject of each names all digests of the stack.
            record.digest = own.map(|image| image.digest.clone());
            self.context.board.judged(record);
        }
        records
    }

    fn no_stack(&self, images: &[Built], records: &[Record]) -> Option<String> {
        let built = |name: &str| images.iter().any(|built| built.plan.service.name == name);
        let unbuilt = self.plan.images.iter().find(|image| !built(&image.service.name));
        let unbooted = records
            .iter()
            .find(|record| record.gate == Gate::Boot && record.outcome == Outcome::Violated);
        let unbuilt = unbuilt.map(|image| format!("{} was not built", image.service.name));
        unbuilt.or(unbooted.map(|record| format!("{} did not pass its boot gate", record.service)))
    }

    /// A gate that was asked for and has no verdict on an image could not look.
    fn unjudged(&self, records: &mut Vec<Record>) {
        for gate in &self.plan.gates {
            for image in self.plan.judged() {
                let service = &image.service.name;
                let judged = |record: &Record| record.service == *service && record.gate == *gate;
                if !records.iter().any(judged) {
                    let why = "there is no image to look at";
                    let record = Record::undecided(service, *gate, why, "see the build");
                    self.context.board.judged(&record);
                    records.push(record);
                }
            }
        }
    }
}

/// What a run of this plan would do: service -> for each gate whether an earlier run's evidence answers for it.
/// Asks our cache alone, so an image counts as standing where it was ever proven; without an engine nothing is
/// known of the gates that need one.
///
/// # Errors
/// Exit 2: a faulty policy or database.
pub async fn forecast(
    context: &Context,
    catalogue: &Catalogue,
    plan: &Plan,
) -> Result<Vec<(String, Vec<(Gate, bool)>)>> {
    let settings = scan::Settings::read(context, catalogue)?;
    let policies = Policies::read(context, catalogue, plan, false)?;
    let Ok(engine) = context.engine().await else {
        return Ok(Vec::new());
    };
    let mut run = Run::new(context, &engine, plan, &settings, &policies);
    run.stores = engine.ids(plan.bases.images.values().map(String::as_str)).await?;
    let proven: Vec<Built> = plan
        .images
        .iter()
        .filter_map(|image| standing::proven(context, image))
        .collect();
    let of = plan.judged().map(|image| {
        let service = &image.service;
        let gates = plan
            .gates
            .iter()
            .map(|gate| (*gate, run.knows(*gate, service, &proven)));
        (service.name.clone(), gates.collect())
    });
    Ok(of.collect())
}

/// Moves the baseline to the sizes that this run measured.
fn accept(context: &Context, plan: &Plan, baseline: &Baseline, records: &[Record]) -> Result<()> {
    let names = plan
        .judged()
        .map(|image| (image.service.name.as_str(), image.service.image.as_str()));
    let sizes = budget::measured(records, &names.collect());
    let count = sizes.len();
    baseline.accept(&context.root, sizes)?;
    context
        .board
        .note(&format!("reports/baseline.json: {count} accepted, commit it"));
    Ok(())
}

fn skipped(plan: &Plan, board: &crate::terminal::Board, records: &mut Vec<Record>) {
    if !plan.left_out.is_empty() {
        board.note(&format!("skipped by --service: {}", plan.left_out.join(", ")));
    }
    for service in &plan.left_out {
        for gate in &plan.gates {
            let record = Record::skipped(service, *gate, "left out by --service");
            board.judged(&record);
            records.push(record);
        }
    }
}
