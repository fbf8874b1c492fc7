#!/usr/bin/env python3
# SPDX-License-Identifier: MIT-0
"""Lines and branches of attention.h that the corpus reaches, path by path.

    llvm-cov export -format=text ... | coverage.py attention.h unreached.txt
    coverage.py --check attention.h unreached.txt

What is not reached is listed with the reason that unreached.txt gives, or without
one. Exit status 1 if lines, or more than 2 % of a path's branches, lack both, and if
a reason is given for what is reached. --check looks, without any coverage, whether
what the reasons are about is still in the header.
"""
import json
import os
import re
import sys

sys.dont_write_bytecode = True  # the sources may be read-only
from mutate.mutate import Source  # noqa: E402


def reasons(name):
    """[(line number, function, part of the line, reason)] of `function: part = reason`, and what is not so."""
    found, problems = [], []
    with open(name, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if not line.strip() or line.startswith("#"):
                continue
            m = re.match(r"(\S+): (.*) = (.*)", line.rstrip("\n"))
            if m:
                found.append((number, m.group(1), m.group(2).strip(), m.group(3)))
            else:
                problems.append("%s:%d: not `function: part of a line = why`" % (os.path.basename(name), number))
    return found, problems


def path_of(source, function):
    """(path, name) of a function: those of the template, and of a path's vocabulary, are V(name)."""
    m = re.match(r"attn__(%s)_(f32|f64)_(.*)" % "|".join(source.paths), function)
    return (m.group(1), "V(%s)" % m.group(3)) if m else ("driver", function)


def misfits(source, known, name):
    """{line number: what is wrong} of reasons for what is not in the header."""
    problems, seen, lines = {}, set(), {}
    for function, begin, end in source.functions:
        first = source.text.rfind("\n", 0, begin) + 1
        lines.setdefault(path_of(source, function)[1], []).extend(source.text[first:end].split("\n"))
    for number, function, part, _ in known:
        of = [f for f in lines if re.fullmatch(function, f)]
        why = None
        if not of:
            why = "no such function"
        elif not any(part in line for f in of for line in lines[f]):
            why = "no line of it has that text"
        elif (function, part) in seen:
            why = "said before"
        if why:
            problems[number] = "%s:%d: %s: %s: %s" % (os.path.basename(name), number, function, why, part)
        seen.add((function, part))
    return problems


def main():
    check = sys.argv[1] == "--check"
    header, file = sys.argv[1 + check:]
    parsed = Source(header)
    known, problems = reasons(file)
    gone = misfits(parsed, known, file)
    problems += gone.values()
    if check:
        print("\n".join(problems) or "%s fits: %d reasons" % (os.path.basename(file), len(known)))
        return 1 if problems else 0
    source = parsed.text.split("\n")
    lines, branches, used = {}, {}, set()
    for function in json.load(sys.stdin)["data"][0]["functions"]:
        name = function["name"].split(":")[-1]
        if not function["filenames"][0].endswith("attention.h"):
            continue
        path, name = path_of(parsed, name)
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
        for number, function, part, why in known:
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
    for path in ["driver"] + parsed.paths:
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
    problems += ["%s:%d: %s: reached after all: %s" % (os.path.basename(file), number, function, part)
                 for number, function, part, _ in known if number not in used and number not in gone]
    if problems:
        print("\nreasons that are none:\n  " + "\n  ".join(problems))
    return 1 if failed or problems else 0


if __name__ == "__main__":
    sys.exit(main())
