#!/usr/bin/env python3
# SPDX-License-Identifier: MIT-0
"""Lines and branches of attention.h that the corpus reaches, path by path.

    llvm-cov export -format=text ... | coverage.py attention.h unreached.txt

What is not reached is listed with the reason that unreached.txt gives, or without
one. Exit status 1 if lines, or more than 2 % of a path's branches, lack both.
"""
import json
import re
import sys

PATHS = ["driver", "scalar", "neon", "avx2", "avx512", "simd128"]


def reasons(name):
    """[(function, part of the line, reason)] of `function: part = reason`."""
    found = []
    with open(name, encoding="utf-8") as f:
        for line in f:
            m = re.match(r"(\S+): (.*) = (.*)", line.rstrip("\n"))
            if m and not line.startswith("#"):
                found.append((m.group(1), m.group(2).strip(), m.group(3)))
    return found


def main():
    header, known = sys.argv[1], reasons(sys.argv[2])
    with open(header, encoding="utf-8") as f:
        source = f.read().split("\n")
    lines, branches, used = {}, {}, set()
    for function in json.load(sys.stdin)["data"][0]["functions"]:
        name = function["name"].split(":")[-1]
        if not function["filenames"][0].endswith("attention.h"):
            continue
        m = re.match(r"attn__(scalar|neon|avx2|avx512|simd128)_(f32|f64)_(.*)", name)
        path, name = (m.group(1), "V(%s)" % m.group(3)) if m else ("driver", name)
        mine = {}
        for l1, c1, l2, _, count, file_id, expanded, kind in function["regions"]:
            if kind != 0 or file_id != 0:  # code, not within a macro
                continue
            for n in range(l1, l2 + 1):
                text = source[n - 1][:c1 - 1] if n == l1 else ""
                mine[n] = count if n not in mine or not text.strip() else max(mine[n], count)
        for n, count in mine.items():
            if source[n - 1].strip() not in ("", "}", "{") and not source[n - 1].lstrip().startswith(("#", "/*", "*")):
                key = (path, name, n)
                lines[key] = max(lines.get(key, 0), count)
        for l1, c1, l2, c2, yes, no, file_id, expanded, kind in function["branches"]:
            if file_id != 0:
                continue
            for way, count in ((True, yes), (False, no)):
                key = (path, name, l1, c1, source[l1 - 1][c1 - 1:c2 - 1] if l1 == l2 else source[l1 - 1][c1 - 1:].strip(), way)
                branches[key] = max(branches.get(key, 0), count)

    def reason(name, n):
        text = source[n - 1]
        for number, (function, part, why) in enumerate(known):
            if re.fullmatch(function, name) and part in text:
                used.add(number)
                return why
        return None

    failed = False
    unexplained, explained = [], []
    for (path, name, n), count in sorted(lines.items(), key=lambda x: x[0][2]):
        if count == 0:
            (explained if reason(name, n) else unexplained).append("  line %d, %s %s: %s%s" % (
                n, path, name, source[n - 1].strip()[:90], "\n      " + reason(name, n) if reason(name, n) else ""))
            failed |= not reason(name, n)
    for (path, name, n, _, text, way), count in sorted(branches.items(), key=lambda x: x[0][2]):
        if count == 0:
            (explained if reason(name, n) else unexplained).append("  line %d, %s %s: %s is never %s%s" % (
                n, path, name, text[:90], "true" if way else "false", "\n      " + reason(name, n) if reason(name, n) else ""))
    print("%-8s %16s %20s %24s" % ("", "lines", "branches", "less those explained"))
    for path in PATHS:
        all_lines = [c for k, c in lines.items() if k[0] == path]
        mine = {k: c for k, c in branches.items() if k[0] == path}
        reached = sum(1 for c in mine.values() if c)
        rest = [k for k, c in mine.items() if not c and not reason(k[1], k[2])]
        if not mine:
            continue
        share = 100.0 * reached / max(1, reached + len(rest))
        failed |= share < 98
        print("%-8s %6d of %6d %10d of %6d %20.2f %%" % (path, sum(1 for c in all_lines if c), len(all_lines), reached, len(mine), share))
    if unexplained:
        print("\nnot reached, for no known reason:\n" + "\n".join(unexplained))
    if explained:
        print("\nnot reached:\n" + "\n".join(explained))
    for number, entry in enumerate(known):
        if number not in used:
            print("\nunreached.txt: reached after all, or gone: %s: %s" % entry[:2])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
