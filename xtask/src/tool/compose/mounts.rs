//! What containers of a stack mount from this checkout, and the overlay that gives them copies in a volume instead:
//! for an engine elsewhere, where a path of ours means nothing, or something else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Config;
use crate::engine::HostFile;

/// The volume's name inside the overlay.
const VOLUME: &str = "run-files";
/// What [`text`] turns into compose's word for "nothing of the files before".
const RESET: &str = "!reset []";

/// A file or folder of the checkout that a member is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    service: String,
    source: PathBuf,
    target: String,
    read_only: bool,
}

/// What these members mount from beneath `root`. Other paths are the engine's machine's own.
///
/// # Errors
/// The words for a secret or config that is no file: it could not be copied like one.
pub fn of(config: &Config, members: &BTreeSet<String>, root: &Path) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for (service, given) in config.services.iter().filter(|(name, _)| members.contains(*name)) {
        for (of, kind, folder, used) in [
            (&config.secrets, "secret", "/run/secrets/", &given.secrets),
            (&config.configs, "config", "/", &given.configs),
        ] {
            for item in used {
                let name = item["source"].as_str().unwrap_or_default();
                let file = of.get(name).and_then(|entry| entry["file"].as_str());
                let file = file.ok_or_else(|| format!("{service}: the {kind} '{name}' is no file"))?;
                let target = item["target"].as_str().unwrap_or(name);
                let target = if target.starts_with('/') {
                    target.to_owned()
                } else {
                    format!("{folder}{target}")
                };
                mounts.push(Mount {
                    service: service.clone(),
                    source: file.into(),
                    target,
                    read_only: true,
                });
            }
        }
        let binds = given.volumes.iter().filter(|volume| volume["type"] == "bind");
        for bind in binds {
            let word = |key: &str| bind[key].as_str().unwrap_or_default().to_owned();
            let source = PathBuf::from(word("source"));
            if source.starts_with(root) {
                mounts.push(Mount {
                    service: service.clone(),
                    source,
                    target: word("target"),
                    read_only: bind["read_only"] == true,
                });
            }
        }
    }
    Ok(mounts)
}

/// Turns the mounts into parts of the volume `name`, in a run's overlay. Returns what must be in that volume.
pub fn copied(overlay: &mut Value, mounts: &[Mount], name: &str) -> Vec<HostFile> {
    let mut files: Vec<HostFile> = Vec::new();
    for mount in mounts {
        let known = files.iter().position(|file| file.source == mount.source);
        let part = known.unwrap_or(files.len()).to_string();
        if known.is_none() {
            files.push(HostFile {
                source: mount.source.clone(),
                name: part.clone(),
            });
        }
        let service = &mut overlay["services"][&mount.service];
        // A volume of the same target takes a bind's place; what compose would mount for a secret is taken back.
        for key in ["secrets", "configs"] {
            service[key] = json!(RESET);
        }
        let volume = json!({
            "type": "volume", "source": VOLUME, "target": mount.target, "read_only": mount.read_only,
            "volume": { "nocopy": true, "subpath": part },
        });
        match service["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(volume),
            None => service["volumes"] = json!([volume]),
        }
    }
    if !files.is_empty() {
        overlay["volumes"][VOLUME] = json!({ "external": true, "name": name });
    }
    files
}

/// An overlay as compose reads it: JSON but for its word for "nothing".
pub fn text(overlay: &Value) -> String {
    format!("{overlay:#}").replace(&format!("\"{RESET}\""), RESET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::compose::{parse_config, run_overlay};

    fn config() -> Config {
        parse_config(
            r#"{"services":{
              "redis":{"secrets":[{"source":"acl","target":"/run/secrets/acl"}],"volumes":[
                {"type":"volume","source":"data","target":"/data"},
                {"type":"bind","source":"/x/redis.conf","target":"/etc/redis.conf","read_only":true},
                {"type":"bind","source":"/etc/localtime","target":"/etc/localtime"}]},
              "shop":{"secrets":[{"source":"acl"}]},"left-out":{"secrets":[{"source":"odd"}]}},
              "secrets":{"acl":{"file":"/x/secrets/acl"},"odd":{"environment":"ODD"}}}"#,
        )
        .unwrap()
    }

    fn members(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_lies_in_the_checkout_becomes_part_of_a_volume() {
        let members = members(&["redis", "shop"]);
        let mounts = of(&config(), &members, Path::new("/x")).unwrap();
        let mut overlay = run_overlay(&config(), "1", &Default::default(), &members);
        let files = copied(&mut overlay, &mounts, "horme-1-files");
        let files: Vec<_> = files
            .iter()
            .map(|file| (file.source.to_str().unwrap(), file.name.as_str()))
            .collect();
        assert_eq!(
            files,
            [("/x/secrets/acl", "0"), ("/x/redis.conf", "1")],
            "each once"
        );
        let redis = &overlay["services"]["redis"]["volumes"];
        assert_eq!(redis[0]["target"], "/run/secrets/acl");
        assert_eq!(redis[1]["volume"]["subpath"], "1");
        assert_eq!(redis.as_array().unwrap().len(), 2, "the machine's own file stays");
        assert_eq!(
            overlay["services"]["shop"]["volumes"][0]["target"],
            "/run/secrets/acl"
        );
        assert_eq!(overlay["volumes"]["run-files"]["name"], "horme-1-files");
        assert!(
            text(&overlay).contains("\"secrets\": !reset []"),
            "{}",
            text(&overlay)
        );
    }

    #[test]
    fn a_secret_that_is_no_file_is_named() {
        let error = of(&config(), &members(&["left-out"]), Path::new("/x")).unwrap_err();
        assert_eq!(error, "left-out: the secret 'odd' is no file");
    }

    #[test]
    fn a_stack_that_mounts_nothing_needs_no_volume() {
        let mut overlay = json!({ "services": {}, "volumes": {} });
        assert!(copied(&mut overlay, &[], "x").is_empty());
        assert_eq!(overlay["volumes"], json!({}));
    }
}
