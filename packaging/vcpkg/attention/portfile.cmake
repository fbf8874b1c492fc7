# SPDX-License-Identifier: MIT-0
#
# An overlay port, for a checkout:
#   vcpkg install attention --overlay-ports=CHECKOUT/packaging/vcpkg

get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../.." ABSOLUTE)

file(INSTALL "${SOURCE_PATH}/attention.h" "${SOURCE_PATH}/attention_mpi.h" DESTINATION "${CURRENT_PACKAGES_DIR}/include")
file(INSTALL "${CURRENT_PORT_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")

set(includedir [[${prefix}/include]])
set(prefix "${CURRENT_INSTALLED_DIR}")
set(ATTENTION_UP ../..)
set(PACKAGE_VERSION "${VERSION}")
string(REGEX MATCH "^[0-9]+" VERSION_MAJOR "${VERSION}")
string(REGEX MATCH "^[0-9]+[.]([0-9]+)" VERSION_MINOR "${VERSION}")
set(VERSION_MINOR "${CMAKE_MATCH_1}")
foreach(file attention-config attention-config-version)
  configure_file("${SOURCE_PATH}/packaging/${file}.cmake.in" "${CURRENT_PACKAGES_DIR}/share/${PORT}/${file}.cmake" @ONLY)
endforeach()

vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
