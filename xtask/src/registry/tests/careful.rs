//! What a registry says, or does not say, is taken for no more than that.

use super::*;

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
