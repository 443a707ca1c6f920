#!/usr/bin/env bash
# One version in one place: Cargo.toml. Carries it to where else it stands, and says what keeps a commit from being a
# release.
#   tools/release.sh version          print the version
#   tools/release.sh set <version>    write it everywhere, and date the changelog
#   tools/release.sh check            fail with a sentence for everything that is not as a release wants it
#   tools/release.sh notes            print what the changelog says of this version
#   tools/release.sh chart <repository>@sha256:<digest> <folder> <url>
#                                     write the chart as it is released, which installs that image, into a new folder; the
#                                     URL is that of the repository which releases it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly CHART=charts/functiongraph-operator/Chart.yaml
readonly USAGE='usage: tools/release.sh version | set <version> | check | notes | chart <repository>@sha256:<digest> <folder> <url>'
readonly NUMBER='[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?'

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

version() { awk -F '"' '/^\[/ { on = ($0 == "[workspace.package]") } on && /^version *=/ { print $2 }' Cargo.toml; }

chart_field() { awk -v name="$1:" '$1 == name { gsub(/"/, "", $2); print $2 }' "$CHART"; }

notes() { awk -v heading="## $(version) - " 'index($0, heading) == 1 { on = 1; next } /^## / { on = 0 } on' CHANGELOG.md; }

# Every place where an image, the packaged chart or the tag is named with a version: file:line:version. The changelog tells
# of old ones, and the chart's tests of invented ones.
mentions() {
    git grep -nIoE "functiongraph-(operator|emulator)(:|-)$NUMBER(\\.tgz)?|refs/tags/v$NUMBER" -- \
        '*.md' '*.yaml' '*.yml' ':!CHANGELOG.md' ':!charts/*/tests/*' \
        | sed -E "s/\\.tgz\$//; s/^([^:]*:[0-9]*):.*(functiongraph-(operator|emulator)[:-]|tags\/v)($NUMBER)\$/\1:\4/"
}

set_version() {
    local new=$1 old file
    [[ $new =~ ^$NUMBER$ ]] || die "$new is no version: expected something like 0.2.0 or 0.2.0-rc.1"
    old=$(version)
    grep -q '^## Unreleased$' CHANGELOG.md || die "CHANGELOG.md has no section \"## Unreleased\" that could become $new."
    # Before the version changes, so that only what was current is carried on.
    for file in $(mentions | cut -d : -f 1 | sort -u); do
        sed -i.old -E "s/(functiongraph-(operator|emulator)[:-]|refs\/tags\/v)${old//./\\.}/\1$new/g" "$file"
        rm "$file.old"
    done
    sed -i.old -E "/^\[workspace\.package\]/,/^\[/ s/^version = \".*\"/version = \"$new\"/" Cargo.toml
    sed -i.old -E "s/^(version|appVersion): .*/\1: $new/" "$CHART"
    sed -i.old "s/^## Unreleased\$/## $new - $(date -u +%F)/" CHANGELOG.md
    rm -f Cargo.toml.old CHANGELOG.md.old "$CHART.old"
    cargo update --quiet --workspace --offline || die "Cargo.lock could not be written: run cargo update --workspace"
    say "Written: $new. Look at it with git diff; then make generate, commit, make release-check."
}

check() {
    local v wrong=0 file found tagged
    v=$(version)
    no() { say "  no: $*"; wrong=1; }
    ok() { say "  ok: $*"; }
    say "Is this version $v?"

    found=$(cargo metadata --locked --offline --no-deps --format-version 1 2>/dev/null \
        | python3 -c 'import json, sys; print(" ".join(sorted({p["version"] for p in json.load(sys.stdin)["packages"]})))') || found="(Cargo.lock is stale)"
    if [ "$found" = "$v" ]; then ok "Cargo.lock and all crates"; else no "the crates have version $found: run cargo update --workspace, and let every crate inherit the version"; fi

    if [ -f "$CHART" ]; then
        for field in version appVersion; do
            if [ "$(chart_field $field)" = "$v" ]; then ok "$CHART, $field"; else no "$field in $CHART is $(chart_field $field): make it $v"; fi
        done
    else
        no "$CHART is missing"
    fi

    found=0
    while IFS= read -r file; do
        [ "${file##*:}" = "$v" ] || { no "${file%:*} names version ${file##*:}: make it $v"; found=1; }
    done < <(mentions)
    if [ $found -eq 0 ]; then ok "the image and chart versions named in documents and manifests"; fi

    if grep -qE "^## ${v//./\\.} - [0-9]{4}-[0-9]{2}-[0-9]{2}\$" CHANGELOG.md && [ -n "$(notes | tr -d '[:space:]')" ]; then
        ok "CHANGELOG.md has a dated section"
    else
        no "CHANGELOG.md has no section \"## $v - <date>\" with something in it: name the section \"Unreleased\" so (tools/release.sh set $v)"
    fi
    if grep -q '^## Unreleased' CHANGELOG.md; then no "CHANGELOG.md still has a section \"Unreleased\": what it tells of would be in no release"; fi

    if make --no-print-directory generated >/dev/null 2>&1; then ok "generated files"; else no "generated files are stale: run make generate (make generated says which)"; fi

    if [ -z "$(git status --porcelain)" ]; then ok "nothing uncommitted"; else no "there are changes that are not committed: git status"; fi
    tagged=$(git rev-parse --quiet --verify "refs/tags/v$v^{commit}" || true)
    if [ -z "$tagged" ] || [ "$tagged" = "$(git rev-parse HEAD)" ]; then
        ok "the tag v$v is free, or is this commit"
    else
        no "the tag v$v is another commit: this version is out; take the next one (tools/release.sh set <version>)"
    fi

    if [ $wrong -ne 0 ]; then die "This commit is no release yet."; fi
    say "This commit can be released as $v. What remains: make check; then docs/releasing.md from \"Tag\" on."
}

# A tag can be moved, a digest cannot.
chart() {
    local image=$1 folder=$2 url=$3
    [[ $image =~ ^[a-z0-9./:_-]+@sha256:[0-9a-f]{64}$ ]] || die "$image is no image by digest: expected <repository>@sha256:<64 hexadecimal digits>"
    [ ! -e "$folder" ] || die "$folder exists already: give a folder that does not"
    mkdir -p "$(dirname "$folder")"
    cp -RL "$(dirname "$CHART")" "$folder" # with the files that files/crds links to
    sed -i.old -E "s|^  repository: .*|  repository: ${image%@*}|; s|^  digest: .*|  digest: ${image#*@}|" "$folder/values.yaml"
    sed -i.old -E "s|^    runbookBaseURL: .*|    runbookBaseURL: $url/blob/v$(version)/docs/operations.md|" "$folder/values.yaml"
    rm "$folder/values.yaml.old"
    # Known only now: where it is from, and what is new in it.
    notes | python3 tools/chart/released.py "$(version)" "$image" "$url" >>"$folder/Chart.yaml"
}

case ${1-} in
    version) version ;;
    notes) notes ;;
    check) check ;;
    set) set_version "${2:?$USAGE}" ;;
    chart) chart "${2:?$USAGE}" "${3:?$USAGE}" "${4:?$USAGE}" ;;
    *) die "$USAGE" ;;
esac
