#!/usr/bin/env python3
# SPDX-License-Identifier: MIT-0
"""peer.py numpy|torch - what one writes in a notebook, for the benchmark.

Answers each line of its input with one line; bench.h has the words.
"""
import ctypes
import os
import re
import sys
import time


MOST_SCORES = 1 << 28  # bytes; beyond, a round would take minutes


def blas_in_use():
    """The BLAS that this process has loaded, and the code that it chose."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        paths = sorted(set(re.findall(r"/\S*blas\S*", maps.read())))
    found = []
    for path in paths:
        try:
            name = ctypes.CDLL(path).openblas_get_corename
        except (OSError, AttributeError):
            continue
        name.restype = ctypes.c_char_p
        found.append("OpenBLAS for " + name().decode())
    return found[0] if found else ", ".join(os.path.basename(p) for p in paths) or "no BLAS"


class Numpy:
    """Every step as its formula reads, over arrays of all heads."""

    def __init__(self):
        import numpy
        self.np = numpy
        self.description = f"NumPy {numpy.__version__}, {blas_in_use()}"

    def load(self, path, *shape):
        return self.np.memmap(path, dtype=self.np.float32, mode="r", shape=shape)

    def softmax(self, x, axis):
        e = self.np.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)

    def attention(self, q, k, v, causal):
        np = self.np
        scores = q @ np.swapaxes(k, -1, -2) / np.float32(np.sqrt(q.shape[-1]))
        if causal:
            scores[..., np.triu(np.ones(scores.shape[-2:], dtype=bool), 1)] = -np.inf
        return self.softmax(scores, -1) @ v

    def matmul(self, a, b):
        return a @ b

    def save(self, y, path):
        self.np.ascontiguousarray(y).tofile(path)


class Torch:
    """The library's own functions."""

    def __init__(self):
        import torch
        self.torch = torch
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        self.fused = getattr(torch.nn.functional, "scaled_dot_product_attention", None)
        self.description = f"PyTorch {torch.__version__}, {blas_in_use()}"
        capability = re.search(r"CPU capability usage: (\S+)", torch.__config__.show())
        if capability:
            self.description += f", {capability.group(1)}"

    def load(self, path, *shape):
        count = 1
        for n in shape:
            count *= n
        return self.torch.from_file(path, shared=False, size=count, dtype=self.torch.float32).reshape(shape)

    def softmax(self, x, axis):
        return self.torch.softmax(x, axis)

    def attention(self, q, k, v, causal):
        torch = self.torch
        if self.fused and q.shape[0] == k.shape[0] and q.shape[1] == 1:
            return self.fused(q, k, v, is_causal=causal)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if causal:
            scores.masked_fill_(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))
        return torch.softmax(scores, -1) @ v

    def matmul(self, a, b):
        return a @ b

    def save(self, y, path):
        y.contiguous().numpy().tofile(path)


def prepare(peer, words):
    """A function that does the case once."""
    kind, numbers, directory = words[0], [int(w) for w in words[1:8]], words[8]
    heads, kv_heads, m, n, k, causal, axis = numbers
    path = [os.path.join(directory, name) for name in "abc"]
    if kind == "softmax":
        x = peer.load(path[0], m, n)
        return lambda: peer.softmax(x, axis)
    if kind == "matmul":
        a, b = peer.load(path[0], m, k), peer.load(path[1], k, n)
        return lambda: peer.matmul(a, b)
    if heads * m * n * 4 > MOST_SCORES:
        raise MemoryError(f"its scores would take {heads * m * n * 4 >> 20} MiB")
    group = heads // kv_heads
    if m == 1:  # the queries of a group are rows of one product
        q = peer.load(path[0], kv_heads, 1, group, k)
        causal = 0
    else:
        q = peer.load(path[0], kv_heads, group, m, k)
    keys, values = peer.load(path[1], kv_heads, 1, n, k), peer.load(path[2], kv_heads, 1, n, k)
    return lambda: peer.attention(q, keys, values, bool(causal))


def main():
    try:
        peer = {"numpy": Numpy, "torch": Torch}[sys.argv[1]]()
    except ImportError as missing:
        print(f"skip {missing}")
        return
    print(sys.argv[1], peer.description, flush=True)
    work = y = directory = None
    for line in sys.stdin:
        words = line.split()
        if words[0] == "case":
            y, directory = None, words[9]
            try:
                work = prepare(peer, words[1:])
                answer = "ready"
            except Exception as error:  # whatever the library says
                answer = "skip " + " ".join(str(error).split())[:200]
        elif words[0] == "run":
            start = time.process_time()
            for _ in range(int(words[1])):
                y = work()
            answer = repr(time.process_time() - start)
        else:
            peer.save(y, os.path.join(directory, "out"))
            answer = "written"
        print(answer, flush=True)


main()
