//! Background jobs: done once, whoever begins them; taken over when a worker dies; dead when nothing helps.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use testkit::{Answer, Postgres, Service, wait_for};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::{at_least, binary, number, refusal};

async fn replica(postgres: &Postgres) -> Service {
    let service = binary()
        .set("DATABASE_URL", postgres.url())
        .set("JOB_LEASE", "2")
        .set("JOB_ATTEMPTS", "2")
        .set("RETENTION_INTERVAL", "86400")
        .start()
        .await;
    service.ready().await;
    service
}

async fn model(service: &Service, name: &str, fields: Value, config: Value) {
    let made = service
        .post(
            "/models",
            &json!({ "name": name, "fields": fields, "config": config }),
        )
        .await;
    assert_eq!(made.status, 201, "{made:?}");
}

async fn begin(service: &Service, body: Value) -> String {
    let made = service.post("/jobs", &body).await;
    assert_eq!(made.status, 202, "{made:?}");
    made.body["id"].as_str().expect("a job").to_owned()
}

async fn reaches(service: &Service, id: &str, status: &str) -> Value {
    wait_for(
        &format!("a job that is {status}"),
        testkit::PATIENCE,
        async || {
            let job = service.get(&format!("/jobs/{id}")).await.body;
            (job["status"] == status).then_some(job)
        },
    )
    .await
}

