# SPDX-License-Identifier: MIT-0
#
# For Conan 2, from a checkout: conan create packaging/conan

import os
import re

from conan import ConanFile
from conan.tools.files import copy, load


class AttentionConan(ConanFile):
    name = "attention"
    description = "Self-attention on the CPU in one C header, with the same bits on every machine"
    license = "MIT-0 OR Unlicense"
    topics = ("attention", "transformer", "simd", "deterministic", "header-only")
    package_type = "header-library"
    no_copy_source = True

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "..", "..", "attention.h"))
        self.version = ".".join(re.findall(r"#define ATTN_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header))

    def export_sources(self):
        for name in ("attention.h", "attention_mpi.h", "LICENSE"):
            copy(self, name, os.path.join(self.recipe_folder, "..", ".."), self.export_sources_folder)

    def package(self):
        for name in ("attention.h", "attention_mpi.h"):
            copy(self, name, self.source_folder, os.path.join(self.package_folder, "include"))
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        self.cpp_info.set_property("cmake_file_name", "attention")
        self.cpp_info.set_property("cmake_target_name", "attention::attention")
        self.cpp_info.set_property("pkg_config_name", "attention")
