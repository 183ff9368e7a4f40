//! The client against the registry in memory, which misbehaves on request.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::stub::{Fault, Login, Look, Right, Stub, User};
use super::*;
use crate::cli::RunOptions;
use crate::exit::{Exit, explain};
use crate::layout::Descriptor;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const PASSWORD: &str = "pass-word-of-the-test";

/// A client's surroundings: a login, and a file to push.
struct Here {
    folder: TempDir,
    client: Arc<Client>,
}

impl Here {
    fn new(stub: &Stub, password: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let auths = match password {
            Some(password) => json!({ stub.host(): { "username": "ada", "password": password } }),
            None => json!({}),
        };
        let config = json!({ "auths": auths }).to_string();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let surroundings = Surroundings {
            docker: Some(folder.path().to_owned()),
            certificates: folder.path().join("certs.d"),
        };
        let context = Context::new(folder.path().to_owned(), RunOptions::default());
        let client = Client::within(&context, &stub.host(), surroundings).unwrap();
        Here { folder, client }
    }

    /// A blob in a file, and its digest.
    fn blob(&self, bytes: &[u8]) -> (PathBuf, String) {
        let digest = format!("sha256:{}", crate::hash::of(bytes));
        let file = self.folder.path().join(&digest);
        std::fs::write(&file, bytes).unwrap();
        (file, digest)
    }

    async fn push(&self, repository: &str, bytes: &[u8], lenders: &[&str]) -> Result<Pushed> {
        let (file, digest) = self.blob(bytes);
        let lenders: Vec<String> = lenders.iter().map(|lender| (*lender).to_owned()).collect();
        let repository = self.client.repository(repository);
        repository.push_blob(&digest, &file, &lenders).await
    }
}

fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let part = |bytes: &[u8]| {
        json!({
            "mediaType": "application/octet-stream", "size": bytes.len(),
            "digest": format!("sha256:{}", crate::hash::of(bytes)),
        })
    };
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": part(config), "layers": [part(layer)] });
    manifest.to_string().into_bytes()
}

fn refused<T: std::fmt::Debug>(outcome: Result<T>) -> (Exit, String) {
    explain(&outcome.unwrap_err())
}

fn tokens(right: Right) -> Look {
    let users = vec![User::new("ada", PASSWORD, right)];
    Look {
        login: Login::Token {
            users,
            anonymous: false,
        },
        ..Look::default()
    }
}

#[tokio::test]
async fn an_image_is_pushed_once_and_reads_back() {
    let stub = Stub::start();
    let here = Here::new(&stub, None);
    let image = here.client.repository("o/a");
    assert_eq!(here.push("o/a", b"{}", &[]).await.unwrap(), Pushed::Uploaded);
    assert_eq!(here.push("o/a", b"layer", &[]).await.unwrap(), Pushed::Uploaded);
    let bytes = manifest(b"{}", b"layer");
    assert!(!image.put_manifest("1.0", MANIFEST, &bytes).await.unwrap());

    let found = image.resolve("1.0").await.unwrap().unwrap();
    let raw = image.manifest(&found.digest).await.unwrap().unwrap();
    assert_eq!(
        (raw.bytes.as_slice(), raw.media_type.as_str()),
        (bytes.as_slice(), MANIFEST)
    );
    assert_eq!(raw.descriptor(), found);
    assert_eq!(image.resolve("2.0").await.unwrap(), None);
    assert_eq!(
        here.client.repository("o/none").manifest("1").await.unwrap(),
        None
    );

    stub.forget();
    assert_eq!(here.push("o/a", b"layer", &[]).await.unwrap(), Pushed::There);
    let lent = here.push("o/b", b"layer", &["o/b", "o/none", "o/a"]).await;
    assert_eq!(lent.unwrap(), Pushed::Mounted);
    assert_eq!(stub.received(), 0, "{:?}", stub.seen());
    let (_, digest) = here.blob(b"layer");
    assert_eq!(
        here.client.repository("o/b").blob(&digest, 5).await.unwrap(),
        b"layer"
    );
    assert_eq!(image.blob_size(&digest).await.unwrap(), Some(5));
    assert!(!image.has_blob(&digest.replace('a', "b")).await.unwrap());
}

