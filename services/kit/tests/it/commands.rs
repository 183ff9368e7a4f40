//! The subcommands that every binary has.

use crate::tiny;

#[tokio::test]
async fn help_and_version_succeed_and_wrong_usage_is_2() {
    let help = tiny().run(&["--help"]).await;
    assert_eq!(help.code, Some(0));
    assert!(
        help.stdout.contains("healthcheck") && help.stdout.contains("probe"),
        "{}",
        help.stdout
    );
    let version = tiny().run(&["--version"]).await;
    assert_eq!(
        (version.code, version.stdout.as_str()),
        (
            Some(0),
            concat!("kit ", env!("CARGO_PKG_VERSION"), " (unknown)\n")
        )
    );
    for wrong in [
        &["sevre"][..],
        &["probe"],
        &["probe", "data:80"],
        &["probe", "--timeout-ms", "x", "tcp://a:1"],
    ] {
        let exit = tiny().run(wrong).await;
        assert_eq!(exit.code, Some(2), "{wrong:?}: {exit:?}");
        assert!(!exit.stderr.is_empty());
    }
}

#[tokio::test]
async fn the_healthcheck_asks_the_service_as_it_is_set() {
    let nobody = tiny().run(&["healthcheck"]).await;
    assert_eq!(nobody.code, Some(1));
    let service = tiny().start().await;
    let port = service.url().rsplit(':').next().unwrap().to_owned();
    let alive = tiny()
        .set("HOST", "0.0.0.0")
        .set("PORT", port)
        .run(&["healthcheck"])
        .await;
    assert_eq!(alive.code, Some(0), "{alive:?}");
}

#[tokio::test]
async fn a_probe_prints_a_line_for_each_target_in_order() {
    let service = tiny().start().await;
    let host = service.url().trim_start_matches("http://").to_owned();
    let closed = testkit::free_port();
    let targets = [
        format!("tcp://{host}"),
        format!("http://{host}/live"),
        format!("http://{host}/ready"),
        format!("tcp://127.0.0.1:{closed}"),
        "tcp://no-such-name.invalid:80".to_owned(),
    ];
    let mut arguments = vec!["probe", "--timeout-ms", "2000"];
    arguments.extend(targets.iter().map(String::as_str));
    let exit = tiny().run(&arguments).await;
    assert_eq!(exit.code, Some(1), "not all are open");
    let lines: Vec<&str> = exit.stdout.lines().collect();
    assert!(
        lines[0].starts_with(&format!("open {} ", targets[0])) && lines[0].ends_with("ms"),
        "{lines:#?}"
    );
    assert!(
        lines[1].starts_with("open ") && lines[1].ends_with("ms healthy"),
        "{lines:#?}"
    );
    let rest = [
        format!("closed {} status 503", targets[2]),
        format!("refused {}", targets[3]),
        format!("unresolved {}", targets[4]),
    ];
    assert_eq!(lines[2..], rest);
    let open = tiny().run(&["probe", &targets[0], &targets[1]]).await;
    assert_eq!(open.code, Some(0), "{open:?}");
}