async fn as_tenant(service: &Service, method: &str, path: &str, tenant: &str) -> Answer {
    let response = service
        .request(method, path)
        .header("X-Tenant-ID", tenant)
        .send()
        .await
        .expect("a job");
    let status = response.status().as_u16();
    Answer {
        status,
        body: response.json().await.unwrap_or_default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_are_done_once_and_taken_over_from_the_dead() {
    let postgres = Postgres::start().await;
    let (one, two) = tokio::join!(replica(&postgres), replica(&postgres));
    model(
        &one,
        "Part",
        json!({ "n": { "type": "int", "min": 0 } }),
        json!({}),
    )
    .await;

    let job = begin(
        &one,
        json!({ "kind": "import", "model": "Part", "data": [{ "n": 1 }, { "n": -1 }, { "n": 2 }] }),
    )
    .await;
    let done = reaches(&two, &job, "done").await;
    assert_eq!(done["progress"], json!({ "done": 2, "failed": 1, "total": 3 }));
    assert_eq!(done["attempts"], 0, "none since it made progress");
    assert_eq!(
        (&done["faults"][0]["index"], &done["faults"][0]["field"]),
        (&json!(1), &json!("n"))
    );
    let strict = json!({ "kind": "import", "model": "Part", "on_error": "abort", "data": [{ "n": -1 }] });
    let strict = begin(&one, strict).await;
    assert_eq!(reaches(&one, &strict, "dead").await["error"], "DF-101");
    let dead = one.get("/jobs?status=dead").await.body;
    assert_eq!(dead["jobs"][0]["id"], strict.as_str());
    assert_eq!(
        refusal(&one.post(&format!("/jobs/{job}/requeue"), &json!({})).await),
        (409, "DF-505")
    );
    assert_eq!(
        one.post(&format!("/jobs/{strict}/requeue"), &json!({}))
            .await
            .body["status"],
        "queued"
    );

    // Another tenant's jobs are nobody's.
    let path = format!("/jobs/{job}");
    assert_eq!(
        refusal(&as_tenant(&one, "GET", &path, "acme").await),
        (404, "DF-504")
    );
    assert_eq!(
        refusal(&as_tenant(&one, "DELETE", &path, "acme").await),
        (404, "DF-504")
    );
    assert_eq!(
        as_tenant(&one, "GET", "/jobs", "acme").await.body["jobs"],
        json!([])
    );
    assert_eq!(refusal(&one.get("/jobs/nonsense").await), (404, "DF-504"));
    assert_eq!(
        refusal(
            &one.post("/jobs", &json!({ "kind": "retention", "model": "Part" }))
                .await
        ),
        (422, "DF-101")
    );

    uploads_are_few(&postgres, &one).await;

    // Killed in the middle of a chunk: another replica writes the rest, and no row twice.
    assert_eq!(one.end().await, Some(0));
    let mut direct = PgConnection::connect(&postgres.url()).await.unwrap();
    let hold = "SELECT pg_advisory_lock(7);
         CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END $$;
         CREATE TRIGGER hold BEFORE INSERT ON models.parts FOR EACH ROW WHEN (NEW.n = 4500)
             EXECUTE FUNCTION public.hold()";
    sqlx::raw_sql(hold).execute(&mut direct).await.unwrap();
    let lines: String = (0..8000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let before = number(&postgres, "SELECT count(*) FROM models.parts").await;
    let sent = two
        .request("POST", "/jobs?kind=import&model=Part")
        .header("content-type", "application/x-ndjson")
        .body(lines)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 202);
    let job = sent.json::<Value>().await.unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    at_least(&postgres, 1, crate::WAITING).await;
    let told = two.get(&format!("/jobs/{job}")).await.body;
    assert_eq!(
        told["progress"],
        json!({ "done": 4000, "failed": 0, "total": 8000 })
    );
    two.kill().await;
    let left = replica(&postgres).await;
    sqlx::raw_sql("SELECT pg_advisory_unlock(7)")
        .execute(&mut direct)
        .await
        .unwrap();
    let done = reaches(&left, &job, "done").await;
    assert_eq!(
        done["progress"],
        json!({ "done": 8000, "failed": 0, "total": 8000 })
    );
    assert_eq!(
        number(&postgres, "SELECT count(*) FROM models.parts").await,
        before + 8000
    );
    assert_eq!(
        number(&postgres, "SELECT count(DISTINCT n) FROM models.parts").await,
        8000
    );
}

/// Senders who take their time leave the service connections of its own.
async fn uploads_are_few(postgres: &Postgres, service: &Service) {
    let path = "/jobs?kind=import&model=Part";
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: 99\r\n\r\n{{\"n\":1}}\n"
    );
    let mut senders = Vec::new();
    for _ in 0..2 {
        let address = service.url().trim_start_matches("http://");
        let mut sender = TcpStream::connect(address).await.expect("the service");
        sender.write_all(head.as_bytes()).await.expect("the service");
        senders.push(sender);
    }
    let receiving = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    at_least(postgres, 2, receiving).await;
    let request = service.request("POST", path);
    let request = request
        .header("content-type", "application/x-ndjson")
        .body("{\"n\":1}\n");
    let third = request.send().await.expect("an answer");
    assert_eq!(third.status(), 503);
    assert_eq!(third.json::<Value>().await.expect("a problem")["code"], "DF-203");
    assert_eq!(service.get("/jobs").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_and_reindex_keep_tables_in_order_and_dead_letters_are_kept() {
    let postgres = Postgres::start().await;
    let (service, _other) = tokio::join!(replica(&postgres), replica(&postgres));
    let keep =
        |policy: &str| json!({ "multi_tenant": true, "retention": { "policy": policy, "after_days": 30 } });
    model(
        &service,
        "Visit",
        json!({ "n": { "type": "int", "index": true } }),
        keep("archive"),
    )
    .await;
    model(&service, "Trace", json!({ "n": "int" }), keep("delete")).await;
    for (path, tenant) in [("Visit", "acme"), ("Visit", "other"), ("Trace", "acme")] {
        let data: Vec<Value> = (0..1500).map(|n| json!({ "n": n })).collect();
        let request = service
            .request("POST", &format!("/data/{path}/bulk/create"))
            .header("X-Tenant-ID", tenant);
        assert_eq!(
            request
                .json(&json!({ "data": data }))
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
    // The schedule's own jobs of this day have nothing to do yet.
    wait_for("the schedule", testkit::PATIENCE, async || {
        let done =
            "SELECT count(DISTINCT model) FROM dataflow.jobs WHERE scheduled IS NOT NULL AND status = 'done'";
        (number(&postgres, done).await == 2).then_some(())
    })
    .await;
    let old = "UPDATE models.visits SET created_at = now() - interval '40 days' WHERE n < 1200;
               UPDATE models.traces SET created_at = now() - interval '40 days' WHERE n < 1200";
    let mut direct = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::raw_sql(old).execute(&mut direct).await.unwrap();

    let id = begun(&service, "retention", "Visit").await;
    let done = wait_for("retention", testkit::PATIENCE, async || {
        let job = as_tenant(&service, "GET", &format!("/jobs/{id}"), "acme")
            .await
            .body;
        (job["status"] == "done").then_some(job)
    });
    assert_eq!(done.await["progress"]["done"], 1200, "one tenant's only");

    assert_eq!(
        number(&postgres, "SELECT count(*) FROM models.visits").await,
        1800
    );
    assert_eq!(
        number(
            &postgres,
            "SELECT count(*) - 2 * count(DISTINCT split_part(scheduled, ':', 3)) FROM dataflow.jobs
             WHERE scheduled IS NOT NULL"
        )
        .await,
        0,
        "one a model and interval"
    );

    // What nobody asked for is done by the schedule, for all tenants.
    let hasty = binary()
        .set("DATABASE_URL", postgres.url())
        .set("RETENTION_INTERVAL", "2")
        .start()
        .await;
    wait_for("the schedule", testkit::PATIENCE, async || {
        let left = number(&postgres, "SELECT count(*) FROM models.visits").await;
        let traces = number(&postgres, "SELECT count(*) FROM models.traces").await;
        (left == 600 && traces == 300).then_some(())
    })
    .await;
    hasty.kill().await;
    assert_eq!(
        number(
            &postgres,
            "SELECT count(*) FROM models.visits_archive WHERE row ? 'n'"
        )
        .await,
        2400
    );

    let id = begun(&service, "reindex", "Visit").await;
    wait_for("reindex", testkit::PATIENCE, async || {
        let job = as_tenant(&service, "GET", &format!("/jobs/{id}"), "acme")
            .await
            .body;
        (job["status"] == "done").then_some(())
    })
    .await;

    // What cannot be done is tried again, and then kept.
    sqlx::raw_sql("ALTER TABLE models.traces RENAME TO traces_gone")
        .execute(&mut direct)
        .await
        .unwrap();
    let id = begun(&service, "retention", "Trace").await;
    let path = format!("/jobs/{id}");
    let dead = wait_for("a dead letter", testkit::PATIENCE, async || {
        let job = as_tenant(&service, "GET", &path, "acme").await.body;
        (job["status"] == "dead").then_some(job)
    });
    assert_eq!(dead.await["attempts"], 2);
    sqlx::raw_sql("ALTER TABLE models.traces_gone RENAME TO traces")
        .execute(&mut direct)
        .await
        .unwrap();
    assert_eq!(
        as_tenant(&service, "POST", &format!("{path}/requeue"), "acme")
            .await
            .status,
        200
    );
    wait_for("its end", testkit::PATIENCE, async || {
        let job = as_tenant(&service, "GET", &path, "acme").await.body;
        (job["status"] == "done").then_some(())
    })
    .await;
    assert_eq!(
        refusal(&as_tenant(&service, "DELETE", &path, "acme").await),
        (409, "DF-505")
    );
}

/// Begins a job of the tenant `acme`; its id.
async fn begun(service: &Service, kind: &str, model: &str) -> String {
    let request = service.request("POST", "/jobs").header("X-Tenant-ID", "acme");
    let made = request
        .json(&json!({ "kind": kind, "model": model }))
        .send()
        .await
        .unwrap();
    made.json::<Value>().await.unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}
