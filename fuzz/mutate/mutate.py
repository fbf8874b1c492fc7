#!/usr/bin/env python3
# SPDX-License-Identifier: MIT-0
"""Breaks copies of attention.h on purpose and counts who notices.

    mutate.py [--sample N] [--hand | --auto] [--only REGEX] [--seed S] [--count N] [--every-path]
              [--seconds S] [--work FOLDER] [--resume] [--list] [--report] [--check]

Faults are those of faults.txt (by hand) and those drawn from the source by rule
(automatic). For each one the implementation alone is compiled again, with the
paths that the fault touches and the scalar one; tests and targets are linked
once, against the implementation as a shared library. Then, each counted by itself:

    check   a quick subset of `make check`, until something fails; when all faults went
            through that, the slow tests, for what nothing else has found
    fuzz    the committed seeds, then 1,000 pseudo-random inputs a target, in plain
            programs; in the end, for what none of these has found,
            libFuzzer with sanitizers from the seeds on, --seconds in all: first for
            what the tests have not found either

Times are processor time, of the runs alone. A fault that does not compile, or whose
optimised code is that of the original, is none and does not count. Survivors are compared with
equivalent.txt, which tells why a change changes nothing. Writes FOLDER/report.json
and report.md, also of an unfinished run.
"""
import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
TARGETS = {"differential": 0.4, "primitives": 0.15, "misuse": 0.15, "metamorphic": 0.15, "extremes": 0.15}  # shares of the time
# By what they cost. The slow ones are for what nothing else has found: half a minute a fault.
QUICK = ["known_values", "library_conventions", "errors", "aliases", "array_forms", "rotary", "matmul", "layer", "plain_call", "softmax_axis"]
SLOW = ["element_types", "kv_cache", "strides", "packed_sequences", "partial_states", "masks", "workspace", "split_keys", "pthread_adapter", "shares",
        "optional_outputs", "rounding_modes", "extremes"]
# Of UBSan what is cheap to compile: the rest would take minutes a fault.
SANITIZERS = ("-fsanitize=fuzzer-no-link,address,shift,signed-integer-overflow,integer-divide-by-zero,bounds,float-cast-overflow,alignment "
              "-fno-sanitize-recover=all -fno-sanitize-coverage=trace-cmp").split()
COMPANION = "avx2"  # the path beside the scalar one where any would do
EMULATED = "neon"  # one that this machine does not have
UNFUSED = "simd128"  # one that fused arithmetic does not have, and so no mutant
TURNS = ["avx2", "neon", "avx512", "scalar"]  # in which faults of the template are made by turns; any new one is last


def fail(message):
    PROGRESS.erase()
    sys.exit("mutate.py: " + message)


