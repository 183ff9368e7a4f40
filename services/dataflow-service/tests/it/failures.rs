//! What goes wrong in the database: each has its code, names the field, and repeats no value.

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use testkit::{Answer, Postgres, Service};

use crate::{WAITING, at_least, binary, refusal};

const CANARY: &str = "canary-51c3-value";

async fn sql(postgres: &Postgres) -> PgConnection {
    PgConnection::connect(&postgres.url())
        .await
        .expect("the database is asked directly")
}

async fn create(service: &Service, note: Value) -> Answer {
    service.post("/data/Note", &note).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_its_code_and_field_and_tells_no_value() {
    let postgres = Postgres::start().await;
    let log = std::env::temp_dir().join(format!("dataflow-failures-{}", std::process::id()));
    let service = binary()
        .set("DATABASE_URL", postgres.url())
        .set("LOG_LEVEL", "debug")
        .set("SLOW_QUERY_MS", "0")
        .log_to(&log)
        .start()
        .await;
    service.ready().await;
    let fields = json!({ "text": { "type": "str", "unique": true }, "ref": "int", "short": "str", "set": "str", "rule": "str" });
    let made = service
        .post("/models", &json!({ "name": "Note", "fields": fields }))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        create(&service, json!({ "text": CANARY, "set": "x" }))
            .await
            .status,
        201
    );
    // Rules that the model does not know, so that only the database can refuse.
    let mut direct = sql(&postgres).await;
    for rule in [
        "ALTER TABLE models.notes ADD CONSTRAINT \"ref__of__notes\" FOREIGN KEY (ref) REFERENCES models.notes (id)",
        "ALTER TABLE models.notes ALTER COLUMN short TYPE varchar(5)",
        "ALTER TABLE models.notes ALTER COLUMN \"set\" SET NOT NULL",
        "ALTER TABLE models.notes ADD CONSTRAINT \"rule__of__notes\" CHECK (rule NOT LIKE 'canary%')",
    ] {
        direct.execute(rule).await.unwrap();
    }
    let cases = [
        (
            json!({ "text": CANARY, "set": "x" }),
            (409, "DF-711"),
            json!("text"),
        ),
        (
            json!({ "ref": 987_654_321, "set": "x" }),
            (409, "DF-712"),
            json!("ref"),
        ),
        (
            json!({ "short": CANARY, "set": "x" }),
            (422, "DF-715"),
            Value::Null,
        ),
        (json!({ "rule": CANARY }), (422, "DF-715"), json!("set")),
        (
            json!({ "rule": CANARY, "set": "x" }),
            (422, "DF-715"),
            json!("rule"),
        ),
    ];
    for (row, wanted, field) in cases {
        let one = create(&service, row.clone()).await;
        assert_eq!((refusal(&one), &one.body["field"]), (wanted, &field), "{one:?}");
        assert!(one.body["correlation_id"].is_string());
        let data = json!({ "data": [row], "conflict_resolution": "error" });
        let many = service.post("/data/Note/bulk/create", &data).await;
        assert_eq!(
            (refusal(&many), &many.body["items"][0]["field"]),
            (wanted, &field),
            "{many:?}"
        );
        for answer in [one, many] {
            let text = answer.body.to_string();
            assert!(!text.contains(CANARY) && !text.contains("987654321"), "{text}");
        }
    }
    let referred = json!({ "ref": 1, "set": "x" });
    assert_eq!(create(&service, referred).await.status, 201);
    let kept = service.request("DELETE", "/data/Note/1").send().await.unwrap();
    assert_eq!(kept.status(), 409, "a row that is referred to");

    collides(&service, &mut direct).await;

    let metrics = service.metrics().await;
    for name in [
        "dataflow_node_calls_total",
        "dataflow_slow_calls_total",
        "dataflow_retries_total",
        "dataflow_pool_wait_duration_seconds",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    assert_eq!(service.end().await, Some(0));
    let said = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(log).unwrap();
    assert!(said.contains("slow query"), "{said}");
    assert!(!said.contains(CANARY) && !said.contains("987654321") && !metrics.contains(CANARY));
}

/// Serialisation failures and deadlocks are tried three times more, not for ever.
async fn collides(service: &Service, direct: &mut PgConnection) {
    let fail_until = |last: i64, state: &str| {
        format!(
            "CREATE SEQUENCE IF NOT EXISTS public.collisions; SELECT setval('public.collisions', 1, false);
             GRANT USAGE ON SEQUENCE public.collisions TO PUBLIC;
             CREATE OR REPLACE FUNCTION public.collide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF nextval('public.collisions') <= {last} THEN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END IF;
                 RETURN NEW; END $$;
             CREATE OR REPLACE TRIGGER collide BEFORE INSERT ON models.notes FOR EACH ROW EXECUTE FUNCTION public.collide()"
        )
    };
    for state in ["40001", "40P01"] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(fail_until(3, state)))
            .execute(&mut *direct)
            .await
            .expect("the database is asked directly");
        assert_eq!(
            create(service, json!({ "set": "x" })).await.status,
            201,
            "{state}"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(fail_until(3, state)))
            .execute(&mut *direct)
            .await
            .expect("the database is asked directly");
        let data = json!({ "data": [{ "set": "x" }] });
        assert_eq!(
            service.post("/data/Note/bulk/create", &data).await.body["inserted"],
            1,
            "{state}"
        );
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(fail_until(99, "40001")))
        .execute(&mut *direct)
        .await
        .expect("the database is asked directly");
    assert_eq!(
        refusal(&create(service, json!({ "set": "x" })).await),
        (503, "DF-503")
    );
    direct
        .execute("DROP TRIGGER collide ON models.notes")
        .await
        .expect("the database is asked directly");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_slow_or_busy_is_told_in_time() {
    let postgres = Postgres::start().await;
    let service = binary()
        .set("DATABASE_URL", postgres.url())
        .set("DB_POOL_SIZE", "1")
        .set("DB_ACQUIRE_TIMEOUT", "1")
        .set("STATEMENT_TIMEOUT", "15")
        .start()
        .await;
    service.ready().await;
    let made = service
        .post("/models", &json!({ "name": "Note", "fields": { "text": "str" } }))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    // To connect may itself take a second of a busy machine.
    service.status("/data/Note", 200).await;
    let mut direct = sql(&postgres).await;
    let mut lock = direct.begin().await.unwrap();
    lock.execute("LOCK TABLE models.notes").await.unwrap();
    let row = json!({ "text": "x" });
    let blocked = service.post("/data/Note", &row);
    let crowded = async {
        at_least(&postgres, 1, WAITING).await;
        service
            .request("POST", "/data/Note")
            .json(&row)
            .send()
            .await
            .unwrap()
    };
    let (blocked, crowded) = tokio::join!(blocked, crowded);
    assert_eq!(refusal(&blocked), (503, "DF-501"));
    assert_eq!(
        (crowded.status().as_u16(), &crowded.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    assert_eq!(crowded.json::<Value>().await.unwrap()["code"], "DF-203");
    lock.rollback().await.unwrap();
    assert_eq!(service.post("/data/Note", &row).await.status, 201);
}
