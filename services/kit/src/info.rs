//! Who a binary is: package, version, revision. Compiled in, so that a stale binary cannot pass for a new one.

/// A service's identity.
#[derive(Debug, Clone, Copy)]
pub struct ServiceInfo {
    /// The package's name, which is the binary's and the compose service's name too.
    pub name: &'static str,
    /// The package's version.
    pub version: &'static str,
    /// The commit that last touched the image's inputs, `-dirty` where they differ, `unknown` outside a build
    /// of the pipeline.
    pub revision: &'static str,
    /// One sentence for `--help`.
    pub about: &'static str,
    /// The port when `PORT` says nothing.
    pub port: u16,
}

/// The identity of the crate that calls the macro. The argument is its default port.
#[macro_export]
macro_rules! service_info {
    ($port:expr) => {{
        const LIST: &str = match option_env!("HORME_REVISIONS") {
            Some(list) => list,
            None => "",
        };
        static REVISION: $crate::Revision = $crate::Revision::of(env!("CARGO_PKG_NAME"), LIST);
        $crate::ServiceInfo {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            revision: REVISION.as_str(),
            about: env!("CARGO_PKG_DESCRIPTION"),
            port: $port,
        }
    }};
}

/// One package's revision, copied out of the list of all at compile time: the list itself must not end up in
/// the binary, or a commit in one service would change the digest of every other.
#[derive(Debug)]
pub struct Revision {
    bytes: [u8; Revision::MOST],
    length: usize,
}

impl Revision {
    /// A SHA-256 commit id and `-dirty`.
    const MOST: usize = 72;

    /// The value of `package=` in a list such as `a=1f3 b=77c-dirty`, or `unknown`.
    pub const fn of(package: &str, list: &str) -> Self {
        let (package, list) = (package.as_bytes(), list.as_bytes());
        let mut start = 0;
        while start < list.len() {
            let mut end = start;
            while end < list.len() && list[end] != b' ' {
                end += 1;
            }
            if has_key(list, start, end, package) {
                return Self::copy(list, start + package.len() + 1, end);
            }
            start = end + 1;
        }
        Self::copy(b"unknown", 0, 7)
    }

    const fn copy(from: &[u8], start: usize, end: usize) -> Self {
        let mut revision = Revision {
            bytes: [0; Self::MOST],
            length: 0,
        };
        while start + revision.length < end && revision.length < Self::MOST {
            revision.bytes[revision.length] = from[start + revision.length];
            revision.length += 1;
        }
        revision
    }

    /// The revision as text.
    pub const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "unknown",
        }
    }
}

const fn has_key(list: &[u8], start: usize, end: usize, key: &[u8]) -> bool {
    if end - start <= key.len() || list[start + key.len()] != b'=' {
        return false;
    }
    let mut index = 0;
    while index < key.len() {
        if list[start + index] != key[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_finds_its_own_revision_only() {
        let list = "gateway=abc gateway-two=def-dirty frontend=123";
        assert_eq!(Revision::of("gateway", list).as_str(), "abc");
        assert_eq!(Revision::of("gateway-two", list).as_str(), "def-dirty");
        assert_eq!(Revision::of("frontend", list).as_str(), "123");
        assert_eq!(Revision::of("front", list).as_str(), "unknown");
        assert_eq!(Revision::of("gateway", "").as_str(), "unknown");
    }
}
