#!/usr/bin/env bash
# All GPU figures of one machine, as text for a file in results/.
#
#   [NVCOMP=/path/to/libnvcomp.so.6] [COMMIT=...] benches/run_gpu.sh [FOLDER_OF_EXAMPLES]
#
# WEIGHTS, as in "BF16:256 I8:1024", chooses some of the weights. Takes the binaries as they are; by
# default those of `cargo build --release -p wcodec-benches --examples`. Fails if a line of the table
# is an error.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=$(realpath "${1:-$root/target/release/examples}")/gpu_compare

# DTYPE:MEBI_ELEMENTS, each in every size of blocks (in Ki elements) and with either number of states.
read -ra weights <<< "${WEIGHTS:-BF16:256 BF16:1024 I8:256 I8:1024 F16:256 F32:128 F8_E4M3:256 INT4:512}"
blocks=(8 16 32 64)
states=(1 2)

if [[ ! -x $binary ]]; then
    echo "$binary is not there: cargo build --release -p wcodec-benches --examples" >&2
    exit 1
fi

settings=()
for weight in "${weights[@]}"; do
    for block in "${blocks[@]}"; do
        for state in "${states[@]}"; do
            settings+=("$weight:$block:$state")
        done
    done
done

printf 'date      %s\n' "$(date -u +%F)"
printf 'GPU       %s\n' "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)"
printf 'processor %s, %s cores\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
printf 'commit    %s\n' "${COMMIT:-$(git -C "$root" rev-parse HEAD)}"
printf 'command   gpu_compare SETTING... from benches/run_gpu.sh\n\n'
exec "$binary" ${NVCOMP:+--nvcomp "$NVCOMP"} "${settings[@]}"
