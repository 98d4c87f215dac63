#!/usr/bin/env python3
"""Draws the CPU chart of docs/benchmarks.md from result files of run_cpu.sh.

    python3 benches/chart_cpu.py benches/results/2026-11-30-cpu-beside-peers-xeon*.txt > docs/cpu.svg
"""

import re
import statistics
import sys

LINE = re.compile(r"^(\S+)\.safetensors\s+(.+?)\s+t1 ratio ([\d.]+)\s+enc\s+(\d+)\s+dec\s+(\d+)")
COLOURS = {"wcodec avx512": "#0b6e4f", "wcodec avx2": "#3fa37c", "wcodec portable": "#a3d9c1"}
OTHERS = {"zipnn": "#c8553d", "pcodec": "#e3a587"}
BAR, GAP, LEFT, SCALE = 14, 18, 210, 60.0


def colour(codec):
    other = next((value for name, value in OTHERS.items() if codec.startswith(name)), "#888888")
    return COLOURS.get(codec, other)


def read(paths):
    """The median decode speed of each codec with one thread, file by file, in GB/s."""
    files = {}
    for path in paths:
        for line in open(path, encoding="utf-8"):
            if match := LINE.match(line):
                name, codec, _, _, decode = match.groups()
                files.setdefault(name, {}).setdefault(codec, []).append(int(decode) / 1000)
    median = lambda codecs: {codec: statistics.median(speeds) for codec, speeds in codecs.items()}
    return {name: median(codecs) for name, codecs in files.items()}


def draw(files):
    rows, y = [], 40
    for name, speeds in files.items():
        rows.append(f'<text x="10" y="{y}" font-weight="bold">{name}</text>')
        for codec, speed in sorted(speeds.items(), key=lambda item: -item[1]):
            y += BAR + 4
            width = speed * SCALE
            rows.append(f'<text x="{LEFT - 8}" y="{y}" text-anchor="end">{codec}</text>')
            rows.append(
                f'<rect x="{LEFT}" y="{y - BAR + 3}" width="{width:.0f}" height="{BAR}" fill="{colour(codec)}"/>'
            )
            rows.append(f'<text x="{LEFT + width + 6:.0f}" y="{y}">{speed:.2f}</text>')
        y += BAR + GAP
    title = "Decoding on the CPU, one thread, GB/s of original bytes"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{y}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/><text x="10" y="18" font-size="14">{title}</text>'
        + "".join(rows)
        + "</svg>\n"
    )


sys.stdout.write(draw(read(sys.argv[1:])))
