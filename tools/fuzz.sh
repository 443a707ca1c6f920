#!/usr/bin/env bash
# Searches with the fuzz targets in fuzz/: all for FUZZ_SECONDS together, or those that are named, each from its seeds. How
# far it gets depends on the machine, so it is no test: those feed the seeds only (fuzz/tests/seeds.rs).
#   FUZZ_SECONDS   seconds for all targets of this run together, 60 if not given; two targets run at a time
#   FUZZ_SEED      where the chance begins, 1 if not given: a first run finds the same on every machine; 0: somewhere else
#                  each time
# What is found on the way is kept in the user's cache and serves the next run; an input that breaks a promise is
# kept in fuzz/found, and how to repeat it is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly AT_A_TIME=2

say() { printf '%s\n' "$*" >&2; }

every_target() { for file in fuzz/targets/*.rs; do basename "$file" .rs; done; }

# A crash, an input that takes longer than this or more memory than this is a finding.
readonly LIMITS=(-timeout=10 -rss_limit_mb=1024 -max_len=16384)

run() { # target, seconds
    local corpus=$cache/$1 log status=0 executions
    log=$(mktemp)
    mkdir -p "$corpus" fuzz/found
    "$programs/$1" "$corpus" "fuzz/seeds/$1" -max_total_time="$2" -dict=fuzz/words -artifact_prefix="fuzz/found/$1-" \
        -seed="${FUZZ_SEED:-1}" -print_final_stats=1 -reload=0 "${LIMITS[@]}" >"$log" 2>&1 || status=$?
    if [ "$status" -eq 0 ]; then
        executions=$(awk -F ': *' '/stat::number_of_executed_units/ { print $NF }' "$log")
        say "  $1: $executions inputs, nothing found"
    else
        grep -v -E '^#[0-9]+|^INFO|^Dictionary' "$log" | tail -n 30 >&2
        found=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        say "  $1: FOUND SOMETHING, above. To see it again:  tools/fuzz.sh --repeat $1 ${found:-<input>}"
        say "  Once it is fixed, keep the input as a seed, and the tests will feed it:  mv ${found:-<input>} fuzz/seeds/$1/<what-it-is>"
    fi
    rm -f "$log"
    return "$status"
}

repeat=''
if [ "${1-}" = --repeat ]; then
    [ $# -eq 3 ] || { say "usage: tools/fuzz.sh --repeat <target> <file>"; exit 1; }
    repeat=$3
    set -- "$2"
fi
targets=("$@")
if [ $# -eq 0 ]; then mapfile -t targets < <(every_target); fi
for target in "${targets[@]}"; do
    [ -e "fuzz/targets/$target.rs" ] || { say "There is no fuzz target $target. There are: $(every_target | tr '\n' ' ')"; exit 1; }
done

command -v c++ >/dev/null || { say "A C++ compiler is missing: Debian and Ubuntu: apt-get install g++, Fedora: dnf install gcc-c++, macOS: xcode-select --install"; exit 1; }
cache=${XDG_CACHE_HOME:-${HOME:?is not set, and XDG_CACHE_HOME neither}/.cache}/functiongraph-operator/fuzz
programs=${CARGO_TARGET_DIR:-target}/debug
RUSTC_WORKSPACE_WRAPPER=$PWD/fuzz/rustc.sh cargo build --locked --quiet --package functiongraph-fuzz --features search --bins

if [ -n "$repeat" ]; then exec "$programs/${targets[0]}" "${LIMITS[@]}" "$repeat"; fi

rounds=$(((${#targets[@]} + AT_A_TIME - 1) / AT_A_TIME))
seconds=$((${FUZZ_SECONDS:-60} / rounds))
[ "$seconds" -gt 0 ] || seconds=1
say "Fuzzing ${#targets[@]} targets, $seconds s each, $AT_A_TIME at a time."
failed=0
for ((i = 0; i < ${#targets[@]}; i += AT_A_TIME)); do
    running=()
    for target in "${targets[@]:i:AT_A_TIME}"; do
        run "$target" "$seconds" &
        running+=($!)
    done
    for one in "${running[@]}"; do wait "$one" || failed=1; done
done
exit $failed
