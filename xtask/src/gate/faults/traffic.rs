//! Traffic while a store is troubled: requests in several lanes through the edge, each timed and judged, and
//! what was acknowledged read back afterwards.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::join_all;

use crate::context::{Deadline, poll};
use crate::exit::Failure;
use crate::stack::Stack;
use crate::story::form::{self, Step, Traffic};
use crate::story::{self, Teller, Variables};

/// Requests under way at a time.
const LANES: usize = 4;
/// Between two requests of one lane: traffic, not load.
const PACE: Duration = Duration::from_millis(100);
/// Of the acknowledged requests one in this many is read back while the trouble lasts, all of them afterwards.
const REREAD_EVERY: usize = 4;
/// Statuses that say "not now": an honest refusal.
const REFUSALS: [u16; 4] = [429, 502, 503, 504];

/// One file of `services/<name>/faults`, prepared.
pub(super) struct Source {
    pub(super) service: String,
    pub(super) title: String,
    traffic: Traffic,
    teller: Teller<'static>,
    /// Those given, and what the preparation saved.
    variables: Variables,
    next: AtomicUsize,
}

/// What one fault's traffic came to.
#[derive(Debug, Default)]
pub(super) struct Traffics {
    pub(super) sent: usize,
    pub(super) slowest: Duration,
    /// Without any answer when their time was up.
    pub(super) hung: Vec<String>,
    pub(super) wrong: Vec<String>,
    /// Of each acknowledged request the variables that it is read back with.
    acknowledged: Vec<Variables>,
}

impl Traffics {
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Later traffic of the same source.
    pub(super) fn add(&mut self, later: Traffics) {
        self.sent += later.sent;
        self.slowest = self.slowest.max(later.slowest);
        self.hung.extend(later.hung);
        self.wrong.extend(later.wrong);
        self.acknowledged.extend(later.acknowledged);
    }
}

/// What reading back came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Answered otherwise than when they were acknowledged.
    pub(super) count: usize,
    /// The first of these answers.
    pub(super) first: Option<String>,
    /// Not answered about in time.
    pub(super) unasked: usize,
}

impl Source {
    /// Prepares all traffic of the judged services: logged in, models registered.
    pub(super) async fn prepare(stack: &Stack<'_>) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        for service in stack.services().filter(|service| stack.is_judged(&service.name)) {
            let files: Vec<PathBuf> = form::files(&stack.context.root.join(&service.dir).join("faults"))?;
            let limit = stack.request_timeout(&service.name);
            for path in files {
                // A moment more than the services have: an answer at the last moment is an answer.
                let teller = Teller::new(stack.edge().await?)?.patient_for(limit + Duration::from_secs(2))?;
                let mut source = Source {
                    service: service.name.clone(),
                    title: form::title(&path),
                    traffic: form::traffic(&path)?,
                    teller,
                    variables: stack.given()?,
                    next: AtomicUsize::new(1),
                };
                source.begin().await?;
                sources.push(source);
            }
        }
        Ok(sources)
    }

    async fn begin(&mut self) -> Result<()> {
        for step in &self.traffic.prepare {
            let told = self.teller.tell(step, &mut self.variables).await;
            told.map_err(|error| {
                let what = format!("faults/{}: '{}': {error:#}", self.title, step.name);
                Failure::undecided(what, "it must pass while nothing is wrong")
            })?;
        }
        Ok(())
    }

    /// Whether one request is answered as expected within a deadline.
    pub(super) async fn works_within(&self, deadline: Deadline) -> bool {
        let asked = poll(deadline, Duration::from_millis(100), || async {
            self.one(&self.traffic.request, &mut self.numbered()).await.ok()
        });
        asked.await.is_some()
    }

    /// Requests in several lanes until told to stop; returns when the last one has its answer.
    pub(super) async fn flow(&self, stop: &AtomicBool) -> Traffics {
        let all = Mutex::new(Traffics::default());
        let lanes = (0..LANES).map(|_| async {
            while !stop.load(SeqCst) {
                self.send(&all).await;
                tokio::time::sleep(PACE).await;
            }
        });
        join_all(lanes).await;
        all.into_inner().unwrap_or_default()
    }

    async fn send(&self, all: &Mutex<Traffics>) {
        let mut variables = self.numbered();
        let begun = Instant::now();
        let answer = self.one(&self.traffic.request, &mut variables).await;
        let acknowledged = answer.is_ok();
        note(all, &self.traffic.request, begun, answer);
        let Some(read) = self.traffic.read_back.as_ref().filter(|_| acknowledged) else {
            return;
        };
        let count = all.lock().map_or(0, |mut all| {
            all.acknowledged.push(variables.clone());
            all.acknowledged.len()
        });
        if count.is_multiple_of(REREAD_EVERY) {
            let begun = Instant::now();
            let answer = self.one(read, &mut variables).await;
            note(all, read, begun, answer);
        }
    }

    pub(super) fn reads_back(&self) -> bool {
        self.traffic.read_back.is_some()
    }

    /// Reads all back that was acknowledged, until one is not answered about by the deadline.
    pub(super) async fn lost(&self, traffics: &Traffics, deadline: Deadline) -> Lost {
        let mut lost = Lost::default();
        let Some(read) = &self.traffic.read_back else {
            return lost;
        };
        for (index, variables) in traffics.acknowledged.iter().enumerate() {
            let about = poll(deadline, Duration::from_millis(200), || async {
                match self.one(read, &mut variables.clone()).await {
                    Ok(()) => Some(Ok(())),
                    Err(Bad::Wrong(why)) => Some(Err(why)),
                    // Not an answer about the row: asked again.
                    Err(Bad::Refused | Bad::Hung(_)) => None,
                }
            });
            match about.await {
                Some(Ok(())) => {}
                Some(Err(why)) => {
                    lost.count += 1;
                    let n = variables.get("n").cloned().unwrap_or_default();
                    lost.first.get_or_insert(format!("request {n}: {why}"));
                }
                None => {
                    lost.unasked = traffics.acknowledged.len() - index;
                    break;
                }
            }
        }
        lost
    }

    fn numbered(&self) -> Variables {
        let mut variables = self.variables.clone();
        variables.insert("n".to_owned(), self.next.fetch_add(1, SeqCst).to_string());
        variables
    }

    async fn one(&self, step: &Step, variables: &mut Variables) -> Result<(), Bad> {
        let answer = match self.teller.ask(step, variables).await {
            Ok(answer) => answer,
            Err(error) if story::timed_out(&error) => return Err(Bad::Hung(format!("{error:#}"))),
            // Refused by the edge, or broken off: the client knows that it was told nothing.
            Err(_) => return Err(Bad::Refused),
        };
        if REFUSALS.contains(&answer.status) && answer.status != step.expect.status {
            return Err(Bad::Refused);
        }
        let judged = answer.judged(&step.expect, variables);
        let judged = judged.and_then(|()| answer.remember(step, variables));
        judged.map_err(|error| Bad::Wrong(format!("{error:#}")))
    }
}

