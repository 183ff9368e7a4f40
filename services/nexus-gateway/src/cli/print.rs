//! What the command line prints.

use std::io::{BufRead, BufReader, Write};

use serde_json::Value;

use super::{
    Fault,
    client::{Reply, broken},
};

/// One line of standard output.
pub(super) fn line(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| Fault::failed(format!("cannot write the answer: {error}")))
}

/// # Errors
/// The answer is no JSON: something else than a gateway answered.
pub(super) fn parsed(text: &str) -> Result<Value, Fault> {
    serde_json::from_str(text).map_err(|error| Fault {
        hint: "see that --url names a gateway".to_owned(),
        ..Fault::failed(format!("the answer is no JSON: {error}"))
    })
}

/// A workflow a line: name, version, description.
pub(super) fn workflows(listed: &Value) -> Result<(), Fault> {
    let rows = listed.as_object().into_iter().flatten().map(|(name, one)| {
        let word = |key: &str| plain(one[key].as_str().unwrap_or_default());
        vec![plain(name), word("version"), word("description")]
    });
    table(&rows.collect::<Vec<_>>())
}

/// A service a line: name, word.
pub(super) fn board(board: &Value) -> Result<(), Fault> {
    let rows = board["services"].as_object().into_iter().flatten();
    let rows = rows.map(|(name, word)| vec![plain(name), plain(word.as_str().unwrap_or_default())]);
    table(&rows.collect::<Vec<_>>())
}

fn table(rows: &[Vec<String>]) -> Result<(), Fault> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..3).map(width).collect();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// A text that cannot steer the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// A run's events as they come. A run that fails is a failure here, too.
pub(super) fn events(reply: Reply) -> Result<(), Fault> {
    let mut last = String::new();
    let mut code = None;
    for text in BufReader::new(reply.into_reader()).lines() {
        let text = text.map_err(|error| broken(&error))?;
        if let Some(event) = text.strip_prefix("event:") {
            event.trim().clone_into(&mut last);
        } else if let Some(data) = text.strip_prefix("data:")
            && last == "error"
        {
            let data: Value = serde_json::from_str(data).unwrap_or_default();
            let told = data.pointer("/error/code").and_then(Value::as_str);
            code = Some(told.unwrap_or("no code").to_owned());
        }
        line(&text)?;
    }
    match (last.as_str(), code) {
        ("complete", _) => Ok(()),
        (_, Some(code)) => Err(Fault::failed(format!("the run failed ({code})"))),
        _ => Err(Fault {
            hint: "GET /executions/{id} tells how the run goes on; the event start names its id".to_owned(),
            ..Fault::failed("the events ended before the run did")
        }),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_description_cannot_steer_the_terminal() {
        assert_eq!(super::plain("a\u{1b}[2J\nb\u{9b}1m"), "a [2J b 1m");
    }
}
