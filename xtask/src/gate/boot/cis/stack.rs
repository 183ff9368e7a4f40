//! Section 5: what a service's entry in the production stack and the engine's protections show.

use serde_json::Value;

use super::Finding;

/// Folders of the host that no container may see.
const SENSITIVE: [&str; 8] = [
    "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/var/run",
];

/// What section 5 is judged by.
pub(super) struct Evidence<'a> {
    /// The service in `docker compose config`.
    pub entry: &'a Value,
    /// The one port that it needs.
    pub port: u16,
    /// The engine's protections, e.g. `name=seccomp,profile=builtin`.
    pub security: &'a [String],
    /// Executable files of the image: path and mode.
    pub programs: &'a [(String, u32)],
}

impl Evidence<'_> {
    pub fn judge(&self, item: &str) -> Finding {
        match item {
            "5.1" => Finding::NotApplicable("the host's: a mode of the engine"),
            "5.2" => self.protection("apparmor", "the engine's kernel has no AppArmor"),
            "5.3" => self.protection("selinux", "the engine's kernel has no SELinux"),
            "5.4" => self.capabilities(),
            "5.5" => self.unset("privileged"),
            "5.6" => self.no_mount("sensitive folder", |source| {
                source == "/"
                    || SENSITIVE
                        .iter()
                        .any(|folder| source == *folder || source.starts_with(&format!("{folder}/")))
            }),
            "5.7" => self.no_sshd(),
            "5.8" => self.ports("publishes a privileged port", |port| {
                number(&port["published"]).is_some_and(|port| port < 1024)
            }),
            "5.9" => self.needed_port(),
            "5.10" => self.not_the_hosts("network_mode"),
            "5.11" => self.limit("mem_limit", "memory"),
            "5.12" => self.cpu(),
            "5.13" => Finding::of(self.entry["read_only"] == true, self.shown("read_only")),
            "5.14" => self.ports("publishes on every interface", |port| {
                matches!(port["host_ip"].as_str(), None | Some("" | "0.0.0.0" | "::"))
            }),
            "5.15" => Finding::of(self.entry["restart"] == "on-failure:5", self.shown("restart")),
            "5.16" => self.not_the_hosts("pid"),
            "5.17" => self.not_the_hosts("ipc"),
            "5.18" => self.unset("devices"),
            "5.19" => Finding::Follows(self.shown("ulimits")),
            "5.20" => self.propagation(),
            "5.21" => self.not_the_hosts("uts"),
            "5.22" => self.seccomp(),
            "5.23" | "5.24" => Finding::NotApplicable("about what a person does to a container that runs"),
            "5.25" => self.unset("cgroup_parent"),
            "5.26" => self.no_new_privileges(),
            "5.27" => self.health(),
            "5.28" => Finding::NotApplicable("the deployer's: which version is pulled when"),
            "5.29" => self.limit("pids_limit", "pids"),
            "5.30" => self.own_network(),
            "5.31" => self.not_the_hosts("userns_mode"),
            _ => self.no_mount("Docker socket", |source| source.ends_with("docker.sock")),
        }
    }

    fn shown(&self, key: &str) -> String {
        match &self.entry[key] {
            Value::Null => format!("{key}: not set"),
            Value::String(text) => format!("{key}: {text}"),
            other => format!("{key}: {other}"),
        }
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.entry[key].as_array().into_iter().flatten()
    }

    fn options(&self) -> impl Iterator<Item = &str> {
        self.list("security_opt").filter_map(Value::as_str)
    }

    fn unset(&self, key: &str) -> Finding {
        let value = &self.entry[key];
        let empty = value.as_array().is_some_and(Vec::is_empty);
        Finding::of(value.is_null() || value == false || empty, self.shown(key))
    }

    fn not_the_hosts(&self, key: &str) -> Finding {
        Finding::of(self.entry[key] != "host", self.shown(key))
    }

    /// A limit as compose takes it from `deploy`, which holds without a swarm too.
    fn deployed(&self, key: &str) -> &Value {
        &self.entry["deploy"]["resources"]["limits"][key]
    }

    /// A limit that is set, under either name, and is none that means "no limit".
    fn limit(&self, key: &str, deployed: &str) -> Finding {
        let limits = |value: &Value| number(value).is_some_and(|limit| limit > 0);
        if self.entry[key].is_null() && limits(self.deployed(deployed)) {
            return Finding::Follows(format!(
                "deploy.resources.limits.{deployed}: {}",
                self.deployed(deployed)
            ));
        }
        Finding::of(limits(&self.entry[key]), self.shown(key))
    }

    fn cpu(&self) -> Finding {
        let amount = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
        let set = |value: &Value| amount(value).is_some_and(|value| value > 0.0);
        let keys = ["cpus", "cpu_shares", "cpu_quota"];
        match keys.iter().find(|key| set(&self.entry[**key])) {
            Some(key) => Finding::Follows(self.shown(key)),
            None => Finding::of(
                set(self.deployed("cpus")),
                format!(
                    "{}, deploy.resources.limits.cpus: {}",
                    self.shown("cpus"),
                    self.deployed("cpus")
                ),
            ),
        }
    }

    fn protection(&self, name: &str, absent: &'static str) -> Finding {
        if !self
            .security
            .iter()
            .any(|option| option.starts_with(&format!("name={name}")))
        {
            return Finding::NotApplicable(absent);
        }
        let off = [
            format!("{name}=unconfined"),
            format!("{name}:unconfined"),
            "label=disable".into(),
            "label:disable".into(),
        ];
        let off = self.options().any(|option| off.iter().any(|off| off == option));
        Finding::of(!off, self.shown("security_opt"))
    }

    fn capabilities(&self) -> Finding {
        let dropped = self.list("cap_drop").any(|capability| {
            capability
                .as_str()
                .is_some_and(|name| name.eq_ignore_ascii_case("ALL"))
        });
        let added = self.list("cap_add").next().is_some();
        Finding::of(
            dropped && !added,
            format!("{}, {}", self.shown("cap_drop"), self.shown("cap_add")),
        )
    }

    fn seccomp(&self) -> Finding {
        if !self
            .security
            .iter()
            .any(|option| option.starts_with("name=seccomp"))
        {
            return Finding::Breaks("the engine has no seccomp".into());
        }
        let off = self
            .options()
            .any(|option| matches!(option, "seccomp=unconfined" | "seccomp:unconfined"));
        Finding::of(!off, self.shown("security_opt"))
    }

    fn no_new_privileges(&self) -> Finding {
        let on = |option: &str| {
            matches!(
                option,
                "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true"
            )
        };
        Finding::of(self.options().any(on), self.shown("security_opt"))
    }

    fn health(&self) -> Finding {
        let check = &self.entry["healthcheck"];
        let off = check["disable"] == true || check["test"][0] == "NONE";
        // Without an entry of its own the image's holds, which is item 4.6.
        Finding::of(
            !off,
            if check.is_null() {
                "the image's"
            } else {
                "in the stack"
            },
        )
    }

    fn no_mount(&self, what: &str, unwanted: impl Fn(&str) -> bool) -> Finding {
        let mut sources = self
            .list("volumes")
            .filter_map(|volume| volume["source"].as_str());
        match sources.find(|source| unwanted(source)) {
            Some(source) => Finding::Breaks(format!("mounts {source}")),
            None => Finding::Follows(format!("mounts no {what}")),
        }
    }

    fn propagation(&self) -> Finding {
        let shared = self
            .list("volumes")
            .any(|volume| matches!(volume["bind"]["propagation"].as_str(), Some("shared" | "rshared")));
        Finding::of(
            !shared,
            if shared {
                "a mount is shared"
            } else {
                "no mount is shared"
            },
        )
    }

    fn no_sshd(&self) -> Finding {
        match self.programs.iter().find(|(path, _)| path.ends_with("/sshd")) {
            Some((path, _)) => Finding::Breaks(format!("/{path} is in the image")),
            None => Finding::Follows("the image has none".into()),
        }
    }

    fn ports(&self, fault: &str, faulty: impl Fn(&Value) -> bool) -> Finding {
        match self.list("ports").find(|port| faulty(port)) {
            Some(port) => Finding::Breaks(format!("{fault}: {}", port["published"])),
            None => Finding::Follows(format!("{} ports published", self.list("ports").count())),
        }
    }

    fn needed_port(&self) -> Finding {
        let exposed = self.list("expose").filter_map(number);
        let published = self.list("ports").filter_map(|port| number(&port["target"]));
        let other = exposed
            .chain(published)
            .find(|port| *port != u64::from(self.port));
        match other {
            Some(port) => Finding::Breaks(format!("port {port} beside {}", self.port)),
            None => Finding::Follows(format!("port {} alone", self.port)),
        }
    }

    fn own_network(&self) -> Finding {
        let own = self.entry["networks"]
            .as_object()
            .is_some_and(|networks| !networks.is_empty());
        let bridge = self.entry["network_mode"] == "bridge";
        Finding::of(
            own && !bridge,
            if own {
                "networks of its own"
            } else {
                "no network of its own"
            },
        )
    }
}

