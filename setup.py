# SPDX-License-Identifier: MIT-0
"""What pyproject.toml cannot say: the shared object of python/attention.py, and the version, which attention.h has."""
import re
import subprocess

from setuptools import Extension, setup

with open("attention.h", encoding="utf-8") as header:
    version = re.findall(r"^#define ATTN_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header.read(), re.MULTILINE)

try:  # without libpng, pictures are SVG and text alone
    found = subprocess.run(["pkg-config", "--cflags", "--libs", "libpng >= 1.6"], capture_output=True, text=True)
    png = ["-DATTN_PNG", *found.stdout.split()] if found.returncode == 0 else []
except OSError:
    png = []

setup(
    version=".".join(version),
    ext_modules=[Extension(
        "_attention",
        ["python/_attention.c", "tools/canvas.c", "tools/picture.c", "tools/utf8.c"],
        include_dirs=["."],
        depends=["attention.h", "examples/pthread_parallel_for.h", "tools/canvas.h", "tools/picture.h",
                 "tools/utf8.h"],
        extra_compile_args=["-O2", "-g0", "-fvisibility=hidden", *png],
        extra_link_args=[*png, "-lpthread", "-lm"],
        py_limited_api=True)],  # it uses nothing of Python, so it is one for all versions
    options={"bdist_wheel": {"py_limited_api": "cp39"}},
)
