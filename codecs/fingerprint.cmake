# Writes OUT, a C++ file with the fingerprint of the sources below DIR: the SHA-256 of a line for each file, its
# path, a space, its SHA-256. nacrith/native/loader.py computes the same of a source tree.
file(GLOB_RECURSE files RELATIVE ${DIR} ${DIR}/*.cpp ${DIR}/*.hpp ${DIR}/*.h ${DIR}/*.inl ${DIR}/*.txt ${DIR}/*.cmake)
list(SORT files)
set(lines "")
foreach(file IN LISTS files)
  file(SHA256 ${DIR}/${file} sum)
  string(APPEND lines "${file} ${sum}\n")
endforeach()
string(SHA256 sum "${lines}")
file(CONFIGURE OUTPUT ${OUT} @ONLY CONTENT [[
#include "nacrith.h"

const char *nacrith_sources(void) { return "@sum@"; }
]])
