#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# python.sh - tests attention.py: what its functions promise (tests/python.py), where it finds what it loads, its
# types, and that pip makes a wheel of it without a network. TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"

why=$(no_python)
if [ -n "$why" ]; then
    skip 'attention.py' "$why"
    plan
    exit
fi

"$python" "$top/tests/python.py" "$top/examples/python" >"$dir/tap" 2>"$dir/log"
status=$?
grep -v '^1\.\.' "$dir/tap"
number=$(grep -c '^ok \|^not ok ' "$dir/tap")
[ $status = 0 ] && [ "$(sed -n '$s/^1\.\.//p' "$dir/tap")" = "$number" ]
ok 'tests/python.py runs to its end'

# --------------------------------------------------------------- where it is found --

mkdir "$dir/alone"
cp "$top/python/attention.py" "$dir/alone"
cat >"$dir/alone/program.py" <<'END'
try:
    import attention
    print(attention.softmax([0, 0]))
except ImportError as error:
    print(error)
END
alone() { # LIBRARY: what a program prints beside attention.py, where ATTENTION_LIBRARY is this
    (unset PYTHONPATH && ATTENTION_LIBRARY=$1 "$python" "$dir/alone/program.py") >"$dir/log" 2>&1
    [ "$(wc -l <"$dir/log")" -eq 1 ]
}
alone '' && grep -q "no _attention.so in $dir/alone: run ./bootstrap && ./configure && make " "$dir/log"
ok 'without a shared object: one line that says what to run'
alone "$dir/missing.so" && grep -q "$dir/missing.so.*: run " "$dir/log"
ok '... and where ATTENTION_LIBRARY names none'
alone "$ATTENTION_LIBRARY" && grep -q '^\[0.5 0.5\]$' "$dir/log"
ok 'found by ATTENTION_LIBRARY'
cp "$ATTENTION_LIBRARY" "$dir/alone"
alone '' && grep -q '^\[0.5 0.5\]$' "$dir/log"
ok 'found beside attention.py'

if command -v nm >/dev/null; then
    nm -D "$ATTENTION_LIBRARY" | awk '$2 == "T" && $3 !~ /^attention_/ && $3 !~ /^_(init|fini)$/' >"$dir/log"
    [ ! -s "$dir/log" ]
    ok 'the shared object exports its own functions, none of attention.h'
else
    skip 'the shared object exports its own functions' 'no nm'
fi

# ----------------------------------------------------------------- types, packages --

if command -v mypy >/dev/null; then
    (cd "$dir" && mypy --strict --python-executable "$python" "$top/python/attention.py") >"$dir/log" 2>&1
    ok 'mypy --strict'
else
    skip 'mypy --strict' 'no mypy'
fi

if "$python" -c 'import setuptools, pip, wheel; assert int(setuptools.__version__.split(".")[0]) >= 61' \
    2>/dev/null; then
    mkdir -p "$dir/source/examples" "$dir/source/python" "$dir/source/tools"
    (cd "$top" && cp LICENSE MANIFEST.in README.md attention.h pyproject.toml setup.py "$dir/source")
    cp "$top/examples/pthread_parallel_for.h" "$dir/source/examples"
    cp "$top/python/attention.py" "$top/python/_attention.c" "$dir/source/python"
    (cd "$top/tools" && cp canvas.[ch] picture.[ch] utf8.[ch] "$dir/source/tools")
    (
        unset PYTHONPATH
        pip() { "$python" -m pip --no-cache-dir "$@" --no-index --no-deps; }
        cd "$dir/source" && chmod -R u+w . &&
            "$python" -c "import setuptools.build_meta as build; build.build_sdist('$dir')" &&
            pip wheel --no-build-isolation -w "$dir" "$dir"/attention*.tar.gz &&
            pip install --target "$dir/site" "$dir"/attention*.whl
    ) >"$dir/log" 2>&1
    ok 'pip builds and installs a wheel, without a network'
    (
        cd "$dir" && ATTENTION_LIBRARY='' PYTHONPATH=$dir/site "$python" -c 'if True:
            import attention
            import importlib.metadata
            print(attention.softmax([0, 0]), attention.__file__)
            print(attention.__version__ == importlib.metadata.version("attention-h"))'
    ) >"$dir/printed" 2>"$dir/log"
    printf '[0.5 0.5] %s\nTrue\n' "$dir/site/attention.py" | diff - "$dir/printed" >>"$dir/log"
    ok '... which works, and has the version of attention.h'
else
    skip 'pip builds and installs a wheel' "$python has no pip, or no setuptools of version 61 or later, or no wheel"
fi
plan
