#!/usr/bin/env bash
# What a tensor costs beside its bytes: files of many small tensors beside files of one that has as many
# elements, as text for a file in results/.
#
#   [RUNS=25] [ROUNDS=7] benches/run_linear.sh [WCODEC...]
#
# Takes target/release/wcodec, or these programs in turn, and target/release/examples/make_checkpoint. Every
# round runs `wcodec bench` once for each file.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
programs=("$@")
[[ ${#programs[@]} -gt 0 ]] || programs=("$root/target/release/wcodec")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for sizes in 1024x16384 1x16777216 10000x100 1x1000000 1x16384; do
    "$root/target/release/examples/make_checkpoint" equal "$sizes" "$folder/$sizes.safetensors"
done

printf 'date      %s\n' "$(date -u +%F)"
printf 'processor %s, %s processors\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
printf 'commit    %s\n' "${COMMIT:-$(git -C "$root" rev-parse HEAD)}"
printf 'files     of BF16 weights, named COUNTxELEMENTS\n'
printf 'figures   ms: median of the medians of %s rounds of %s runs, and the least of all\n' "${ROUNDS:-7}" "${RUNS:-25}"
printf 'load      %s\n\n' "$(cat /proc/loadavg)"
ROUNDS=${ROUNDS:-7} RUNS=${RUNS:-25} python3 - "$folder" "${programs[@]}" <<'PY'
import json, os, statistics, subprocess, sys

folder, programs = sys.argv[1], sys.argv[2:]
files = ["1024x16384", "1x16777216", "10000x100", "1x1000000", "1x16384"]
pairs = [("1024x16384", "1x16777216"), ("10000x100", "1x1000000")]
seconds = ("encode_seconds", "decode_seconds")
for threads in (1, os.cpu_count()):
    measured = {(program, file, kind): [] for program in programs for file in files for kind in seconds}
    encoded = {}
    for _ in range(int(os.environ["ROUNDS"])):
        for program in programs:
            for file in files:
                command = [program, "bench", "--json", "--runs", os.environ["RUNS"], "--threads", str(threads),
                           f"{folder}/{file}.safetensors"]
                result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["results"][0]
                encoded[program, file] = result["encoded_bytes"]
                for kind in seconds:
                    measured[program, file, kind].append((1e3 * result[kind]["median"], 1e3 * result[kind]["least"]))
    for program in programs:
        print(f"{program}, {threads} threads")
        times = {}
        for file in files:
            for kind in seconds:
                runs = measured[program, file, kind]
                times[file, kind] = statistics.median(run[0] for run in runs), min(run[1] for run in runs)
            (encode, best_encode), (decode, best_decode) = (times[file, kind] for kind in seconds)
            print(f"  {file:12} {encoded[program, file]:10} bytes  encode {encode:8.3f} ({best_encode:8.3f})"
                  f"  decode {decode:8.4f} ({best_decode:8.4f})")
        for many, one in pairs:
            ratio = lambda kind, place: times[many, kind][place] / times[one, kind][place]
            print(f"  {many} / {one}: " + ", ".join(
                f"{kind.split('_')[0]} {ratio(kind, 0):.3f} ({ratio(kind, 1):.3f})" for kind in seconds))
PY
