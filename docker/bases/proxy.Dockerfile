# nginx. The configuration comes by mount; what it writes at run time goes where that configuration says.
FROM debian-base
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update \
 && apt-get install -y --no-install-recommends nginx \
 && ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
EXPOSE 80
# The graceful one of nginx.
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
