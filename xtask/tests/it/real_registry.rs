//! A real registry on 127.0.0.1, the way GHCR does it: TLS, and tokens by scope from a server of its own, which knows
//! users and passwords. The registry is a container of the image that set-up made or the one that is pinned.

// Each user needs another part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

const ISSUER: &str = "the tests' token server";
const SERVICE: &str = "the tests' registry";

/// A user of it: may pull, or push too.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
    pub(crate) pushes: bool,
}

/// May push.
pub(crate) const ADA: Account = Account {
    name: "ada",
    password: "ada-may-push-5061",
    pushes: true,
};

/// May pull alone.
pub(crate) const BOB: Account = Account {
    name: "bob",
    password: "bob-may-pull-7702",
    pushes: false,
};

/// A running registry and its token server. Both end when this is dropped.
pub(crate) struct RealRegistry {
    container: String,
    host: String,
    folder: TempDir,
    _ends: tokio::sync::oneshot::Sender<()>,
}

impl RealRegistry {
    /// Of an image that is a registry: [`image_of`] a plan.
    pub(crate) fn start(image: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signs = certify(folder.path());
        let (ends, ended) = tokio::sync::oneshot::channel();
        let tokens = serve_tokens(signs, ended);
        let variables = [
            ("REGISTRY_LOG_LEVEL", "info".to_owned()),
            ("REGISTRY_HTTP_TLS_CERTIFICATE", "/certs/server.crt".to_owned()),
            ("REGISTRY_HTTP_TLS_KEY", "/certs/server.key".to_owned()),
            ("REGISTRY_AUTH", "token".to_owned()),
            ("REGISTRY_AUTH_TOKEN_REALM", tokens),
            ("REGISTRY_AUTH_TOKEN_SERVICE", SERVICE.to_owned()),
            ("REGISTRY_AUTH_TOKEN_ISSUER", ISSUER.to_owned()),
            (
                "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE",
                "/certs/tokens.crt".to_owned(),
            ),
        ];
        let mut words = vec!["create".to_owned(), "--publish=127.0.0.1::5000".to_owned()];
        words.extend(variables.map(|(name, value)| format!("--env={name}={value}")));
        words.push(image.to_owned());
        let container = docker(&words);
        let certs = folder.path().join("certs").display().to_string();
        docker(&["cp", &certs, &format!("{container}:/certs")]);
        docker(&["start", &container]);
        let registry = RealRegistry {
            host: docker(&["port", &container, "5000/tcp"]),
            container,
            folder,
            _ends: ends,
        };
        registry.wait();
        registry
    }

    fn wait(&self) {
        let begun = Instant::now();
        while !docker_said(&["logs", &self.container]).1.contains("listening on") {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "the registry does not begin"
            );
            std::thread::yield_now();
        }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The certificate authority of its certificate, as PEM.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.crt")
    }

    /// Writes docker's configuration for one who is logged in with that password, or for nobody.
    pub(crate) fn log_in(&self, docker: &Path, who: Option<(&str, &str)>) {
        let auth = who.map(|(user, password)| STANDARD.encode(format!("{user}:{password}")));
        let auths = auth.map(|auth| json!({ self.host.clone(): { "auth": auth } }));
        let config = json!({ "auths": auths.unwrap_or(json!({})) });
        std::fs::create_dir_all(docker).unwrap();
        std::fs::write(docker.join("config.json"), config.to_string()).unwrap();
    }

    /// The variables by which a program trusts it, and is logged in as `who`.
    pub(crate) fn variables(&self, who: Option<Account>) -> BTreeMap<&'static str, PathBuf> {
        let name = who.map_or("nobody", |account| account.name);
        let docker = self.folder.path().join(name);
        self.log_in(&docker, who.map(|account| (account.name, account.password)));
        BTreeMap::from([("DOCKER_CONFIG", docker), ("SSL_CERT_FILE", self.authority())])
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        docker_said(&["rm", "--force", "--volumes", &self.container]);
    }
}

/// The image that is a registry, as `plan --format json` names it.
pub(crate) fn image_of(plan: &str) -> String {
    let plan: Value = serde_json::from_str(plan).unwrap();
    plan["bases"]["images"]["registry"].as_str().unwrap().to_owned()
}

