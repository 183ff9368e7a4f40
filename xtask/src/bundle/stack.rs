//! A stack at the moment when its gate was not well: who was in which network, and which member had ended.

use serde_json::{Value, json};

use super::Bundle;
use super::writer::safe;
use crate::verdict::Gate;
use crate::witness::{Glimpse, Scene};

impl Bundle<'_> {
    pub(super) fn scene(&mut self, gate: Gate, scene: &Scene) {
        let folder = format!("{}-stack", gate.name());
        for member in &scene.members {
            self.glimpse(&format!("{folder}/{}", safe(&member.name)), member);
            let how = unwell(member);
            self.unwell
                .extend(how.map(|how| (gate, member.name.clone(), how)));
        }
        let networks = networks(scene);
        let what = "each network with its members, their addresses and names";
        self.writer
            .json(&format!("{folder}/networks.json"), what, &networks);
        if !scene.events.is_empty() {
            let what = "what the engine says happened to the containers, as far as it remembers";
            self.writer
                .lines(&format!("{folder}/engine-events.jsonl"), what, &scene.events);
        }
        let what = "load, memory and disk of the machine at that moment";
        self.writer
            .json(&format!("{folder}/machine.json"), what, &scene.machine);
        for (file, what) in [
            ("compose.config.json", "the stack as compose resolves it"),
            ("compose.run.yaml", "the overlay that the run puts over it"),
        ] {
            self.writer.copy(
                &format!("{folder}/{file}"),
                what,
                &self.context.run_dir.join(file),
            );
        }
        let log = format!("logs/{}.log", gate.name());
        self.writer.copy(
            &format!("{folder}/step.log"),
            "the log of the gate's step",
            &self.context.run_dir.join(log),
        );
    }
}

/// Each network of a stack with who is in it, from what the members themselves said.
fn networks(scene: &Scene) -> Value {
    let listed = scene.networks.as_array().cloned().unwrap_or_default();
    let with_members = listed.into_iter().map(|network| {
        let name = network["Name"].as_str().unwrap_or_default();
        let members = scene.members.iter().filter_map(|member| {
            let end = &member.inspect.as_ref()?["NetworkSettings"]["Networks"][name];
            let state = &member.inspect.as_ref()?["State"]["Status"];
            end.is_object().then(|| {
                let found = json!({ "address": end["IPAddress"], "names": end["Aliases"], "state": state });
                (member.name.clone(), found)
            })
        });
        let members: serde_json::Map<_, _> = members.collect();
        json!({
            "name": name, "internal": network["Internal"], "driver": network["Driver"],
            "addresses": network["IPAM"]["Config"], "members": members,
        })
    });
    Value::Array(with_members.collect())
}

/// How a member of a stack was not well: it had ended, or its health check failed. `None` where it was well, or
/// nothing is known.
fn unwell(member: &Glimpse) -> Option<String> {
    let state = &member.inspect.as_ref()?["State"];
    let memory = if state["OOMKilled"] == true {
        ", out of memory"
    } else {
        ""
    };
    if state["Running"] == false {
        return Some(format!("had ended with exit code {}{memory}", state["ExitCode"]));
    }
    (state["Health"]["Status"] == "unhealthy").then(|| "was unhealthy".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_ended_is_not_well_and_one_that_nothing_is_known_of_is_not_accused() {
        let member = |state: Value| Glimpse {
            inspect: Some(json!({ "State": state })),
            ..Glimpse::default()
        };
        let ended = member(json!({ "Running": false, "ExitCode": 137, "OOMKilled": true }));
        assert_eq!(
            unwell(&ended).as_deref(),
            Some("had ended with exit code 137, out of memory")
        );
        let sick = member(json!({ "Running": true, "Health": { "Status": "unhealthy" } }));
        assert_eq!(unwell(&sick).as_deref(), Some("was unhealthy"));
        assert_eq!(unwell(&member(json!({ "Running": true }))), None);
        assert_eq!(unwell(&Glimpse::default()), None);
    }

    #[test]
    fn a_network_names_its_members_with_their_addresses() {
        let inspect = json!({ "State": { "Status": "running" }, "NetworkSettings": { "Networks": {
            "run_db": { "IPAddress": "172.20.0.2", "Aliases": ["own.db"] } } } });
        let scene = Scene {
            members: vec![Glimpse {
                name: "db".into(),
                inspect: Some(inspect),
                ..Glimpse::default()
            }],
            networks: json!([{ "Name": "run_db", "Internal": true }, { "Name": "run_a", "Internal": true }]),
            ..Scene::default()
        };
        let told = networks(&scene);
        assert_eq!(told[0]["members"]["db"]["address"], "172.20.0.2");
        assert_eq!(told[0]["members"]["db"]["names"][0], "own.db");
        assert_eq!(told[1]["members"], json!({}));
    }
}
