//! What serde cannot see of a load: what could not be sent, and aims that nothing could judge. Refused before anything
//! is started.

use std::ops::RangeInclusive;

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::Value;

use super::{Aims, Ask, LoadForm, Settings, Socket};
use crate::story::form as story;
use crate::story::{Variables, filled};

/// Each is an open file here, and one of the process that is measured.
const CLIENTS: RangeInclusive<usize> = 1..=4000;
const CONNECTIONS: RangeInclusive<usize> = 1..=1000;
const EVERY_S: RangeInclusive<f64> = 0.01..=3600.0;
const TIMES: RangeInclusive<u64> = 1..=100_000;
/// Where a measured service listens is the benchmark's to say.
const OURS: [&str; 2] = ["HOST", "PORT"];

/// A load of a service that calls these.
pub fn load(load: &LoadForm, calls: &[String]) -> Result<(), String> {
    let known = prepared(load)?;
    match (&load.request, &load.socket) {
        (Some(request), None) => ask(request, &known).map_err(|why| format!("request: {why}"))?,
        (None, Some(socket)) => message(socket, &known).map_err(|why| format!("socket: {why}"))?,
        _ => return Err("expected either request or socket".to_owned()),
    }
    if load.socket.is_some() && (load.direct.is_some() || load.units.is_some()) {
        return Err("direct and units are for requests".to_owned());
    }
    if !CONNECTIONS.contains(&load.connections) {
        return Err(format!("connections: from 1 to {}", CONNECTIONS.end()));
    }
    if load.units.as_ref().is_some_and(|units| units.each == 0) {
        return Err("units: each is at least 1".to_owned());
    }
    if let Some(direct) = &load.direct {
        if !calls.contains(&direct.service) {
            let what = format!("direct: '{}' is none that this service calls", direct.service);
            return Err(format!("{what} ({})", calls.join(", ")));
        }
        ask(&direct.request, &known).map_err(|why| format!("direct: {why}"))?;
    }
    aims(&load.aims, load)
}

/// What is prepared, and the variables that are known then.
fn prepared(load: &LoadForm) -> Result<Variables, String> {
    let mut known = story::given();
    for step in &load.prepare {
        let of_step = |why| format!("prepare '{}': {why}", step.name);
        if step.exec.is_some() {
            return Err(of_step("there is no container to run a command in".to_owned()));
        }
        story::check(step, &mut known).map_err(of_step)?;
    }
    Ok(known.into_iter().map(|name| (name, "x".to_owned())).collect())
}

fn ask(ask: &Ask, known: &Variables) -> Result<(), String> {
    if ask.method.parse::<load::Method>().is_err() || ask.method.to_uppercase() != ask.method {
        return Err(format!("method: '{}' is no method", ask.method));
    }
    if !(100..600).contains(&ask.expect) {
        return Err(format!("expect: {} is no status", ask.expect));
    }
    path(&ask.path)?;
    headers(&ask.headers)?;
    ask.body.iter().try_for_each(times)?;
    ask.request(known).map(drop)
}

fn message(socket: &Socket, known: &Variables) -> Result<(), String> {
    if !EVERY_S.contains(&socket.every_s) {
        return Err(format!("every_s: from {} to {}", EVERY_S.start(), EVERY_S.end()));
    }
    if !CLIENTS.contains(&socket.clients) {
        return Err(format!("clients: from 1 to {}", CLIENTS.end()));
    }
    path(&socket.path)?;
    headers(&socket.headers)?;
    if socket.message["id"] != "${n}" {
        return Err("message: its `id` is the text ${n}, by which the answer is known".to_owned());
    }
    load::Template::parse(&filled(&socket.message.to_string(), known))?;
    // These are sent once: there is no number to fill in.
    let once = std::iter::once(&socket.path).chain(socket.headers.values());
    for text in once.map(|text| filled(text, known)) {
        if text.contains("${") {
            return Err(format!("nothing sets what is in '{text}'"));
        }
    }
    Ok(())
}

fn path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("path: '{path}' does not begin with '/'"));
    }
    match path.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(format!("path: '{path}' is none: write what is not ASCII as %XX")),
    }
}

