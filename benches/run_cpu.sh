#!/usr/bin/env bash
# wcodec beside its peers on the CPU, each file in one run, as text for a file in results/.
#
#   PEERS="python cpu_peers.py" [RUNS=15] benches/run_cpu.sh FILE.safetensors...
#
# PEERS is a command that takes a file and prints a line for each peer; without it only wcodec is
# measured. Takes target/release/wcodec, or the program that WCODEC names, as it is.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wcodec=${WCODEC:-$root/target/release/wcodec}
runs=${RUNS:-15}

# THREADS LEVEL FILE: a line like the peers', best and median of the runs.
measure() {
    WCODEC_SIMD=$2 "$wcodec" bench --json --runs "$runs" --threads "$1" "$3" | python3 -c '
import json, os, sys
bench = json.load(sys.stdin)
result = bench["results"][0]
speed = lambda seconds: result["original_bytes"] / seconds / 1e6
encode, decode = result["encode_seconds"], result["decode_seconds"]
label = "wcodec " + bench["simd"]
best = [speed(seconds["least"]) for seconds in (encode, decode)]
median = [speed(seconds["median"]) for seconds in (encode, decode)]
print("{:34} {:22} t{} ratio {:.4f}  enc {:7.0f}  dec {:7.0f} MB/s  (median {:.0f}, {:.0f})".format(
    os.path.basename(result["name"]), label, bench["threads"], result["ratio"], *best, *median))
'
}

printf 'date      %s\n' "$(date -u +%F)"
printf 'processor %s, %s processors\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
printf 'commit    %s\n' "${COMMIT:-$(git -C "$root" rev-parse HEAD)}"
printf 'figures   1e6 original bytes a second, best (and median) of %s runs; peers: best of their passes\n' "$runs"
printf 'load      %s\n\n' "$(cat /proc/loadavg)"
for file in "$@"; do
    measure 1 avx512 "$file"
    measure 2 avx512 "$file"
    if [[ -n ${PEERS:-} ]]; then
        $PEERS "$file"
    fi
    measure 1 avx2 "$file"
    measure 1 portable "$file"
    measure 1 avx512 "$file"
done
printf '\nload      %s\n' "$(cat /proc/loadavg)"
