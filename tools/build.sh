#!/usr/bin/env bash
# Builds the Go programs named in tools/go.mod, once per set of pins, into a folder shared by all checkouts.
#   tools/build.sh               build what is missing
#   tools/build.sh node          the same for the module in tools/node
#   tools/build.sh [node] --print-dir   only say where they are
# KUBEBUILDER_ASSETS    folder with etcd, kube-apiserver, kubectl to use instead of building them
# CONTROL_PLANE_TOOLS   folder to build into instead of the user's cache
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Seconds between two signs of life when the output is not a terminal.
readonly HEARTBEAT=30

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

hash_of() {
    if have sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -c1-12
}

# === what to build, and where ===

readonly USAGE="usage: tools/build.sh [node] [--print-dir]"
module=''
case ${1-} in
    '' | --*) ;;
    *)
        [ -f "$1/go.mod" ] || die "$USAGE"
        module=$1
        cd "$module"
        shift
        ;;
esac
# crates/testkit computes the folder of tools/go.mod in the same way.
cache=${XDG_CACHE_HOME:-${HOME:?is not set, and CONTROL_PLANE_TOOLS neither}/.cache}/functiongraph-operator
if [ -n "${CONTROL_PLANE_TOOLS-}" ]; then
    folder=$CONTROL_PLANE_TOOLS${module:+/$module}
else
    folder=$cache/tools-${module:+$module-}$(hash_of go.sum)
fi
case ${1-} in
    --print-dir) echo "$folder"; exit ;;
    '') ;;
    *) die "$USAGE" ;;
esac

# The packages of the `tool` block or line, one on each line.
packages() { awk '$1 == "tool" { if ($2 == "(") on = 1; else print $2; next } $1 == ")" { on = 0 } on { print $1 }' go.mod; }

name_of() {
    case $1 in
        go.etcd.io/etcd/server/v3) echo etcd ;;
        *) basename "$1" ;;
    esac
}

# Whether a program need not be built: it is there, or a distribution brings it.
present() {
    [ -x "$folder/$1" ] && return
    case $1 in
        etcd | kube-apiserver | kubectl) [ -x "${KUBEBUILDER_ASSETS:-/nowhere}/$1" ] ;;
        *) false ;;
    esac
}

missing() {
    local package
    for package in $(packages); do
        present "$(name_of "$package")" || echo "$package"
    done
}

# === what it takes ===

# The Go version go.mod asks for, and whether there is one as new. A Go since 1.21 fetches a newer one itself.
wanted_go=$(awk '$1 == "go" { print $2 }' go.mod)
go_is_new_enough() {
    local found major minor wanted_minor
    found=$(go version | awk '{ sub(/^go/, "", $3); print $3 }') || return
    IFS=. read -r major minor _ <<<"$found"
    IFS=. read -r _ wanted_minor _ <<<"$wanted_go"
    [ "$major" -gt 1 ] || [ "${minor%%[!0-9]*}" -ge "$wanted_minor" ]
}

check_rust_and_c() {
    local lacking=0
    have cargo || { say "Rust is missing: https://rustup.rs"; lacking=1; }
    have cc || { say "A C compiler is missing: Debian and Ubuntu: apt-get install build-essential, Fedora: dnf install gcc, macOS: xcode-select --install"; lacking=1; }
    return $lacking
}

check_go() {
    have go || { say "Go is missing: https://go.dev/dl (version $wanted_go or newer)"; return 1; }
    go_is_new_enough || { say "Go $wanted_go or newer is needed: https://go.dev/dl; this is $(go version 2>&1)"; return 1; }
}

# === building ===

scratch='' builder=''
clean_up() {
    [ -z "$builder" ] || kill "$builder" 2>/dev/null || true
    [ -z "$scratch" ] || rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Shows that a build is alive: on a terminal a line that changes, elsewhere a line now and then.
watch_build() { # name, number, log
    local seconds=0 compiled doing
    while kill -0 "$builder" 2>/dev/null; do
        compiled=$(grep -cv '^go: ' "$3" || true)
        if [ "$compiled" -gt 0 ]; then doing="$compiled packages compiled"; else doing=linking; fi
        if [ -t 2 ]; then
            printf '\r\033[K  %s %s: %s, %s s' "$2" "$1" "$doing" "$seconds" >&2
        elif [ $((seconds % HEARTBEAT)) -eq 0 ] && [ $seconds -gt 0 ]; then
            say "  $2 $1: $doing, $seconds s"
        fi
        sleep 1
        seconds=$((seconds + 1))
    done
    [ ! -t 2 ] || printf '\r\033[K' >&2
}

build() { # package, number; the folder never holds half a program: it is moved there when complete
    local name log started=$SECONDS kubernetes major minor component=k8s.io/component-base/version
    name=$(name_of "$1")
    log=$scratch/$name.log
    : >"$log"
    kubernetes=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' go.mod)
    IFS=. read -r major minor _ <<<"${kubernetes#v}"
    # Without the version kubectl and Helm stumble over the server's. Other flags would make a second build cache.
    go build -v -o "$scratch/$name" \
        -ldflags "-s -w -X $component.gitVersion=$kubernetes -X $component.gitMajor=$major -X $component.gitMinor=$minor" \
        "$1" >"$log" 2>&1 &
    builder=$!
    watch_build "$name" "$2" "$log"
    wait "$builder" || { tail -n 20 "$log" >&2; builder=''; die "$name could not be built; its last words are above."; }
    builder=''
    mv "$scratch/$name" "$folder/$name"
    say "  $2 $name: done in $((SECONDS - started)) s"
}

one_at_a_time() { # a second caller waits and then finds the work done; without flock both do it, which is only slow
    have flock || return 0
    exec 9>"$folder/.lock"
    flock -n 9 || { say "Another checkout is building the same tools; waiting for it."; flock 9; }
}

check_rust_and_c || exit 1
if [ -z "$(missing)" ]; then
    say "The tools are ready in $folder."
    exit
fi
if ! check_go; then
    [ -z "$module" ] || exit 1
    for name in etcd kube-apiserver kubectl; do present "$name" || exit 1; done
    say "Going on with KUBEBUILDER_ASSETS alone: no kube-controller-manager, no helm, no kubeconform."
    exit
fi
mkdir -p "$folder"
one_at_a_time
todo=$(missing)
total=$(printf '%s' "$todo" | grep -c .) || true
if [ "$total" -gt 0 ]; then
    scratch=$(mktemp -d "$folder/.build.XXXXXX")
    say "Building Go programs into $folder: $total to do."
    say "This happens once for each set of versions: minutes, or seconds when Go has compiled them before."
    number=0
    for package in $todo; do
        number=$((number + 1))
        build "$package" "$number/$total"
    done
fi
say "The tools are ready in $folder."
