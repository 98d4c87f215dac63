#!/usr/bin/env python3
"""One table of what benches/run_load.sh has measured: load_table.py FOLDER"""
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
STAGES = ["allocate", "setup", "read", "checksum", "copy_wait", "decode"]
HEADINGS = ["what", "run", "ready s", "tensors GB/s", "file GB/s", "open s", *STAGES, "threads",
            "pinned MiB", "device MiB", "host MiB"]


def mebi(count):
    return "-" if count is None else f"{count / 2**20:.0f}"


def row(name, label, run, host):
    stages = run.get("stages") or {}
    seconds = run["seconds"]
    return [name, label, f"{seconds:.4f}", f"{run['tensor_bytes'] / seconds / 1e9:.2f}",
            f"{run['file_bytes'] / seconds / 1e9:.2f}", f"{run['open_seconds']:.4f}",
            *(f"{stages[stage + '_seconds']:.4f}" if stages else "-" for stage in STAGES),
            str(run["threads"]), mebi(run["pinned_bytes"]), mebi(run["device_bytes"]), mebi(host)]


rows = [HEADINGS]
for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
    found = json.loads(path.read_text())
    host = found.get("host_peak_bytes")
    if "runs" not in found:
        print(f"{path.stem}: ready in {found['seconds']:.4f} s, {mebi(found['device_bytes'])} MiB of device memory for "
              f"{mebi(found['tensor_bytes'])} MiB of tensors, host {mebi(host)} MiB")
        continue
    runs = found["runs"]
    compared = ", compared" if found["compared"] else ""
    rows.append(row(path.stem, f"first{compared}", runs[0], host))
    if len(runs) > 1:
        later = sorted(runs[1:], key=lambda run: run["seconds"])
        rows.append(row(path.stem, "best later", later[0], host))
        rows.append(row(path.stem, "median later", later[len(later) // 2], host))
    print(f"{path.stem}: device ready in {found['device_seconds']:.3f} s")
for path in sorted(folder.glob("*.jsonl")):
    for line in path.read_text().splitlines():
        found = json.loads(line)
        label = "cold" if found.get("cold") else "warm"
        seconds = f"{found['seconds']:.4f}" if "seconds" in found else "-"
        rows.append([f"{path.stem} {found['what']}", f"{label} {found.get('run', '')}", seconds,
                     f"{found['gbps']:.2f}", *["-"] * (len(HEADINGS) - 4)])
print()
widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
for cells in rows:
    print("  ".join(cell.ljust(width) if at < 2 else cell.rjust(width)
                    for at, (cell, width) in enumerate(zip(cells, widths))).rstrip())
