//! The client against a real registry in a container: TLS, tokens of a server of its own, no referrers API.

use serde_json::json;
use tempfile::TempDir;

use super::manifests::referrers_tag;
use super::real_registry::{ADA, Account, BOB, RealRegistry};
use super::*;
use crate::bases;
use crate::cli::{BasesMode, RunOptions};
use crate::exit::{Exit, explain};
use crate::layout::Descriptor;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

async fn start() -> RealRegistry {
    let root = crate::context::find_root().unwrap();
    let context = Context::new(root, RunOptions::default());
    let bases = bases::resolve(&context, BasesMode::Auto).await.unwrap();
    let image = bases.images["registry"].clone();
    let starting = tokio::task::spawn_blocking(move || RealRegistry::start(&image));
    starting.await.unwrap()
}

/// Someone's machine: docker's configuration, its certificates, and a file to push.
struct Someone {
    folder: TempDir,
    client: Arc<Client>,
}

impl Someone {
    fn new(registry: &RealRegistry, who: Option<(&str, &str)>, trusts: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        registry.log_in(folder.path(), who);
        let certificates = folder.path().join("certs.d");
        if trusts {
            let own = certificates.join(registry.host());
            std::fs::create_dir_all(&own).unwrap();
            std::fs::copy(registry.authority(), own.join("ca.crt")).unwrap();
        }
        let surroundings = Surroundings {
            docker: Some(folder.path().to_owned()),
            certificates,
        };
        let context = Context::new(folder.path().to_owned(), RunOptions::default());
        let client = Client::within(&context, registry.host(), surroundings, Action::Pull).unwrap();
        Someone { folder, client }
    }

    fn account(registry: &RealRegistry, account: Account) -> Self {
        Someone::new(registry, Some((account.name, account.password)), true)
    }

    async fn push(&self, repository: &Repository, bytes: &[u8], lenders: &[String]) -> Result<Pushed> {
        let digest = digest(bytes);
        let file = self.folder.path().join(&digest);
        std::fs::write(&file, bytes).unwrap();
        repository.push_blob(&digest, &file, lenders).await
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", crate::hash::of(bytes))
}

fn part(bytes: &[u8]) -> serde_json::Value {
    json!({ "mediaType": "application/octet-stream", "digest": digest(bytes), "size": bytes.len() })
}

async fn releases(registry: &RealRegistry) -> (Descriptor, Vec<u8>) {
    let ada = Someone::account(registry, ADA);
    let image = ada.client.repository("o/a");
    image.may_push().await.unwrap();
    assert_eq!(image.tags().await.unwrap(), Vec::<String>::new());
    let layer: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for bytes in [b"{}".as_slice(), &layer] {
        assert_eq!(ada.push(&image, bytes, &[]).await.unwrap(), Pushed::Uploaded);
        assert_eq!(ada.push(&image, bytes, &[]).await.unwrap(), Pushed::There);
    }
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": part(b"{}"), "layers": [part(&layer)] });
    let manifest = manifest.to_string().into_bytes();
    for tag in ["1.0.0", "latest"] {
        assert!(!image.put_manifest(tag, MANIFEST, &manifest).await.unwrap());
    }
    assert_eq!(image.tags().await.unwrap(), ["1.0.0", "latest"]);
    let lent = ada.client.repository("o/b");
    let lenders = ["o/none".to_owned(), "o/a".to_owned()];
    assert_eq!(ada.push(&lent, &layer, &lenders).await.unwrap(), Pushed::Mounted);
    assert_eq!(
        lent.blob_size(&digest(&layer)).await.unwrap(),
        Some(layer.len() as u64)
    );
    assert_eq!(image.delete_tag("1.0.0").await.unwrap(), Deleted::Unsupported);
    assert_eq!(image.delete_tag("2.0.0").await.unwrap(), Deleted::Absent);
    let found = image.resolve("latest").await.unwrap().unwrap();
    assert_eq!(
        (found.digest.as_str(), found.size),
        (digest(&manifest).as_str(), manifest.len() as u64)
    );
    (found, layer)
}

async fn attaches(registry: &RealRegistry, subject: &Descriptor) {
    let ada = Someone::account(registry, ADA);
    let image = ada.client.repository("o/a");
    assert_eq!(image.referrers(&subject.digest).await.unwrap(), []);
    let artifact = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "text/x", "subject": subject,
        "config": part(b"{}"), "layers": [],
    });
    let artifact = artifact.to_string().into_bytes();
    let own = digest(&artifact);
    assert!(
        !image.put_manifest(&own, MANIFEST, &artifact).await.unwrap(),
        "keeps no referrers"
    );
    let entry = image.resolve(&own).await.unwrap().unwrap();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    let tag = referrers_tag(&subject.digest);
    image.put_manifest(&tag, INDEX, index.as_bytes()).await.unwrap();
    assert_eq!(image.referrers(&subject.digest).await.unwrap(), [entry]);
}

async fn reads_and_may_not_write(registry: &RealRegistry, found: &Descriptor, layer: &[u8]) {
    let bob = Someone::account(registry, BOB);
    let image = bob.client.repository("o/a");
    let raw = image.manifest("1.0.0").await.unwrap().unwrap();
    assert_eq!(&raw.descriptor(), found);
    let file = bob.folder.path().join("layer");
    let whole = Descriptor {
        digest: digest(layer),
        size: layer.len() as u64,
        ..found.clone()
    };
    image.fetch_blob(&whole, &file).await.unwrap();
    assert!(std::fs::read(&file).unwrap() == layer);
    for outcome in [
        image.may_push().await,
        bob.push(&image, b"new", &[]).await.map(|_| ()),
    ] {
        let (exit, text) = explain(&outcome.unwrap_err());
        assert_eq!(exit, Exit::Usage, "{text}");
        assert!(
            text.contains("o/a: may not be written to with this login (401"),
            "{text}"
        );
        assert!(!text.contains(BOB.password), "{text}");
    }
}

async fn is_told(registry: &RealRegistry, who: Option<(&str, &str)>, trusts: bool, says: [&str; 2]) {
    let someone = Someone::new(registry, who, trusts);
    let image = someone.client.repository("o/a");
    for outcome in [image.resolve("latest").await.map(|_| ()), image.may_push().await] {
        let (exit, text) = explain(&outcome.unwrap_err());
        assert_eq!(exit, Exit::Usage, "{text}");
        assert!(says.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[tokio::test]
async fn a_real_registry_with_tls_and_tokens() {
    let registry = start().await;
    let (found, layer) = releases(&registry).await;
    attaches(&registry, &found).await;
    reads_and_may_not_write(&registry, &found, &layer).await;
    let ada = Some((ADA.name, ADA.password));
    is_told(
        &registry,
        None,
        true,
        ["not logged in", "docker login 127.0.0.1:"],
    )
    .await;
    let wrong = Some((ADA.name, "wrong"));
    is_told(
        &registry,
        wrong,
        true,
        ["the login is refused", "docker login 127.0.0.1:"],
    )
    .await;
    is_told(
        &registry,
        ada,
        false,
        ["its certificate is not trusted", "ca.crt"],
    )
    .await;
}
