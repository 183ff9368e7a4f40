//! Two gateways and a real workflow engine over the same stores: what a user of the workflow surface meets.

use serde_json::{Value, json};
use testkit::{Answer, Postgres, Redis, Service, Starting};

use super::{PASSWORD, behind, gateway};

/// The services are dropped before their stores.
pub(crate) struct Rig {
    pub(crate) one: Service,
    pub(crate) two: Service,
    pub(crate) engine: Service,
    pub(crate) redis: Redis,
    pub(crate) postgres: Postgres,
    /// Of an administrator.
    pub(crate) token: String,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
        let engine = Service::sibling("workflow-engine")
            .set("DATABASE_URL", postgres.url())
            .set("REDIS_URL", redis.url())
            .set("DATAFLOW_URL", format!("http://{}", super::NOWHERE))
            .start()
            .await;
        let replica = || over(gateway(), &engine, &postgres, &redis).start();
        let (one, two) = tokio::join!(replica(), replica());
        tokio::join!(engine.ready(), whole(&one), whole(&two));
        let token = login(&one, "ada").await;
        Self {
            one,
            two,
            engine,
            redis,
            postgres,
            token,
        }
    }

    /// One more gateway over the same stores, with other settings.
    pub(crate) fn another(&self) -> Starting {
        over(gateway(), &self.engine, &self.postgres, &self.redis)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        ask(&self.one, &self.token, "GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        ask(&self.one, &self.token, "POST", path, Some(body)).await
    }

    /// Registers `greet`, which needs a name and answers with a greeting, and `hold`, which waits for `go`.
    pub(crate) async fn register(&self) {
        let greet = json!({
            "name": "greet", "description": "says hello", "tags": ["demo"],
            "inputs_schema": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } },
            "nodes": [{ "id": "say", "type": "Transform", "config": { "set": { "text": "hello {{name}}" } } }],
        });
        let hold = json!({
            "name": "hold",
            "nodes": [{ "id": "wait", "type": "SignalWait", "config": { "signal": "go", "timeout_s": 60 } }],
        });
        for definition in [greet, hold] {
            let answer = self.post("/workflows", &definition).await;
            assert_eq!(answer.status, 201, "{:?}", answer.body);
        }
    }

    /// A run of `hold` that waits: its id.
    pub(crate) async fn held(&self) -> String {
        let accepted = self
            .post("/workflows/hold/execute", &json!({ "mode": "async" }))
            .await;
        assert_eq!(accepted.status, 200, "{:?}", accepted.body);
        let id = accepted.body["execution_id"].as_str().expect("an id").to_owned();
        self.until(&id, "waiting").await;
        id
    }

    pub(crate) async fn until(&self, id: &str, status: &str) -> Value {
        let path = format!("/executions/{id}");
        testkit::wait_for(status, testkit::PATIENCE, async || {
            let run = self.get(&path).await.body;
            (run["status"] == status).then_some(run)
        })
        .await
    }

    /// A user with a token of its own.
    pub(crate) async fn user(&self, name: &str, role: &str, tenant: &str) -> String {
        let user = json!({ "username": name, "password": PASSWORD, "role": role, "tenant": tenant });
        let made = self.post("/users", &user).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        login(&self.one, name).await
    }
}

fn over(starting: Starting, engine: &Service, postgres: &Postgres, redis: &Redis) -> Starting {
    behind(starting, engine.url())
        .set("DATABASE_URL", postgres.url())
        .set("REDIS_URL", redis.url())
        .set("RATE_LIMIT_RPM", "100000")
}

/// Waits until all stores are there: a gateway without PostgreSQL is ready, too, but nobody can log in.
pub(crate) async fn whole(gateway: &Service) {
    testkit::wait_for("ready", testkit::PATIENCE, async || {
        (gateway.get("/ready").await.body["status"] == "ready").then_some(())
    })
    .await;
}

async fn login(service: &Service, name: &str) -> String {
    let credentials = json!({ "username": name, "password": PASSWORD });
    let answer = service.post("/auth/login", &credentials).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.body["access_token"].as_str().expect("a token").to_owned()
}

/// One call with a token.
pub(crate) async fn ask(
    service: &Service,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let request = service.request(method, path).bearer_auth(token);
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    let answer = request.send().await.expect("an answer");
    Answer {
        status: answer.status().as_u16(),
        body: answer.json().await.unwrap_or(Value::Null),
    }
}

/// Status and code of a refusal.
pub(crate) fn refusal(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or_default())
}

/// A stream of server-sent events that is read as it comes.
pub(crate) struct Stream {
    response: reqwest::Response,
    text: String,
}

/// One event; `id` and `name` are empty where it has none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Stream {
    pub(crate) async fn open(request: reqwest::RequestBuilder) -> Self {
        let response = request
            .timeout(4 * testkit::PATIENCE)
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let told = read(block);
                self.text = rest.to_owned();
                if told.is_some() {
                    return told;
                }
            }
            let chunk = tokio::time::timeout(testkit::PATIENCE, self.response.chunk())
                .await
                .expect("an event or the end in time");
            match chunk {
                Ok(Some(chunk)) => self.text.push_str(&String::from_utf8_lossy(&chunk)),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn silent(&mut self) -> bool {
        tokio::time::timeout(std::time::Duration::from_millis(300), self.next())
            .await
            .is_err()
    }
}

/// Comments, such as those that keep a connection alive, are none.
fn read(block: &str) -> Option<Told> {
    let field = |name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start_matches(':').trim().to_owned())
    };
    let data = field("data")?;
    Some(Told {
        id: field("id").unwrap_or_default(),
        name: field("event").unwrap_or_default(),
        data: serde_json::from_str(&data).expect("data that is JSON"),
    })
}
