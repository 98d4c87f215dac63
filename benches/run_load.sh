#!/usr/bin/env bash
# How fast checkpoints become ready on a GPU, as text for a file in results/.
#
#   [COMMIT=...] [LAYERS=22] benches/run_load.sh FOLDER_OF_BINARIES [FOLDER_FOR_FILES]
#
# The binaries are wcodec and the examples make_checkpoint, load_gpu and resident_layers, by default
# those of `cargo build --release -p wcodec -p wcodec-benches --bins --examples`. Needs about three
# times the checkpoint's size on a disk (22 layers: 9 GB), and python3 with torch and safetensors for
# the comparison. Takes a few minutes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binaries=$(realpath "${1:-$here/../target/release}")
files=${2:-$(mktemp -d)}
layers=${LAYERS:-22}
results=$files/results
mkdir -p "$results"
PATH=$binaries:$binaries/examples:$PATH

# NAME ARGUMENTS...: runs `wcodec load`, its JSON kept under NAME.
load() {
    local name=$1
    shift
    printf '\n--- %s: wcodec load %s\n' "$name" "$*"
    if ! wcodec load "$@" --json >"$results/$name.json"; then
        echo "failed: $name"
        rm -f "$results/$name.json"
    fi
}

# Prints what a command took.
timed() {
    local start
    start=$(date +%s.%N)
    "$@"
    printf '%.1f s: %s\n' "$(echo "$(date +%s.%N) - $start" | bc 2>/dev/null || python3 -c "import time; print(time.time() - $start)")" "$*"
}

printf 'date      %s\n' "$(date -u +%F)"
printf 'GPU       %s\n' "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)"
printf 'processor %s, %s cores\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
printf 'memory    %s\n' "$(free -g | sed -n 's/^Mem: *\([0-9]*\).*/\1 GiB/p')"
printf 'kernel    %s\n' "$(uname -r)"
printf 'commit    %s\n' "${COMMIT:-$(git -C "$here" rev-parse HEAD 2>/dev/null || echo unknown)}"
printf 'command   benches/run_load.sh, LAYERS=%s\n\n' "$layers"

big=$files/big.safetensors small=$files/small.safetensors even=$files/even.safetensors
timed make_checkpoint llama "$layers" "$big"
timed make_checkpoint small 10000 "$small"
# As many bytes in two large tensors.
timed make_checkpoint matrices 2 "$even"
for file in "$big" "$small" "$even"; do
    timed wcodec encode --no-sha256 --force "$file" -o "$file.wcodec"
done
timed sync
cat "$big.wcodec" "$small.wcodec" "$even.wcodec" >/dev/null

device=(--device cuda:0)
load correct "$big.wcodec" "${device[@]}" --compare
load warm "$big.wcodec" "${device[@]}" --repeat 6
for threads in 4 8 12 16; do
    load "threads-$threads" "$big.wcodec" "${device[@]}" --repeat 4 --threads "$threads"
done
for pinned in 64 128 512; do
    load "pinned-$pinned" "$big.wcodec" "${device[@]}" --repeat 4 --pinned-mib "$pinned"
done
load no-checksums "$big.wcodec" "${device[@]}" --repeat 4 --no-checksums
for rank in 0 1; do
    load "half-$rank" "$big.wcodec" "${device[@]}" --repeat 4 --shard "$rank/2" --along '*=0'
done
load columns-0 "$big.wcodec" "${device[@]}" --repeat 3 --shard 0/2 --along '*proj.weight=1'
load columns-correct "$big.wcodec" "${device[@]}" --shard 1/3 --along '*proj.weight=1' --tensors 'model.layers.1?.*' --compare
load small "$small.wcodec" "${device[@]}" --repeat 8
load small-correct "$small.wcodec" "${device[@]}" --compare
load even "$even.wcodec" "${device[@]}" --repeat 8
load resident "$big.wcodec" "${device[@]}" --resident
load cold "$big.wcodec" "${device[@]}" --repeat 2 --cold
load cold-direct "$big.wcodec" "${device[@]}" --repeat 2 --cold --direct
load cpu "$big.wcodec" --device cpu --repeat 2

printf '\n--- load_gpu\n'
load_gpu "$even.wcodec" || echo "failed: load_gpu"
printf '\n--- resident_layers\n'
if [[ -z ${CUBLAS:-} ]]; then
    CUBLAS=$(find / -xdev -name 'libcublas.so.1[23]' 2>/dev/null | head -n 1 || true)
    export CUBLAS
    LD_LIBRARY_PATH=$(dirname "${CUBLAS:-/usr/lib/x}")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
fi
resident_layers || echo "failed: resident_layers"

printf '\n--- safetensors\n'
cat "$big" >/dev/null
python3 "$here/load_safetensors.py" "$big" 4 | tee "$results/safetensors.jsonl" || echo "failed: safetensors"
python3 "$here/load_safetensors.py" "$small" 4 | tee "$results/safetensors-small.jsonl" || true
python3 "$here/load_safetensors.py" "$big" 2 cold | tee -a "$results/safetensors.jsonl" || true

printf '\n'
python3 "$here/load_table.py" "$results"