class Progress:
    """What is done now, and how much there is of it: a line on standard error, on a terminal only."""

    def __init__(self):
        self.seen = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.what, self.begin, self.length = "", (0.0, 0), 0

    def at(self, what, number=0, count=0):
        """`number` of `count` are over; those from the first call on say how long the others will take."""
        begin, first = self.begin
        if number <= first or what != self.what:
            begin, first = self.begin = time.monotonic(), number
        self.what = what
        text = "mutate.py: " + what
        if count:
            text += ", %d of %d" % (number + 1, count)
        if number > first:
            seconds = (time.monotonic() - begin) / (number - first) * (count - number)
            size, unit = (1, "s") if seconds < 100 else (60, "min") if seconds < 6000 else (3600, "h")
            text += ": %.0f %s left" % (seconds / size, unit)
        self.put(text)

    def put(self, text):
        if self.seen and (text or self.length):
            text = text[:(os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1]
            sys.stderr.write("\r%s\r%s" % (" " * self.length, text))
            sys.stderr.flush()
            self.length = len(text)

    def erase(self):
        """Before anything else is printed."""
        self.put("")


PROGRESS = Progress()


# ------------------------------------------------------------------ source --


def blanked(text):
    """Comments and strings as blanks, everything else in its place."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def balanced(code, at):
    """The end of what the bracket at `at` opens."""
    pairs = {"(": ")", "{": "}"}
    depth = 0
    for i in range(at, len(code)):
        if code[i] == code[at]:
            depth += 1
        elif code[i] == pairs[code[at]]:
            depth -= 1
            if depth == 0:
                return i + 1
    fail("unbalanced " + code[at:at + 40])


def flags_of(source, path):
    """Those that leave a path and the scalar one."""
    kept = {"scalar", COMPANION if path in ("scalar", "all") else path}
    return ["-DATTN_USE_SIMDE"] + ["-DATTN_NO_" + p.upper() for p in source.kernels if p not in kept]


class Source:
    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.text = f.read()
        self.code = blanked(self.text)
        self.begin = self.code.index("#ifdef ATTN__IMPLEMENT\n")
        self.template = self.code.index("#if defined(ATTN__KERNEL)")
        self.paths = list(dict.fromkeys(re.findall(r"#define ATTN__ISA (\w+)", self.code)))
        if not self.paths:
            fail("no path of " + path + " says `#define ATTN__ISA its name`")
        self.kernels = [p for p in self.paths if p != UNFUSED]
        self.vocabularies = self.states()
        self.functions, self.macros = [], []
        aliases = dict(re.findall(r"#define (attn__v\w+) ATTN__V\((\w+)\)", self.code))
        for m in re.finditer(r"(?<=\n)(?:ATTN__INLINE|ATTN__NOINLINE|ATTN__COLD|ATTN_DEF|static|void)\b[^;{}()]*?\b(ATTN__V\((\w+)\)|\w+)\(", self.code):
            if m.start() < self.begin:
                continue
            at = balanced(self.code, m.end() - 1)
            brace = re.match(r"\s*\{", self.code[at:])
            if brace:
                name = self.named(m.group(2) or aliases.get(m.group(1)), m.start()) or m.group(1)
                self.functions.append((name, at + brace.end() - 1, balanced(self.code, at + brace.end() - 1)))
        for m in re.finditer(r"#define (\w+)(?:\(\w+\))?((?:[^\n]*\\\n)*[^\n]*)", self.code):
            if m.start() > self.begin:
                self.macros.append((m.group(1), m.start(2), m.end()))

    def bodies(self, name):
        """A name may have several definitions, one for each machine."""
        if name == "*":
            return [(self.begin, len(self.code))]
        return [(a, b) for n, a, b in self.functions + self.macros if n == name]

    def function_at(self, at):
        """The function, or the macro outside of functions."""
        for name, a, b in self.functions + self.macros:
            if a <= at < b:
                return name
        return "-"

    def states(self):
        """[(from where on, path, "f32" or "f64")], "" for none of them: whose vocabulary is being written."""
        found, isa, real = [(0, "", "")], "", ""
        for m in re.finditer(r"\n#(define|undef) ATTN__(ISA|F64)\b *(\w*)", self.code[:self.template]):
            value = m.group(3) if m.group(1) == "define" else ""
            if m.group(2) == "ISA":
                isa = value
            else:
                real = {"0": "f32", "1": "f64"}.get(value, "")
            found.append((m.end(), isa, real))
        return found

    def vocabulary_at(self, at):
        """(path, type) of those that a place belongs to alone."""
        return next((isa, real) for start, isa, real in reversed(self.vocabularies) if start <= at)

    def named(self, name, at):
        """V(name) in the template, attn__PATH_TYPE_name in a vocabulary; None for what has no name of a path."""
        isa, real = self.vocabulary_at(at)
        if not name or at > self.template or not isa:
            return name and "V(%s)" % name
        return "attn__%s_%s_%s" % (isa, real, name)


def pattern_of(text):
    """A pattern as a regular expression: blanks match any blanks and ends of a macro's lines, <1> an expression."""
    parts = re.split(r"(<\d>)", text.strip())
    out = ""
    for part in parts:
        if re.fullmatch(r"<\d>", part):
            out += "(?P<p%s>[^;{}]*?)" % part[1]
        else:
            tokens = re.findall(r"\w+(?:\.\w+)?|\s+|[^\w\s]", part)
            out += r"(?:\s|\\\n)*".join(re.escape(t) for t in tokens if not t.isspace())
    return re.compile((r"(?<!\w)" if re.match(r"\w", text.strip()) else "") + out)


def shown(text):
    return " ".join(text.split())


class Fault:
    before = after = ""

    def __init__(self, name, kind, path, start, end, new, function, old, hand):
        self.name, self.kind, self.path, self.hand = name, kind, path, hand
        self.start, self.end, self.new, self.function, self.old = start, end, new, function, old

    def key(self):
        """What changes, and for an automatic one what is next to it: the place may move."""
        old = self.old if self.hand else "%s[%s]%s" % (self.before, self.old, self.after)
        return "%s: %s -> %s" % (self.function, shown(old), shown(self.new))


def hand_made(source, name, every):
    """Those of the file `name`, and what is wrong with it: [class] headings; then `id: function`
    with lines `- old` and `+ new`."""
    faults, kind, problems, current = [], None, [], None

    def finish(entry):
        if not entry:
            return
        ident, function, old, new, path, nth, number = entry
        hits, bodies = [], source.bodies(function)
        for a, b in bodies:
            hits += list(pattern_of(old).finditer(source.code, a, b))
        if nth is None and len(hits) != 1 or nth is not None and len(hits) < nth:
            why = "fits %d places, not %s: %s" % (len(hits), nth or "one", shown(old))
            if not bodies:
                why = "no such function or macro"
            problems.append("%s:%d: %s: %s: %s" % (os.path.basename(name), number, ident, function, why))
            return
        m = hits[(nth or 1) - 1]
        text = re.sub(r"<(\d)>", lambda g: m.group("p" + g.group(1)), new)
        paths = [path]
        if path == "each":  # by turns, unless asked for every path
            kernels = sorted(source.kernels, key=lambda p: TURNS.index(p) if p in TURNS else len(TURNS))
            turn = len({f.key() for f in faults}) % len(kernels)
            paths = ["all"] + (kernels if every else [kernels[turn]])
        for one in paths:
            faults.append(Fault(ident + ("@" + one if len(paths) > 1 else ""), kind, one, m.start(), m.end(), text, function, m.group(0), True))

    with open(name, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith("["):
                finish(current)
                current, kind = None, line.strip("[] ")
            elif line.startswith("- "):
                current[2] = (current[2] + " " if current[2] else "") + line[2:]
            elif line.startswith("+"):
                current[3] = (current[3] + " " if current[3] else "") + line[2:]
            else:
                finish(current)
                m = re.fullmatch(r"([\w-]+): (\S+)(?: #(\d+))?(?: @(\w+))?", line)
                if not m:
                    fail("%s:%d: %s" % (name, number, line))
                function = m.group(2)
                path = m.group(4) or ("each" if function.startswith("V(") else "all")
                if path not in ["all", "each"] + source.kernels:
                    problems.append("%s:%d: %s: no such path: %s" % (os.path.basename(name), number, m.group(1), path))
                vocabulary = re.match("attn__(%s)_" % "|".join(p for p in source.kernels if p != "scalar"), function)
                current = [m.group(1), function, "", "", vocabulary.group(1) if vocabulary else path,
                           int(m.group(3)) if m.group(3) else None, number]
    finish(current)
    return faults, problems


# --------------------------------------------------------------- automatic --

SWAPS = [
    ("_add_", "_sub_"), ("(add_", "(sub_"), ("(sub_", "(add_"), ("(mul_", "(add_"), ("(max_", "(min_"), ("unpacklo", "unpackhi"),
    ("unpackhi", "unpacklo"), ("trn1q", "trn2q"), ("trn2q", "trn1q"), ("get_low", "get_high"), ("get_high", "get_low"), ("addq_", "subq_"),
    ("subq_", "addq_"), ("mulq_", "addq_"), ("cltq", "cleq"), ("movehl_ps", "movelh_ps"), ("fmadd", "fmsub"), ("0x44", "0xee"),
    ("0xee", "0x44"), ("attn__vadd", "attn__vsub"), ("attn__vsub", "attn__vadd"), ("attn__vmul", "attn__vadd"), ("attn__vmax", "attn__vadd"),
    ("attn__min(", "attn__max("), ("attn__max(", "attn__min("),
]
RELATIONS = {"<": ["<=", ">="], "<=": ["<"], ">": [">=", "<="], ">=": [">"], "==": ["!="], "!=": ["=="], "&&": ["||"], "||": ["&&"]}
ARITHMETIC = {"+": ["-"], "-": ["+"], "*": ["+"], "/": ["*"], "%": ["/"], "+=": ["-=", "="], "-=": ["+="], "*=": ["/="], "|=": ["&=", "="],
              ">>": ["<<"], "<<": [">>"], "|": ["&"], "&": ["|"], "++": ["--"], "--": ["++"]}


def active_lines(header):
    """Lines that the compiler sees here, of the header and of its macros' bodies."""
    out = subprocess.run(["gcc", "-E", "-I" + TOP, "-DATTN_USE_SIMDE", "-DATTENTION_IMPLEMENTATION", "-x", "c", header], capture_output=True,
                         text=True, check=True).stdout
    lines, here, n = set(), False, 0
    for line in out.split("\n"):
        m = re.match(r'# (\d+) "([^"]*)"', line)
        if m:
            here, n = m.group(2).endswith("attention.h"), int(m.group(1))
            continue
        if here and line.strip():
            lines.add(n)
        n += 1
    return lines


def automatic(source, active):
    """Every change that the rules know in the lines `active`, in order of place."""
    sites = []
    offset, lines, define = 0, source.code.split("\n"), False
    license_at = source.text.rindex(" * LICENSE")
    for number, line in enumerate(lines, 1):
        at, offset = offset, offset + len(line) + 1
        continued = define
        define = (continued or line.lstrip().startswith("#define")) and line.endswith("\\")
        if at < source.begin or at > license_at:
            continue
        macro = continued or re.match(r"\s*#define ATTN__(X|Y|Z|ROW|EIGHT|WIDEN_BF16|EXP|LOG|LN2|MAGIC|TANH|FOLD|MASKED|LOWEST_SAFE|STATE_ROOM|NODES)\b|\s*#define ATTN__(ACROSS|EXP|LN2|LOG2E|MAGIC|FOLD|TANH|MASKED|LOWEST_SAFE)\w*", line)
        if line.lstrip().startswith("#") and not macro:
            continue
        if not macro and number not in active:
            continue
        if re.search(r"PREFETCH|__asm__|_Static|typedef|ATTN__REPEAT|#undef|attn__refuse", line):
            continue
        body = line
        head = re.match(r"\s*#define \w+(\([^)]*\))?", line)
        declared = re.match(r"\s*(?:ATTN__INLINE|ATTN__NOINLINE|ATTN__COLD|ATTN_DEF|static|void)\b[^;{}()=]*?\b(?:ATTN__V\(\w+\)|\w+)\(", body)
        skip = (head or declared).end() if head or declared else 0
        if declared and ")" in body[skip:]:  # what follows the parameters
            skip = body.index(")", skip)
        # operators
        for m in re.finditer(r"<<|>>|<=|>=|==|!=|&&|\|\||\+\+|--|[-+*|]=|(?<![-+*/<>=!&|])[-+*/%<>|&](?![-+=<>&|])", body):
            if m.start() < skip:
                continue
            op, before, after = m.group(0), body[:m.start()].rstrip(), body[m.end():]
            if op in "*&-+" and len(op) == 1 and not re.search(r"[\w)\]]$", before):  # unary
                continue
            if op == "*" and re.search(r"\b(char|void|float|double|size_t|attn_\w+|attn__\w+|uint\d+_t|unsigned|const|int|\w+_t)$", before):
                continue  # a pointer
            if op in "<>" and ("#include" in body):
                continue
            if re.search(r"\breturn$|\bconst$", before):
                continue
            for new in RELATIONS.get(op, ARITHMETIC.get(op, [])):
                sites.append(("relation" if op in RELATIONS else "operator", at + m.start(), at + m.end(), new))
        # constants
        for m in re.finditer(r"(?<![\w.])(0x[0-9a-f]+|\d+\.\d*(?:e[-+]?\d+)?|\d+)([uUfF]*)(?![\w.])", body):
            if m.start() < skip:
                continue
            text, suffix = m.group(1), m.group(2)
            if "." in text or ("e" in text and not text.startswith("0x")):
                value = float(text)
                for new in (value * (1 + 2.0 ** -18) if value else 1.0, value * 2 if value else -1.0):
                    sites.append(("constant", at + m.start(), at + m.end(), repr(new) + suffix))
            else:
                value = int(text, 0)
                for new in {value + 1, value - 1 if value else 2}:
                    sites.append(("bound", at + m.start(), at + m.end(), (hex(new) if text.startswith("0x") else str(new)) + suffix))
        # conditions and statements
        for m in re.finditer(r"\b(?:if|while) \(", body):
            end = balanced(source.code, at + m.end() - 1)
            old = source.text[at + m.end() - 1:end]
            if "status =" not in old:
                if body[m.start():].startswith("if"):
                    sites.append(("condition", at + m.end() - 1, end, "(1 || %s)" % old))
                sites.append(("condition", at + m.end() - 1, end, "(0 && %s)" % old))
        for m in re.finditer(r"(?:(?<=^)\s*|(?<=[;{)]) |else )((?!return\b|break\b|else\b|case\b|default\b|goto\b|if\b|for\b|while\b)[\w*(][^;{}]*;)", body):
            text = m.group(1)
            if m.start(1) < skip or re.match(r"(const |static |size_t |int |double |float |char |unsigned |uint|int64|ptrdiff_t |attn_\w+ [*\w]|attn__\w+ [*\w]|ATTN__TYPE|struct|\(void\))", text):
                continue
            before = body[:m.start(1)]
            if balanced_text(text) and before.count("(") == before.count(")"):  # not within a for
                sites.append(("deleted", at + m.start(1), at + m.start(1) + len(text), ";"))
        for m in re.finditer(r"\bcontinue;", body):
            sites.append(("deleted", at + m.start(), at + m.end(), "break;"))
        for old, new in SWAPS:
            for m in re.finditer(re.escape(old) + (r"\b" if re.search(r"\w$", old) and old.startswith("attn__") else ""), body):
                if m.start() >= skip:
                    sites.append(("intrinsic", at + m.start(), at + m.end(), new))
    return sites


def balanced_text(text):
    return text.count("(") == text.count(")") and text.count("[") == text.count("]")


def by_rule(source, active):
    """All of them as faults, with what stands around them."""
    for kind, start, end, new in automatic(source, active):
        fault = Fault("", kind, "all", start, end, new, source.function_at(start), source.text[start:end], False)
        fault.before = source.text[max(start - 24, source.text.rfind("\n", 0, start) + 1):start]
        fault.after = source.text[end:min(end + 24, source.text.find("\n", end))]
        yield fault


def drawn(source, header, seed, count):
    """`count` of them, a fifth in the vocabularies, no two at one place. Each site's turn comes
    from what stands there, so that a change elsewhere in the header leaves the others drawn."""
    sites = [(hashlib.sha256(("%d %s" % (seed, fault.key())).encode()).hexdigest(), fault)
             for fault in by_rule(source, active_lines(header))]
    wanted = {"vocabulary": count // 5, "template": count // 4, "numbers": count // 6}
    wanted["driver"] = count - sum(wanted.values())
    kernels, driver = source.code.index("#define ATTN__ISA"), source.code.index("static unsigned attn__detect(")
    faults, places = [], set()
    for turn, fault in sorted(sites, key=lambda site: site[0]):
        start, name = fault.start, "auto-" + turn[:8]
        region = ("template" if start > source.template else "numbers" if start < kernels else "vocabulary" if start < driver else "driver")
        if not wanted[region] or any(abs(start - p) < 3 for p in places) or any(f.name == name for f in faults):
            continue
        if region == "vocabulary":
            fault.path = source.vocabulary_at(start)[0] or ["avx2", "avx512"][int(turn[-8:], 16) % 2]  # what both of these share
            if fault.path not in source.kernels:
                continue
        elif region == "template":
            fault.path = (["all"] + source.kernels)[int(turn[-8:], 16) % (1 + len(source.kernels))]
        elif fault.function.startswith("attn_path_"):
            fault.path = EMULATED  # these tell emulation from the machine's own
        places.add(start)
        wanted[region] -= 1
        fault.name = name
        faults.append(fault)
    return faults


# ------------------------------------------------------------------ patching --


def patch(source, fault, folder):
    """The header with the fault; for a fault in one path's instance of the template, a
    second copy that only this path includes."""
    os.makedirs(folder, exist_ok=True)
    text = source.text[:fault.start] + fault.new + source.text[fault.end:]
    only = fault.start > source.template and fault.path != "all"
    if only:
        with open(os.path.join(folder, "attention_fault.h"), "w", encoding="utf-8") as f:
            f.write(text)
        text = source.text
        at = text.index("#define ATTN__ISA %s\n" % fault.path)
        end = text.index("#undef ATTN__ISA", at)
        text = (text[:at] + '#undef ATTN_FILE\n#define ATTN_FILE "attention_fault.h"\n' + text[at:end] +
                '#undef ATTN_FILE\n#define ATTN_FILE "attention.h"\n' + text[end:])
    with open(os.path.join(folder, "attention.h"), "w", encoding="utf-8") as f:
        f.write(text)


def run(command, cpu, wall, cwd=None, env=None):
    """(status, processor seconds, output); status None: too slow."""
    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu) + 1, int(cpu) + 2))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(os.path.join(cwd or ".", "run.log"), "w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=cwd, env=env, preexec_fn=limit,
                                   start_new_session=True)
        try:
            status = process.wait(wall)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 20000))
        output = log.read().decode("utf-8", "replace")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        status = None
    return status, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output


