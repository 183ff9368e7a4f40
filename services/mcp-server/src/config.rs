//! Settings of the MCP server.

use std::time::Duration;

use kit::Settings;

/// Names under which this server is called where nothing else is set: by itself, on this machine, in compose.
const ALLOWED_HOSTS: [&str; 5] = ["localhost", "127.0.0.1", "::1", "mcp-server", "own.mcp-server"];

/// What the MCP server is told from outside.
#[derive(Debug)]
pub struct Config {
    /// `MCP_ALLOWED_HOSTS`, comma separated: values of `Host` that are answered, with or without a port.
    pub allowed_hosts: Vec<String>,
    /// `MCP_ALLOWED_ORIGINS`, comma separated: browsers' origins that are answered; none unless set.
    pub allowed_origins: Vec<String>,
    /// `CLASSIFICATION_URL`.
    pub classification: Option<String>,
    /// `WORKFLOW_URL`.
    pub workflow: Option<String>,
    /// `REDIS_URL`: where sessions are; without it only the tools about them refuse.
    pub redis: Option<redis::Client>,
    /// `WORKFLOW_TIMEOUT`: how long a workflow's run may take. Longer than the engine's `MAX_RUNTIME`, so that its
    /// own words arrive, and shorter than the gateway's `UPSTREAM_TIMEOUT`, so that ours do.
    pub workflow_timeout: Duration,
    /// `TOOL_TIMEOUT`: how long a tool may wait for a service.
    pub tool_timeout: Duration,
}

impl Config {
    /// Reads the settings; faults and absences stay with `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        let hosts = list(settings, "MCP_ALLOWED_HOSTS");
        let allowed_hosts = hosts.unwrap_or_else(|| ALLOWED_HOSTS.map(ToOwned::to_owned).to_vec());
        if allowed_hosts
            .iter()
            .any(|host| host.contains('/') || host.contains(char::is_whitespace))
        {
            settings.fault(
                "MCP_ALLOWED_HOSTS",
                "expected hosts such as mcp.example.org or localhost:3000",
            );
        }
        let allowed_origins = list(settings, "MCP_ALLOWED_ORIGINS").unwrap_or_default();
        if allowed_origins
            .iter()
            .any(|origin| !origin.starts_with("http://") && !origin.starts_with("https://"))
        {
            settings.fault(
                "MCP_ALLOWED_ORIGINS",
                "expected origins such as https://app.example.org:443",
            );
        }
        Self {
            allowed_hosts,
            allowed_origins,
            classification: settings.required_url("CLASSIFICATION_URL"),
            workflow: settings.required_url("WORKFLOW_URL"),
            redis: redis(settings),
            workflow_timeout: settings.seconds("WORKFLOW_TIMEOUT", 22),
            tool_timeout: settings.seconds("TOOL_TIMEOUT", 10),
        }
    }
}

fn redis(settings: &mut Settings) -> Option<redis::Client> {
    settings.required_from_secret(
        "REDIS_URL",
        "redis://[user:password@]host:port[/database]",
        |url| redis::Client::open(url).ok(),
    )
}

fn list(settings: &mut Settings, name: &str) -> Option<Vec<String>> {
    let text = settings.text(name)?;
    Some(
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(ToOwned::to_owned)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &'static [(&'static str, &'static str)]) -> (Config, Settings) {
        let lookup = move |name: &str| {
            pairs
                .iter()
                .find(|pair| pair.0 == name)
                .map(|pair| pair.1.to_owned())
        };
        let mut settings = Settings::from_lookup(lookup);
        (Config::read(&mut settings), settings)
    }

    #[test]
    fn compose_names_are_allowed_by_default_and_no_browser_is() {
        let (config, settings) = read(&[]);
        assert!(config.allowed_hosts.iter().any(|host| host == "own.mcp-server"));
        assert!(config.allowed_origins.is_empty());
        assert_eq!(
            settings.missing(),
            ["CLASSIFICATION_URL", "WORKFLOW_URL", "REDIS_URL"]
        );
    }

    #[test]
    fn lists_are_checked() {
        let (config, settings) = read(&[
            ("MCP_ALLOWED_HOSTS", "a.example, b:1"),
            ("MCP_ALLOWED_ORIGINS", "https://x:443"),
        ]);
        assert_eq!((config.allowed_hosts.len(), settings.faults().len()), (2, 0));
        let (_, settings) = read(&[("MCP_ALLOWED_HOSTS", "http://a"), ("MCP_ALLOWED_ORIGINS", "x")]);
        assert_eq!(settings.faults().len(), 2);
    }
}
