//! What a test wrote down beforehand: which requests go wrong, and how; at which ones it acts. Pure but for the hooks.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Seen;

/// How a request goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Answers with this status and this code (`DENIED`, `BLOB_UNKNOWN`, ...), and carries nothing out.
    Refuse(u16, &'static str),
    /// 429, with this `Retry-After` where there is one.
    Busy(Option<String>),
    /// Resets the connection after so many bytes of the request's body; of the answer's where the request has none.
    Reset(usize),
    /// Says that it was done, and keeps nothing.
    Lost,
    /// Carries it out, and resets the connection in place of an answer.
    Unanswered,
    /// Serves other bytes than were pushed, as many.
    Other,
    /// Does not say how long its answer is, as through a proxy that packs it.
    Unmeasured,
    /// No token that was issued so far is worth anything any more: 401.
    Expired,
    /// Carries it out after that long.
    Late(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

/// What becomes of a request after a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    /// The connection is cut. What was not carried out yet never is.
    Cut,
}

pub(super) type Act = Box<dyn FnOnce() -> Then + Send>;

/// Which requests: by number, or by kind and how often that kind came.
enum Which {
    Number(usize),
    Kind(Kind),
}

struct Kind {
    method: String,
    pattern: String,
    nth: RangeInclusive<usize>,
    /// How many came so far.
    count: usize,
}

impl Kind {
    fn new(method: &str, pattern: &str, nth: RangeInclusive<usize>) -> Self {
        Kind {
            method: method.to_owned(),
            pattern: pattern.to_owned(),
            nth,
            count: 0,
        }
    }

    /// Counts a request, and says whether it is one of those that are meant.
    fn meets(&mut self, method: &str, path: &str) -> bool {
        let fits = fits(&self.method, &self.pattern, method, path);
        self.count += usize::from(fits);
        fits && self.nth.contains(&self.count)
    }
}

struct Hook {
    which: Which,
    when: When,
    act: Option<Act>,
}

/// What is in store for one request.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) number: usize,
    pub(super) fault: Option<Fault>,
    pub(super) before: Vec<Act>,
    pub(super) after: Vec<Act>,
}

#[derive(Default)]
pub(super) struct Script {
    pub(super) seen: Vec<Seen>,
    faults: Vec<(Kind, Fault)>,
    hooks: Vec<Hook>,
}

impl Script {
    pub(super) fn fault(&mut self, method: &str, pattern: &str, nth: RangeInclusive<usize>, fault: Fault) {
        self.faults.push((Kind::new(method, pattern, nth), fault));
    }

    pub(super) fn hook_at(&mut self, number: usize, when: When, act: Act) {
        let which = Which::Number(number);
        self.hooks.push(Hook {
            which,
            when,
            act: Some(act),
        });
    }

    pub(super) fn hook_on(&mut self, method: &str, pattern: &str, nth: usize, when: When, act: Act) {
        let which = Which::Kind(Kind::new(method, pattern, nth..=nth));
        self.hooks.push(Hook {
            which,
            when,
            act: Some(act),
        });
    }

    pub(super) fn behave(&mut self) {
        self.faults.clear();
        self.hooks.clear();
    }

    /// A request begins: it is recorded, and what is in store for it comes out.
    pub(super) fn turn(&mut self, method: &str, path: &str) -> Turn {
        let number = self.seen.len() + 1;
        self.seen.push(Seen {
            number,
            method: method.to_owned(),
            path: path.to_owned(),
            received: 0,
            status: None,
        });
        let mut turn = Turn {
            number,
            ..Turn::default()
        };
        // Each rule counts every request, also those that another rule takes.
        for (kind, fault) in &mut self.faults {
            if kind.meets(method, path) && turn.fault.is_none() {
                turn.fault = Some(fault.clone());
            }
        }
        for hook in &mut self.hooks {
            let is_due = match &mut hook.which {
                Which::Number(wanted) => *wanted == number,
                Which::Kind(kind) => kind.meets(method, path),
            };
            match (is_due, hook.when) {
                (true, When::Before) => turn.before.extend(hook.act.take()),
                (true, When::After) => turn.after.extend(hook.act.take()),
                (false, _) => {}
            }
        }
        turn
    }

    /// How it went. A record that was begun anew meanwhile knows nothing of it.
    pub(super) fn went(&mut self, number: usize, path: &str, received: usize, status: Option<u16>) {
        let seen = self.seen.get_mut(number - 1).filter(|seen| seen.path == path);
        if let Some(seen) = seen {
            (seen.received, seen.status) = (received, status);
        }
    }
}

/// Whether a request is of a kind.
pub(super) fn fits(wanted: &str, pattern: &str, method: &str, path: &str) -> bool {
    let mut rest = path;
    let has_all = pattern.split('*').all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    });
    (wanted == "*" || wanted == method) && has_all
}

#[test]
fn a_kind_is_a_method_and_pieces_of_the_path_in_order() {
    let path = "/v2/o/a/manifests/sha256-1?x=1";
    for (method, pattern, is_one) in [
        ("PUT", "/manifests/", true),
        ("*", "/o/a/*sha256-", true),
        ("GET", "/manifests/", false),
        ("PUT", "/manifests/*/o/a/", false),
        ("PUT", "", true),
    ] {
        assert_eq!(fits(method, pattern, "PUT", path), is_one, "{method} {pattern}");
    }
    let mut kind = Kind::new("PUT", "a", 2..=2);
    let met: Vec<bool> = ["a", "b", "a", "a"].map(|path| kind.meets("PUT", path)).into();
    assert_eq!(met, [false, false, true, false]);
}
