# Two images: the operator (the default target), and its local FunctionGraph (--target emulator). Each is one static
# program and the certificates of public authorities: no shell, no package manager, no C library.
#
#   make image                                   here, with docker, podman or buildah
#   make notices && docker build -t functiongraph-operator .     anywhere; the machine's own architecture
#
# docs/development.md says how, docs/releasing.md how images of several architectures are made.

# The digest holds for all architectures. `make image` without docker and podman builds on a stand-in of it.
ARG BUILDER=docker.io/library/rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082
# What the program lies in. gcr.io/distroless/static-debian12:nonroot works too, where scanners ask for a base.
ARG RUNTIME=scratch

FROM ${BUILDER} AS build
# musl resolves names without files of the C library at run time, which a static glibc would need.
RUN set -eu; target="$(uname -m)-unknown-linux-musl"; \
    if ! command -v musl-gcc >/dev/null || ! command -v make >/dev/null; then \
        apt-get update -q; \
        apt-get install -q -y --no-install-recommends musl-tools make; \
        rm -rf /var/lib/apt/lists/*; \
    fi; \
    if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then rustup target add "$target"; fi
# What the images have beside their program.
RUN set -eu; mkdir -p /files/etc/ssl/certs /files/licenses /data; \
    cp /etc/ssl/certs/ca-certificates.crt /files/etc/ssl/certs/; \
    echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >/files/etc/passwd; \
    echo 'nonroot:x:65532:' >/files/etc/group
WORKDIR /src
COPY . .
RUN cp LICENSE /files/licenses/ && gzip -9 -n -c THIRD-PARTY.txt >/files/licenses/THIRD-PARTY.txt.gz
# Paths of this machine do not get into the programs: they would be there in the places of panics and of C's asserts.
# Nor does the time of day, which mimalloc asks for: SOURCE_DATE_EPOCH is gcc's clock, and stands still.
ENV CARGO_HOME=/cargo \
    SOURCE_DATE_EPOCH=0 \
    CARGO_TARGET_DIR=/target \
    CARGO_TERM_COLOR=never \
    CARGO_PROFILE_RELEASE_STRIP=symbols \
    RUSTFLAGS="--remap-path-prefix=/cargo/registry/src=/crates --remap-path-prefix=/src=/functiongraph-operator" \
    TARGET_CC=musl-gcc \
    TARGET_CFLAGS="-ffile-prefix-map=/cargo/registry/src=/crates -ffile-prefix-map=/target=/target"

FROM build AS build-operator
RUN --mount=type=cache,id=functiongraph-cargo,target=/cargo,sharing=locked \
    --mount=type=cache,id=functiongraph-target,target=/target,sharing=locked \
    set -eu; target="$(uname -m)-unknown-linux-musl"; \
    cargo build --release --locked --target "$target" --package functiongraph-operator --bin functiongraph-operator; \
    cp "/target/$target/release/functiongraph-operator" /

FROM build AS build-emulator
RUN --mount=type=cache,id=functiongraph-cargo,target=/cargo,sharing=locked \
    --mount=type=cache,id=functiongraph-target,target=/target,sharing=locked \
    set -eu; target="$(uname -m)-unknown-linux-musl"; \
    cargo build --release --locked --target "$target" --package functiongraph-emulator --bin functiongraph-emulator; \
    cp "/target/$target/release/functiongraph-emulator" /

FROM ${RUNTIME} AS emulator
LABEL org.opencontainers.image.title="functiongraph-emulator" \
    org.opencontainers.image.description="A local FunctionGraph, for demos, tests and development without a cloud account" \
    org.opencontainers.image.licenses="Apache-2.0"
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
COPY --from=build /files /
COPY --from=build-emulator /functiongraph-emulator /
# Its certificate authority is made in the folder that it starts in, unless it is told another.
COPY --from=build --chown=65532:65532 /data /data
WORKDIR /data
USER 65532:65532
EXPOSE 8443 8444 8445
ENV FUNCTIONGRAPH_EMULATOR_LISTEN=0.0.0.0:8443 FUNCTIONGRAPH_EMULATOR_ADMIN_LISTEN=0.0.0.0:8444 FUNCTIONGRAPH_EMULATOR_LOCAL_LISTEN=0.0.0.0:8445
ENTRYPOINT ["/functiongraph-emulator"]

FROM ${RUNTIME} AS operator
LABEL org.opencontainers.image.title="functiongraph-operator" \
    org.opencontainers.image.description="Invokes FunctionGraph functions from Kubernetes, each at most once" \
    org.opencontainers.image.licenses="Apache-2.0"
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
COPY --from=build /files /
COPY --from=build-operator /functiongraph-operator /
USER 65532:65532
EXPOSE 8080 8081
# Huge pages would double its memory on nodes that give them to everybody.
ENV MIMALLOC_ALLOW_THP=0
ENTRYPOINT ["/functiongraph-operator"]
CMD ["run"]
