//! Settings: malformed ones end the process, absent ones are named by `/ready`.

use serde_json::json;

use crate::tiny;

#[tokio::test]
async fn malformed_settings_are_told_all_at_once() {
    let starting = tiny().set("PORT", "x").set("DRAIN_TIMEOUT", "y");
    let exit = starting
        .set("TINY_URL", "nowhere")
        .set("TINY_COUNT", "300")
        .run(&[])
        .await;
    assert_eq!(exit.code, Some(78), "{exit:?}");
    let lines: Vec<&str> = exit.stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for name in ["PORT", "DRAIN_TIMEOUT", "TINY_URL", "TINY_COUNT"] {
        assert!(
            lines.iter().any(|line| line.contains(&format!(" {name}: "))),
            "{name}: {lines:#?}"
        );
    }
    assert_eq!(exit.stdout, "", "nothing was started");
}

#[tokio::test]
async fn what_is_absent_is_named_and_the_process_lives() {
    let service = tiny().start().await;
    for path in ["/live", "/health", "/healthz", "/startup"] {
        assert_eq!(service.get(path).await.body["status"], "healthy", "{path}");
    }
    for path in ["/ready", "/readyz"] {
        let ready = service.get(path).await;
        assert_eq!((ready.status, &ready.body["status"]), (503, &json!("not-ready")));
        assert_eq!(ready.body["missing"], json!(["TINY_URL"]));
        assert_eq!(
            ready.body["checks"]["store"],
            json!({ "state": "unconfigured", "on_loss": "not-ready" })
        );
    }
}

#[tokio::test]
async fn a_secret_comes_from_a_file() {
    let path = std::env::temp_dir().join(format!("kit-tiny-{}", std::process::id()));
    std::fs::write(&path, "http://127.0.0.1:1\n").unwrap();
    let service = tiny()
        .set("TINY_URL_FILE", path.display().to_string())
        .start()
        .await;
    service.ready().await;
    std::fs::remove_file(path).unwrap();
}
