//! Dockerfiles to compare with, made from the repository's own so that both sides stand on the same bases and
//! build with the same tools. Pure.

use anyhow::{Context as _, Result};

use crate::catalogue::TARGET;

/// Every stage of either Dockerfile that depends on a service's sources: what a cold build has to do.
/// The stage `chef`, which installs the tools of the build, is left out: both sides share it.
pub const COLD_STAGES: [&str; 5] = ["planner", "cook", "libraries", "build", "prod"];

/// The shell's words that hand the machine's own certificates to one step, where the build was given them.
const TRUSTING: &str = "--mount=type=secret,id=ca-bundle \\\n    if [ -s /run/secrets/ca-bundle ]; then export \
                        CARGO_HTTP_CAINFO=/run/secrets/ca-bundle SSL_CERT_FILE=/run/secrets/ca-bundle; fi; \\\n    ";

/// The Dockerfile that the cargo-chef manual would have a project write for one service of a workspace.
///
/// # Errors
/// The repository's own has not the stages that it is made from.
pub fn ordinary(own: &str, service: &str) -> Result<String> {
    let settings: Vec<&str> = stage(own, "cook")?
        .lines()
        .filter(|line| line.starts_with("ENV "))
        .collect();
    Ok(format!(
        "{chef}\n\
         FROM chef AS planner\n\
         COPY . .\n\
         RUN cargo chef prepare --recipe-path recipe.json\n\n\
         FROM chef AS cook\n\
         {settings}\n\
         COPY --from=planner /build/recipe.json recipe.json\n\
         RUN {TRUSTING}cargo chef cook --release --locked -p {service} --target {TARGET} --recipe-path recipe.json\n\n\
         FROM cook AS build\n\
         COPY . .\n\
         RUN {TRUSTING}cargo auditable build --release --locked -p {service} --target {TARGET}\n\n\
         FROM {runtime} AS prod\n\
         COPY --from=build /build/target/{TARGET}/release/{service} /{service}\n\
         USER 65532:65532\n\
         ENTRYPOINT [\"/{service}\"]\n",
        chef = stage(own, "chef")?.trim_end(),
        settings = settings.join("\n"),
        runtime = base(own, "prod")?,
    ))
}

/// The Dockerfile of a service that does nothing but answer (`main.rs` beside it).
///
/// # Errors
/// The repository's own has no builder or no runtime.
pub fn hello(own: &str) -> Result<String> {
    Ok(format!(
        "FROM {builder} AS build\n\
         COPY main.rs /main.rs\n\
         RUN rustc --edition=2024 -O -C strip=symbols -C target-feature=+crt-static --target {TARGET} -o /hello /main.rs\n\n\
         FROM {runtime}\n\
         COPY --link --from=build /hello /hello\n\
         USER 65532:65532\n\
         ENTRYPOINT [\"/hello\"]\n",
        builder = base(own, "chef")?,
        runtime = base(own, "prod")?,
    ))
}

/// The text of a stage, from its `FROM` up to the next one.
fn stage<'a>(own: &'a str, name: &str) -> Result<&'a str> {
    let end = format!(" AS {name}");
    let mut starts = own.match_indices("FROM ").map(|(at, _)| at);
    let is_line = |at: &usize| *at == 0 || own.as_bytes()[at - 1] == b'\n';
    let named = |at: &usize| {
        own[*at..]
            .lines()
            .next()
            .is_some_and(|line| line.trim_end().ends_with(&end))
    };
    let start = starts
        .find(|at| is_line(at) && named(at))
        .with_context(|| format!("the Dockerfile has no stage '{name}'"))?;
    let length = own[start..]
        .find("\nFROM ")
        .map_or(own.len() - start, |length| length + 1);
    Ok(&own[start..start + length])
}

