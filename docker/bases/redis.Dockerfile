# Redis, with the interface of the official image: the user `redis`, data in /data, the binary as command.
FROM debian-base
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update \
 && apt-get install -y --no-install-recommends redis-server \
 && mkdir -p /data && chown redis:redis /data
WORKDIR /data
VOLUME /data
USER redis
EXPOSE 6379
STOPSIGNAL SIGTERM
# Debian's configuration binds to loopback and goes to the background: without one, the built-in defaults hold.
CMD ["redis-server", "--protected-mode", "no", "--dir", "/data"]
