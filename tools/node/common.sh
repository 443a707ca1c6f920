# What up.sh and down.sh have in common: who is alive, and what belongs to which node. To be sourced.
# shellcheck shell=bash

# One folder for each node of this machine: who makes it has the number.
# shellcheck disable=SC2034 # those that source this use it
readonly REGISTRY=/run/functiongraph-nodes

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# A zombie has no program any more.
is_alive() { readlink -q "/proc/$1/exe" >/dev/null; }

# When a process started, in ticks since the boot: with its number it is unique. Nothing if there is none.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# The folders of a node's control groups, in each hierarchy, whether they are there or not.
control_groups() {
    local root
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        echo "/sys/fs/cgroup/$1"
    else
        for root in /sys/fs/cgroup/*/; do
            if [ -f "${root}cgroup.procs" ] && [ ! -L "${root%/}" ]; then echo "$root$1"; fi
        done
    fi
}
