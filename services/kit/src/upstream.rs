//! Calls to other services: a deadline, one retry of what may be repeated, and the request's ids passed on.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::telemetry::current_ids;
use crate::{Problem, Result};

/// A client for one other service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstream {
    name: &'static str,
    base: Option<String>,
    http: reqwest::Client,
    limit: Duration,
}

/// Another service's answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Upstream {
    /// `base` is `http://host:port`; without it every call fails as unavailable.
    pub fn new(name: &'static str, base: Option<String>, limit: Duration) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            // A redirect is the caller's to follow, and no service may lead us to another host.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(2))
            .build();
        Upstream {
            name,
            base,
            http: http.unwrap_or_default(),
            limit,
        }
    }

    /// The other service's name, as people know it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A request to `path` with our ids and without a deadline yet, for those that stream.
    ///
    /// # Errors
    /// 503 `UPSTREAM_UNAVAILABLE` where its address is not set.
    pub fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder> {
        let Some(base) = &self.base else {
            return Err(self.unavailable(StatusCode::SERVICE_UNAVAILABLE, "its address is not set"));
        };
        let mut request = self.http.request(method, format!("{base}{path}"));
        for (name, value) in current_ids().iter().flat_map(crate::RequestIds::headers) {
            request = request.header(name, value);
        }
        Ok(request)
    }

    /// Calls and reads a JSON answer, whatever its status. `GET` is tried twice where the service did not answer.
    ///
    /// # Errors
    /// 502 or 503 `UPSTREAM_UNAVAILABLE`: no answer within the deadline, or one that is no JSON.
    pub async fn call(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Answer> {
        let tries = if method == Method::GET { 2 } else { 1 };
        let mut last = String::new();
        for _ in 0..tries {
            let mut request = self.request(method.clone(), path)?.timeout(self.limit);
            if let Some(body) = body {
                request = request.json(body);
            }
            match request.send().await {
                Ok(response) => return self.read(response).await,
                Err(error) => last = with_causes(&error),
            }
        }
        Err(self.unavailable(StatusCode::SERVICE_UNAVAILABLE, &last))
    }

    /// `GET` into a type; any other status than 2xx is an error.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.call(Method::GET, path, None::<&()>).await?;
        self.typed(answer)
    }

    /// `POST` of JSON into a type; any other status than 2xx is an error.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let answer = self.call(Method::POST, path, Some(body)).await?;
        self.typed(answer)
    }

    async fn read(&self, response: reqwest::Response) -> Result<Answer> {
        let status = response.status();
        match response.json().await {
            Ok(body) => Ok(Answer { status, body }),
            Err(error) => {
                let detail = format!("status {status}: {}", with_causes(&error));
                Err(self.unavailable(StatusCode::BAD_GATEWAY, &detail))
            }
        }
    }

    fn typed<T: DeserializeOwned>(&self, answer: Answer) -> Result<T> {
        if !answer.status.is_success() {
            let code = answer.body["code"]
                .as_str()
                .unwrap_or("UPSTREAM_ERROR")
                .to_owned();
            let message = answer.body["error"]
                .as_str()
                .unwrap_or("the other service refused")
                .to_owned();
            let status = if answer.status.is_server_error() {
                StatusCode::BAD_GATEWAY
            } else {
                answer.status
            };
            return Err(Problem::new(status, code, message).field("upstream", self.name));
        }
        serde_json::from_value(answer.body).map_err(|error| {
            self.unavailable(StatusCode::BAD_GATEWAY, &format!("unexpected answer: {error}"))
        })
    }

    /// The problem to answer with where the other service could not be had.
    pub fn unavailable(&self, status: StatusCode, detail: &str) -> Problem {
        tracing::warn!(upstream = self.name, detail, "upstream is unavailable");
        let message = format!("{} does not answer", self.name);
        Problem::new(status, "UPSTREAM_UNAVAILABLE", message).field("upstream", self.name)
    }
}

/// An error with all that caused it, for the log: the outermost alone says little.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
