#!/usr/bin/env bash
# Runs tests/it and tests/crash against the newest kube-apiserver patch of each supported minor version, built from Go
# modules, and once more with the first of them without streamed lists (WatchList).
#   tools/versions.sh              all minor versions of VERSIONS
#   VERSIONS="1.34" tools/versions.sh
# The programs stay in the user's cache. Every version is tried, and the exit code says whether all passed. The tests of
# memory are left out, because they need the program of the image.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VERSIONS=${VERSIONS:-1.33 1.34 1.35 1.36 1.37}
cache=$(dirname "$(tools/build.sh --print-dir)")

say() { printf '%s\n' "$*" >&2; }

# The newest patch of a minor version.
newest() { go list -m -versions k8s.io/kubernetes | tr ' ' '\n' | grep -E "^v${1//./\\.}\.[0-9]+$" | sort -V | tail -n 1; }

# Builds kube-apiserver of a version, unless it is there. Its staging modules carry the same minor and patch as v0.
build() { # version, folder
    [ -x "$2/kube-apiserver" ] && return
    local scratch staging version=$1 minor
    scratch=$(mktemp -d)
    staging=v0.${version#v1.}
    minor=${version#v1.}
    say "Building kube-apiserver $version, once: several minutes."
    (
        cd "$scratch"
        go mod init versions 2>/dev/null
        go mod download -json "k8s.io/kubernetes@$version" >module.json
        grep -oE '^\s*k8s.io/[a-z-]+ => ./staging' "$(sed -n 's/.*"GoMod": "\(.*\)".*/\1/p' module.json)" | awk '{ print $1 }' |
            while read -r name; do go mod edit -replace "$name=$name@$staging"; done
        go get "k8s.io/kubernetes/cmd/kube-apiserver@$version" 2>go.log || { cat go.log >&2; exit 1; }
        mkdir -p "$2"
        go build -o "$2/kube-apiserver.new" \
            -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}" \
            k8s.io/kubernetes/cmd/kube-apiserver
        mv "$2/kube-apiserver.new" "$2/kube-apiserver"
    )
    rm -rf "$scratch"
}

run() { # name, folder, variables
    local name=$1 folder=$2
    shift 2
    say "== $name"
    if env KUBEBUILDER_ASSETS="$folder" "$@" cargo test --locked --no-fail-fast --test it --test crash -- --skip memory::; then
        passed+=("$name")
    else
        failed+=("$name")
    fi
}

passed=() failed=() first=''
for minor in $VERSIONS; do
    version=$(newest "$minor")
    [ -n "$version" ] || { say "There is no release of Kubernetes $minor."; exit 1; }
    folder=$cache/kube-apiserver-$version
    build "$version" "$folder"
    run "$version" "$folder"
    first=${first:-$version $folder}
done
read -r version folder <<<"$first"
run "$version without WatchList" "$folder" CONTROL_PLANE_FLAGS=--feature-gates=WatchList=false

say "passed: ${passed[*]:-none}"
[ ${#failed[@]} -eq 0 ] || { say "failed: ${failed[*]}"; exit 1; }
