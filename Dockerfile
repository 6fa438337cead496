# syntax=docker/dockerfile:1.7
# The runner, with what its plugins need: Python and Node. See docs/stack.md.

# Both bases by a tag that does not move: what is built tomorrow is built on the same.
FROM rust:1.95.0-bookworm AS build
WORKDIR /build
COPY . .
# The caches outlive the layer: the crates are built once.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin spanglass \
    && install -D target/release/spanglass /out/spanglass

FROM debian:bookworm-20260824-slim
# python3-venv: environments of plugins that have a requirements.txt.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates nodejs python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/spanglass spanglass \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/spanglass
COPY --from=build /out/spanglass /usr/local/bin/spanglass
USER 10001:10001
WORKDIR /var/lib/spanglass
# Packages, ledger, and the spool of what a collector has not taken yet.
VOLUME /var/lib/spanglass
ENV SPANGLASS_DATA_DIR=/var/lib/spanglass
EXPOSE 7717
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7717/readyz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["spanglass"]
# On loopback of the container until a configuration says otherwise: that needs a token.
CMD ["serve"]
