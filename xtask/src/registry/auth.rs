//! Tokens: asked for by scope where the registry says, kept until they end, asked for anew where one is refused. A
//! password goes to no address in the clear but this machine's, and no secret into any text.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use tokio::sync::{Mutex, OnceCell};

use super::Client;
use super::challenge::{Challenge, Scopes};
use super::login::{self, Login};
use super::retry::Fault;
use super::transport::{is_loopback, passing, read_at_most};
use crate::exit::Failure;

/// How long a token is good that does not say (the token specification's own default).
const DEFAULT: u64 = 60;
/// No answer of a token server is larger.
const LARGEST: u64 = 1 << 20;

/// What is known of who we are.
#[derive(Default)]
pub(super) struct Auth {
    login: OnceCell<Login>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    tokens: BTreeMap<Scopes, Token>,
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

/// A token server's answer.
#[derive(Deserialize)]
struct Issued {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Client {
    pub(super) async fn login(&self) -> Result<&Login, Fault> {
        let find = async || {
            let login = login::find(self.surroundings.docker.as_deref(), &self.host).await?;
            match &login {
                Login::Password { password, .. } => self.context.witness.learn(password),
                Login::Identity(token) => self.context.witness.learn(token),
                Login::Nobody => {}
            }
            Ok(login)
        };
        self.auth.login.get_or_try_init(find).await
    }

    /// What a request must carry, as far as is known: nothing before the registry has asked for it.
    pub(super) async fn authorization(&self, scopes: &Scopes) -> Result<Option<HeaderValue>, Fault> {
        // Held while a token is fetched: who needs the same one waits for it.
        let mut state = self.auth.state.lock().await;
        let Some(challenge) = state.challenge.clone() else {
            return Ok(None);
        };
        let kept = state.tokens.get(scopes);
        if let Some(token) = kept.filter(|token| Instant::now() < token.until) {
            return Ok(Some(token.header.clone()));
        }
        match challenge {
            Challenge::Basic => Ok(basic(self.login().await?)),
            Challenge::Bearer { realm, service } => {
                let token = self.token(&realm, service.as_deref(), scopes).await?;
                let header = token.header.clone();
                state.tokens.insert(scopes.clone(), token);
                Ok(Some(header))
            }
        }
    }

    /// After a 401: takes what the registry asks for, and gives what a second try must carry. `None`: there is nothing
    /// that was not sent already.
    pub(super) async fn renewed(
        &self,
        scopes: &Scopes,
        challenge: Option<Challenge>,
        sent: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Fault> {
        {
            let mut state = self.auth.state.lock().await;
            let Some(challenge) = challenge else {
                return Ok(None);
            };
            let is_known = state.challenge.as_ref() == Some(&challenge);
            // Another request may have fetched a new token while this one was under way.
            if !is_known || state.tokens.get(scopes).map(|token| &token.header) == sent {
                state.tokens.remove(scopes);
            }
            state.challenge = Some(challenge);
        }
        let header = self.authorization(scopes).await?;
        Ok(header.filter(|header| Some(header) != sent))
    }

    async fn token(&self, realm: &str, service: Option<&str>, scopes: &Scopes) -> Result<Token, Fault> {
        let realm = self.safe_realm(realm)?;
        let login = self.login().await?;
        let asked_at = Instant::now();
        let request = match login {
            Login::Identity(token) => self.exchange(&realm, service, scopes, token),
            login => {
                let request = self.http().get(with_query(&realm, service, scopes));
                match basic(login) {
                    Some(header) => request.header(reqwest::header::AUTHORIZATION, header),
                    None => request,
                }
            }
        };
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        match status {
            _ if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.no_token(login, scopes).into());
            }
            _ => {
                return Err(passing(&answer).unwrap_or_else(|| self.odd(&realm, &status.to_string()).into()));
            }
        }
        let bytes = read_at_most(answer, LARGEST).await?;
        let issued: Issued =
            serde_json::from_slice(&bytes).map_err(|_| self.odd(&realm, "something that is no token"))?;
        self.kept(issued, asked_at)
            .ok_or_else(|| self.odd(&realm, "no token").into())
    }

