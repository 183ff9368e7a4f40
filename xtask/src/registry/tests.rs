//! The client against the registry in memory: what goes well, in the end. `refused.rs` is about the rest.

mod refused;

use serde_json::json;
use tempfile::TempDir;

use super::manifests::referrers_tag;
use super::stub::{Fault, Login, Look, Right, Stub, Then, User, When};
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
        Here::reading(stub, password, Action::Pull)
    }

    /// With a client that asks for this where it reads.
    fn reading(stub: &Stub, password: Option<&str>, reads: Action) -> Self {
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
        let client = Client::within(&context, &stub.host(), surroundings, reads).unwrap();
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

/// A right to one of the two repositories alone, a registry that lends nothing in one of many ways: it is uploaded.
#[tokio::test]
async fn where_a_loan_is_refused_it_is_uploaded() {
    for (status, code) in [
        (401, "UNAUTHORIZED"),
        (403, "DENIED"),
        (405, "UNSUPPORTED"),
        (404, "BLOB_UNKNOWN"),
        (400, "UNKNOWN"),
    ] {
        let stub = Stub::start();
        let here = Here::new(&stub, None);
        here.push("o/a", b"layer", &[]).await.unwrap();
        stub.fault_from("POST", "mount=", 1, Fault::Refuse(status, code));
        let pushed = here.push("o/b", b"layer", &["o/a"]).await;
        assert_eq!(pushed.unwrap(), Pushed::Uploaded, "{status} {code}");
    }
}

/// Docker Hub: who may push is told that there is no such repository, who may only pull is told nothing.
#[tokio::test]
async fn who_is_going_to_push_sees_that_a_repository_does_not_exist_yet() {
    let stub = Stub::with(Look {
        hides_unknown: true,
        ..tokens(Right::Push)
    });
    let reader = Here::new(&stub, Some(PASSWORD));
    let (exit, text) = refused(reader.client.repository("o/new").tags().await);
    assert_eq!(exit, Exit::Usage, "{text}");

    let here = Here::reading(&stub, Some(PASSWORD), Action::Push);
    let image = here.client.repository("o/new");
    image.may_push().await.unwrap();
    let (_, digest) = here.blob(b"layer");
    assert_eq!(image.tags().await.unwrap(), Vec::<String>::new());
    assert_eq!(image.resolve("1.0").await.unwrap(), None);
    assert_eq!(image.manifest("1.0").await.unwrap(), None);
    assert_eq!(image.referrers(&digest).await.unwrap(), []);
    assert!(!image.has_blob(&digest).await.unwrap());
    assert_eq!(
        here.push("o/new", b"layer", &["o/none"]).await.unwrap(),
        Pushed::Uploaded
    );
}

#[tokio::test]
async fn a_blob_of_unsaid_length_is_there_all_the_same() {
    let stub = Stub::start();
    let here = Here::new(&stub, None);
    here.push("o/a", b"layer", &[]).await.unwrap();
    stub.fault_from("HEAD", "/blobs/", 1, Fault::Unmeasured);
    let (_, digest) = here.blob(b"layer");
    let image = here.client.repository("o/a");
    assert!(image.has_blob(&digest).await.unwrap());
    assert_eq!(here.push("o/a", b"layer", &[]).await.unwrap(), Pushed::There);
    let (exit, text) = refused(image.blob_size(&digest).await);
    assert_eq!(
        (exit, text.contains("without its length")),
        (Exit::Undecided, true),
        "{text}"
    );
}

/// An empty list would be no list of what is released: `latest` could move backwards.
#[tokio::test]
async fn tags_that_are_not_told_are_no_empty_list() {
    let stub = Stub::start();
    let here = Here::new(&stub, None);
    stub.content().put_manifest("o/a", "2.0.0", MANIFEST, b"{}");
    let image = here.client.repository("o/a");
    stub.fault_from(
        "GET",
        "/tags/list?n=",
        1,
        Fault::Refuse(400, "PAGINATION_NUMBER_INVALID"),
    );
    assert_eq!(image.tags().await.unwrap(), ["2.0.0"]);
    for status in [400, 405] {
        stub.behave();
        stub.fault_from("GET", "/tags/list", 1, Fault::Refuse(status, "UNSUPPORTED"));
        assert_eq!(refused(image.tags().await).0, Exit::Undecided, "{status}");
    }
}

#[tokio::test]
async fn what_a_registry_says_of_a_deleted_tag_is_looked_up() {
    let deletes = |look: Look| {
        let stub = Stub::with(Look {
            deletes_tags: true,
            ..look
        });
        let tags = ["1.0", "claim-1.0"];
        let digest = tags.map(|tag| stub.content().put_manifest("o/a", tag, MANIFEST, b"{}"));
        (stub, digest[0].clone())
    };
    // Both say that the tag is not there, or gone, and keep it.
    for fault in [Fault::Refuse(404, "MANIFEST_UNKNOWN"), Fault::Lost] {
        let (stub, _) = deletes(Look::default());
        let here = Here::new(&stub, None);
        stub.fault_from("DELETE", "/manifests/", 1, fault.clone());
        let became = here.client.repository("o/a").delete_tag("1.0").await;
        assert_eq!(became.unwrap(), Deleted::Unsupported, "{fault:?}");
    }
    let (stub, digest) = deletes(Look {
        deletes_manifests: true,
        ..Look::default()
    });
    let here = Here::new(&stub, None);
    let image = here.client.repository("o/a");
    assert_eq!(image.delete_tag("1.0").await.unwrap(), Deleted::Gone);
    assert_eq!(image.resolve("1.0").await.unwrap(), None);
    assert!(
        image.resolve(&digest).await.unwrap().is_some(),
        "the image is there"
    );
}

#[tokio::test]
async fn a_tag_that_this_login_may_not_delete_stays() {
    for fault in [Fault::Refuse(403, "DENIED"), Fault::Refuse(401, "UNAUTHORIZED")] {
        let stub = Stub::with(tokens(Right::Push));
        stub.content().put_manifest("o/a", "1.0", MANIFEST, b"{}");
        let here = Here::new(&stub, Some(PASSWORD));
        stub.fault_from("DELETE", "/manifests/", 1, fault);
        let image = here.client.repository("o/a");
        assert_eq!(image.delete_tag("1.0").await.unwrap(), Deleted::Unsupported);
    }
    // A token server that gives none with that right.
    let stub = Stub::with(tokens(Right::Push));
    stub.content().put_manifest("o/a", "1.0", MANIFEST, b"{}");
    let here = Here::new(&stub, Some(PASSWORD));
    stub.fault_from("GET", "/token*delete", 1, Fault::Refuse(403, "DENIED"));
    let image = here.client.repository("o/a");
    assert_eq!(image.delete_tag("1.0").await.unwrap(), Deleted::Unsupported);
    // Who is not logged in could be.
    let open = Stub::with(Look {
        deletes_tags: true,
        ..Look::default()
    });
    open.content().put_manifest("o/a", "1.0", MANIFEST, b"{}");
    open.fault_from("DELETE", "/manifests/", 1, Fault::Refuse(401, "UNAUTHORIZED"));
    let nobody = Here::new(&open, None);
    assert_eq!(
        refused(nobody.client.repository("o/a").delete_tag("1.0").await).0,
        Exit::Usage
    );
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

/// The registry in memory itself: what a test does at a request happens then, and what is cut is not answered.
#[tokio::test]
async fn a_test_acts_at_a_request_before_or_after_it_is_carried_out() {
    for (when, kept) in [(When::Before, 0), (When::After, 1)] {
        let stub = Stub::start();
        let here = Here::new(&stub, None);
        let content = stub.content();
        let seen = Arc::new(std::sync::Mutex::new(None));
        let (inside, put) = (content.clone(), seen.clone());
        stub.on("PUT", "/manifests/", 1, when, move || {
            *put.lock().unwrap() = Some(inside.tags().len());
            inside.put_manifest("o/other", "1", MANIFEST, b"{}");
            Then::Cut
        });
        stub.at(2, When::Before, || Then::GoOn);
        here.push("o/a", b"{}", &[]).await.unwrap();
        here.push("o/a", b"layer", &[]).await.unwrap();
        let image = here.client.repository("o/a");
        let bytes = manifest(b"{}", b"layer");
        image.put_manifest("1", MANIFEST, &bytes).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), Some(kept), "{when:?}");
        assert_eq!(content.tags().len(), 2);
        let puts = stub.seen_of("PUT", "/manifests/");
        let answers: Vec<Option<u16>> = puts.iter().map(|seen| seen.status).collect();
        assert_eq!(answers, [None, Some(201)]);
        assert_eq!(stub.writes().len(), 6, "{:?}", stub.writes());
    }
    let stub = Stub::start();
    stub.fault("PUT", "/manifests/", 1, Fault::Lost);
    let here = Here::new(&stub, None);
    let image = here.client.repository("o/a");
    image.put_manifest("1", MANIFEST, b"{}").await.unwrap();
    assert_eq!(image.resolve("1").await.unwrap(), None, "said that it was done");
}
