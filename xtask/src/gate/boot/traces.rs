//! What a service leaves where it should leave nothing: files in its root, secrets in its log.

use std::time::Duration;

use anyhow::Result;

use super::{Boot, Started};
use crate::context::{Deadline, poll};
use crate::engine::{Constraint, ContainerSpec};
use crate::hash;
use crate::verdict::Check;

/// How long a service with unreachable stores is watched: it tries them at once.
const WATCHED: Duration = Duration::from_millis(700);
const ASKED_EVERY: Duration = Duration::from_millis(100);
/// Everything that a service says of itself.
const PAGES: [&str; 4] = ["/live", "/ready", "/version", "/metrics"];

impl Boot<'_> {
    /// Where its root may be written, it must not have been: a service that tries would fail in production.
    pub(super) async fn writes_to_its_root(&self) -> Result<Check> {
        let name = "writes to its root";
        let spec = ContainerSpec {
            spared: vec![Constraint::ReadOnlyRoot],
            ..self.spec("writable")
        };
        let Started { container, live } = self.begin(spec, self.boot_limit()).await?;
        if let Ok(live) = &live {
            for page in PAGES {
                let _ = self.http.get(live.url(page)).send().await;
            }
            let grace = Duration::from_millis(self.limits.stop_deadline_ms);
            self.engine.stop(&container, grace).await?;
        }
        let written = self.engine.written(&container).await?;
        self.finish(&container, "writable").await?;
        Ok(match (live, written.first()) {
            (Err(why), _) => {
                let hint = "it lived with a read-only root: see the log";
                Check::violated(name, format!("with a writable root: {why}"), hint)
            }
            (Ok(_), Some(first)) => {
                let detail = format!("{first} ({} paths in all)", written.len());
                let hint = "keep nothing in files, or give it a tmpfs or a volume in compose/compose.yaml";
                Check::violated(name, detail, hint)
            }
            (Ok(_), None) => Check::passed(name, "nothing, where it could have"),
        })
    }

    /// A value given as a setting must not come out again. `missing`: the settings that `/ready` asks for.
    pub(super) async fn secrets_in_the_log(&self, missing: &[String]) -> Result<Check> {
        let name = "secrets in the log";
        if missing.is_empty() {
            return Ok(Check::passed(name, "it asks for no setting"));
        }
        let digits = hash::of(self.context.run_id.as_bytes());
        let canary: String = digits
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(40)
            .collect();
        let (mut said, ended) = self.told(missing, &canary, &[]).await?;
        let mut looked = "log, /ready and /metrics";
        if ended {
            // It refused a form, by name: once more with those as plain addresses, or without them.
            let log = said.iter().map(|(_, text)| text.as_str()).collect::<String>();
            let refused: Vec<&str> = missing
                .iter()
                .map(String::as_str)
                .filter(|name| log.contains(name))
                .collect();
            let (more, ended) = self.told(missing, &canary, &refused).await?;
            said.extend(more);
            if ended {
                looked = "log alone, because it refuses made-up settings";
            }
        }
        Ok(match said.iter().find(|(_, text)| text.contains(&canary)) {
            Some((place, _)) => Check::violated(
                name,
                format!("the value of one of {} stands in {place}", missing.join(", ")),
                "never print a setting's value: name the setting",
            ),
            None => Check::passed(
                name,
                format!("{} settings given, none repeated in {looked}", missing.len()),
            ),
        })
    }

    /// What it says with canaries for settings (place -> text), and whether it ended by itself.
    async fn told(
        &self,
        missing: &[String],
        canary: &str,
        plain: &[&str],
    ) -> Result<(Vec<(&'static str, String)>, bool)> {
        let needs = &self.image.plan.service.needs;
        let settings = missing.iter().filter_map(|name| {
            let plain = plain.contains(&name.as_str());
            Some(format!("{name}={}", made_up(name, needs, canary, plain)?))
        });
        let purpose = if plain.is_empty() {
            "canary"
        } else {
            "canary-plain"
        };
        let spec = ContainerSpec {
            env: settings.collect(),
            ..self.spec(purpose)
        };
        let Started { container, live } = self.begin(spec, self.boot_limit()).await?;
        let mut said = Vec::new();
        if let Ok(live) = &live {
            poll(Deadline::within(WATCHED), ASKED_EVERY, || async {
                for page in PAGES {
                    let _ = self.http.get(live.url(page)).send().await;
                }
                None::<()>
            })
            .await;
            for page in PAGES {
                if let Ok(answer) = self.http.get(live.url(page)).send().await {
                    said.push((page, answer.text().await.unwrap_or_default()));
                }
            }
        }
        said.push(("its log", self.finish(&container, purpose).await?));
        Ok((said, live.is_err()))
    }
}

/// A value for a setting by its name: an address at which nothing answers, with the canary as its password unless
/// it must be `plain`; or the canary itself, which has no plain form.
fn made_up(name: &str, needs: &[String], canary: &str, plain: bool) -> Option<String> {
    if !["_URL", "_URI", "_DSN"].iter().any(|end| name.ends_with(end)) {
        return (!plain).then(|| canary.to_owned());
    }
    let by_name = needs.iter().find(|store| name.starts_with(&store.to_uppercase()));
    let scheme = match by_name {
        Some(store) => store,
        None if name.starts_with("DATABASE") || name.starts_with("DB") => "postgres",
        None => "http",
    };
    Some(match plain {
        true => format!("{scheme}://127.0.0.1:1"),
        false => format!("{scheme}://user:{canary}@127.0.0.1:1/0"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_gets_a_value_of_its_form() {
        let needs = ["postgres".to_owned(), "redis".to_owned()];
        let made = |name| made_up(name, &needs, "k", false).unwrap();
        assert_eq!(made("JWT_SECRET"), "k");
        assert_eq!(made("REDIS_URL"), "redis://user:k@127.0.0.1:1/0");
        assert_eq!(made("DATABASE_URL"), "postgres://user:k@127.0.0.1:1/0");
        assert_eq!(made("MCP_URL"), "http://user:k@127.0.0.1:1/0");
        let plain = |name| made_up(name, &needs, "k", true);
        assert_eq!(plain("MCP_URL").as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(
            plain("ADMIN_PORT"),
            None,
            "a number is refused in any made-up form"
        );
    }
}
