#!/usr/bin/env bash
# Installs Huawei Cloud's own SDKs and a client for Open Telekom Cloud for the tests of the emulator, once per lock file,
# into the user's cache: the Python one into an environment of its own, the Node one as it is, those in Go as programs
# that the tests drive.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../crates/emulator/tests/sdk"

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

hash_of() { # of files, one behind the other
    cat "$@" | if have sha256sum; then sha256sum; else shasum -a 256; fi | cut -c1-12
}

# The tests compute the same folders.
cache=${XDG_CACHE_HOME:-${HOME:?is not set, and XDG_CACHE_HOME neither}/.cache}/functiongraph-operator
python_folder=$cache/sdk-python-$(hash_of python/requirements.txt)
node_folder=$cache/sdk-node-$(hash_of node/package.json node/package-lock.json)
go_folder=$cache/sdk-go-$(hash_of go/go.mod go/go.sum go/main.go go/sample/sample.go.txt)
otc_folder=$cache/sdk-otc-$(hash_of otc/go.mod otc/go.sum otc/main.go)

# The file that is written last, and whether what it stands for still runs: an environment dies with its Python.
python_is_ready() { [ -e "$python_folder/ready" ] && "$python_folder/bin/python" -c 'import huaweicloudsdkfunctiongraph' 2>/dev/null; }
node_is_ready() { [ -e "$node_folder/ready" ] && have node; }
otc_is_ready() { [ -x "$otc_folder/driver" ]; }
go_is_ready() { [ -x "$go_folder/driver" ] && [ -x "$go_folder/sample" ]; }

check_python() {
    have python3 || die "Python is missing: Debian and Ubuntu: apt-get install python3-venv, Fedora: dnf install python3, else https://www.python.org/downloads (3.10 or newer)"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or newer is needed; this is $(python3 --version)"
    python3 -c 'import ensurepip, venv' 2>/dev/null || die "Python has no venv: Debian and Ubuntu: apt-get install python3-venv"
}

check_node() {
    have node && have npm || die "Node is missing: Debian and Ubuntu: apt-get install nodejs npm, else https://nodejs.org (18 or newer)"
    node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' || die "Node 18 or newer is needed; this is $(node --version)"
}

check_go() { have go || die "Go is missing: https://go.dev/dl (version $(awk '$1 == "go" { print $2 }' go/go.mod) or newer)"; }

install_python() {
    local quiet=()
    [ -t 2 ] || quiet=(--quiet)
    say "Installing Huawei Cloud's Python SDK into $python_folder: once, some 4 MB."
    rm -rf "$python_folder"
    python3 -m venv "$python_folder"
    # Ready-made packages only: nothing that is downloaded runs while it is installed.
    "$python_folder/bin/python" -m pip --disable-pip-version-check install ${quiet[@]+"${quiet[@]}"} \
        --require-hashes --only-binary :all: --requirement python/requirements.txt >&2
    touch "$python_folder/ready"
}

install_node() {
    say "Installing Huawei Cloud's Node SDK into $node_folder: once, some 45 MB."
    rm -rf "$node_folder"
    mkdir -p "$node_folder"
    cp node/package.json node/package-lock.json "$node_folder"
    # Nothing that is downloaded runs while it is installed.
    (cd "$node_folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
    touch "$node_folder/ready"
}

build_otc() {
    say "Building a client for Open Telekom Cloud into $otc_folder: once, under a minute."
    mkdir -p "$otc_folder"
    (cd otc && go build -mod=readonly -o "$otc_folder/driver.part" .) >&2
    mv "$otc_folder/driver.part" "$otc_folder/driver"
}

# The sample as published does not compile, has a placeholder for its region, and says nowhere which function it means.
complete_sample() {
    awk '{
        sub(/<YOUR REGION>/, "cn-north-4")
        sub(/AsyncInvokeFunctionRequest\{\}/, "AsyncInvokeFunctionRequest{FunctionUrn: os.Getenv(\"FUNCTION_URN\")}")
        print
    } /^import \($/ { print "\"os\"" }' go/sample/sample.go.txt
}

build_go() {
    say "Building Huawei Cloud's Go SDK into $go_folder: once, under a minute after a download of 45 MB."
    mkdir -p "$go_folder"
    # Moved there when complete, so that the folder never holds half a program.
    (cd go && go build -mod=readonly -o "$go_folder/driver.part" .) >&2
    mkdir -p "$go_folder/source"
    complete_sample >"$go_folder/source/sample.go"
    (cd go && go build -mod=readonly -o "$go_folder/sample.part" "$go_folder/source/sample.go") >&2
    mv "$go_folder/sample.part" "$go_folder/sample"
    mv "$go_folder/driver.part" "$go_folder/driver"
}

mkdir -p "$cache"
# A second caller waits and then finds the work done; without flock both do it.
if have flock; then exec 9>"$cache/.sdks.lock"; flock 9; fi
python_is_ready || { check_python; install_python; }
node_is_ready || { check_node; install_node; }
go_is_ready || { check_go; build_go; }
otc_is_ready || { check_go; build_otc; }
say "The SDKs are ready in $cache."
