//! The end points of the distribution-spec, as far as a client that pushes, attaches and reads back needs them.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Shared;
use super::content::digest;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What an upload's place must carry along: a client that drops a Location's query loses its upload.
const STATE: &str = "_state=of-the-stub";

/// A request, taken apart.
pub(super) struct Asked {
    pub(super) method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

/// An end point of a repository, with what follows its word.
enum Place<'p> {
    Uploads(&'p str),
    Blob(&'p str),
    Manifest(&'p str),
    Tags,
    Referrers(&'p str),
}

impl Asked {
    pub(super) fn new(method: &str, path: &str, headers: HeaderMap, body: Bytes) -> Self {
        let uri: Uri = path.parse().unwrap();
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        Asked {
            method: method.to_owned(),
            path: uri.path().to_owned(),
            query: pairs.map(|pairs| pairs.0).unwrap_or_default(),
            headers,
            body,
        }
    }

    /// The repository's name; empty where the path has none.
    pub(super) fn repository(&self) -> &str {
        self.place().map_or("", |(repository, _)| repository)
    }

    fn place(&self) -> Option<(&str, Place<'_>)> {
        let rest = self.path.strip_prefix("/v2/")?;
        for word in [
            "/blobs/uploads/",
            "/blobs/",
            "/manifests/",
            "/tags/list",
            "/referrers/",
        ] {
            let Some((repository, last)) = rest.split_once(word) else {
                continue;
            };
            let place = match word {
                "/blobs/uploads/" => Place::Uploads(last),
                "/blobs/" => Place::Blob(last),
                "/manifests/" => Place::Manifest(last),
                "/tags/list" => Place::Tags,
                _ => Place::Referrers(last),
            };
            return Some((repository, place));
        }
        None
    }

    fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

pub(super) fn error(status: u16, code: &str) -> Response {
    let words = json!({ "errors": [{ "code": code, "message": format!("the stub says {code}") }] });
    (StatusCode::from_u16(status).unwrap(), axum::Json(words)).into_response()
}

pub(super) fn carry_out(shared: &Shared, asked: &Asked) -> Response {
    if asked.path == "/token" {
        return shared.token(&asked.query, &asked.headers);
    }
    if let Some(refusal) = shared.refusal(&asked.method, asked.repository(), &asked.headers) {
        return refusal;
    }
    let Some((repository, place)) = asked.place() else {
        return match asked.path.as_str() {
            "/v2/" => axum::Json(json!({})).into_response(),
            _ => error(404, "UNSUPPORTED"),
        };
    };
    match (asked.method.as_str(), place) {
        ("GET" | "HEAD", Place::Blob(wanted)) => blob(shared, asked, repository, wanted),
        ("POST", Place::Uploads("")) => begin(shared, asked, repository),
        ("PUT", Place::Uploads(_)) => finish(shared, asked, repository),
        ("DELETE", Place::Uploads(_)) => status(204),
        ("GET" | "HEAD", Place::Manifest(reference)) => manifest(shared, asked, repository, reference),
        ("PUT", Place::Manifest(reference)) => put_manifest(shared, asked, repository, reference),
        ("DELETE", Place::Manifest(reference)) => delete(shared, repository, reference),
        ("GET", Place::Tags) => tags(shared, asked, repository),
        ("GET", Place::Referrers(subject)) => referrers(shared, repository, subject),
        _ => error(405, "UNSUPPORTED"),
    }
}

/// What it would have answered, had it kept what came.
pub(super) fn lost(asked: &Asked) -> Response {
    let kept = asked.query("digest").map(str::to_owned);
    (
        StatusCode::CREATED,
        [(
            "docker-content-digest",
            kept.unwrap_or_else(|| digest(&asked.body)),
        )],
    )
        .into_response()
}

fn status(code: u16) -> Response {
    StatusCode::from_u16(code).unwrap().into_response()
}

/// A body; of a HEAD, what is known of it.
fn content(asked: &Asked, media_type: &str, digest: &str, bytes: &Bytes) -> Response {
    let body = match asked.is_head() {
        true => Body::empty(),
        false => Body::from(bytes.clone()),
    };
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type.parse().unwrap());
    headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    headers.insert("docker-content-digest", digest.parse().unwrap());
    answer
}

fn blob(shared: &Shared, asked: &Asked, repository: &str, wanted: &str) -> Response {
    let all = shared.content.lock();
    match all
        .get(repository)
        .and_then(|repository| repository.blobs.get(wanted))
    {
        Some(bytes) => content(asked, "application/octet-stream", wanted, bytes),
        None => error(404, "BLOB_UNKNOWN"),
    }
}

/// An upload begins, or another repository lends the blob.
fn begin(shared: &Shared, asked: &Asked, repository: &str) -> Response {
    let mut all = shared.content.lock();
    if let (Some(wanted), Some(lender)) = (asked.query("mount"), asked.query("from")) {
        let lent = all
            .get(lender)
            .and_then(|lender| lender.blobs.get(wanted))
            .cloned();
        let may = !shared.look.lends_nothing && shared.refusal("GET", lender, &asked.headers).is_none();
        if let (Some(bytes), true) = (lent, may) {
            let blobs = &mut all.entry(repository.to_owned()).or_default().blobs;
            blobs.insert(wanted.to_owned(), bytes);
            return created(repository, "blobs", wanted);
        }
    }
    let place = format!("/v2/{repository}/blobs/uploads/1?{STATE}");
    (StatusCode::ACCEPTED, [(header::LOCATION, place)]).into_response()
}

fn finish(shared: &Shared, asked: &Asked, repository: &str) -> Response {
    let Some(wanted) = asked.query("digest") else {
        return error(400, "DIGEST_INVALID");
    };
    if asked.query("_state").is_none() {
        return error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    if digest(&asked.body) != wanted {
        return error(400, "DIGEST_INVALID");
    }
    shared.content.put_blob(repository, &asked.body);
    created(repository, "blobs", wanted)
}

fn created(repository: &str, kind: &str, reference: &str) -> Response {
    let place = format!("/v2/{repository}/{kind}/{reference}");
    let headers = [
        (header::LOCATION.as_str(), place.as_str()),
        ("docker-content-digest", reference),
    ];
    (StatusCode::CREATED, headers).into_response()
}

fn manifest(shared: &Shared, asked: &Asked, repository: &str, reference: &str) -> Response {
    let all = shared.content.lock();
    let Some(repository) = all.get(repository) else {
        return error(404, "NAME_UNKNOWN");
    };
    let digest = repository.tags.get(reference).map_or(reference, String::as_str);
    match repository.manifests.get(digest) {
        Some((media_type, bytes)) => content(asked, media_type, digest, bytes),
        None => error(404, "MANIFEST_UNKNOWN"),
    }
}

fn put_manifest(shared: &Shared, asked: &Asked, repository: &str, reference: &str) -> Response {
    let Ok(value) = serde_json::from_slice::<Value>(&asked.body) else {
        return error(400, "MANIFEST_INVALID");
    };
    let digest = digest(&asked.body);
    if reference.starts_with("sha256:") && reference != digest {
        return error(400, "DIGEST_INVALID");
    }
    {
        let mut all = shared.content.lock();
        if all
            .entry(repository.to_owned())
            .or_default()
            .lacks(&value)
            .is_some()
        {
            return error(404, "MANIFEST_BLOB_UNKNOWN");
        }
    }
    let kind = asked.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    shared
        .content
        .put_manifest(repository, reference, kind, &asked.body);
    let mut answer = created(repository, "manifests", &digest);
    if let (true, Some(subject)) = (shared.look.referrers, value["subject"]["digest"].as_str()) {
        let value = subject.parse().unwrap();
        answer.headers_mut().insert("oci-subject", value);
    }
    answer
}

fn delete(shared: &Shared, repository: &str, reference: &str) -> Response {
    if !shared.look.deletes_tags || reference.starts_with("sha256:") {
        return error(405, "UNSUPPORTED");
    }
    let Some(digest) = shared.content.untag(repository, reference) else {
        return error(404, "MANIFEST_UNKNOWN");
    };
    if let (true, Some(repository)) = (
        shared.look.deletes_manifests,
        shared.content.lock().get_mut(repository),
    ) {
        repository.manifests.remove(&digest);
        repository.tags.retain(|_, other| *other != digest);
    }
    status(202)
}

/// Pages of at most `n`, after `last`.
fn tags(shared: &Shared, asked: &Asked, name: &str) -> Response {
    let all = shared.content.lock();
    let Some(repository) = all.get(name) else {
        return error(404, "NAME_UNKNOWN");
    };
    // Small pages, however many are asked for: a client must follow the links.
    let most = asked.query("n").and_then(|n| n.parse().ok()).unwrap_or(3).min(3);
    let after = asked.query("last").unwrap_or_default();
    let mut rest = repository.tags.keys().filter(|tag| tag.as_str() > after);
    let page: Vec<&String> = rest.by_ref().take(most).collect();
    let answer = axum::Json(json!({ "name": name, "tags": page }));
    match (rest.next(), page.last()) {
        (Some(_), Some(last)) => {
            let link = format!("</v2/{name}/tags/list?n={most}&last={last}>; rel=\"next\"");
            ([(header::LINK, link)], answer).into_response()
        }
        _ => answer.into_response(),
    }
}

fn referrers(shared: &Shared, repository: &str, subject: &str) -> Response {
    if !shared.look.referrers {
        return error(404, "UNSUPPORTED");
    }
    let all = shared.content.lock();
    let manifests = all
        .get(repository)
        .map(|repository| repository.referrers(subject));
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests.unwrap_or_default() });
    ([(header::CONTENT_TYPE, INDEX)], index.to_string()).into_response()
}
