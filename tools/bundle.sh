#!/usr/bin/env bash
# Makes the OLM bundle out of the chart, and has the validators of the Operator Framework judge it.
#   tools/bundle.sh REPOSITORY[:TAG] [FOLDER]   default: target/bundle, which is replaced
# OLM brings users' roles of its own, takes no admission policies, and assigns users to Pods where the cluster does: docs/platforms.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

image=${1:?usage: tools/bundle.sh REPOSITORY[:TAG] [FOLDER]}
folder=${2:-${CARGO_TARGET_DIR:-target}/bundle}
tag=''
if [[ ${image##*/} == *:* ]]; then tag=${image##*:} image=${image%:*}; fi

rm -rf "$folder"
mkdir -p "$folder"
"$(tools/build.sh --print-dir)/helm" template functiongraph-operator charts/functiongraph-operator --namespace placeholder \
    --set "image.repository=$image,image.tag=$tag" \
    --set 'statusPolicy.enabled=false,rbac.aggregateRoles=false,networkPolicy.enabled=false' \
    --set 'podSecurityContext.runAsUser=null,podSecurityContext.runAsGroup=null,podSecurityContext.fsGroup=null' 2>/dev/null \
    | go -C tools/olm run . "$PWD/charts/functiongraph-operator/Chart.yaml" "$PWD/docs/icon.svg" "$(realpath "$folder")"