/// Writes an authority and the registry's certificate for 127.0.0.1, and what checks tokens; what signs them.
fn certify(folder: &Path) -> Signs {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let params = |name: &str, hosts: &[&str]| {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let certs = folder.join("certs");
    std::fs::create_dir(&certs).unwrap();

    let key = KeyPair::generate().unwrap();
    let mut authority = params("the tests' authority", &[]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).unwrap();
    std::fs::write(folder.join("authority.crt"), certificate.pem()).unwrap();
    let issuer = Issuer::new(authority, key);

    let key = KeyPair::generate().unwrap();
    let server = params("127.0.0.1", &["127.0.0.1", "localhost"]);
    let certificate = server.signed_by(&key, &issuer).unwrap();
    std::fs::write(certs.join("server.crt"), certificate.pem()).unwrap();
    std::fs::write(certs.join("server.key"), key.serialize_pem()).unwrap();

    let key = KeyPair::generate().unwrap();
    let certificate = params(ISSUER, &[]).self_signed(&key).unwrap();
    std::fs::write(certs.join("tokens.crt"), certificate.pem()).unwrap();
    Signs {
        key: jsonwebtoken::EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap(),
        certificate: STANDARD.encode(certificate.der()),
    }
}

/// What a token is signed with; it carries the certificate (`x5c`).
struct Signs {
    key: jsonwebtoken::EncodingKey,
    certificate: String,
}

/// Starts the token server on a thread of its own; its address (`realm`).
fn serve_tokens(signs: Signs, ended: tokio::sync::oneshot::Receiver<()>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let router = Router::new()
                .route("/token", get(token))
                .with_state(Arc::new(signs));
            tokio::select! {
                served = axum::serve(listener, router) => served.unwrap(),
                _ = ended => {}
            }
        });
    });
    realm
}

/// A user gets what it may of what it asks for, which can be nothing; nobody gets nothing, a wrong password 401.
async fn token(State(signs): State<Arc<Signs>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let said = |account: &&Account| {
        let words = STANDARD.encode(format!("{}:{}", account.name, account.password));
        basic.is_some_and(|basic| basic == format!("Basic {words}"))
    };
    let account = [ADA, BOB].iter().find(said).copied();
    if basic.is_some() && account.is_none() {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"tests\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    let url = format!("http://tests/?{}", query.unwrap_or_default());
    let url = reqwest::Url::parse(&url).unwrap();
    let scopes = url.query_pairs().filter(|(name, _)| name == "scope");
    let access: Vec<Value> = scopes.filter_map(|(_, scope)| granted(&scope, account)).collect();
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({
        "iss": ISSUER, "sub": account.map_or("", |account| account.name), "aud": SERVICE, "jti": "1",
        "iat": now, "nbf": now - 10, "exp": now + 300, "access": access,
    });
    let mut head = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    head.x5c = Some(vec![signs.certificate.clone()]);
    let token = jsonwebtoken::encode(&head, &claims, &signs.key).unwrap();
    axum::Json(json!({ "token": token, "expires_in": 300 })).into_response()
}

/// `repository:NAME:pull,push`, less what the account may not.
fn granted(scope: &str, account: Option<Account>) -> Option<Value> {
    let account = account?;
    let parts: Vec<&str> = scope.split(':').collect();
    let [kind, name, actions] = parts[..] else {
        return None;
    };
    let mut actions: Vec<&str> = actions.split(',').collect();
    actions.retain(|action| *action == "pull" || account.pushes);
    Some(json!({ "type": kind, "name": name, "actions": actions }))
}

/// What the docker command prints; where it fails, the test does.
fn docker(words: &[impl AsRef<std::ffi::OsStr>]) -> String {
    let (is_well, said) = docker_said(words);
    assert!(
        is_well,
        "docker: {said} (`cargo xtask setup` makes what is missing)"
    );
    said
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test looks at the engine from outside"
)]
fn docker_said(words: &[impl AsRef<std::ffi::OsStr>]) -> (bool, String) {
    let output = std::process::Command::new("docker").args(words).output().unwrap();
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.success(), texts.concat().trim().to_owned())
}
