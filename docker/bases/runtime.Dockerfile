# What a static binary needs and no more: roots of trust, time zones, names of users. No shell, no libraries.
FROM debian-base AS files
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends tzdata
# Which packages that is, and of which release, as the official image says it: for scanners and bills of materials.
RUN mkdir -p /root-fs/etc/ssl/certs /root-fs/usr/share /root-fs/home/nonroot /root-fs/tmp /root-fs/var/lib/dpkg/status.d \
 && for package in ca-certificates tzdata; do dpkg --status "$package" > "/root-fs/var/lib/dpkg/status.d/$package"; done \
 && cp -L /etc/os-release /etc/debian_version /root-fs/etc/ \
 && cp -aL /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/ \
 && cp -a /usr/share/zoneinfo /root-fs/usr/share/ \
 && printf 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' > /root-fs/etc/passwd \
 && printf 'root:x:0:\nnobody:x:65534:\ntty:x:5:\nstaff:x:50:\nnonroot:x:65532:\n' > /root-fs/etc/group \
 && printf 'passwd: files\ngroup: files\nhosts: files dns\n' > /root-fs/etc/nsswitch.conf \
 && chown 65532:65532 /root-fs/home/nonroot && chmod 700 /root-fs/home/nonroot && chmod 1777 /root-fs/tmp \
 && find /root-fs -exec touch -hd @0 {} +

FROM scratch
COPY --from=files /root-fs/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
WORKDIR /home/nonroot
