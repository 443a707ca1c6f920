#!/usr/bin/env bash
# Runs the operator and a local FunctionGraph on this machine, for the cluster of your kubeconfig: kind, k3d, minikube, or one that
# you may install CRDs in. Everything that it starts ends with it (Ctrl-C); the CRDs and your objects stay.
#   tools/local.sh [namespace]   the provider `default` is made there; default: the namespace of the current context
# OPERATOR, EMULATOR            programs to use instead of building them
# FUNCTIONGRAPH_EMULATOR_…      as the emulator's --help says: other ports, or _CONFIG for functions of yours
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

namespace=${1:-$(kubectl config view --minify --output 'jsonpath={.contexts[0].context.namespace}')}
namespace=${namespace:-default}

[ -n "${OPERATOR-}" ] || cargo build --locked --package functiongraph-operator --bin functiongraph-operator
[ -n "${EMULATOR-}" ] || cargo build --locked --package functiongraph-emulator
operator=${OPERATOR:-${CARGO_TARGET_DIR:-target}/debug/functiongraph-operator}
emulator=${EMULATOR:-${CARGO_TARGET_DIR:-target}/debug/functiongraph-emulator}

scratch=$(mktemp -d)
started=()
clean_up() {
    [ "${#started[@]}" -eq 0 ] || kill "${started[@]}" 2>/dev/null || true
    wait
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

FUNCTIONGRAPH_EMULATOR_TLS_DIR=$scratch/tls "$emulator" >"$scratch/emulator.log" 2>&1 &
started+=($!)
until address=$(grep -m1 '^FunctionGraph emulator at ' "$scratch/emulator.log"); do
    kill -0 "${started[0]}" 2>/dev/null || die "The emulator did not start: $(cat "$scratch/emulator.log")"
    sleep 0.1
done
read -r url region project <<<"$(sed -E 's/.* at (.*), region (.*), project (.*)/\1 \2 \3/' <<<"$address")"
token=$(sed -n '/^  token  */{s///p;q}' "$scratch/emulator.log")
[ -n "$token" ] || die "The configuration of the emulator has no token. Add one: tokens: [emulator-token]"

kubectl apply --server-side -f crds/
kubectl wait --for=condition=Established crd/functioninvocations.functiongraph.io crd/functiongraphproviders.functiongraph.io --timeout=60s
kubectl apply --server-side --namespace "$namespace" -f - <<END
apiVersion: v1
kind: Secret
metadata: {name: emulator}
stringData: {token: "$token"}
---
apiVersion: functiongraph.io/v1alpha1
kind: FunctionGraphProvider
metadata: {name: default}
spec:
  region: $region
  projectID: $project
  endpoint: $url
  caBundle: |
$(sed 's/^/    /' "$scratch/tls/ca.crt")
  credentials: {token: {secretRef: {name: emulator}}}
END
"$operator" run --allowed-endpoint-hosts=localhost --probe-listen=127.0.0.1:0 --metrics-listen=127.0.0.1:0 --log-format=text &
started+=($!)
kubectl wait --namespace "$namespace" --for=condition=Ready fgp/default --timeout=60s
sed "s/^/emulator: /" "$scratch/emulator.log" >&2
say "Ready: create invocations in namespace $namespace, of the functions listed above. Ctrl-C ends operator and emulator."
wait -n "${started[@]}"
