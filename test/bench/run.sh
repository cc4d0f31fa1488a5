#!/usr/bin/env bash
# make bench: all measurements, as a table on stdout and in $B/bench.md. Measure on a quiet machine.
#
# Environment: RUNS (3 runs of each number, the median counts), SECONDS_EACH (4), TUNNELS (10000).

cd "$(dirname "$0")/../.." || exit 1
[ "$(id -u)" = 0 ] || { echo "bench: needs root, for network namespaces" >&2; exit 7; }
export B=${B:-build} RUNS=${RUNS:-3}
out=$PWD/$B/bench.md
test/packages bench || exit 1
{
    echo "Machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, Linux $(uname -r)"
    echo "Version: $("$B/shrike" version | head -n 1), $(date -u +%F)"
} | tee "$out"
test/bench/tunnel.sh -o "$out" || exit 1
test/bench/handshake.sh -o "$out" || exit 1
echo "written to $out" >&2
