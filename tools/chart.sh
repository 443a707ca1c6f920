#!/usr/bin/env bash
# Checks the Helm chart.
#   tools/chart.sh unit   its own tests, in seconds
#   tools/chart.sh docs   writes its README.md; docs check: fails if it is stale
#   tools/chart.sh        the tests, and what helm, kubeconform, kube-score and checkov say
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly CHART=../charts/functiongraph-operator

# What a careful platform team sets: the scanners judge this, and kubeconform the rest too.
readonly IMAGE=(--set 'image.repository=registry.example.com/functiongraph-operator')
readonly CAREFUL=(
    --set 'replicaCount=2'
    --set "image.digest=sha256:$(printf '0%.0s' {1..64})"
)
readonly ALL=(
    "${CAREFUL[@]}"
    --set 'defaultProvider.secretName=functiongraph,defaultProvider.region=eu-de,crds.install=false'
    --set 'metrics.auth.enabled=true,metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true'
    --set 'settings.tokenAudience=a,rbac.tokenServiceAccounts[0].namespace=a,rbac.tokenServiceAccounts[0].names={a}'
    --set 'projectedTokens[0].path=a,projectedTokens[0].audience=a'
    --set 'metrics.serviceMonitor.scrapeTimeout=10s,metrics.service.ipFamilyPolicy=PreferDualStack'
    --set 'rbac.clusterProviderReaders[0].kind=Group,rbac.clusterProviderReaders[0].name=a'
    --set 'rbac.clusterProviderReaders[0].apiGroup=rbac.authorization.k8s.io'
    --set 'extraVolumes[0].name=a,extraVolumes[0].emptyDir.medium=Memory,extraVolumeMounts[0].name=a,extraVolumeMounts[0].mountPath=/a'
    --set 'hostAliases[0].ip=10.1.2.3,hostAliases[0].hostnames={a.example.com},startupProbe.failureThreshold=30'
)

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

hash_of() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -c1-12
}

tool() { printf '%s/%s' "$(./build.sh ${2+"$2"} --print-dir)" "$1"; }
render() { "$(tool helm)" template fg "$CHART" --namespace functiongraph "${IMAGE[@]}" "$@" 2> >(quieter); }
quieter() { grep -v 'found symbolic link in path' >&2 || true; } # crds/ is one, on purpose
exceptions() { awk -v scanner="$1" '$1 == scanner { print $2 }' chart/exceptions.txt; }

# === Python, for checkov and the schemas ===

venv=${XDG_CACHE_HOME:-$HOME/.cache}/functiongraph-operator/checkov-$(hash_of chart/requirements.txt)
install_checkov() {
    [ -e "$venv/ready" ] && "$venv/bin/python" -c 'import checkov' 2>/dev/null && return
    python3 -c 'import ensurepip, venv' 2>/dev/null || die "Python has no venv: Debian and Ubuntu: apt-get install python3-venv"
    say "Installing checkov into $venv: once, some 300 MB."
    rm -rf "$venv"
    python3 -m venv "$venv"
    # Ready-made packages only: nothing that is downloaded runs while it is installed.
    "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --require-hashes --only-binary :all: \
        --requirement chart/requirements.txt >&2
    touch "$venv/ready"
}

# === the checks ===

scratch=''
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT

unit() {
    ./build.sh chart
    "$(tool helm-unittest chart)" --color=false "$CHART"
}

docs() {
    ./build.sh chart
    local write=("$(tool helm-docs chart)" --chart-search-root "$CHART" --sort-values-order file --log-level warning)
    if [ "${1-}" = check ]; then
        "${write[@]}" --dry-run | diff -u "$CHART/README.md" - || die "The chart's README.md is stale: run make generate"
    else
        "${write[@]}"
    fi
}

lint() { "$(tool helm)" lint --strict "$CHART" "${IMAGE[@]}" 2> >(quieter); }

# Against the schemas of every Kubernetes that is supported; see chart/schemas.py.
conform() {
    "$venv/bin/python" chart/schemas.py expand "$scratch/schemas"
    render >"$scratch/plain.yaml"
    render "${ALL[@]}" >"$scratch/all.yaml"
    render --set 'watchNamespaces={team,other},crds.install=false' >"$scratch/namespaced.yaml"
    local version
    for version in "$scratch"/schemas/v*; do
        say "kubeconform: Kubernetes $(basename "$version")"
        "$(tool kubeconform)" -strict -summary -schema-location "$version/{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json" \
            "$scratch"/{plain,all,namespaced}.yaml
    done
}

scan() {
    ./build.sh score
    render "${CAREFUL[@]}" >"$scratch/careful.yaml"
    local accepted
    mapfile -t accepted < <(exceptions kube-score)
    "$(tool kube-score score)" score --output-format ci "${accepted[@]}" "$scratch/careful.yaml" >"$scratch/score" || {
        grep -v '^\[\(OK\|SKIPPED\)\]' "$scratch/score" >&2
        die "kube-score is not content."
    }
    mapfile -t accepted < <(exceptions checkov)
    "$venv/bin/checkov" --file "$scratch/careful.yaml" --framework kubernetes --compact --quiet --skip-download \
        "${accepted[@]}" || die "checkov is not content."
    say "kube-score and checkov find nothing but what tools/chart/exceptions.txt explains."
}

case ${1-} in
    unit) unit ;;
    docs) docs "${2-}" ;;
    '')
        install_checkov
        scratch=$(mktemp -d)
        lint
        unit
        conform
        scan
        ;;
    *) die "usage: tools/chart.sh [unit|docs [check]]" ;;
esac
