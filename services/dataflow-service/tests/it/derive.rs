//! A model that is part of a program: derived, registered at start, and the same as its JSON.

use contract::dataflow::Model as _;
use dataflow_macros::Model;
use dataflow_service::Config;
use kit::{Health, Settings};
use serde_json::{Value, json};
use testkit::{Postgres, wait_for};

use crate::ready;

#[derive(Model)]
#[model(soft_delete, table = "parts")]
#[expect(dead_code, reason = "only its definition is read")]
struct Part {
    #[model(unique, pattern = "^[A-Z]{2}-[0-9]+$")]
    sku: String,
    #[model(default = 0, min = 0)]
    stock: i32,
    #[model(decimal)]
    price: Option<String>,
    #[model(vector = 3)]
    near: Option<Vec<f32>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_brings_its_models() {
    let postgres = Postgres::start().await;
    let url = postgres.url();
    let mut settings = Settings::from_lookup(move |name| (name == "DATABASE_URL").then(|| url.clone()));
    let config = Config::read(&mut settings);
    let health = Health::new(kit::service_info!(8001), Vec::new());
    let router = dataflow_service::assemble_with(vec![Part::definition()], config, health).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    wait_for("the model to be registered", testkit::PATIENCE, async || {
        let answer = client
            .get(format!("http://{address}/models/Part"))
            .send()
            .await
            .ok()?;
        answer.status().is_success().then_some(())
    })
    .await;

    let service = ready(&postgres).await;
    let same = json!({
        "name": "Part",
        "fields": {
            "sku": { "type": "str", "required": true, "unique": true, "pattern": "^[A-Z]{2}-[0-9]+$" },
            "stock": { "type": "int", "required": true, "default": 0, "min": 0 },
            "price": "decimal",
            "near": "vector(3)",
        },
        "config": { "soft_delete": true, "table_name": "parts" },
    });
    let known = service.post("/models", &same).await;
    assert_eq!(
        (known.status, &known.body["migration"]),
        (200, &Value::Null),
        "{known:?}"
    );
    assert_eq!(known.body["table"], "parts");
    let made = service
        .post("/data/Part", &json!({ "sku": "AB-1", "price": "1.10" }))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
}
