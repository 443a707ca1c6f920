#!/usr/bin/env bash
# Builds the images of Dockerfile, with docker or podman where one works, else with buildah on a stand-in of the base.
#   tools/image.sh               build both, unless they are there already for these sources
#   tools/image.sh --print-dir   only say where they are: operator.tar and emulator.tar, as `docker save` writes them
#   tools/image.sh --program     build both likewise, take the operator's program out of its image, and say where it is
# IMAGE_ENGINE        docker, podman or buildah: which to use
# IMAGE_NAME          what the operator's image is called; default localhost/functiongraph-operator, which
#                     no cluster can pull from anywhere
# SOURCE_DATE_EPOCH   the age of all files, in seconds since 1970; default: the last commit of what goes in
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly CACHE=${XDG_CACHE_HOME:-${HOME:?is not set, and XDG_CACHE_HOME neither}/.cache}/functiongraph-operator
readonly NAME=${IMAGE_NAME:-localhost/functiongraph-operator}
# What decides over what is in the images; a new checkout of the same sources need not build.
readonly INPUTS=(Dockerfile .dockerignore tools/image.sh tools/notices.py Cargo.toml Cargo.lock LICENSE src
    crates/functiongraph/{Cargo.toml,README.md,src} crates/emulator/{Cargo.toml,README.md,src})
# How many sets of images are kept: checkouts that differ share the cache.
readonly KEEP=4

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

