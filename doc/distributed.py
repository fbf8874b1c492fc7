#!/usr/bin/env python3
# SPDX-License-Identifier: MIT-0
"""The tables of distributed.md: what attention_mpi.h would take on more ranks than there are here.

    distributed.py            prints them
    distributed.py --check    are they what distributed.md has?

One attention of one layer: 64 query heads, 8 key/value heads of 128 columns, queries in float32, keys and values in
bfloat16, batch 1. A rank is a machine with the rates below. Bytes are those that tests/mpi.c compares with counters.
"""
import functools
import math
import os
import sys

HEADS, KV_HEADS, DIM = 64, 8, 128
RATE = 64 * 80e9      # multiply-adds count twice; 64 cores at what one reaches here in prefill
MEMORY = 200e9        # bytes a second
LATENCY = 5e-6        # of a message
RECORD = 48 * 8       # bytes by which each rank describes its call
BLOCK = 512
KV_ROW = 2 * KV_HEADS * DIM * 2
STATE_ROW = HEADS * (DIM * 4 + 32)
RANKS, TOKENS, LINKS = (64, 1024, 16384), (2**20, 2**24, 2**30), (25, 400)


def levels(ranks):
    return math.ceil(math.log2(ranks))


def compare(ranks, link):
    """Seconds for the comparison of descriptors: an all-gather."""
    return levels(ranks) * LATENCY + ranks * RECORD / link


def nodes(a, b):
    """Nodes of a state over blocks [a, b): the largest subtrees of a binary tree."""
    n = 0
    while a < b:
        size = 1
        while a % (2 * size) == 0 and 2 * size <= b - a:
            size *= 2
        a += size
        n += 1
    return n


@functools.lru_cache(None)
def most_nodes(ranks, blocks):
    """Nodes that the queries of one rank keep in a ring of zigzag pieces: the most."""
    rank, pieces, most, kept = ranks // 3, 2 * ranks, 0, []
    cut = [p * (blocks // pieces) + min(p, blocks % pieces) for p in range(pieces + 1)]
    for step in range(ranks):
        owner = (rank - step) % ranks
        for p in (owner, pieces - 1 - owner):
            if cut[p] == cut[p + 1]:
                continue
            begin, end = cut[p], cut[p + 1]
            for s in [s for s in kept if s[1] == begin or s[0] == end]:
                kept.remove(s)
                begin, end = min(s[0], begin), max(s[1], end)
            kept.append((begin, end))
        most = max(most, sum(nodes(*s) for s in kept))
    return most


def ring(ranks, tokens, gbit):
    link = gbit * 1e9 / 8
    blocks = tokens // BLOCK
    rows = tokens / ranks
    owners = min(ranks, blocks)                       # ranks that have keys
    compute = 4 * DIM * HEADS * tokens * tokens / 2 / ranks / RATE
    merge = owners * 2 * 6 * rows * STATE_ROW / MEMORY  # a state for each of two pieces: written, read and merged
    message = KV_ROW * tokens / owners / link + LATENCY
    work = (compute + merge) / owners
    time = compare(ranks, link) + work + (owners - 1) * max(work, message) + (ranks - owners) * LATENCY
    held = 2 * KV_ROW * tokens / owners + most_nodes(ranks, blocks) * rows * STATE_ROW
    return time, compute / time, (ranks - 1) / ranks * KV_ROW * tokens, held


def tree(ranks, tokens, gbit):
    link = gbit * 1e9 / 8
    owners = min(ranks, tokens // BLOCK)
    local = KV_ROW * tokens / owners / MEMORY
    state, result = 144 + STATE_ROW, 48 + HEADS * DIM * 4
    time = compare(ranks, link) + 2 * levels(ranks) * LATENCY + local
    time += levels(ranks) * (3 * LATENCY + state / link + LATENCY + result / link)
    alone = KV_ROW * tokens / MEMORY
    return time, alone / time


def number(x):
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= size:
            return f"{x / size:.3g} {unit}"
    return f"{x:.3g} "


def seconds(t):
    return f"{t:,.3g} s" if t >= 1 else f"{t * 1e3:.3g} ms"


def tables():
    yield "| ranks | tokens | link, Gbit/s | time | efficiency | sent by a rank | held by a rank |"
    yield "|---|---|---|---|---|---|---|"
    for ranks in RANKS:
        for tokens in TOKENS:
            for gbit in LINKS:
                time, share, sent, held = ring(ranks, tokens, gbit)
                yield (f"| {ranks:,} | {tokens // 2**20:,} Mi | {gbit} | {seconds(time)} | {100 * share:.0f} % | "
                       f"{number(sent)}B | {number(held)}B |")
    yield ""
    yield "| ranks | tokens | link, Gbit/s | time | times as fast as one rank |"
    yield "|---|---|---|---|---|"
    for ranks in RANKS:
        for tokens in TOKENS:
            for gbit in LINKS:
                time, faster = tree(ranks, tokens, gbit)
                yield f"| {ranks:,} | {tokens // 2**20:,} Mi | {gbit} | {seconds(time)} | {faster:,.0f} |"


def main():
    text = "\n".join(tables())
    if sys.argv[1:] == ["--check"]:
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "distributed.md"), encoding="utf-8") as file:
            wanted = file.read()
        for table in text.split("\n\n"):
            if table not in wanted:
                sys.exit("doc/distributed.md has other tables than doc/distributed.py prints")
    else:
        print(text)


main()