/// A number as compose writes it: a number, a text, or a text with a protocol.
fn number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str()?.split('/').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::ITEMS;
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({"cap_drop": ["ALL"], "cpus": 1, "mem_limit": "134217728", "pids_limit": 256, "read_only": true,
            "restart": "on-failure:5", "security_opt": ["no-new-privileges:true"], "expose": ["8080"],
            "networks": {"frontend": null}})
    }

    fn broken(entry: &Value, programs: &[(String, u32)]) -> Vec<&'static str> {
        let security = [
            "name=seccomp,profile=builtin".to_owned(),
            "name=apparmor".to_owned(),
        ];
        let evidence = Evidence {
            entry,
            port: 8080,
            security: &security,
            programs,
        };
        let fifth = ITEMS
            .iter()
            .map(|(item, _)| *item)
            .filter(|item| item.starts_with("5."));
        fifth
            .filter(|item| matches!(evidence.judge(item), Finding::Breaks(_)))
            .collect()
    }

    #[test]
    fn a_hardened_entry_breaks_nothing_and_each_fault_breaks_its_item() {
        assert!(broken(&good(), &[]).is_empty(), "{:?}", broken(&good(), &[]));
        let faults = [
            (
                "5.2",
                "security_opt",
                json!(["no-new-privileges:true", "apparmor=unconfined"]),
            ),
            ("5.4", "cap_add", json!(["NET_ADMIN"])),
            ("5.4", "cap_drop", json!([])),
            ("5.5", "privileged", json!(true)),
            ("5.6", "volumes", json!([{"source": "/etc"}])),
            (
                "5.8",
                "ports",
                json!([{"published": "80", "target": 8080, "host_ip": "127.0.0.1"}]),
            ),
            ("5.9", "expose", json!(["8080", "9090"])),
            ("5.10", "network_mode", json!("host")),
            ("5.11", "mem_limit", json!(null)),
            ("5.12", "cpus", json!(null)),
            ("5.13", "read_only", json!(false)),
            ("5.14", "ports", json!([{"published": "8080", "target": 8080}])),
            ("5.15", "restart", json!("always")),
            ("5.16", "pid", json!("host")),
            ("5.17", "ipc", json!("host")),
            ("5.18", "devices", json!(["/dev/sda"])),
            (
                "5.20",
                "volumes",
                json!([{"source": "/x", "bind": {"propagation": "shared"}}]),
            ),
            ("5.21", "uts", json!("host")),
            (
                "5.22",
                "security_opt",
                json!(["no-new-privileges:true", "seccomp=unconfined"]),
            ),
            ("5.25", "cgroup_parent", json!("/x")),
            ("5.26", "security_opt", json!([])),
            ("5.27", "healthcheck", json!({"disable": true})),
            ("5.29", "pids_limit", json!(-1)),
            ("5.30", "networks", json!(null)),
            ("5.31", "userns_mode", json!("host")),
        ];
        for (item, key, value) in faults {
            let mut entry = good();
            entry[key] = value;
            assert_eq!(broken(&entry, &[]), [item], "{key}");
        }
        assert_eq!(broken(&good(), &[("usr/sbin/sshd".into(), 0o755)]), ["5.7"]);
        let mut entry = good();
        for key in ["mem_limit", "cpus", "pids_limit"] {
            entry[key] = json!(null);
        }
        let limits = json!({"memory": "134217728", "cpus": "0.50", "pids": 256});
        entry["deploy"] = json!({"resources": {"limits": limits}});
        entry["cap_drop"] = json!(["all"]);
        assert!(broken(&entry, &[]).is_empty(), "{:?}", broken(&entry, &[]));
        let mut entry = good();
        entry["volumes"] = json!([{"source": "/run/docker.sock"}]);
        assert_eq!(broken(&entry, &[]), ["5.32"]);
    }
}
