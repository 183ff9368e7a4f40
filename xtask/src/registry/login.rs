//! Who we are at a registry, as docker's configuration says it: `config.json` of DOCKER_CONFIG or `~/.docker`, and the
//! credential helpers that it names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use docker_credential::{CredentialRetrievalError as Trouble, DockerCredential};

use crate::exit::Failure;

/// A helper that asks a person for a password asks nobody here.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is shown of it is that it is there.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    Nobody,
    Password {
        user: String,
        password: String,
    },
    /// An identity token, to be changed for others (OAuth 2, `refresh_token`).
    Identity(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Login::Nobody => "nobody",
            Login::Password { .. } => "a password",
            Login::Identity(_) => "an identity token",
        })
    }
}

/// Where docker keeps its configuration.
pub fn docker_folder() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
    let named = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty());
    named.map(PathBuf::from).or_else(home)
}

/// Who this user is at a host.
///
/// # Errors
/// Exit 2: a configuration, or a helper, that is there and gives nothing that can be read.
pub async fn find(folder: Option<&Path>, host: &str) -> Result<Login, Failure> {
    let Some(path) = folder.map(|folder| folder.join("config.json")) else {
        return Ok(Login::Nobody);
    };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Login::Nobody),
        Err(error) => return Err(unreadable(&path, host, &error.to_string())),
    };
    // Docker Hub is kept under its address of old.
    let key = match host {
        "docker.io" => "https://index.docker.io/v1/".to_owned(),
        _ => host.to_owned(),
    };
    let (sender, answer) = tokio::sync::oneshot::channel();
    // The library waits for helpers; one that hangs must not keep this process from its end.
    std::thread::spawn(move || {
        let _ = sender.send(docker_credential::get_credential_from_reader(&text[..], &key));
    });
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(found)) => read(found).map_err(|why| unreadable(&path, host, &why)),
        _ => Err(unreadable(
            &path,
            host,
            "the credential helper that it names does not answer",
        )),
    }
}

/// Which troubles mean that there is no login, and the words for the others; none of them holds a secret.
fn read(found: Result<DockerCredential, Trouble>) -> Result<Login, String> {
    match found {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Login::Password { user, password }),
        Ok(DockerCredential::IdentityToken(token)) => Ok(Login::Identity(token)),
        Err(Trouble::NoCredentialConfigured | Trouble::ConfigNotFound) => Ok(Login::Nobody),
        // What docker's own helpers say of a host that they do not know.
        Err(Trouble::HelperFailure { stdout, stderr, .. })
            if format!("{stdout}{stderr}").contains("credentials not found") =>
        {
            Ok(Login::Nobody)
        }
        Err(Trouble::HelperFailure { helper, stderr, .. }) => {
            let line = stderr.lines().next().unwrap_or("failed");
            Err(format!("`{helper} get`: {line}"))
        }
        Err(Trouble::ConfigReadError) => Err("it is no docker configuration".to_owned()),
        Err(other) => Err(other.to_string()),
    }
}

fn unreadable(path: &Path, host: &str, why: &str) -> Failure {
    Failure::usage(
        format!("the login for {host} in {} cannot be read: {why}", path.display()),
        format!("`docker login {host}` writes it anew; DOCKER_CONFIG names another folder"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(config: Option<&str>, host: &str) -> Result<Login, String> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(config) = config {
            std::fs::write(folder.path().join("config.json"), config).unwrap();
        }
        find(Some(folder.path()), host)
            .await
            .map_err(|failure| failure.what)
    }

    fn password(user: &str, password: &str) -> Login {
        Login::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_login_is_where_docker_keeps_it() {
        // user:pass-1, with Docker Hub's key of old.
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNzLTE="},
            "127.0.0.1:5000":{"username":"u","password":"p:q"},"az.example":{"identitytoken":"t-1"},"empty.example":{}}}"#;
        let user = password("user", "pass-1");
        assert_eq!(found(Some(config), "docker.io").await, Ok(user));
        assert_eq!(
            found(Some(config), "127.0.0.1:5000").await,
            Ok(password("u", "p:q"))
        );
        assert_eq!(
            found(Some(config), "az.example").await,
            Ok(Login::Identity("t-1".into()))
        );
        for nobody in ["empty.example", "ghcr.io"] {
            assert_eq!(found(Some(config), nobody).await, Ok(Login::Nobody));
        }
        assert_eq!(found(None, "ghcr.io").await, Ok(Login::Nobody));
        assert_eq!(find(None, "ghcr.io").await.unwrap(), Login::Nobody);
    }

    #[tokio::test]
    async fn a_configuration_that_cannot_be_read_is_named_and_tells_no_secret() {
        for config in [
            "{",
            r#"{"auths":{"h":{"auth":"geheim-not-base64!"}}}"#,
            r#"{"credHelpers":{"h":"no-such-helper-here"}}"#,
        ] {
            let why = found(Some(config), "h").await.unwrap_err();
            assert!(
                why.contains("config.json") && why.contains("login for h"),
                "{why}"
            );
            assert!(!why.contains("geheim"), "{why}");
        }
    }

    #[test]
    fn a_helper_that_knows_no_login_is_no_trouble() {
        let failed = |stdout: &str, stderr: &str| {
            read(Err(Trouble::HelperFailure {
                helper: "docker-credential-x".into(),
                stdout: stdout.into(),
                stderr: stderr.into(),
            }))
        };
        assert_eq!(
            failed("credentials not found in native keychain\n", ""),
            Ok(Login::Nobody)
        );
        assert_eq!(
            failed("", "locked"),
            Err("`docker-credential-x get`: locked".into())
        );
        assert_eq!(format!("{:?}", password("u", "p")), "a password");
    }
}
