# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Who may include whom (the table of CONTRIBUTING.md). `violations` is what check_self.py tests.
import re

import tree

# Folder prefix -> prefixes of ours it may include besides itself. The longest matching prefix counts.
# runtime/base (status, checked arithmetic: std and absl only) is open to every folder that is not MLIR's.
BASE = "runtime/base/"
SCHEMA = "runtime/schema/"
ALLOWED = {
    "runtime/base/": [],
    "runtime/schema/": [],
    "runtime/hal/": [BASE],
    "runtime/artifact/": [BASE, SCHEMA],
    "runtime/exec/": [BASE, SCHEMA, "runtime/hal/", "runtime/artifact/"],
    "runtime/text/": [BASE, SCHEMA],
    "runtime/session/": [BASE, SCHEMA, "runtime/hal/", "runtime/artifact/", "runtime/exec/", "runtime/text/"],
    "runtime/api/": ["runtime/"],
    "runtime/tools/": ["runtime/"],
    "dialects/graph/": [],
    "dialects/schedule/": ["dialects/graph/"],
    "compiler/target/": ["dialects/"],
    "compiler/quantize/": ["dialects/", "compiler/target/", "frontend/weights/", BASE],
    "compiler/fuse/": ["dialects/", "compiler/target/"],
    "compiler/kernels/": ["dialects/", "compiler/target/"],
    "compiler/lower/": ["dialects/", "compiler/target/", "compiler/kernels/"],
    "compiler/schedule/": ["dialects/", "compiler/target/"],
    # Reads back its own artifacts, through the one verifier.
    "compiler/emit/": ["dialects/", "compiler/target/", SCHEMA, BASE, "runtime/artifact/", "frontend/weights/",
                       "compiler/quantize/", "backends/cpu/abi/"],
    "compiler/report/": ["dialects/", "compiler/target/"],
    "compiler/pipeline/": ["dialects/", "compiler/", "frontend/", "models/", SCHEMA, BASE],
    "compiler/tools/": ["dialects/", "compiler/", "frontend/", "models/", BASE],
    "frontend/weights/": [BASE],
    "frontend/config/": [BASE, "frontend/weights/", "frontend/tokenizer/"],
    "frontend/tokenizer/": [BASE, SCHEMA, "frontend/weights/"],
    "frontend/builder/": [BASE, "dialects/", "frontend/"],
    "models/reference/": [],
    "models/": [BASE, "frontend/", "dialects/"],
}
for backend in ("cpu", "vulkan", "cuda", "null"):
    ALLOWED[f"backends/{backend}/abi/"] = []
    ALLOWED[f"backends/{backend}/driver/"] = [f"backends/{backend}/abi/", BASE, "runtime/hal/"]
    ALLOWED[f"backends/{backend}/target/"] = [f"backends/{backend}/abi/", "compiler/target/", "compiler/kernels/",
                                              "dialects/"]
MLIR_FREE = ("runtime/", "backends/cpu/driver/", "backends/null/driver/", "backends/vulkan/driver/",
             "backends/cuda/driver/", "frontend/weights/", "frontend/config/", "frontend/tokenizer/",
             "models/reference/")
OURS = ("runtime/", "backends/", "compiler/", "dialects/", "frontend/", "models/", "tests/")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)


def violations(path, text):
    """Messages for the includes of `path` that its folder may not have."""
    if path.startswith("tests/"):
        return []
    folder = max((p for p in ALLOWED if path.startswith(p)), key=len, default=None)
    found = []
    for name in INCLUDE.findall(text):
        if name.startswith(("mlir/", "llvm/", "lld/")) and path.startswith(MLIR_FREE):
            found.append(f"{path}: includes {name}, but this folder is free of MLIR and LLVM")
        if folder is None or not name.startswith(OURS) or name.startswith(folder):
            continue
        if name.startswith(tuple(ALLOWED[folder])):
            continue
        # Headers the build generates: the list of backends, the schemas.
        if name.endswith(("_generated.h", ".inc")) and name.startswith((SCHEMA, "dialects/")):
            continue
        found.append(f"{path}: includes {name}; {folder} may include only {ALLOWED[folder] or 'itself'}")
    return found


if __name__ == "__main__":
    tree.report("includes", [v for p in tree.sources() for v in violations(p, open(p, errors="replace").read())])
