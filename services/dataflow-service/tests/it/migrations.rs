//! Models whose definition changes: planned, applied, refused, taken back, and stopped halfway.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row};
use testkit::{PATIENCE, Postgres, Service, wait_for};

use crate::{binary, ready, refusal};

/// The lock on all changes of tables: "dataflow" in ASCII.
const LOCK: i64 = 0x6461_7461_666c_6f77;

fn note(fields: Value) -> Value {
    json!({ "name": "Note", "fields": fields })
}

fn other() -> Value {
    json!({ "name": "Other", "fields": { "text": "str" } })
}

fn confirmed(mut definition: Value) -> Value {
    definition["confirm"] = json!(true);
    definition
}

/// A connection as the database's owner, beside the service.
async fn beside(postgres: &Postgres) -> PgConnection {
    PgConnection::connect(&postgres.url())
        .await
        .expect("the database answers")
}

async fn number(connection: &mut PgConnection, sql: &'static str) -> i64 {
    let row = sqlx::query(sql).fetch_one(connection).await.expect(sql);
    row.get(0)
}

async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.expect(sql);
}

/// Waits until the database counts so many.
async fn until(connection: &mut PgConnection, sql: &'static str, wanted: i64) {
    let counted = async {
        while number(connection, sql).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let counted = tokio::time::timeout(PATIENCE, counted).await;
    assert!(counted.is_ok(), "gave up waiting for {wanted} of {sql}");
}

/// The newest migration of Note.
async fn newest(service: &Service) -> Value {
    service.get("/migrations?model=Note").await.body["migrations"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_changes_and_is_taken_back() {
    let postgres = Postgres::start().await;
    let (one, two) = tokio::join!(ready(&postgres), ready(&postgres));
    let first = json!({ "text": "str", "old": "str" });
    let (here, there) = (note(first.clone()), note(first));
    let (here, there) = tokio::join!(one.post("/models", &here), two.post("/models", &there));
    let mut statuses = [here.status, there.status];
    statuses.sort_unstable();
    assert_eq!(
        statuses,
        [200, 201],
        "two replicas create once: {here:?} {there:?}"
    );
    let row = json!({ "text": "a", "old": "kept" });
    assert_eq!(one.post("/data/Note", &row).await.status, 201);

    // Harmless: shown, then applied by itself, and known to the other replica.
    let more = json!({ "text": "str", "old": "str", "stars": { "type": "int", "required": true, "default": 3, "index": true } });
    let plan = one.post("/migrations/plan", &note(more.clone())).await;
    assert_eq!(
        (plan.status, &plan.body["additive"]),
        (200, &json!(true)),
        "{plan:?}"
    );
    assert_eq!(plan.body["risk"], "safe");
    let sql = plan.body["steps"][0]["sql"].as_str().unwrap();
    assert!(
        sql.starts_with(
            "ALTER TABLE models.\"notes\" ADD COLUMN \"stars\" integer DEFAULT '3'::integer NOT NULL"
        ),
        "{sql}"
    );
    let applied = one.post("/models", &note(more)).await;
    assert_eq!(
        (applied.status, &applied.body["migration"]["status"]),
        (200, &json!("applied"))
    );
    assert_eq!(one.get("/data/Note/1").await.body["stars"], 3);
    wait_for("the other replica to know", PATIENCE, async || {
        let answer = two.post("/data/Note", &json!({ "text": "b", "stars": 5 })).await;
        (answer.status == 201).then_some(())
    })
    .await;

    // Not harmless: refused with the steps, then done because it was said.
    let less =
        json!({ "text": "str", "stars": { "type": "int", "required": true, "default": 3, "index": true } });
    let refused = one.post("/models", &note(less.clone())).await;
    assert_eq!(refusal(&refused), (409, "DF-302"));
    assert_eq!(refused.body["steps"][0]["risk"], "lossy", "{refused:?}");
    assert_eq!(
        refusal(&one.post("/migrations/apply", &note(less.clone())).await),
        (409, "DF-302")
    );
    let dropped = one.post("/migrations/apply", &confirmed(note(less))).await;
    assert_eq!(dropped.status, 200, "{dropped:?}");
    let (added, dropped) = (
        &applied.body["migration"]["version"],
        &dropped.body["migration"]["version"],
    );

    // What no table of rows can become is refused with the remedy.
    let wrong = note(json!({ "text": "str", "stars": "int", "must": { "type": "str", "required": true } }));
    let refused = one.post("/migrations/apply", &confirmed(wrong)).await;
    assert_eq!(refusal(&refused), (409, "DF-304"));
    assert!(
        refused.body["error"]
            .as_str()
            .unwrap()
            .contains("give it a default"),
        "{refused:?}"
    );

    // Back, the newest first; what was dropped comes back empty.
    let back = async |version: &Value, query: &str| {
        one.post(&format!("/migrations/rollback/{version}{query}"), &json!({}))
            .await
    };
    assert_eq!(refusal(&back(added, "").await), (409, "DF-308"));
    assert_eq!(refusal(&back(&json!(999), "").await), (404, "DF-306"));
    let undone = back(dropped, "").await;
    assert_eq!(undone.status, 200, "{undone:?}");
    assert_eq!(one.get("/data/Note/1").await.body["old"], Value::Null);
    assert_eq!(
        refusal(&back(added, "").await),
        (409, "DF-302"),
        "values of stars would be lost"
    );
    assert_eq!(back(added, "?confirm=true").await.status, 200);
    assert_eq!(one.get("/models/Note").await.body["fields"].get("stars"), None);
    let listed = one.get("/migrations?model=Note").await.body["migrations"].clone();
    let statuses: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["status"].as_str())
        .collect();
    assert_eq!(
        statuses,
        ["applied", "applied", "rolled_back", "rolled_back", "applied"]
    );

    let path = "/models/Note";
    assert_eq!(refusal(&removed(&one, path).await), (409, "DF-302"));
    refusals(&postgres, &one).await;
    assert_eq!(
        refusal(&removed(&one, "/models/Nope?confirm=true").await),
        (404, "DF-603")
    );
}

async fn removed(service: &Service, path: &str) -> testkit::Answer {
    let answer = service.request("DELETE", path).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body = answer.json().await.unwrap_or_default();
    testkit::Answer { status, body }
}

/// With migrations off, with the lock held, with duplicates, and with an edited history.
async fn refusals(postgres: &Postgres, service: &Service) {
    let strict = binary()
        .set("DATABASE_URL", postgres.url())
        .set("AUTO_MIGRATE", "false")
        .set("MIGRATION_LOCK_TIMEOUT", "1")
        .start()
        .await;
    strict.ready().await;
    let indexed = note(json!({ "text": { "type": "str", "index": true }, "old": "str" }));
    assert_eq!(refusal(&strict.post("/models", &indexed).await), (409, "DF-303"));

    let mut beside = beside(postgres).await;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut beside)
        .await
        .expect("it is there");
    let locked = strict.post("/migrations/apply", &indexed).await;
    assert_eq!(refusal(&locked), (503, "DF-301"), "{locked:?}");
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(LOCK)
        .execute(&mut beside)
        .await
        .expect("it is there");
    assert_eq!(strict.post("/migrations/apply", &indexed).await.status, 200);

    // In one transaction, and, since the table has many rows, in steps of their own.
    let unique = confirmed(note(
        json!({ "text": { "type": "str", "unique": true }, "old": "str" }),
    ));
    run(
        &mut beside,
        "INSERT INTO models.notes (text) VALUES ('twice'), ('twice')",
    )
    .await;
    assert_eq!(
        refusal(&service.post("/migrations/apply", &unique).await),
        (409, "DF-305")
    );
    run(
        &mut beside,
        "INSERT INTO models.notes (text) SELECT 'n' || n FROM generate_series(1, 10001) n",
    )
    .await;
    let plan = service
        .post("/migrations/plan", &note(unique["fields"].clone()))
        .await;
    assert!(
        plan.body.to_string().contains("CREATE UNIQUE INDEX CONCURRENTLY"),
        "{plan:?}"
    );
    let refused = service.post("/migrations/apply", &unique).await;
    assert_eq!(refusal(&refused), (409, "DF-305"));
    assert!(
        !refused.body.to_string().contains("twice"),
        "no value is told: {refused:?}"
    );
    assert_eq!(newest(service).await["status"], "failed");
    let indexes =
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'notes' AND indexname = 'text__of__notes'";
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(
        (
            number(&mut beside, indexes).await,
            number(&mut beside, invalid).await
        ),
        (1, 0)
    );
    run(&mut beside, "DELETE FROM models.notes WHERE text = 'twice'").await;
    let applied = service.post("/migrations/apply", &unique).await;
    assert_eq!(applied.status, 200, "{applied:?}");
    let valid = "SELECT count(*) FROM pg_constraint WHERE conname = 'text__of__notes' AND contype = 'u'";
    assert_eq!(number(&mut beside, valid).await, 1);

    assert_eq!(service.post("/models", &other()).await.status, 201);
    assert_eq!(removed(service, "/models/Other?confirm=true").await.status, 200);
    assert_eq!(refusal(&service.get("/data/Other").await), (404, "DF-603"));
    assert_eq!(
        service.post("/models", &other()).await.status,
        201,
        "its name is free again"
    );
    run(
        &mut beside,
        "UPDATE dataflow.migrations SET statements = '[]' WHERE version = 1",
    )
    .await;
    let edited = service.post("/models", &note(json!({ "text": "str" }))).await;
    assert_eq!(refusal(&edited), (409, "DF-307"));
    assert!(
        edited.body["error"]
            .as_str()
            .expect("it is there")
            .contains("migration 1 of Note"),
        "{edited:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_a_definition_are_kept_and_large_tables_grow_while_they_are_used() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    let size = json!({ "type": "float", "min": -0.0, "max": 1e18, "default": 1e17 });
    let first = note(json!({ "text": "str", "size": size }));
    assert_eq!(service.post("/models", &first).await.status, 201);
    let again = service.post("/models", &first).await;
    assert_eq!(
        (again.status, &again.body["migration"]),
        (200, &Value::Null),
        "{again:?}"
    );
    service.kill().await;
    let service = ready(&postgres).await;
    let again = service.post("/models", &first).await;
    assert_eq!(
        (again.status, &again.body["migration"]),
        (200, &Value::Null),
        "{again:?}"
    );

    let mut beside = beside(&postgres).await;
    let many = "INSERT INTO models.notes (text) SELECT 'n' || n FROM generate_series(1, 10001) n";
    run(&mut beside, many).await;
    let more = note(json!({
        "text": "str", "size": size, "code": { "type": "str", "unique": true },
        "under": { "type": "int", "references": "Note", "index": true },
    }));
    let applied = service.post("/models", &more).await;
    assert_eq!(
        (applied.status, &applied.body["migration"]["status"]),
        (200, &json!("applied")),
        "{applied:?}"
    );
    let steps = applied.body["migration"]["steps"].to_string();
    assert!(
        steps.contains("CREATE UNIQUE INDEX CONCURRENTLY") && steps.contains("NOT VALID"),
        "{steps}"
    );
    let held = "SELECT count(*) FROM pg_constraint WHERE convalidated \
                AND conname IN ('code__of__notes', 'under__to__notes')";
    assert_eq!(number(&mut beside, held).await, 2);
    let row = json!({ "text": "a", "under": 99_999 });
    assert_eq!(refusal(&service.post("/data/Note", &row).await), (409, "DF-712"));
    let back = format!(
        "/migrations/rollback/{}?confirm=true",
        applied.body["migration"]["version"]
    );
    let back = service.post(&back, &json!({})).await;
    assert_eq!(back.status, 200, "{back:?}");

    // As a replica sees it that does not know the new type yet.
    run(
        &mut beside,
        "ALTER TABLE models.notes ALTER COLUMN size DROP DEFAULT, ALTER COLUMN size TYPE jsonb USING to_jsonb(size)",
    )
    .await;
    let assigned = service.post("/data/Note", &json!({ "size": 1.5 })).await;
    assert_eq!(refusal(&assigned), (409, "DF-309"));
    let compared = service
        .post("/data/Note/query", &json!({ "filter": { "size": 1.5 } }))
        .await;
    assert_eq!(refusal(&compared), (409, "DF-309"));
}

/// Whoever fills the row 11900 waits for this connection.
const HANG: &str = "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS \
     'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END'; \
     CREATE TRIGGER hang BEFORE UPDATE ON models.notes FOR EACH ROW WHEN (NEW.id = 11900) EXECUTE FUNCTION hang(); \
     SELECT pg_advisory_lock(42)";

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_killed_is_not_there_or_is_gone_on_with() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    assert_eq!(
        service
            .post("/models", &note(json!({ "text": "str", "stars": "int" })))
            .await
            .status,
        201
    );
    let mut beside = beside(&postgres).await;
    run(
        &mut beside,
        "INSERT INTO models.notes (text) SELECT 'n' || n FROM generate_series(1, 12000) n",
    )
    .await;

    // One transaction: while it waits for the table, its process is killed.
    run(&mut beside, "BEGIN; LOCK TABLE models.notes IN ACCESS SHARE MODE").await;
    let (url, body) = (
        service.url().to_owned(),
        note(json!({ "text": "str", "stars": "int", "more": "str" })),
    );
    let call = tokio::spawn(post(url, "/models", body));
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'models.notes'::regclass";
    until(&mut beside, waits, 1).await;
    service.kill().await;
    assert!(call.await.unwrap().is_none(), "nothing was acknowledged");
    run(&mut beside, "COMMIT").await;
    let service = ready(&postgres).await;
    let columns =
        "SELECT count(*) FROM information_schema.columns WHERE table_name = 'notes' AND column_name = 'more'";
    assert_eq!(number(&mut beside, columns).await, 0, "nothing is half applied");
    assert_eq!(service.get("/models/Note").await.body["fields"].get("more"), None);

    assert_eq!(newest(&service).await["version"], 1, "nor written down");

    // Many transactions: one hangs, with others committed before it, and is killed there. A lock on a row would keep
    // the steps before from the table.
    run(&mut beside, HANG).await;
    let required = json!({ "text": "str", "stars": { "type": "int", "required": true, "default": 3 } });
    let body = confirmed(note(required));
    let call = tokio::spawn(post(service.url().to_owned(), "/migrations/apply", body));
    let nulls = "SELECT count(*) FROM models.notes WHERE stars IS NULL";
    until(&mut beside, nulls, 2000).await;
    service.kill().await;
    assert!(call.await.unwrap().is_none(), "nothing was acknowledged");
    let service = ready(&postgres).await;
    let stopped = newest(&service).await;
    assert_eq!(
        stopped["status"], "pending",
        "half applied is not called applied: {stopped}"
    );
    let field = service.get("/models/Note").await.body["fields"]["stars"].clone();
    assert_eq!(field["required"], false, "nor is the model taken for changed");
    run(&mut beside, "SELECT pg_advisory_unlock(42)").await;
    wait_for("somebody to go on with it", PATIENCE, async || {
        (newest(&service).await["status"] == "applied").then_some(())
    })
    .await;
    assert_eq!(number(&mut beside, nulls).await, 0);
    wait_for("the model to be the new one", PATIENCE, async || {
        let model = service.get("/models/Note").await.body;
        (model["fields"]["stars"]["required"] == true).then_some(())
    })
    .await;
    let checks = "SELECT count(*) FROM pg_constraint WHERE conname LIKE '%\\_\\_set\\_\\_%'";
    assert_eq!(number(&mut beside, checks).await, 0, "no scaffolding is left");
}

/// The status, unless the connection broke.
async fn post(url: String, path: &'static str, body: Value) -> Option<u16> {
    let client = reqwest::Client::builder().no_proxy().build().ok()?;
    let answer = client
        .post(format!("{url}{path}"))
        .json(&body)
        .send()
        .await
        .ok()?;
    Some(answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_a_directory_are_there_at_start() {
    let directory = std::env::temp_dir().join(format!("dataflow-models-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("note.json");
    std::fs::write(&file, "{ \"name\": \"Note\" }").unwrap();
    let exit = binary()
        .set("MODELS_DIR", directory.display().to_string())
        .run(&[])
        .await;
    assert_eq!(exit.code, Some(78), "{exit:?}");
    assert!(
        exit.stderr.contains("note.json: no definition of a model"),
        "{}",
        exit.stderr
    );

    std::fs::write(&file, note(json!({ "text": "str" })).to_string()).unwrap();
    let postgres = Postgres::start().await;
    let service = binary()
        .set("DATABASE_URL", postgres.url())
        .set("MODELS_DIR", directory.display().to_string())
        .start()
        .await;
    service.ready().await;
    std::fs::remove_dir_all(directory).unwrap();
    assert_eq!(service.get("/models").await.body["models"][0]["model"], "Note");
    assert_eq!(
        service.post("/data/Note", &json!({ "text": "a" })).await.status,
        201
    );
}
