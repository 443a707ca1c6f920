#!/usr/bin/env bash
# Checks .github/workflows: actionlint for what would not run, zizmor for what would let others in. Offline.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

have go || die "Go is missing: https://go.dev/dl (version $(awk '$1 == "go" { print $2 }' tools/workflows/go.mod) or newer)"
python3 -c 'import ensurepip, venv' 2>/dev/null || die "Python has no venv: Debian and Ubuntu: apt-get install python3-venv"

pins=tools/workflows/requirements.txt
hash=$(if have sha256sum; then sha256sum "$pins"; else shasum -a 256 "$pins"; fi | cut -c1-12)
cache=${XDG_CACHE_HOME:-${HOME:?is not set, and XDG_CACHE_HOME neither}/.cache}/functiongraph-operator/workflows-$hash
if ! "$cache/bin/zizmor" --version >/dev/null 2>&1; then
    say "Installing zizmor into $cache: once."
    rm -rf "$cache"
    python3 -m venv "$cache"
    "$cache/bin/python" -m pip --disable-pip-version-check install --quiet \
        --require-hashes --only-binary :all: --requirement "$pins" >&2
fi

# Without the linters of shell and Python that may or may not be on this machine.
go -C tools/workflows tool actionlint -shellcheck= -pyflakes= "$PWD"/.github/workflows/*.yml
"$cache/bin/zizmor" --offline --no-progress --quiet --persona regular .github
say "The workflows are in order."
