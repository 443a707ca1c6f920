#!/bin/sh
# Invokes a function and waits for the end. Exit status 0: it ended well. 1: it did not, or not in time.
#   NAME=resize-$PIPELINE_ID TIMEOUT=10m sh invoke.sh invocation.yaml
# ${NAME} in the manifest becomes the name. A step that is repeated under the same name sends nothing: it waits for the
# invocation that is there.
set -eu
invocation=$(sed "s/\${NAME}/$NAME/g" "$1" | kubectl apply --server-side -f - -o name)
kubectl wait --for=condition=Finished "$invocation" --timeout="${TIMEOUT:-10m}"
# Finished holds after a failure too. Ready says how it ended.
kubectl get "$invocation" -o jsonpath='{.status.outcome}: {.status.conditions[?(@.type=="Ready")].message}{"\n"}'
[ "$(kubectl get "$invocation" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = True ]
