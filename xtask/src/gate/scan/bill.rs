//! The bill of materials of an image: CycloneDX, as Trivy writes it of what it saw, and about the image by its name and
//! digest. Kept for digest and scanner, so that the same image has the same document, to its number and time.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::build::Built;
use crate::context::Context;
use crate::evidence;

/// Whose bill it is, and who wrote it.
#[derive(Serialize)]
struct Subject<'a> {
    image: &'a str,
    digest: &'a str,
    scanner: String,
    pipeline: &'static str,
}

fn subject<'a>(image: &'a Built, trivy: &Path) -> Subject<'a> {
    Subject {
        image: &image.plan.service.image,
        digest: &image.digest,
        scanner: evidence::file(trivy),
        pipeline: env!("HORME_PIPELINE"),
    }
}

/// The bill that was kept.
pub fn kept(context: &Context, image: &Built, trivy: &Path) -> Option<Value> {
    let kept = context.cache.get("bill", &subject(image, trivy))?;
    Some(kept.value)
}

/// The bill out of what Trivy wrote, kept for later runs; the one that was kept before stays the one.
pub fn keep(context: &Context, image: &Built, trivy: &Path, text: &str) -> Result<Value> {
    if let Some(kept) = kept(context, image, trivy) {
        return Ok(kept);
    }
    let bill = about(
        serde_json::from_str(text)?,
        &image.plan.service.image,
        &image.digest,
    );
    context.cache.put("bill", &subject(image, trivy), &bill);
    Ok(bill)
}

/// The bill as one of this image: Trivy saw an archive of some name. What it found wrong is no part of it, for that
/// changes with every day.
fn about(mut bill: Value, name: &str, digest: &str) -> Value {
    if let Some(bill) = bill.as_object_mut() {
        bill.shift_remove("vulnerabilities");
    }
    let Some(component) = bill["metadata"]["component"].as_object_mut() else {
        return bill;
    };
    component.insert("name".to_owned(), json!(name));
    component.insert("version".to_owned(), json!(digest));
    let purl = format!("pkg:oci/{name}@{}", digest.replace(':', "%3A"));
    component.insert("purl".to_owned(), json!(purl));
    // The names that it bore in this engine on that day.
    let passing =
        ["Reference", "RepoTag", "RepoDigest"].map(|word| json!(format!("aquasecurity:trivy:{word}")));
    if let Some(properties) = component.get_mut("properties").and_then(Value::as_array_mut) {
        properties.retain(|property| !passing.contains(&property["name"]));
    }
    bill
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_is_about_the_image_whatever_the_archive_was_called() {
        let trivys = json!({
            "bomFormat": "CycloneDX",
            "serialNumber": "urn:uuid:1",
            "metadata": { "component": { "bom-ref": "x", "type": "container", "name": "frontend.tar", "properties": [
                { "name": "aquasecurity:trivy:RepoTag", "value": "horme-frontend:run-1" },
                { "name": "aquasecurity:trivy:ImageID", "value": "sha256:ab" },
            ] } },
            "components": [{ "name": "axum", "purl": "pkg:cargo/axum@0.8.9" }],
            "vulnerabilities": [{ "id": "CVE-1" }],
        });
        let bill = about(trivys.clone(), "horme-frontend", "sha256:cd");
        let component = &bill["metadata"]["component"];
        assert_eq!(component["name"], "horme-frontend");
        assert_eq!(component["version"], "sha256:cd");
        assert_eq!(component["purl"], "pkg:oci/horme-frontend@sha256%3Acd");
        assert_eq!(component["bom-ref"], "x", "what depends on it names it so");
        assert_eq!(component["properties"].as_array().unwrap().len(), 1);
        assert!(bill.get("vulnerabilities").is_none());
        for same in ["components", "serialNumber"] {
            assert_eq!(bill[same], trivys[same]);
        }
    }
}