fn headers(headers: &std::collections::BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in headers {
        if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
            return Err(format!(
                "headers: '{name}' is no header, or holds what no header can"
            ));
        }
    }
    Ok(())
}

/// Whether every `$times` of a body stands for a list that can be made.
pub fn times(body: &Value) -> Result<(), String> {
    match body {
        Value::Object(object) if object.contains_key("$times") => {
            let many = object["$times"]
                .as_u64()
                .is_some_and(|many| TIMES.contains(&many));
            let of = object.get("of").filter(|_| object.len() == 2 && many);
            let of = of.ok_or_else(|| format!("$times: from 1 to {}, beside `of` alone", TIMES.end()))?;
            match of.to_string().contains("\"$times\"") {
                true => Err("$times: in no other one".to_owned()),
                false => Ok(()),
            }
        }
        Value::Object(object) => object.values().try_for_each(times),
        Value::Array(list) => list.iter().try_for_each(times),
        _ => Ok(()),
    }
}

fn aims(aims: &Aims, load: &LoadForm) -> Result<(), String> {
    let all = [aims.added_p50_ms, aims.of_proxy, aims.units_per_s];
    if all.iter().flatten().any(|aim| *aim <= 0.0) {
        return Err("aims: more than 0".to_owned());
    }
    if load.socket.is_some() && all.iter().any(Option::is_some) {
        return Err("aims: clients that ask at their own pace are not judged".to_owned());
    }
    if load.direct.is_none() && (aims.added_p50_ms.is_some() || aims.of_proxy.is_some()) {
        return Err("aims: added_p50_ms and of_proxy need a direct call to compare with".to_owned());
    }
    if load.units.is_none() && aims.units_per_s.is_some() {
        return Err("aims: units_per_s needs units".to_owned());
    }
    Ok(())
}

