# The Rust builder: a C toolchain from Debian, and this machine's own Rust under the paths of the official image.
FROM debian-base
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make pkg-config git
ENV RUSTUP_HOME=/usr/local/rustup \
    CARGO_HOME=/usr/local/cargo \
    PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Without share/: the documentation is larger than the compiler.
COPY --link --from=toolchain bin /usr/local/rustup/toolchains/pinned/bin
COPY --link --from=toolchain lib /usr/local/rustup/toolchains/pinned/lib
# No rustup here: there is one toolchain, and nothing to fetch another from.
RUN mkdir -p /usr/local/cargo/bin \
 && for tool in /usr/local/rustup/toolchains/pinned/bin/*; do ln -s "$tool" /usr/local/cargo/bin/; done \
 && rustc --version && cargo --version
