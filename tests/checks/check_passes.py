# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every pass has its source, its flag, a description with an example, and its lit test.
import os
import re

import tree

PASS = re.compile(r'def (\w+)Pass\s*:\s*Pass<"fathom-([a-z0-9-]+)".*?\{(.*?)\n\}', re.S)


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def violations(td_path, text, exists):
    found = []
    folder = os.path.dirname(td_path)
    for name, flag, body in PASS.findall(text):
        wanted = snake(name).replace("_", "-")
        if flag != wanted:
            found.append(f"{td_path}: {name}Pass has flag fathom-{flag}, expected fathom-{wanted}")
        if not exists(f"{folder}/{name}.cpp"):
            found.append(f"{td_path}: {name}Pass has no {folder}/{name}.cpp")
        test = f"tests/lit/{folder}/{snake(name)}.mlir"
        if not exists(test):
            found.append(f"{td_path}: {name}Pass has no {test}")
        if "description" not in body or "```mlir" not in body:
            found.append(f"{td_path}: {name}Pass needs a description with IR before and after")
    return found


if __name__ == "__main__":
    tds = [p for p in tree.files() if p.endswith("Passes.td")]
    tree.report("passes", [v for p in tds for v in violations(p, open(p).read(), os.path.isfile)])