pub fn settings(settings: &Settings) -> Result<(), String> {
    if settings.idle_mb.is_some_and(|aim| aim <= 0.0) {
        return Err("idle_mb: more than 0".to_owned());
    }
    for name in settings.environment.keys() {
        if OURS.contains(&name.as_str()) {
            return Err(format!("environment: {name} is set by the benchmark"));
        }
        let well = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(well) {
            return Err(format!("environment: '{name}' is no name of a variable"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Why a load of a service that calls `shelf` is refused; `request` and `about` are put where they are absent.
    fn refused(more: Value) -> String {
        let mut load = json!({"about": "x"});
        if more.get("socket").is_none() {
            load["request"] = json!({"method": "GET", "path": "/"});
        }
        for (key, value) in more.as_object().unwrap() {
            load[key] = value.clone();
        }
        let text = load.to_string();
        super::super::parsed(&text, &["shelf".to_owned()]).map_or_else(|why| why, |_| "taken".to_owned())
    }

    fn asking(more: Value) -> String {
        let mut request = json!({"method": "GET", "path": "/"});
        for (key, value) in more.as_object().unwrap() {
            request[key] = value.clone();
        }
        refused(json!({ "request": request }))
    }

    fn holding(more: Value) -> String {
        let mut socket = json!({"path": "/ws", "clients": 2, "every_s": 1, "message": {"id": "${n}"}});
        for (key, value) in more.as_object().unwrap() {
            socket[key] = value.clone();
        }
        refused(json!({ "socket": socket }))
    }

    #[test]
    fn what_could_not_be_asked_is_refused() {
        assert_eq!(
            asking(json!({"body": {"a": {"$times": 3, "of": "${i}"}}})),
            "taken"
        );
        for (request, expected) in [
            (json!({"method": "get"}), "'get' is no method"),
            (json!({"path": "x"}), "does not begin with '/'"),
            (json!({"path": "/a b"}), "'/a b' is none"),
            (json!({"path": "/${token}"}), "nothing is known as '${token}'"),
            (json!({"expect": 99}), "99 is no status"),
            (json!({"expect": 600}), "600 is no status"),
            (json!({"headers": {"a b": "c"}}), "'a b' is no header"),
            (json!({"headers": {"a": "b\nc"}}), "'a' is no header"),
            (
                json!({"headers": {"a": "${token}"}}),
                "nothing is known as '${token}'",
            ),
            (json!({"body": {"a": "${i}"}}), "nothing is known as '${i}'"),
            (json!({"body": {"$times": 100_001, "of": 1}}), "from 1 to 100000"),
            (json!({"body": [{"$times": "3", "of": 1}]}), "from 1 to 100000"),
            (json!({"body": {"$times": 3}}), "beside `of` alone"),
            (
                json!({"body": {"$times": 3, "of": {"$times": 3, "of": 1}}}),
                "in no other one",
            ),
        ] {
            let why = asking(request);
            assert!(why.starts_with("request: ") && why.contains(expected), "{why}");
        }
    }

    #[test]
    fn clients_that_could_not_be_held_are_refused() {
        assert_eq!(holding(json!({})), "taken");
        for (socket, expected) in [
            (json!({"every_s": 0}), "every_s: from 0.01 to 3600"),
            (json!({"every_s": 3601}), "every_s: from 0.01 to 3600"),
            (json!({"clients": 0}), "clients: from 1 to 4000"),
            (json!({"path": "ws"}), "does not begin with '/'"),
            (json!({"path": "/${n}"}), "nothing sets what is in '/${n}'"),
            (json!({"message": {"id": "1"}}), "`id` is the text ${n}"),
            (
                json!({"message": {"id": "${n}", "token": "${token}"}}),
                "nothing is known as '${token}'",
            ),
        ] {
            let why = holding(socket);
            assert!(why.starts_with("socket: ") && why.contains(expected), "{why}");
        }
    }

    #[test]
    fn a_load_that_nothing_could_prepare_compare_or_judge_is_refused() {
        let step = json!({"name": "a", "method": "POST", "path": "/", "expect": {"status": 200}});
        let with = |key: &str, value: Value| {
            let mut step = step.clone();
            step[key] = value;
            json!({ "prepare": [step] })
        };
        let direct = |service: &str| json!({"service": service, "request": {"method": "GET", "path": "/"}});
        assert_eq!(
            refused(json!({"direct": direct("shelf"), "aims": {"of_proxy": 0.5}})),
            "taken"
        );
        let exec = json!({"prepare": [{"name": "a", "exec": ["/x"], "expect": {}}]});
        for (load, expected) in [
            (with("path", json!("x")), "prepare 'a': path: 'x' does not begin"),
            (
                with("body", json!("${token}")),
                "prepare 'a': nothing sets ${token}",
            ),
            (
                with("body", json!({"$times": 0, "of": 1})),
                "prepare 'a': $times: from 1",
            ),
            (exec, "prepare 'a': there is no container"),
            (json!({"connections": 0}), "connections: from 1 to 1000"),
            (
                json!({"direct": direct("attic")}),
                "'attic' is none that this service calls (shelf)",
            ),
            (json!({"aims": {"of_proxy": 0.5}}), "need a direct call"),
            (json!({"aims": {"units_per_s": 5}}), "units_per_s needs units"),
            (json!({"units": {"each": 0, "of": "rows"}}), "each is at least 1"),
            (
                json!({"aims": {"units_per_s": 0}, "units": {"each": 1, "of": "rows"}}),
                "aims: more than 0",
            ),
            (
                json!({"socket": {"path": "/", "clients": 1, "every_s": 1, "message": {"id": "${n}"}},
                    "aims": {"of_proxy": 0.5}}),
                "at their own pace are not judged",
            ),
        ] {
            let why = refused(load);
            assert!(why.contains(expected), "expected '{expected}': {why}");
        }
    }

    #[test]
    fn settings_that_could_not_hold_are_refused() {
        let refused = |text: Value| settings(&serde_json::from_value(text).unwrap()).unwrap_err();
        assert!(refused(json!({"idle_mb": 0})).contains("more than 0"));
        assert!(refused(json!({"environment": {"PORT": "1"}})).contains("PORT is set by the benchmark"));
        assert!(refused(json!({"environment": {"A=B": "1"}})).contains("no name of a variable"));
    }
}
