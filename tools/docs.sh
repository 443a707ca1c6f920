#!/usr/bin/env bash
# Builds the documents as a site with mdBook, and checks that every link in it leads somewhere.
#   tools/docs.sh   into target/docs/book; open index.html there
# MDBOOK          the program; `make docs` installs it
#
# The pages are built where they lie in the checkout, so that a link is the same on the site and in the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly OUT=${CARGO_TARGET_DIR:-target}/docs
readonly PAGES=$OUT/pages

rm -rf "$OUT"
mkdir -p "$PAGES"
git ls-files -z --cached --others --exclude-standard -- '*.md' LICENSE Makefile Cargo.toml \
    Dockerfile deny.toml .github benches charts crates crds docs examples src tests tools \
    | tar -chf - --null -T - | tar -xf - -C "$PAGES"
cp docs/site/chapters.txt "$PAGES/SUMMARY.md"
cp docs/site/book.toml "$OUT/book.toml"
"${MDBOOK:-mdbook}" build "$OUT"
tools/docs-links.py "$OUT/book"