version=$(awk -F '"' '/^version = /{ print $2; exit }' Cargo.toml)
readonly version
# shellcheck disable=SC2034 # used by their names
readonly operator=$NAME:$version emulator=${NAME%/*}/functiongraph-emulator:$version

fingerprint() {
    { printf '%s\n' "$NAME"; find "${INPUTS[@]}" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; } | sha256sum | cut -c1-12
}

folder=$CACHE/images-$(fingerprint)
readonly folder
case ${1-} in
    --print-dir) echo "$folder"; exit ;;
    '' | --program) ;;
    *) die "usage: tools/image.sh [--print-dir | --program]" ;;
esac

# === who builds ===

engine() {
    local name
    if [ -n "${IMAGE_ENGINE-}" ]; then echo "$IMAGE_ENGINE"; return; fi
    for name in docker podman; do
        if have "$name" && "$name" info >/dev/null 2>&1; then echo "$name"; return; fi
    done
    echo buildah
}

# What buildah and the stand-in need. Nothing is installed where it is there.
install_buildah() {
    local packages=() triple
    have buildah || packages+=(buildah)
    have musl-gcc || packages+=(musl-tools)
    have make || packages+=(make)
    if [ "${#packages[@]}" -gt 0 ]; then
        if [ "$(id -u)" -ne 0 ] || ! have apt-get; then
            die "To build images, install docker or podman; or, on Debian or Ubuntu and as root: apt-get install ${packages[*]}"
        fi
        say "Installing ${packages[*]}."
        apt-get update -q >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}" >/dev/null
    fi
    [ "$(id -u)" -eq 0 ] || die "buildah builds on a stand-in as root only: run it as root, or install docker or podman."
    triple=$(uname -m)-unknown-linux-musl
    if [ ! -d "$(rustc --print target-libdir --target "$triple")" ]; then
        say "Installing Rust's library for $triple."
        rustup --quiet target add "$triple" || die "No standard library for $triple: rustup target add $triple"
    fi
}

# === building ===

build_with_engine() { # docker or podman
    local target name
    for target in operator emulator; do
        name=${!target}
        DOCKER_BUILDKIT=1 "$engine" build --target "$target" --tag "$name" --build-arg "VERSION=$version" \
            --build-arg "SOURCE_DATE_EPOCH=$epoch" --file Dockerfile . >&2
        "$engine" save --output "$scratch/$target.tar" "$name"
    done
}

# The system of this machine and its Rust, seen through bind mounts: what builds is what is installed here.
stand_in() {
    local base mount
    base=$(buildah "${store[@]}" from scratch)
    mount=$(buildah "${store[@]}" mount "$base")
    mkdir -p "$mount"/{etc/ssl,etc/alternatives,usr,tmp,root,src,cargo,target,rustup,dev,proc,sys}
    chmod 1777 "$mount/tmp"
    local name
    for name in bin sbin lib lib64 lib32; do
        if [ -L "/$name" ]; then ln -s "$(readlink "/$name")" "$mount/$name"; fi
    done
    touch "$mount/etc/ld.so.cache" "$mount/etc/passwd" "$mount/etc/nsswitch.conf"
    buildah "${store[@]}" config --env PATH=/rustup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin "$base"
    buildah "${store[@]}" commit --quiet "$base" "$1" >/dev/null
    buildah "${store[@]}" rm "$base" >/dev/null
}

build_with_buildah() {
    local target name storage=$CACHE/buildah sysroot
    install_buildah
    sysroot=$(rustc --print sysroot)
    # The folders of --mount=type=cache lie in $TMPDIR and stay; images and layers go with the scratch folder.
    mkdir -p "$storage/tmp"
    export TMPDIR=$storage/tmp
    store=(--root "$scratch/root" --runroot "$scratch/run" --storage-driver overlay)
    stand_in localhost/stand-in:1
    for target in operator emulator; do
        name=${!target}
        buildah "${store[@]}" build --isolation chroot --pull-never --layers --timestamp "$epoch" \
            --volume /usr:/usr:ro --volume /etc/ssl:/etc/ssl:ro --volume /etc/alternatives:/etc/alternatives:ro \
            --volume /etc/ld.so.cache:/etc/ld.so.cache:ro --volume "$sysroot:/rustup:ro" \
            --build-arg BUILDER=localhost/stand-in:1 --build-arg "VERSION=$version" \
            --target "$target" --tag "$name" --file Dockerfile . >&2
        buildah "${store[@]}" push --quiet "$name" "docker-archive:$scratch/$target.tar:$name"
    done
}

scratch=''
clean_up() {
    [ -n "$scratch" ] || return 0
    # Overlays that an interrupted build left mounted.
    awk -v under="$scratch/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r -n1 umount -l 2>/dev/null || true
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

tell() {
    local target name
    for target in operator emulator; do
        name=${!target}
        say "$name: $(du -k --apparent-size "$folder/$target.tar" | awk '{ printf "%.1f MB", $1 * 1.024 / 1000 }'), $folder/$target.tar"
    done
}

# The operator's program, out of the layer that has it.
program() {
    local name=functiongraph-operator layer layers
    if [ ! -x "$folder/$name" ]; then
        layers=$(tar -tf "$folder/operator.tar" | grep -E '^[0-9a-f]+\.tar$|^blobs/sha256/')
        scratch=$(mktemp -d "$CACHE/.images.XXXXXX")
        for layer in $layers; do
            tar -xOf "$folder/operator.tar" "$layer" >"$scratch/layer"
            tar -xf "$scratch/layer" -C "$scratch" "$name" 2>/dev/null || true
        done
        [ -x "$scratch/$name" ] || die "The image has no program $name."
        mv "$scratch/$name" "$folder/"
    fi
    echo "$folder/$name"
}

finish() {
    if [ "$1" = --program ]; then program; else tell; fi
}

if [ -f "$folder/operator.tar" ] && [ -f "$folder/emulator.tar" ]; then
    touch "$folder"
    say "The images are there for these sources."
    finish "${1-}"
    exit
fi
mkdir -p "$CACHE"
exec 9>"$CACHE/.images.lock"
flock -n 9 || { say "Images are being built already; waiting for that."; flock 9; }
if [ ! -f "$folder/emulator.tar" ]; then
    epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct -- "${INPUTS[@]}" 2>/dev/null || true)}
    epoch=${epoch:-0}
    scratch=$(mktemp -d "$CACHE/.images.XXXXXX")
    engine=$(engine)
    tools/notices.py >THIRD-PARTY.txt
    say "Building two images with $engine: minutes the first time, less when only a little has changed."
    case $engine in
        docker | podman) build_with_engine ;;
        buildah) build_with_buildah ;;
        *) die "IMAGE_ENGINE is docker, podman or buildah, not $engine" ;;
    esac
    rm -rf "$folder"
    mkdir "$folder"
    mv "$scratch"/{operator,emulator}.tar "$folder/"
    # shellcheck disable=SC2012 # the names are ours
    ls -dt "$CACHE"/images-* | tail -n +$((KEEP + 1)) | xargs -r rm -rf
fi
finish "${1-}"
