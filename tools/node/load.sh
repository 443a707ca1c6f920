#!/usr/bin/env bash
# Gives images, as `docker save` writes them, to the node in FOLDER: load.sh FOLDER IMAGE.tar ...
set -euo pipefail
folder=$1
shift
for image in "$@"; do
    ctr --address "$folder/run/containerd.sock" --namespace k8s.io images import "$image" >/dev/null
done