/// An answer that is not the one that was hoped for.
enum Bad {
    Refused,
    Hung(String),
    Wrong(String),
}

fn note(all: &Mutex<Traffics>, step: &Step, begun: Instant, answer: Result<(), Bad>) {
    let Ok(mut all) = all.lock() else { return };
    let took = begun.elapsed();
    all.sent += 1;
    all.slowest = all.slowest.max(took);
    match answer {
        Ok(()) | Err(Bad::Refused) => {}
        Err(Bad::Hung(why)) => {
            let word = format!("'{}' after {:.1} s: {why}", step.name, took.as_secs_f64());
            all.hung.push(word);
        }
        Err(Bad::Wrong(why)) => all.wrong.push(format!("'{}': {why}", step.name)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// A source whose edge answers one question about a row after the other, then closes every connection.
    fn source(answers: &'static [u16]) -> Source {
        let edge = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = edge.local_addr().unwrap();
        std::thread::spawn(move || {
            for (index, asker) in edge.incoming().flatten().enumerate() {
                let mut asker = asker;
                let _ = asker.read(&mut [0; 4096]);
                if let Some(status) = answers.get(index) {
                    let head = "content-length: 0\r\nconnection: close";
                    let _ = write!(asker, "HTTP/1.1 {status} x\r\n{head}\r\n\r\n");
                }
            }
        });
        let step = r#"{"name":"row","method":"GET","path":"/${n}","expect":{"status":200}}"#;
        let traffic = format!(r#"{{"request":{step},"read_back":{step}}}"#);
        Source {
            service: "x".into(),
            title: "rows".into(),
            traffic: serde_json::from_str(&traffic).unwrap(),
            teller: Teller::new(address).unwrap(),
            variables: Variables::new(),
            next: AtomicUsize::new(1),
        }
    }

    fn acknowledged(count: usize) -> Traffics {
        let rows = (0..count).map(|n| Variables::from([("n".to_owned(), n.to_string())]));
        Traffics {
            acknowledged: rows.collect(),
            ..Traffics::default()
        }
    }

    #[tokio::test]
    async fn a_row_is_lost_where_an_answer_says_so_and_unknown_where_none_comes() {
        let begun = Instant::now();
        let deadline = Deadline::within(Duration::from_millis(500));
        let lost = source(&[200, 404]).lost(&acknowledged(40), deadline).await;
        assert_eq!((lost.count, lost.unasked), (1, 38), "{lost:?}");
        assert!(
            lost.first
                .unwrap()
                .starts_with("request 1: expected status 200, got 404")
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "each row waited for on its own"
        );
    }
}
