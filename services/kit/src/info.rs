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
    ($port:expr) => {
        $crate::ServiceInfo {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            revision: match option_env!("IMAGE_REVISION") {
                Some(revision) => revision,
                None => "unknown",
            },
            about: env!("CARGO_PKG_DESCRIPTION"),
            port: $port,
        }
    };
}
