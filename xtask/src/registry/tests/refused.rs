//! What the client refuses, gives up or calls a violation, in which words, and with nothing pushed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

#[tokio::test]
async fn a_registry_that_wants_to_be_left_alone_for_long_is() {
    let stub = Stub::start();
    stub.fault_from("HEAD", "", 1, Fault::Busy(Some("3600".into())));
    let here = Here::new(&stub, None);
    let begun = Instant::now();
    let (exit, text) = refused(here.client.repository("o/a").resolve("1").await);
    assert_eq!(exit, Exit::Undecided);
    assert!(
        text.contains("429") && text.contains("asks to wait 3600 s"),
        "{text}"
    );
    assert_eq!(stub.seen().len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn who_may_not_is_told_what_is_missing_and_no_secret() {
    for (right, password, says, hint) in [
        (Right::Push, None, "not logged in", "docker login"),
        (
            Right::Push,
            Some("wrong-word-of-ada"),
            "the login is refused",
            "docker login",
        ),
        (
            Right::Pull,
            Some(PASSWORD),
            "may not be written to with this login",
            "write:packages",
        ),
    ] {
        let stub = Stub::with(tokens(right));
        let here = Here::new(&stub, password);
        let image = here.client.repository("o/a");
        for outcome in [
            image.may_push().await,
            here.push("o/a", b"x", &[]).await.map(|_| ()),
        ] {
            let (exit, text) = refused(outcome);
            assert_eq!(exit, Exit::Usage, "{text}");
            assert!(
                text.contains(says) && text.contains(hint) && text.contains(&stub.host()),
                "{text}"
            );
            let secrets = ["token-of-the-stub", PASSWORD, "wrong-word"];
            assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
        }
        assert_eq!(stub.content().snapshot().len(), 0, "nothing came");
        let shown = format!("{:?}", here.client);
        assert!(
            !shown.contains(PASSWORD) && !shown.contains("token-of-the-stub"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_password_is_enough_where_no_token_is_asked_for() {
    let stub = Stub::with(Look {
        login: Login::Basic(vec![User::new("ada", PASSWORD, Right::Push)]),
        ..Look::default()
    });
    let here = Here::new(&stub, Some(PASSWORD));
    assert_eq!(here.push("o/a", b"x", &[]).await.unwrap(), Pushed::Uploaded);
    let nobody = Here::new(&stub, None);
    let (exit, text) = refused(nobody.client.repository("o/a").resolve("1").await);
    assert_eq!(exit, Exit::Usage);
    assert!(text.contains("not logged in, and it may not be read"), "{text}");
}

#[tokio::test]
async fn a_registry_that_takes_nothing_is_named() {
    for (fault, says) in [
        (Fault::Refuse(405, "UNSUPPORTED"), "it is read-only (405"),
        (
            Fault::Refuse(403, "DENIED"),
            "may not be written to with this login (403",
        ),
        (
            Fault::Refuse(404, "NAME_UNKNOWN"),
            "there is no such repository (404",
        ),
    ] {
        let stub = Stub::start();
        stub.fault_from("POST", "/uploads/", 1, fault);
        let here = Here::new(&stub, Some(PASSWORD));
        let image = here.client.repository("o/a");
        for outcome in [
            image.may_push().await,
            here.push("o/a", b"x", &[]).await.map(|_| ()),
        ] {
            let (exit, text) = refused(outcome);
            assert_eq!(exit, Exit::Usage, "{text}");
            assert!(
                text.contains(says) && text.contains(&format!("{}/o/a", stub.host())),
                "{text}"
            );
        }
        assert_eq!(stub.received(), 0);
    }
}

#[tokio::test]
async fn other_bytes_than_the_digest_says_are_a_violation() {
    let stub = Stub::start();
    let here = Here::new(&stub, None);
    let content = stub.content();
    let layer = content.put_blob("o/a", b"layer");
    let config = content.put_blob("o/a", b"{}");
    let bytes = manifest(b"{}", b"layer");
    let digest = content.put_manifest("o/a", "1.0", MANIFEST, &bytes);
    stub.fault_from("GET", "", 1, Fault::Other);

    let image = here.client.repository("o/a");
    let file = here.folder.path().join("fetched");
    let descriptor = Descriptor {
        digest: layer.clone(),
        size: 5,
        ..image.resolve("1.0").await.unwrap().unwrap()
    };
    let all = [
        refused(image.manifest(&digest).await),
        refused(image.manifest("1.0").await),
        refused(image.blob(&config, 10).await),
        refused(image.fetch_blob(&descriptor, &file).await),
    ];
    for (exit, text) in all {
        assert_eq!(exit, Exit::Violated, "{text}");
        assert!(text.contains("serves something else"), "{text}");
    }
    assert!(!file.exists());

    stub.behave();
    stub.fault("GET", "/blobs/", 1, Fault::Reset(2));
    image.fetch_blob(&descriptor, &file).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"layer");
    let (_, text) = refused(image.blob(&layer, 4).await);
    assert!(text.contains("larger than 4 bytes"), "{text}");
    let longer = Descriptor {
        size: 6,
        ..descriptor
    };
    let (exit, text) = refused(image.fetch_blob(&longer, &file).await);
    assert!(exit == Exit::Violated && text.contains("5 bytes of 6"), "{text}");
    let left = std::fs::read_dir(here.folder.path()).unwrap().count();
    assert_eq!(left, 2, "the login and the file");
}

#[tokio::test]
async fn a_damaged_file_is_named_and_not_pushed() {
    let stub = Stub::start();
    let here = Here::new(&stub, None);
    let (file, digest) = here.blob(b"layer");
    std::fs::write(&file, b"damaged").unwrap();
    let image = here.client.repository("o/a");
    let (exit, text) = refused(image.push_blob(&digest, &file, &[]).await);
    assert_eq!(exit, Exit::Usage);
    assert!(
        text.contains(&format!("{} is not {digest}", file.display())),
        "{text}"
    );
    let (exit, _) = refused(image.push_blob(&digest, Path::new("/no/such/file"), &[]).await);
    assert_eq!(exit, Exit::Usage);
}

/// Some ten seconds each, side by side.
#[tokio::test]
async fn a_registry_that_stays_away_is_named_and_given_up() {
    let stub = Stub::start();
    stub.fault_from("HEAD", "", 1, Fault::Refuse(503, "UNAVAILABLE"));
    let busy = Here::new(&stub, None);
    let gone = Here::new(&Stub::start(), None);
    let images = [&busy, &gone].map(|here| here.client.repository("o/a"));
    let (busy, gone) = tokio::join!(images[0].resolve("1"), images[1].resolve("1"));
    for (outcome, says) in [
        (busy, "o/a:1: answers 503 Service Unavailable (tried 5 times)"),
        (gone, "o/a:1: nobody answers (tried 5 times)"),
    ] {
        let (exit, text) = refused(outcome);
        assert_eq!(exit, Exit::Undecided, "{text}");
        assert!(text.contains(says) && text.contains("hint: run again"), "{text}");
    }
    assert_eq!(stub.seen().len(), 5);
}

#[tokio::test]
async fn an_interruption_ends_what_is_asked() {
    let stub = Stub::start();
    stub.fault_from("HEAD", "", 1, Fault::Late(Duration::from_secs(60)));
    let here = Here::new(&stub, None);
    let image = here.client.repository("o/a");
    let cancel = here.client.context.cancel.clone();
    stub.on("HEAD", "", 1, When::Before, move || {
        cancel.cancel();
        Then::GoOn
    });
    let begun = Instant::now();
    let (exit, text) = refused(image.resolve("1").await);
    assert_eq!(exit, Exit::Undecided);
    assert!(text.contains("o/a:1: interrupted"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(30));
}