    fn kept(&self, issued: Issued, asked_at: Instant) -> Option<Token> {
        let both = [issued.token, issued.access_token];
        let token = both.into_iter().flatten().find(|token| !token.is_empty())?;
        self.context.witness.learn(&token);
        let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        header.set_sensitive(true);
        Some(Token {
            header,
            until: asked_at + good_for(issued.expires_in),
        })
    }

    /// Changes an identity token for one of the registry (OAuth 2, `refresh_token`).
    fn exchange(
        &self,
        realm: &Url,
        service: Option<&str>,
        scopes: &Scopes,
        identity: &str,
    ) -> reqwest::RequestBuilder {
        let scope: Vec<&str> = scopes.iter().collect();
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", "horme"),
            ("service", service.unwrap_or_default()),
            ("scope", &scope.join(" ")),
            ("refresh_token", identity),
        ];
        let form: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        let request = self.http().post(realm.clone()).body(form.join("&"));
        request.header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
    }

    /// Passwords are sent to the realm: over TLS, or to this machine.
    fn safe_realm(&self, realm: &str) -> Result<Url, Failure> {
        let url = Url::parse(realm).ok().filter(|url| {
            let is_here = url.host_str().is_some_and(is_loopback);
            url.scheme() == "https" || url.scheme() == "http" && is_here
        });
        url.ok_or_else(|| {
            Failure::usage(
                format!("{}: asks for logins at {realm:?}, in the clear", self.host),
                "let the registry name a token server (`realm`) with https",
            )
        })
    }

    fn no_token(&self, login: &Login, scopes: &Scopes) -> Failure {
        let scopes: Vec<&str> = scopes.iter().collect();
        let scope = scopes.join(" ");
        match login {
            Login::Nobody => Failure::usage(
                format!("{}: not logged in, and no token for {scope} without", self.host),
                format!("`docker login {}`", self.host),
            ),
            _ => Failure::usage(
                format!("{}: the login is refused ({scope})", self.host),
                format!("`docker login {}` anew, as one who may", self.host),
            ),
        }
    }

    fn odd(&self, realm: &Url, what: &str) -> Failure {
        let server = realm.host_str().unwrap_or_default();
        Failure::undecided(
            format!("{}: its token server {server} answers {what}", self.host),
            "see the registry's settings, and whether a proxy answers in its place",
        )
    }
}

/// A little less than it says, for the request that it is used for takes its time.
fn good_for(seconds: Option<u64>) -> Duration {
    let seconds = seconds.unwrap_or(DEFAULT).clamp(1, 24 * 3600);
    Duration::from_secs(seconds.saturating_sub(10).max(seconds / 2))
}

fn basic(login: &Login) -> Option<HeaderValue> {
    let Login::Password { user, password } = login else {
        return None;
    };
    let words = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut header = HeaderValue::from_str(&format!("Basic {words}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn with_query(realm: &Url, service: Option<&str>, scopes: &Scopes) -> Url {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(service.map(|service| ("service", service)));
        query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::challenge::Action;

    #[test]
    fn a_token_is_used_a_little_shorter_than_it_lasts() {
        let seconds = [None, Some(0), Some(12), Some(300), Some(u64::MAX)].map(|s| good_for(s).as_secs());
        assert_eq!(seconds, [50, 0, 6, 290, 86390]);
    }

    #[test]
    fn a_token_is_asked_for_by_service_and_scope() {
        let realm = Url::parse("https://t.example/token?x=1").unwrap();
        let scopes = Scopes::new("o/b", Action::Push).and("o/a", Action::Pull);
        assert_eq!(
            with_query(&realm, Some("r.example"), &scopes).as_str(),
            "https://t.example/token?x=1&service=r.example&scope=repository%3Ao%2Fa%3Apull\
             &scope=repository%3Ao%2Fb%3Apull%2Cpush"
        );
    }
}