/// What a stage stands on.
fn base<'a>(own: &'a str, name: &str) -> Result<&'a str> {
    let first = stage(own, name)?.lines().next();
    let base = first.and_then(|line| line.split_whitespace().nth(1));
    base.with_context(|| format!("the stage '{name}' stands on nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "# Head\n\nFROM rust:1@sha256:aa AS chef\nSHELL [\"/bin/sh\", \"-eu\", \"-c\"]\nRUN install\nWORKDIR /build\n\n\
                       FROM chef AS planner\nCOPY . .\n\nFROM chef AS cook\n# Static.\nENV RUSTFLAGS=\"x\"\nRUN cook\n\n\
                       FROM static@sha256:bb AS prod\nLABEL a=b\n";

    #[test]
    fn a_stage_ends_where_the_next_begins() {
        assert_eq!(
            stage(OWN, "planner").unwrap(),
            "FROM chef AS planner\nCOPY . .\n\n"
        );
        assert_eq!(
            stage(OWN, "prod").unwrap(),
            "FROM static@sha256:bb AS prod\nLABEL a=b\n"
        );
        assert_eq!(base(OWN, "prod").unwrap(), "static@sha256:bb");
        let error = stage(OWN, "libraries").unwrap_err();
        assert_eq!(error.to_string(), "the Dockerfile has no stage 'libraries'");
    }

    #[test]
    fn the_ordinary_dockerfile_shares_the_tools_and_the_bases() {
        insta::assert_snapshot!(ordinary(OWN, "shop").unwrap(), @r#"
        FROM rust:1@sha256:aa AS chef
        SHELL ["/bin/sh", "-eu", "-c"]
        RUN install
        WORKDIR /build
        FROM chef AS planner
        COPY . .
        RUN cargo chef prepare --recipe-path recipe.json

        FROM chef AS cook
        ENV RUSTFLAGS="x"
        COPY --from=planner /build/recipe.json recipe.json
        RUN --mount=type=secret,id=ca-bundle \
            if [ -s /run/secrets/ca-bundle ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca-bundle SSL_CERT_FILE=/run/secrets/ca-bundle; fi; \
            cargo chef cook --release --locked -p shop --target x86_64-unknown-linux-gnu --recipe-path recipe.json

        FROM cook AS build
        COPY . .
        RUN --mount=type=secret,id=ca-bundle \
            if [ -s /run/secrets/ca-bundle ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca-bundle SSL_CERT_FILE=/run/secrets/ca-bundle; fi; \
            cargo auditable build --release --locked -p shop --target x86_64-unknown-linux-gnu

        FROM static@sha256:bb AS prod
        COPY --from=build /build/target/x86_64-unknown-linux-gnu/release/shop /shop
        USER 65532:65532
        ENTRYPOINT ["/shop"]
        "#);
    }

    #[test]
    fn the_hello_world_stands_on_the_same_bases() {
        insta::assert_snapshot!(hello(OWN).unwrap(), @r#"
        FROM rust:1@sha256:aa AS build
        COPY main.rs /main.rs
        RUN rustc --edition=2024 -O -C strip=symbols -C target-feature=+crt-static --target x86_64-unknown-linux-gnu -o /hello /main.rs

        FROM static@sha256:bb
        COPY --link --from=build /hello /hello
        USER 65532:65532
        ENTRYPOINT ["/hello"]
        "#);
    }

    #[test]
    fn the_repositorys_dockerfiles_have_what_is_taken_from_them() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker");
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files: Vec<_> = files
            .filter(|path| path.to_string_lossy().contains("/Dockerfile."))
            .collect();
        assert!(!files.is_empty());
        for file in files {
            let own = std::fs::read_to_string(&file).unwrap();
            assert!(
                ordinary(&own, "x").unwrap().contains("ENV RUSTFLAGS="),
                "{}",
                file.display()
            );
            for name in COLD_STAGES {
                assert!(stage(&own, name).is_ok(), "{} has no {name}", file.display());
            }
        }
    }
}