class Bench:
    """What is built once: tests and targets without an implementation."""

    def __init__(self, source, work, cc, clang):
        self.source, self.work, self.cc, self.clang = source, work, cc, clang
        self.base = os.path.join(work, "base")
        self.objects, self.times = {}, {}
        self.build()

    def must(self, command):
        done = subprocess.run(command, cwd=self.base, capture_output=True, text=True, check=False)
        if done.returncode:
            fail("%s\n%s" % (" ".join(command), done.stderr[-4000:]))

    def build(self):
        os.makedirs(self.base, exist_ok=True)
        stamp = os.path.join(self.base, "built")
        newest = max(os.path.getmtime(os.path.join(TOP, d, f)) for d in ("check", "tests", "fuzz", "fuzz/seeds", "tools")
                     for f in os.listdir(os.path.join(TOP, d)) if f.endswith((".c", ".h", ".seeds")))
        if os.path.exists(stamp) and os.path.getmtime(stamp) > newest:
            return
        PROGRESS.at("building tests and targets")
        shutil.copy(os.path.join(TOP, "attention.h"), os.path.join(self.base, "attention.h"))
        # only to link with: each fault brings its own
        self.must([self.cc, "-std=c99", "-w", "-O0", "-fPIC", "-I" + TOP, "-shared", "-Dmain=attn_hash_main",
                   "-DATTENTION_IMPLEMENTATION", "-include", "check/allocation.h", "-include", "attention.h", os.path.join(TOP, "check/hash.c"), "-o", "libattn.so", "-lm"])
        for way, cc, flags, judge in (("plain", self.cc, ["-O2"], ["-O2"]),
                                      ("asan", self.clang, ["-O1", "-g"] + SANITIZERS, ["-O2"])):
            common = ["-std=c99", "-w", "-fPIC", "-I.", "-I" + TOP, "-DATTN_USE_SIMDE"]
            objects = []
            for name in ("check/reference", "check/harness", "check/adapter", "fuzz/grammar", "fuzz/oracle"):
                o = "%s_%s.o" % (way, name.replace("/", "_"))
                own = judge if way == "plain" or name == "check/reference" else ["-O1", "-g", "-fsanitize=address"]
                self.must([cc] + own + common + ["-c", os.path.join(TOP, name + ".c"), "-o", o])
                objects.append(o)
            if way == "plain":
                with open(os.path.join(self.base, "hash.c"), "w", encoding="utf-8") as f:
                    f.write("int attn_hash_main(void);\nint main(void) { return attn_hash_main(); }\n")
                self.must([cc, "hash.c", "-L.", "-lattn", "-lm", "-o", "hash"])
                for name in QUICK + SLOW:
                    self.must([cc] + flags + common + [os.path.join(TOP, "tests", name + ".c")] + objects[:3] + ["-L.", "-lattn", "-lm", "-o", "test_" + name])
            engine = [os.path.join(TOP, "fuzz/standalone.c")] if way == "plain" else ["-fsanitize=fuzzer"]
            for name in TARGETS:
                self.must([cc] + flags + common + [os.path.join(TOP, "fuzz", name + ".c")] + objects + engine +
                          ["-L.", "-lattn", "-lm", "-o", "%s_%s" % (way, name)])
        for name in TARGETS:
            self.must(["sh", os.path.join(TOP, "fuzz/seeds.sh"), "unpack", seeds_of(name), os.path.join(self.base, "seeds", name)])
        with open(stamp, "w", encoding="utf-8"):
            pass

    def compile(self, folder, path, way):
        """libattn.so of a folder's header; the object's bytes."""
        flags = {"plain": ["-O0", "-Dmain=attn_hash_main"], "asan": ["-O1"] + SANITIZERS, "optimised": ["-O2", "-Dmain=attn_hash_main"]}[way]
        with open(os.path.join(folder, "attn.c"), "w", encoding="utf-8") as f:
            f.write('#include "check/allocation.h"\n#define ATTENTION_IMPLEMENTATION\n#include "attention.h"\n')
            if way != "asan":  # the hashes look at what is static
                f.write('#include "check/hash.c"\n')
        flags += flags_of(self.source, path)
        command = [self.clang] + flags + ["-std=c99", "-w", "-fPIC", "-I.", "-I" + TOP, "-c", "attn.c", "-o", "attn.o"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.returncode:
            return None
        with open(os.path.join(folder, "attn.o"), "rb") as f:
            data = f.read()
        done = subprocess.run([command[0]] + ["-shared", "attn.o", "-o", "libattn.so", "-lm"], cwd=folder,
                              capture_output=True, check=False)
        return data if done.returncode == 0 else None

    def same(self, source, fault, folder):
        """Has the fault the optimised code of the original? Then it is none."""
        if fault.path not in self.objects:
            original = os.path.join(self.work, "original-" + fault.path)
            os.makedirs(original, exist_ok=True)
            with open(os.path.join(original, "attention.h"), "w", encoding="utf-8") as f:
                f.write(source.text)
            self.objects[fault.path] = self.compile(original, fault.path, "optimised")
        return self.compile(folder, fault.path, "optimised") == self.objects[fault.path]

    def environment(self, folder):
        e = dict(os.environ)
        e["LD_LIBRARY_PATH"] = folder
        e["ASAN_OPTIONS"] = "detect_leaks=0:abort_on_error=0"
        return e

    def golden(self, output):
        with open(os.path.join(TOP, "tests/golden.txt"), encoding="utf-8") as f:
            wanted = dict(line.split() for line in f if line.strip() and not line.startswith("#"))
        got = dict(line.split(" ", 1) for line in output.split("\n") if " " in line)
        return all(got.get(name) == value for name, value in wanted.items())

    def usual(self, source, path, program):
        """Seconds that a program takes with the original."""
        if (path, program) not in self.times:
            folder = os.path.join(self.work, "usual-" + path)
            if not os.path.exists(os.path.join(folder, "libattn.so")):
                os.makedirs(folder, exist_ok=True)
                with open(os.path.join(folder, "attention.h"), "w", encoding="utf-8") as f:
                    f.write(source.text)
                self.compile(folder, path, "plain")
            self.times[path, program] = run(program, 60, 600, folder, self.environment(folder))[1]
        return self.times[path, program]

    def check(self, source, fault, folder, tests, limit):
        """(name of the test that fails, seconds)"""
        total = 0.0
        for name in tests:
            program = os.path.join(self.base, "test_" + name)
            status, seconds, output = run([program], limit, 600, folder, self.environment(folder))
            total += seconds
            if status is None and self.usual(source, fault.path, program) > limit / 3:
                continue  # slow without optimisation, not hanging
            if status != 0 or "\nnot ok" in "\n" + output:
                return name if status is not None else name + " (hangs)", total
        status, seconds, output = run([os.path.join(self.base, "hash")], 12, 200, folder, self.environment(folder))
        total += seconds
        if status != 0 or not self.golden(output):
            return "golden hashes", total
        return None, total

    def elementary(self, fault, folder):
        """The one test that looks at what is static."""
        command = [self.clang, "-O1", "-std=c99", "-w", "-I.", "-I" + TOP] + flags_of(self.source, fault.path) + [
            os.path.join(TOP, "tests/elementary.c"), os.path.join(self.base, "plain_check_harness.o"),
            os.path.join(self.base, "plain_check_reference.o"), "-L.", "-lattn", "-lm", "-o", "test_elementary"]
        if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
            return None, 0.0
        status, seconds, output = run([os.path.join(folder, "test_elementary")], 60, 600, folder, self.environment(folder))
        return "elementary" if status != 0 or "\nnot ok" in "\n" + output else None, seconds

    def replay(self, folder):
        """(who finds it and why, how, seconds)"""
        total = 0.0
        for name in TARGETS:
            status, seconds, output = run([os.path.join(self.base, "plain_" + name), seeds_of(name)] + regressions_of(name), 12, 200, folder, self.environment(folder))
            total += seconds
            if status != 0:
                return name + (": " + reason(output) if status is not None else ": hangs"), "seeds", total
        for name in TARGETS:  # what needs no engine to be found
            status, seconds, output = run([os.path.join(self.base, "plain_" + name), "-n", "1000"], 12, 200, folder, self.environment(folder))
            total += seconds
            if status not in (0, None):
                return name + ": " + reason(output), "random", total
        return None, None, total

    def explore(self, folder, limit, seed):
        """libFuzzer from the seeds on."""
        total = 0.0
        for name, share in TARGETS.items():
            corpus = os.path.join(folder, "corpus-" + name)
            os.makedirs(corpus, exist_ok=True)
            command = [os.path.join(self.base, "asan_" + name), "-seed=%d" % seed, "-max_len=256", "-len_control=0", "-entropic=0",
                       "-timeout=20", "-rss_limit_mb=2048", "-dict=" + os.path.join(TOP, "fuzz/attention.dict"), corpus,
                       os.path.join(self.base, "seeds", name)] + regressions_of(name)
            status, seconds, output = run(command, max(1, limit * share), 600, folder, self.environment(folder))
            total += seconds
            if status is not None and ("libFuzzer: timeout" not in output or seconds >= 20):  # by the clock: a busy machine is no find
                return name + ": " + reason(output), total
        return None, total


def seeds_of(target):
    return os.path.join(TOP, "fuzz/seeds", target + ".seeds")


def regressions_of(target):
    folder = os.path.join(TOP, "fuzz/regressions", target)
    return [folder] if os.path.isdir(folder) else []


def reason(output):
    m = re.search(r"FAILED: ([^\n]*)|(ERROR: [^\n]*)|(runtime error: [^\n]*)", output)
    if m:
        return next(g for g in m.groups() if g)[:160]
    return output.strip().split("\n")[-1][:160] if output.strip() else "crash"


# -------------------------------------------------------------------- report --


def equivalents():
    """[(line, key, reason)] of `key = reason`, changes that change nothing."""
    known = []
    with open(os.path.join(HERE, "equivalent.txt"), encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.strip() and not line.startswith("#"):
                key, _, why = line.rstrip("\n").rpartition(" = ")  # what changes may have one, too
                known.append((number, key.strip(), why.strip()))
    return known


def stale_equivalents(source, header, by_hand):
    """What is wrong with equivalent.txt: changes that no fault makes."""
    try:
        active = active_lines(header)
    except (OSError, subprocess.CalledProcessError):  # no gcc here, or no SIMDe: the lines of every machine
        active = range(1, source.text.count("\n") + 2)
    made = {f.key() for f in by_hand} | {f.key() for f in by_rule(source, active)}
    problems, seen = [], set()
    for number, key, _ in equivalents():
        where = "equivalent.txt:%d: " % number
        m = re.fullmatch(r"(\S+): (.*?)(?: -> (.*))", key)
        if not m:
            problems.append(where + "not `function: old -> new = why`")
        elif key in seen:
            problems.append(where + "said before: " + key)
        elif key not in made:
            function = m.group(1)
            old = key[len(function) + 2:key.rindex(" -> ")]
            plain = re.sub(r"\[(.*?)\]", r"\1", old, 1)  # what a rule changes stands in brackets
            bodies = source.bodies("*" if function == "-" else function)
            texts = [shown(source.text[source.text.rfind("\n", 0, a):b]) for a, b in bodies]
            if not bodies:
                why = "no such function or macro"
            elif not any(t in text for text in texts for t in (shown(plain), shown(old))):
                why = "no longer there"
            else:
                why = "is there, but no fault and no rule changes it so"
            problems.append("%s%s: %s: %s" % (where, function, why, key[len(function) + 2:]))
        seen.add(key)
    return problems


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def table(results, known):
    """Lines of a table: who kills what, and in which time."""
    out = ["| faults | counted | by the tests | by fuzzing | of these by seeds | by 1,000 random inputs | by libFuzzer | by neither | equivalent "
           "| median time | 95 % |", "| --- |" + " ---: |" * 10]
    rows = []
    for hand, title in ((True, "by hand"), (False, "automatic")):
        group = [r for r in results if r["hand"] == hand]
        rows += [("**%s**" % title, group)] if group else []
        rows += [(kind, [r for r in group if r["kind"] == kind]) for kind in sorted({r["kind"] for r in group})]
    for title, group in rows:
        group = [r for r in group if r["state"] == "run"]
        real = [r for r in group if not is_equivalent(r, known)]
        fuzz = [r for r in real if r["fuzz"]]
        times = [r["fuzz_seconds"] for r in fuzz]
        how = [sum(1 for r in fuzz if r["how"] == way) for way in ("seeds", "random", "libFuzzer")]
        out.append("| %s | %d | %d | %d | %d | %d | %d | %d | %d | %.2f s | %.2f s |" % (
            title, len(real), sum(1 for r in real if r["check"]), len(fuzz), how[0], how[1], how[2],
            sum(1 for r in real if not r["check"] and not r["fuzz"]), len(group) - len(real), percentile(times, 0.5), percentile(times, 0.95)))
    return out


def is_equivalent(r, known):
    return r["key"] in known and not r["fuzz"] and not r["check"]


def code(text):
    """As code in a table."""
    return "`" + text.replace("|", "\\|") + "`"


def summary(results, known):
    out = ["# Do the tests and the fuzzers notice faults?", "", "Written by `mutate.py`; README.md of the fuzzers says how to repeat it. "
           "Quick tests, not all of them, stand for `make check`. Times are processor time until the fault is found by fuzzing.", ""]
    out += table(results, known)
    for state, what in (("broken", "do not compile"), ("same", "give the same machine code")):
        out += ["", "Not counted: %d that %s." % (sum(1 for r in results if r["state"] == state), what)]
    waiting = sum(1 for r in results if r["state"] == "run" and not r["fuzz"] and not r["explored"] and not is_equivalent(r, known))
    if waiting:
        out += ["", "Unfinished: %d have not met libFuzzer yet." % waiting]
    left = [r for r in results if r["state"] == "run" and not r["fuzz"]]
    for title, group in (("Killed by neither", [r for r in left if not r["check"] and r["key"] not in known]),
                         ("Killed by the tests alone", [r for r in left if r["check"]]),
                         ("Equivalent", [r for r in left if is_equivalent(r, known)])):
        out += ["", "## %s: %d" % (title, len(group)), ""] + ["- %s (%s) %s%s" % (
            r["name"], r["path"], code(r["key"]), ": " + known[r["key"]] if is_equivalent(r, known) else ": " + r["check"] if r["check"] else "") for r in group]
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--hand", action="store_true")
    parser.add_argument("--auto", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--work", default="mutants")
    parser.add_argument("--every-path", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", action="store_true", help="of what was run before")
    parser.add_argument("--check", action="store_true", help="do faults.txt and equivalent.txt fit? Runs nothing")
    args = parser.parse_args()

    header = os.path.join(TOP, "attention.h")
    source = Source(header)
    faults, problems = hand_made(source, os.path.join(HERE, "faults.txt"), args.every_path)
    if args.check:
        problems += stale_equivalents(source, header, faults)
        fine = "faults.txt and equivalent.txt fit: %d faults, %d equivalents" % (len(faults), len(equivalents()))
        print("\n".join(problems) or fine)
        return 1 if problems else 0
    faults.sort(key=lambda f: "@" in f.name and not f.name.endswith("@all"))
    faults = ([] if args.auto else faults) + ([] if args.hand else drawn(source, header, args.seed, args.count))
    if args.only:
        faults = [f for f in faults if re.search(args.only, f.name)]
    if args.sample:
        random.Random(args.seed).shuffle(faults)
        faults = faults[:args.sample]
    for problem in problems:
        print("ERROR: " + problem)
    if args.list:
        for f in faults:
            print("%-40s %-14s %-7s %s" % (f.name, f.kind, f.path, f.key()))
        print("%d faults" % len(faults))
        return 1 if problems else 0

    work = os.path.abspath(args.work)
    os.makedirs(work, exist_ok=True)
    report, results = os.path.join(work, "report.json"), []
    known = {key: why for _, key, why in equivalents()}
    if (args.resume or args.report) and os.path.exists(report):
        with open(report, encoding="utf-8") as f:
            results = json.load(f)
    of = {(f.name, f.key()): f for f in faults}
    results = [r for r in results if args.report or args.only or (r["name"], r["key"]) in of]  # not what has changed since
    done = {(r["name"], r["key"]) for r in results}

    def save():
        with open(report + ".new", "w", encoding="utf-8") as f:
            json.dump(results, f, indent=1)
        os.replace(report + ".new", report)
        with open(os.path.join(work, "report.md"), "w", encoding="utf-8") as f:
            f.write("\n".join(summary(results, known)) + "\n")

    def tell(number, count, r):
        PROGRESS.erase()
        print("%s %d/%d %s [%s] %s: check %s (%.1f s), fuzz %s (%.1f s)" % (
            time.strftime("%H:%M:%S"), number + 1, count, r["name"], r["path"], r["state"], r["check"], r["check_seconds"], r["fuzz"],
            r["fuzz_seconds"]), flush=True)

    def explore(bench, wanted):
        """Survivors meet libFuzzer."""
        left = [r for r in results if r["state"] == "run" and not r["fuzz"] and not r["explored"] and not is_equivalent(r, known) and wanted(r)]
        for number, r in enumerate(left if args.seconds else []):
            fault = of.get((r["name"], r["key"]))
            if not fault:
                continue
            PROGRESS.at("libFuzzer", number, len(left))
            folder = os.path.join(work, fault.name)
            patch(source, fault, folder)
            bench.compile(folder, fault.path, "asan")
            r["fuzz"], seconds = bench.explore(folder, args.seconds, args.seed)
            r["fuzz_seconds"] += seconds
            r["how"], r["explored"] = "libFuzzer" if r["fuzz"] else None, True
            shutil.rmtree(folder, ignore_errors=True)
            save()
            tell(number, len(left), r)

    def test(bench):
        """What is left meets the slow tests."""
        left = [r for r in results if r["state"] == "run" and not r["fuzz"] and not r["check"] and not r.get("tested") and r["key"] not in known]
        for number, r in enumerate(left):
            fault = of.get((r["name"], r["key"]))
            if not fault:
                continue
            PROGRESS.at("slow tests", number, len(left))
            folder = os.path.join(work, fault.name)
            patch(source, fault, folder)
            bench.compile(folder, fault.path, "optimised")
            r["check"], seconds = bench.elementary(fault, folder)
            if not r["check"]:
                r["check"], more = bench.check(source, fault, folder, QUICK + SLOW, 40)
                seconds += more
            r["check_seconds"] += seconds
            r["tested"] = True
            shutil.rmtree(folder, ignore_errors=True)
            save()
            tell(number, len(left), r)

    if not args.report:
        bench = Bench(source, work, os.environ.get("CC", "gcc"), os.environ.get("CLANG", "clang"))
        for number, fault in enumerate(faults):
            if (fault.name, fault.key()) in done:
                continue
            PROGRESS.at("quick tests and seeds", number, len(faults))
            folder = os.path.join(work, fault.name)
            r = {"name": fault.name, "kind": fault.kind, "path": fault.path, "hand": fault.hand, "key": fault.key(), "state": "run", "check": None,
                 "fuzz": None, "how": None, "explored": False, "tested": False, "check_seconds": 0.0, "fuzz_seconds": 0.0}
            patch(source, fault, folder)
            if bench.compile(folder, fault.path, "plain") is None:
                r["state"] = "broken"
            else:
                r["fuzz"], r["how"], r["fuzz_seconds"] = bench.replay(folder)
                r["check"], r["check_seconds"] = bench.check(source, fault, folder, QUICK, 12)
                if not r["fuzz"] and not r["check"] and bench.same(source, fault, folder):
                    r["state"] = "same"
            shutil.rmtree(folder, ignore_errors=True)
            results.append(r)
            save()
            tell(number, len(faults), r)
        test(bench)
        explore(bench, lambda r: not r["check"])
        explore(bench, lambda r: r["check"])  # what tests find: when all else is done
    save()
    print("\n".join(table(results, known)))
    lost = [r for r in results if r["state"] == "run" and not r["fuzz"] and not r["check"] and r["key"] not in known]
    return 1 if problems or lost else 0


if __name__ == "__main__":
    sys.exit(main())
