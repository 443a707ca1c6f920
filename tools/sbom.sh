#!/usr/bin/env bash
# Lists every crate in the shipped programs as CycloneDX, into target/sbom: the same bytes for the same commit,
# wherever it is run. CARGO_CYCLONEDX is the program that does it; make sbom brings it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=${CARGO_TARGET_DIR:-$PWD/target}/sbom
scratch=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$scratch"' EXIT

# In a copy, because the lists are written beside every Cargo.toml.
git ls-files -z | tar --create --null --files-from=- | tar --extract --directory "$scratch"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
# Of what is compiled into the images; what compiles it is not in them.
(cd "$scratch" && "${CARGO_CYCLONEDX:-cargo-cyclonedx}" cyclonedx --format json --spec-version 1.5 \
    --describe binaries --no-build-deps --target x86_64-unknown-linux-musl)
mkdir -p "$folder"
for program in . crates/emulator; do
    for list in "$scratch/$program"/functiongraph-*_bin.cdx.json; do
        name=$(basename "$list" _bin.cdx.json)
        sed "s|file://$scratch|file://.|g" "$list" >"$folder/$name.cdx.json"
        printf '%s: %s components\n' "$folder/$name.cdx.json" "$(grep -c '"type": "library"' "$folder/$name.cdx.json")" >&2
    done
done
