//! Tenants, kept apart by PostgreSQL itself: here every predicate is left out.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row};
use testkit::{Postgres, Service};

use crate::binary;

async fn run(connection: &mut PgConnection, sql: &'static str) -> Result<u64, String> {
    let done = sqlx::raw_sql(sql).execute(connection).await;
    done.map(|done| done.rows_affected()).map_err(|error| {
        error
            .as_database_error()
            .and_then(|told| told.code())
            .unwrap_or_default()
            .into_owned()
    })
}

async fn texts(connection: &mut PgConnection) -> Vec<String> {
    let rows = sqlx::query("SELECT text FROM models.papers ORDER BY text")
        .fetch_all(connection)
        .await
        .expect("rows");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_predicate_no_row_of_another_is_read_written_or_moved() {
    let postgres = Postgres::start().await;
    // More callers than connections, on a machine that may be busy: they wait for their turn.
    let service = binary()
        .set("DATABASE_URL", postgres.url())
        .set("DB_ACQUIRE_TIMEOUT", "20")
        .start()
        .await;
    service.ready().await;
    let fields = json!({ "text": { "type": "str", "unique": true } });
    let paper = json!({ "name": "Paper", "fields": fields, "config": { "multi_tenant": true } });
    let made = service.post("/models", &paper).await;
    assert_eq!(made.status, 201, "{made:?}");

    let mut owner = PgConnection::connect(&postgres.url()).await.unwrap();
    let rows =
        "INSERT INTO models.papers (tenant_id, text) VALUES ('a', 'same'), ('b', 'same'), ('b', 'theirs')";
    assert_eq!(
        run(&mut owner, rows).await,
        Ok(3),
        "uniqueness holds within a tenant"
    );

    // A connection as the service's row connections are: the role is its start-up setting.
    let options: sqlx::postgres::PgConnectOptions = postgres.url().parse().unwrap();
    let mut rows = PgConnection::connect_with(&options.options([("role", "dataflow_rows")]))
        .await
        .unwrap();
    assert_eq!(texts(&mut rows).await, [""; 0], "no tenant, no rows");
    run(&mut rows, "SET dataflow.tenant = 'a'").await.unwrap();
    assert_eq!(texts(&mut rows).await, ["same"]);
    run(&mut rows, "RESET ROLE").await.unwrap();
    assert_eq!(texts(&mut rows).await, ["same"], "a reset falls back to the role");

    let policy = Err("42501".to_owned());
    assert_eq!(
        run(&mut rows, "UPDATE models.papers SET text = 'mine'").await,
        Ok(1)
    );
    assert_eq!(
        run(&mut rows, "UPDATE models.papers SET tenant_id = 'b'").await,
        policy,
        "none is given away"
    );
    assert_eq!(
        run(
            &mut rows,
            "INSERT INTO models.papers (tenant_id, text) VALUES ('b', 'x')"
        )
        .await,
        policy
    );
    assert_eq!(run(&mut rows, "DELETE FROM models.papers").await, Ok(1));
    run(&mut rows, "SET dataflow.maintenance = 'on'").await.unwrap();
    assert_eq!(texts(&mut rows).await, [""; 0], "maintenance is the owner's");
    assert_eq!(
        texts(&mut owner).await,
        ["same", "theirs"],
        "the rows of b are all there"
    );
    for closed in [
        "ALTER TABLE models.papers DISABLE ROW LEVEL SECURITY",
        "TRUNCATE models.papers",
        "SELECT 1 FROM dataflow.model_registry",
        "CREATE TABLE models.more (a int)",
    ] {
        assert_eq!(run(&mut rows, closed).await, policy, "{closed}");
    }

    // Nor is another's row referred to, whether by accident or to learn that it is there.
    let fields = json!({ "paper": { "type": "int", "references": "Paper", "on_delete": "cascade" }, "near": { "type": "vector(3)", "index": true } });
    let remark = json!({ "name": "Remark", "fields": fields, "config": { "multi_tenant": true } });
    let made = service.post("/models", &remark).await;
    assert_eq!(made.status, 201, "{made:?}");
    let stolen = "SET dataflow.tenant = 'a'; INSERT INTO models.remarks (tenant_id, paper) VALUES ('a', 2)";
    assert_eq!(run(&mut rows, stolen).await, Err("23503".to_owned()));
    let own = "SET dataflow.tenant = 'b'; INSERT INTO models.remarks (tenant_id, paper) VALUES ('b', 2)";
    assert_eq!(run(&mut rows, own).await, Ok(1));

    over_http(&service).await;
    without_the_role(&postgres, &mut owner).await;
}

async fn papers(service: &Service, tenant: Option<&str>, text: Option<&str>) -> (u16, Value) {
    let mut request = match text {
        Some(text) => service
            .request("POST", "/data/Paper")
            .json(&json!({ "text": text })),
        None => service.request("GET", "/data/Paper"),
    };
    if let Some(tenant) = tenant {
        request = request.header("x-tenant-id", tenant);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

async fn over_http(service: &Service) {
    for text in [None, Some("x")] {
        let (status, body) = papers(service, None, text).await;
        assert_eq!((status, &body["code"]), (403, &json!("TENANT_REQUIRED")));
    }
    // Many at once over the same few connections: nobody inherits a tenant.
    let tenants = [
        "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11",
    ];
    let calls = tenants.map(|tenant| async move {
        for _ in 0..5 {
            let (status, made) = papers(service, Some(tenant), Some(&uuid::Uuid::new_v4().to_string())).await;
            assert_eq!((status, made.get("tenant_id")), (201, None), "{made}");
        }
        let (_, listed) = papers(service, Some(tenant), None).await;
        assert_eq!(listed["count"], 5, "{tenant}: {listed}");
    });
    futures_util::future::join_all(calls).await;
}

/// A user who may not make the role: the policies bind it, too, or tenants are not served.
async fn without_the_role(postgres: &Postgres, owner: &mut PgConnection) {
    run(owner, "CREATE ROLE plain LOGIN PASSWORD 'for-tests-only'")
        .await
        .expect("the database does it");
    run(owner, "CREATE DATABASE plain OWNER plain")
        .await
        .expect("the database does it");
    let url = postgres
        .url()
        .replace("horme:horme@", "plain:for-tests-only@")
        .replace("/horme", "/plain");
    let service = binary().set("DATABASE_URL", url.clone()).start().await;
    service.ready().await;
    let fields = json!({ "text": "str" });
    let paper = json!({ "name": "Paper", "fields": fields, "config": { "multi_tenant": true } });
    assert_eq!(service.post("/models", &paper).await.status, 201);
    assert_eq!(papers(&service, Some("a"), Some("x")).await.0, 201);
    assert_eq!(papers(&service, Some("b"), None).await.1["count"], 0);
    let mut plain = PgConnection::connect(&url).await.expect("the database does it");
    assert_eq!(texts(&mut plain).await, [""; 0], "the owner is bound, too");
    service.kill().await;

    // The role is given later: what was made before it has its rights, too.
    run(owner, "GRANT dataflow_rows TO plain")
        .await
        .expect("the database does it");
    let service = binary().set("DATABASE_URL", url.clone()).start().await;
    service.ready().await;
    assert_eq!(papers(&service, Some("a"), Some("y")).await.0, 201);
    service.kill().await;
    run(owner, "REVOKE dataflow_rows FROM plain")
        .await
        .expect("the database does it");

    run(owner, "ALTER ROLE plain BYPASSRLS")
        .await
        .expect("the database does it");
    let service = binary().set("DATABASE_URL", url).start().await;
    service.ready().await;
    let (status, body) = papers(&service, Some("a"), None).await;
    assert_eq!((status, &body["code"]), (503, &json!("DF-202")), "{body}");
}