#[tokio::test]
async fn what_is_not_lent_is_uploaded_in_the_session_that_was_given() {
    let stub = Stub::with(Look {
        lends_nothing: true,
        ..Look::default()
    });
    let here = Here::new(&stub, None);
    here.push("o/a", b"layer", &[]).await.unwrap();
    stub.forget();
    assert_eq!(
        here.push("o/b", b"layer", &["o/a"]).await.unwrap(),
        Pushed::Uploaded
    );
    assert_eq!(stub.seen_of("POST", "").len(), 1);
    assert_eq!(stub.received(), 5);
}

/// Each misbehaves once; each push is the same in the end.
#[tokio::test]
async fn what_passes_on_its_own_is_tried_again() {
    let large = vec![7; 300_000];
    for (method, pattern, fault) in [
        ("HEAD", "/blobs/", Fault::Refuse(500, "UNKNOWN")),
        ("POST", "/uploads/", Fault::Busy(None)),
        ("POST", "/uploads/", Fault::Busy(Some("1".into()))),
        ("PUT", "/uploads/", Fault::Refuse(503, "UNAVAILABLE")),
        ("PUT", "/uploads/", Fault::Refuse(404, "BLOB_UPLOAD_UNKNOWN")),
        ("PUT", "/uploads/", Fault::Reset(100_000)),
        ("PUT", "/uploads/", Fault::Unanswered),
        ("PUT", "/manifests/", Fault::Refuse(400, "MANIFEST_BLOB_UNKNOWN")),
        ("PUT", "/manifests/", Fault::Reset(10)),
        ("PUT", "/manifests/", Fault::Unanswered),
        ("PUT", "/manifests/", Fault::Busy(None)),
    ] {
        let stub = Stub::start();
        let here = Here::new(&stub, None);
        stub.fault(method, pattern, 1, fault.clone());
        for bytes in [b"{}".as_slice(), &large] {
            here.push("o/a", bytes, &[]).await.unwrap();
        }
        let bytes = manifest(b"{}", &large);
        let image = here.client.repository("o/a");
        image.put_manifest("1.0", MANIFEST, &bytes).await.unwrap();
        assert_eq!(
            stub.content().manifest("o/a", "1.0"),
            Some(bytes),
            "{method} {fault:?}"
        );
        let (_, digest) = here.blob(&large);
        assert_eq!(
            stub.content().blob("o/a", &digest).as_ref(),
            Some(&large),
            "{fault:?}"
        );
    }
}

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
async fn tokens_are_asked_for_once_and_anew_when_they_end() {
    let stub = Stub::with(tokens(Right::Push));
    let here = Here::new(&stub, Some(PASSWORD));
    here.push("o/a", b"{}", &[]).await.unwrap();
    here.push("o/a", b"layer", &[]).await.unwrap();
    assert_eq!(stub.seen_of("GET", "/token").len(), 1, "{:?}", stub.seen());
    assert_eq!(
        here.push("o/b", b"layer", &["o/a"]).await.unwrap(),
        Pushed::Mounted
    );

    stub.fault("PUT", "/uploads/", 1, Fault::Expired);
    assert_eq!(here.push("o/a", b"late", &[]).await.unwrap(), Pushed::Uploaded);
    stub.expire_tokens();
    assert_eq!(here.push("o/a", b"late", &[]).await.unwrap(), Pushed::There);
    here.client.repository("o/a").may_push().await.unwrap();

    let witness = &here.client.context.witness;
    let masked = witness.masked(&format!("x {PASSWORD} y token-of-the-stub-1 z"));
    assert_eq!(masked, "x *** y *** z");
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

#[tokio::test]
async fn tags_come_by_page_and_go_where_the_registry_lets_them() {
    for deletes_tags in [false, true] {
        let stub = Stub::with(Look {
            deletes_tags,
            ..Look::default()
        });
        let here = Here::new(&stub, None);
        let image = here.client.repository("o/a");
        assert_eq!(image.tags().await.unwrap(), Vec::<String>::new());
        let wanted: Vec<String> = (1..=7).map(|number| format!("1.{number}")).collect();
        for tag in &wanted {
            stub.content().put_manifest("o/a", tag, MANIFEST, b"{}");
        }
        assert_eq!(image.tags().await.unwrap(), wanted);

        assert_eq!(image.delete_tag("none").await.unwrap(), Deleted::Absent);
        let digest = stub.content().tag("o/a", "1.1").unwrap();
        refused(image.delete_tag(&digest).await);
        let gone = image.delete_tag("1.1").await.unwrap();
        let left = stub.content().tag("o/a", "1.1").is_some();
        match deletes_tags {
            true => assert_eq!((gone, left), (Deleted::Gone, false)),
            false => assert_eq!((gone, left), (Deleted::Unsupported, true)),
        }
        assert!(stub.content().manifest("o/a", &digest).is_some());
    }
}

#[tokio::test]
async fn what_is_attached_is_found_with_the_referrers_api_and_without() {
    for referrers in [true, false] {
        let stub = Stub::with(Look {
            referrers,
            ..Look::default()
        });
        let here = Here::new(&stub, None);
        let image = here.client.repository("o/a");
        for bytes in [b"{}".as_slice(), b"layer"] {
            here.push("o/a", bytes, &[]).await.unwrap();
        }
        let subject = manifest(b"{}", b"layer");
        image.put_manifest("1", MANIFEST, &subject).await.unwrap();
        let subject = image.resolve("1").await.unwrap().unwrap();
        assert_eq!(image.referrers(&subject.digest).await.unwrap(), []);

        let artifact = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "text/x", "subject": subject,
            "config": { "mediaType": "text/y", "digest": here.blob(b"{}").1, "size": 2 }, "layers": [],
        });
        let artifact = artifact.to_string().into_bytes();
        let digest = format!("sha256:{}", crate::hash::of(&artifact));
        let keeps = image.put_manifest(&digest, MANIFEST, &artifact).await.unwrap();
        assert_eq!(keeps, referrers);
        let mut entry = image.resolve(&digest).await.unwrap().unwrap();
        entry.artifact_type = Some("text/x".to_owned());
        let tag = referrers_tag(&subject.digest);
        if !keeps {
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
            let index = index.to_string();
            image.put_manifest(&tag, INDEX, index.as_bytes()).await.unwrap();
        }
        assert_eq!(image.referrers(&subject.digest).await.unwrap(), [entry]);
        if !keeps {
            image.put_manifest(&tag, MANIFEST, &artifact).await.unwrap();
            let (exit, text) = refused(image.referrers(&subject.digest).await);
            assert!(
                exit == Exit::Undecided && text.contains("is no index"),
                "not empty: {text}"
            );
        }
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named_and_given_up() {
    let here = {
        let stub = Stub::start();
        Here::new(&stub, None)
    };
    here.client.context.cancel.cancel();
    let (exit, text) = refused(here.client.repository("o/a").resolve("1").await);
    assert_eq!(exit, Exit::Undecided);
    assert!(text.contains("o/a:1: interrupted"), "{text}");
}

/// Who spawns tasks needs them to be sent from thread to thread.
#[test]
fn pushing_may_be_spawned() {
    fn is_send<T: Send>(_: &T) {}
    let stub = Stub::start();
    let here = Here::new(&stub, None);
    let image = here.client.repository("o/a");
    let file = PathBuf::from("/no/such/file");
    is_send(&image.push_blob("sha256:0", &file, &[]));
    is_send(&image.put_manifest("1", MANIFEST, b"{}"));
    is_send(&image.manifest("1"));
    is_send(&image.referrers("sha256:0"));
    is_send(&image.may_push());
    is_send(&image.blob("sha256:0", 1));
    is_send(&image.delete_tag("1"));
}
