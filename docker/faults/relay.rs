//! A relay that stands before a store and troubles what passes through it: slow, or reset. The standard library
//! alone, so that one call of rustc makes it.
//!
//!   relay LISTEN_PORT HOST:PORT               passes on, until it is ended
//!   relay mode plain | slowed MS | reset      to a running one: from now on; prints how much the last mode touched
//!
//! Reset: the kernel answers with RST where a socket is closed before what it received was read. So a connection
//! is reset as soon as its caller sends anything; one whose caller only waits is closed.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// Of 127.0.0.1 inside the relay's own container.
const CONTROL: (&str, u16) = ("127.0.0.1", 61999);
/// How soon a connection that is silent hears of a new mode.
const LOOK: Duration = Duration::from_millis(50);
const RESET: u64 = u64::MAX;

#[derive(Default)]
struct Trouble {
    /// 0: none; `RESET`; otherwise the delay of every answer in milliseconds.
    mode: AtomicU64,
    /// How many answers were delayed, or connections ended, since the mode was set.
    touched: AtomicU64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["mode", rest @ ..] => set(&rest.join(" ")),
        [port, target] => serve(port, target),
        _ => Err("relay LISTEN_PORT HOST:PORT | relay mode plain|slowed MS|reset".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn set(mode: &str) -> Done {
    let mut control = TcpStream::connect(CONTROL)?;
    writeln!(control, "{mode}")?;
    let mut answer = String::new();
    control.read_to_string(&mut answer)?;
    println!("{}", answer.trim());
    Ok(())
}

fn serve(port: &str, target: &str) -> Done {
    let trouble = Arc::new(Trouble::default());
    let (control, told) = (TcpListener::bind(CONTROL)?, trouble.clone());
    spawn(move || control.incoming().flatten().for_each(|asker| listen(&told, asker)));
    for caller in TcpListener::bind(("0.0.0.0", port.parse()?))?.incoming().flatten() {
        let (trouble, target) = (trouble.clone(), target.to_owned());
        spawn(move || pass(&trouble, caller, &target));
    }
    Ok(())
}

/// One order: a line. Answers `ok COUNT`, or `no`.
fn listen(trouble: &Trouble, mut asker: TcpStream) {
    let mut line = String::new();
    let _ = BufReader::new(&asker).read_line(&mut line);
    let words: Vec<&str> = line.split_whitespace().collect();
    let mode = match words.as_slice() {
        ["plain"] => Some(0),
        ["reset"] => Some(RESET),
        ["slowed", delay] => delay.parse().ok().filter(|delay| *delay > 0 && *delay < RESET),
        _ => None,
    };
    let answer = match mode {
        Some(mode) => {
            trouble.mode.store(mode, SeqCst);
            format!("ok {}", trouble.touched.swap(0, SeqCst))
        }
        None => "no".to_owned(),
    };
    let _ = writeln!(asker, "{answer}");
}

/// One connection, until either end closes it or the trouble does.
fn pass(trouble: &Arc<Trouble>, caller: TcpStream, target: &str) {
    if trouble.mode.load(SeqCst) == RESET {
        return end(trouble, &caller);
    }
    let Ok(store) = TcpStream::connect(target) else { return };
    let ends = [&caller, &store].map(|end| end.set_nodelay(true).and(end.set_read_timeout(Some(LOOK))));
    let (Ok(from), Ok(to)) = (caller.try_clone(), store.try_clone()) else { return };
    if ends.iter().any(Result::is_err) {
        return;
    }
    let asked = Arc::new(AtomicBool::new(false));
    let (upwards, asking) = (trouble.clone(), asked.clone());
    let questions = spawn(move || pump(&upwards, &from, &to, &asking, false));
    pump(trouble, &store, &caller, &asked, true);
    let _ = questions.join();
}

/// Copies one direction. Only answers are slow: once for each round trip, however long the answer is.
fn pump(trouble: &Trouble, mut from: &TcpStream, mut to: &TcpStream, asked: &AtomicBool, answers: bool) {
    let mut piece = [0; 16 * 1024];
    loop {
        if trouble.mode.load(SeqCst) == RESET {
            if !answers {
                end(trouble, from);
            }
            break;
        }
        // Looked at first: what is never read turns the close into a reset.
        match from.peek(&mut piece[..1]) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        }
        if trouble.mode.load(SeqCst) == RESET {
            continue;
        }
        let Ok(length) = from.read(&mut piece) else { break };
        let delay = trouble.mode.load(SeqCst);
        if !answers {
            asked.store(true, SeqCst);
        } else if asked.swap(false, SeqCst) && delay != 0 && delay != RESET {
            trouble.touched.fetch_add(1, SeqCst);
            sleep(Duration::from_millis(delay));
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    // One end closed: the other one hears of it. A reset needs the socket whole until its last owner lets go.
    if trouble.mode.load(SeqCst) != RESET {
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }
}

/// Waits a little for something that will stay unread, and lets go.
fn end(trouble: &Trouble, caller: &TcpStream) {
    trouble.touched.fetch_add(1, SeqCst);
    let _ = caller.set_read_timeout(Some(Duration::from_secs(2)));
    let _ = caller.peek(&mut [0; 1]);
}
