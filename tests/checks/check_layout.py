# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Depth and length of paths, licence headers, sizes of sources, nothing left of a machine.
import re

import tree

FIRST_LEVEL = {"compiler", "runtime", "dialects", "backends", "frontend", "models", "tests", "docs", ".ci"}
HEADER = re.compile(r"^\s*(//|/\*|#!.*\n#|#) ?SPDX-License-Identifier: Apache-2\.0 WITH LLVM-exception")
MACHINE = re.compile(r"/(w[o]rk|r[o]ot|home/[a-z]+)/")
MAX_LINES = 800


def path_violations(path):
    found = []
    parts = path.split("/")
    if len(parts) > 1 and parts[0] not in FIRST_LEVEL:
        found.append(f"{path}: the first level of the tree is fixed, found folder {parts[0]}")
    if len(parts) - 1 > 5:
        found.append(f"{path}: {len(parts) - 1} folders deep, at most 5")
    if len(path) >= 75:
        found.append(f"{path}: {len(path)} characters, fewer than 75 expected")
    return found


def text_violations(path, text):
    found = []
    if not HEADER.match(text):
        found.append(f"{path}: the first line must be the SPDX licence header")
    if text.count("\n") > MAX_LINES:
        found.append(f"{path}: {text.count(chr(10))} lines, at most {MAX_LINES}")
    if MACHINE.search(text):
        found.append(f"{path}: names a path of a machine")
    return found


if __name__ == "__main__":
    errors = [v for p in tree.files() for v in path_violations(p)]
    errors += [v for p in tree.sources() for v in text_violations(p, open(p, errors="replace").read())]
    tree.report("layout", errors)
