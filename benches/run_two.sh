#!/usr/bin/env bash
# How fast two GPUs load their halves of a checkpoint, and how fast small tensors are, as text for a
# file in results/.
#
#   [COMMIT=...] [LAYERS=22] benches/run_two.sh FOLDER_OF_BINARIES [FOLDER_FOR_FILES]
#
# The binaries are wcodec and the examples make_checkpoint, load_devices and (if it is there)
# resident_layers; an older build of wcodec, called wcodec-before, is compared with if it is there.
# Needs two GPUs, and about twice the checkpoint's size (22 layers: 9 GB) in a folder that the page
# cache holds, such as one in /dev/shm. Takes about two minutes.
#
# Expected beforehand, for two H100 of one host with 16 cores each:
#   whole on one GPU     0.140 to 0.165 s (the bus carries 48 to 55 GB/s of the file, by the size of
#                        copies and by what else uses the host's memory)
#   halves on two GPUs   0.090 to 0.105 s, 0.58 to 0.65 of one GPU's time, as both read the same host
#                        memory
#   slices joined        identical
#   host memory          at most 150 MiB beyond the pinned budget
#   10,000 small tensors 7 to 8 ms, 20 to 23 GB/s, 0.6 to 0.7 of two large ones (33 to 36 GB/s)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binaries=$(realpath "${1:-$here/../target/release}")
files=${2:-$(mktemp -d -p /dev/shm)}
layers=${LAYERS:-22}
mkdir -p "$files"
PATH=$binaries:$binaries/examples:$PATH
devices=(--device cuda:0 --device cuda:1)

# ARGUMENTS...: says what is run, and goes on when it fails.
try() {
    printf '\n--- %s\n' "$*"
    timeout 120 "$@" || echo "failed with $?: $*"
}

printf 'date      %s\n' "$(date -u +%F)"
nvidia-smi --query-gpu=name,driver_version,pcie.link.gen.max --format=csv,noheader | sed 's/^/GPU       /'
printf 'processor %s, %s cores\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
printf 'memory    %s\n' "$(free -g | sed -n 's/^Mem: *\([0-9]*\).*/\1 GiB/p')"
lscpu | grep -i 'numa' || true
nvidia-smi topo -m || true
printf 'commit    %s\n' "${COMMIT:-$(git -C "$here" rev-parse HEAD 2>/dev/null || echo unknown)}"
printf 'command   benches/run_two.sh, LAYERS=%s\n' "$layers"

big=$files/big small=$files/small even=$files/even
make_checkpoint llama "$layers" "$big.safetensors"
make_checkpoint small 10000 "$small.safetensors"
# As many bytes in two large tensors.
make_checkpoint matrices 2 "$even.safetensors"
for file in "$big" "$small" "$even"; do
    wcodec encode --no-sha256 --force "$file.safetensors" -o "$file.wcodec"
    rm "$file.safetensors"
    cat "$file.wcodec" >/dev/null
done

for pinned in 256 512; do
    try load_devices "$big.wcodec" "${devices[@]}" --pinned-mib "$pinned" --repeat 8
done
try load_devices "$big.wcodec" "${devices[@]}" --repeat 4 --along '*norm.weight=0' --along '*down_proj.weight=1' \
    --along '*=0'
try wcodec load "$big.wcodec" --device cuda:0 --repeat 8
try wcodec load "$big.wcodec" --device cuda:1 --repeat 4
for _ in 1 2; do
    if command -v wcodec-before >/dev/null; then
        try wcodec-before load "$small.wcodec" --device cuda:0 --repeat 12
    fi
    try wcodec load "$small.wcodec" --device cuda:0 --repeat 12
    try wcodec load "$even.wcodec" --device cuda:0 --repeat 12
done
try wcodec load "$small.wcodec" --device cuda:0 --compare
try load_devices "$small.wcodec" "${devices[@]}" --repeat 6
try wcodec load "$big.wcodec" --device cuda:0 --resident

if command -v resident_layers >/dev/null; then
    if [[ -z ${CUBLAS:-} ]]; then
        CUBLAS=$(find / -xdev -name 'libcublas.so.1[23]' 2>/dev/null | head -n 1 || true)
        export CUBLAS
        LD_LIBRARY_PATH=$(dirname "${CUBLAS:-/usr/lib/x}")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
        export LD_LIBRARY_PATH
    fi
    try resident_layers
fi
rm -f "$big".* "$small".* "$even".*
