#!/usr/bin/env bash
# Checks the Helm chart.
#   tools/chart.sh unit   its own tests, in seconds
#   tools/chart.sh        those, and what helm, kubeconform, kube-score and checkov say
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly CHART=../charts/functiongraph-operator

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

unit() {
    ./build.sh chart
    "$(./build.sh chart --print-dir)/helm-unittest" --color=false "$CHART"
}

lint() { "$(./build.sh --print-dir)/helm" lint --strict "$CHART"; }

case ${1-} in
    unit) unit ;;
    '') lint && unit ;;
    *) die "usage: tools/chart.sh [unit]" ;;
esac
