#!/usr/bin/env bash
# Removes a node that up.sh made: its processes, mounts, control groups, network and folder; nothing else.
#   down.sh FOLDER [--keep-logs]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# shellcheck source=common.sh
. "$here/common.sh"
[ -f "${1-}/number" ] || die "usage: down.sh FOLDER [--keep-logs]; there is no node in ${1-}"
DIR=$(cd "$1" && pwd)
number=$(cat "$DIR/number")
node=functiongraph-node-$number
readonly DIR number node
# Looks of 0.05 s before what does not end is killed.
readonly PATIENCE=60

stop() { # name, signal
    local pid looks=0
    pid=$(cat "$DIR/run/$1.pid" 2>/dev/null) || return 0
    # With its children: each was started in a session of its own.
    kill -s "$2" -- "-$pid" 2>/dev/null || true
    while is_alive "$pid"; do
        looks=$((looks + 1))
        [ "$looks" -lt "$PATIENCE" ] || kill -s KILL -- "-$pid" 2>/dev/null || true
        [ "$looks" -lt $((2 * PATIENCE)) ] || break
        sleep 0.05
    done
}

processes_of_containers() {
    local group
    control_groups "$node" | while read -r group; do
        if [ -d "$group" ]; then find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null; fi
    done | sort -u
}

# kubelet first: it would start anew what is killed.
stop services KILL
stop kubelet KILL
stop kube-proxy KILL
stop kube-scheduler KILL
stop kube-controller-manager KILL
looks=0
while pids=$(processes_of_containers) && [ -n "$pids" ] && [ "$looks" -lt "$PATIENCE" ]; do
    # shellcheck disable=SC2086 # several
    kill -s KILL $pids 2>/dev/null || true
    looks=$((looks + 1))
    sleep 0.05
done
for process in /proc/[0-9]*; do
    if { tr '\0' ' ' <"$process/cmdline"; } 2>/dev/null | grep -q "^[^ ]*containerd-shim-runc-v2 .*-address $DIR/run/containerd.sock"; then
        kill -s KILL "${process#/proc/}" 2>/dev/null || true
    fi
done
stop containerd TERM
stop kube-apiserver KILL
stop etcd KILL
stop name-server KILL

# Mounts lie on mounts.
for _ in 1 2 3; do
    awk -v under="$DIR/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r -n1 umount -l 2>/dev/null || true
done
control_groups "$node" | while read -r group; do
    if [ -d "$group" ]; then find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
done
if ip netns list | grep -qw "$node"; then ip netns del "$node"; fi
if ip link show "fgnode$number" >/dev/null 2>&1; then ip link del "fgnode$number"; fi
for result in /var/lib/cni/results/"$node"-*-eth0; do
    [ -f "$result" ] || continue
    container=${result#"/var/lib/cni/results/$node-"}
    rm -f "$result" "/var/lib/cni/results/cni-loopback-${container%-eth0}-lo"
done
for log in /var/log/containers/*; do
    case $(readlink "$log") in "$DIR"/*) rm -f "$log" ;; esac
done
if [ "${2-}" = --keep-logs ]; then
    find "$DIR" -mindepth 1 -maxdepth 1 ! -name log ! -name pods.log -exec rm -rf {} +
else
    rm -rf "$DIR"
fi
rm -rf "${REGISTRY:?}/$number"
