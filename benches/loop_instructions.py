#!/usr/bin/env python3
"""Counts the instructions of each decode kernel's main loop in SASS: loop_instructions.py FILE.sass...

A file is what nvdisasm prints of what ptxas makes of the kernels' PTX:

    ptxas -arch=sm_90 host/src/gpu/kernels.ptx -o kernels.cubin && nvdisasm -c kernels.cubin > kernels.sass

Both come with the PyPI packages nvidia-cuda-nvcc and nvidia-cuda-nvdisasm. A main loop is one with at
least four votes (a step has one), copies into the rings and stores of whole runs, and takes no tasks.
Loops around others are printed too: the shortest of a kernel is its main loop.
"""
import re
import sys


def kernels(path):
    """Labels and instructions of each kernel, in order, as (is_label, text)."""
    found, lines = {}, []
    for line in open(path):
        if start := re.match(r"\.text\.(\S+):", line):
            lines = found[start[1]] = []
        elif label := re.match(r"(\.L_x_\d+):", line):
            lines.append((True, label[1]))
        elif instruction := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;", line):
            lines.append((False, instruction[1]))
    return found


def loops(lines):
    """The instructions of each loop: from a label to a branch back to it."""
    labels = {text: at for at, (is_label, text) in enumerate(lines) if is_label}
    for at, (is_label, text) in enumerate(lines):
        target = None if is_label or "BRA" not in text else re.search(r"\.L_x_\d+", text)
        if target and labels.get(target[0], at) < at:
            yield [text for is_label, text in lines[labels[target[0]]:at + 1] if not is_label]


print(f"{'kernel':<30} {'instructions':>12} {'votes':>6} {'a vote':>7} {'copies':>7} {'bytewise stores':>16}")
for path in sys.argv[1:]:
    print(path)
    for name, lines in kernels(path).items():
        if not re.match(r"decode_[124]_(pairs|symbols|nibbles)", name):
            continue
        for body in loops(lines):
            count = lambda what: sum(what in instruction for instruction in body)
            if count("VOTE") >= 4 and count("LDGSTS") and count("STG.E.128") and not count("ATOM"):
                print(f"{name:<30} {len(body):>12} {count('VOTE'):>6} {len(body) / count('VOTE'):>7.2f} "
                      f"{count('LDGSTS'):>7} {count('STG.E.U8'):>16}")
