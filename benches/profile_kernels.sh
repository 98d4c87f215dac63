#!/usr/bin/env bash
# What Nsight Compute counts of each decode kernel, a line each, as text for a file in results/.
#
#   [NCU=ncu] benches/profile_kernels.sh [FOLDER_OF_EXAMPLES] [ARGUMENTS_OF_GPU_COMPARE...]
#
# Without arguments, every kernel that decodes Gaussian weights, or those of WEIGHTS ("BF16:256:16
# I8:512:16") with STATES ("1 2"). With arguments, all kernels of the first run of that call. Clocks
# are left as they are. Takes the binary as it is; by default that of
# `cargo build --release -p wcodec-benches --example gpu_compare`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=$(realpath "${1:-$root/target/release/examples}")/gpu_compare
shift || true
ncu=${NCU:-ncu}

# DTYPE:MEBI_ELEMENTS:BLOCK_KIBI_ELEMENTS, each with each number of states.
read -ra weights <<<"${WEIGHTS:-BF16:256:16 F16:256:16 F32:128:16 I8:512:16 F8_E4M3:512:16 INT4:1024:16}"
read -ra states <<<"${STATES:-1 2}"

# Column title, metric, and what it is divided by.
readonly METRICS=(
    "us gpu__time_duration.sum 1e3"
    "read_MB dram__bytes_read.sum 1e6"
    "written_MB dram__bytes_write.sum 1e6"
    "dram% dram__throughput.avg.pct_of_peak_sustained_elapsed 1"
    "Minst smsp__inst_executed.sum 1e6"
    "issue% smsp__issue_active.avg.pct_of_peak_sustained_active 1"
    "alu% sm__inst_executed_pipe_alu.avg.pct_of_peak_sustained_active 1"
    "fmah% sm__inst_executed_pipe_fmaheavy.avg.pct_of_peak_sustained_active 1"
    "xu% sm__inst_executed_pipe_xu.avg.pct_of_peak_sustained_active 1"
    "lsu% sm__inst_executed_pipe_lsu.avg.pct_of_peak_sustained_active 1"
    "shared% l1tex__data_pipe_lsu_wavefronts_mem_shared.avg.pct_of_peak_sustained_active 1"
    "MHz sm__cycles_elapsed.avg.per_second 1e6"
    "regs launch__registers_per_thread 1"
    "warps% sm__warps_active.avg.pct_of_peak_sustained_active 1"
    "long smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio 1"
    "short smsp__average_warps_issue_stalled_short_scoreboard_per_issue_active.ratio 1"
    "math smsp__average_warps_issue_stalled_math_pipe_throttle_per_issue_active.ratio 1"
    "mio smsp__average_warps_issue_stalled_mio_throttle_per_issue_active.ratio 1"
    "wait smsp__average_warps_issue_stalled_wait_per_issue_active.ratio 1"
    "notsel smsp__average_warps_issue_stalled_not_selected_per_issue_active.ratio 1"
    "branch smsp__average_warps_issue_stalled_branch_resolving_per_issue_active.ratio 1"
    "noinst smsp__average_warps_issue_stalled_no_instruction_per_issue_active.ratio 1"
    "membar smsp__average_warps_issue_stalled_membar_per_issue_active.ratio 1"
)

metric_names() {
    local metric
    for metric in "${METRICS[@]}"; do printf '%s\n' "$metric" | cut -d' ' -f2; done | paste -sd, -
}

# The rows of ncu's raw page as lines of the table.
table() {
    python3 - "$1" "$2" "${METRICS[@]}" <<'PYTHON'
import csv, sys
label, path, metrics = sys.argv[1], sys.argv[2], [m.split() for m in sys.argv[3:]]
lines = open(path, errors="replace").read().splitlines()
start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
if start is None:
    sys.exit(f"{label}: ncu measured nothing:\n" + "\n".join(lines[-15:]))
rows = list(csv.reader(lines[start:]))
names, units = rows[0], rows[1]
scale = {"ns": 1, "us": 1e3, "usecond": 1e3, "nsecond": 1, "ms": 1e6, "msecond": 1e6,
         "byte": 1, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9,
         "cycle/nsecond": 1e9, "cycle/usecond": 1e6, "cycle/second": 1, "Ghz": 1e9, "Mhz": 1e6, "hz": 1,
         "1/ns": 1e9, "1/us": 1e6, "1/s": 1}
for row in rows[2:]:
    kernel = row[names.index("Kernel Name")].split("(")[0]
    cells = []
    for title, metric, divisor in metrics:
        if metric not in names:
            cells.append("-")
            continue
        at = names.index(metric)
        try:
            value = float(row[at].replace(",", "")) * scale.get(units[at], 1) / float(divisor)
            cells.append(f"{value:.2f}" if value < 100 else f"{value:.0f}")
        except ValueError:
            cells.append("-")
    print(f"{label:<24} {kernel:<28}" + "".join(f" {cell:>{max(6, len(m[0]))}}" for cell, m in zip(cells, metrics)))
PYTHON
}

heading() {
    local metric title
    printf '%-24s %-28s' "what" "kernel"
    for metric in "${METRICS[@]}"; do
        title=${metric%% *}
        printf " %$((${#title} > 6 ? ${#title} : 6))s" "$title"
    done
    printf '\n'
}

# profile LABEL LAUNCHES_TO_SKIP LAUNCHES ARGUMENTS...
profile() {
    local label=$1 skip=$2 count=$3 log
    shift 3
    log=$(mktemp)
    if ! "$ncu" --csv --page raw --clock-control none --kernel-name 'regex:decode|tiles|references' \
        --launch-skip "$skip" --launch-count "$count" --metrics "$(metric_names)" \
        "$binary" "$@" >"$log" 2>&1; then
        echo "$label: ncu failed" >&2
        tail -n 15 "$log" >&2
        return 1
    fi
    table "$label" "$log"
    rm -f "$log"
}

heading
if [[ $# -gt 0 ]]; then
    profile "${LABEL:-given}" 0 "${LAUNCHES:-8}" "$@"
    exit
fi
for weight in "${weights[@]}"; do
    for state in "${states[@]}"; do
        profile "$weight:$state" 2 1 "$weight:$state"
    done
done
for state in "${states[@]}"; do
    profile "F8_E4M3:512:16:$state pairs" 2 1 --pair-tolerance 0.02 "F8_E4M3:512:16:$state"
done
