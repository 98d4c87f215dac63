#!/usr/bin/env python3
"""Times safetensors' load_file onto the first GPU: load_safetensors.py FILE RUNS [cold]

Prints one JSON object a line. A bus line says how fast pinned memory is copied to the GPU.
"""
import json
import os
import sys
import time

import torch
from safetensors.torch import load_file

path, runs, cold = sys.argv[1], int(sys.argv[2]), "cold" in sys.argv[3:]
size = os.path.getsize(path)
torch.zeros(1, device="cuda")
torch.cuda.synchronize()


def forget():
    """Lets the system forget what it has read of the file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bus():
    host = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True)
    device = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    best = 0.0
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        device.copy_(host, non_blocking=True)
        torch.cuda.synchronize()
        best = max(best, (1 << 30) / (time.perf_counter() - start) / 1e9)
    return best


if not cold:
    print(json.dumps({"what": "bus", "gbps": bus()}), flush=True)
for run in range(runs):
    if cold:
        forget()
    start = time.perf_counter()
    tensors = load_file(path, device="cuda")
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    print(json.dumps({"what": "safetensors", "cold": cold, "run": run + 1, "seconds": seconds,
                      "gbps": size / seconds / 1e9}), flush=True)
    del tensors
    torch.cuda.empty_cache()
