//! The files in the binary, each under a name with its own hash, so that a browser may keep it for ever.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// A file as it is sent.
#[derive(Debug)]
pub(crate) struct Asset {
    /// `app.<16 hex digits>.css`
    pub(crate) name: String,
    /// Media type.
    pub(crate) kind: &'static str,
    /// Contents.
    pub(crate) text: &'static str,
}

/// Name in the page's template, media type, contents.
const FILES: [(&str, &str, &str); 3] = [
    (
        "app.css",
        "text/css; charset=utf-8",
        include_str!("../assets/app.css"),
    ),
    (
        "app.js",
        "text/javascript; charset=utf-8",
        include_str!("../assets/app.js"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
];
const TEMPLATE: &str = include_str!("../assets/index.html");

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |(file, kind, text): &(&'static str, &'static str, &'static str)| Asset {
        name: hashed(file, text),
        kind,
        text,
    };
    FILES.iter().map(asset).collect()
});

static INDEX: LazyLock<String> = LazyLock::new(|| {
    FILES
        .iter()
        .zip(ASSETS.iter())
        .fold(TEMPLATE.to_owned(), |page, ((file, ..), asset)| {
            page.replace(&format!("{{{{{file}}}}}"), &format!("/assets/{}", asset.name))
        })
});

/// The page, with the names of its files filled in.
pub(crate) fn index() -> &'static str {
    &INDEX
}

/// The file of this hashed name.
pub(crate) fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

fn hashed(file: &str, text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    match file.rsplit_once('.') {
        Some((stem, ending)) => format!("{stem}.{hash}.{ending}"),
        None => format!("{file}.{hash}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_its_files_and_holds_no_code_of_its_own() {
        let page = index();
        assert!(!page.contains("{{"), "a file is missing");
        for asset in ASSETS.iter() {
            assert!(page.contains(&asset.name), "{}", asset.name);
            assert!(find(&asset.name).is_some());
        }
        // What the content security policy would refuse.
        for inline in [
            "<style",
            "style=",
            " onclick",
            " onload",
            "<script>",
            "javascript:",
        ] {
            assert!(!page.contains(inline), "{inline}");
        }
    }

    #[test]
    fn a_name_follows_the_contents() {
        assert_ne!(hashed("a.js", "1"), hashed("a.js", "2"));
        assert!(hashed("a.js", "1").ends_with(".js"));
        assert!(find("app.css").is_none());
    }
}
