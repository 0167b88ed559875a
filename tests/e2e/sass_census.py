#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Counts what ptxas makes of the projections of a model: usage: sass_census.py FATHOM_COMPILE CONFIG TARGET...

Compiles CONFIG's kernels for each TARGET (cuda:sm_80), assembles and disassembles the PTX, prints a table of the
instructions that matter and fails when a kernel lacks those its form is made for: 128-bit loads and packed products in
the form for few tokens; matrix products, their fragments' loads and asynchronous copies in the form for many tokens;
local memory in none. Exit code 77: ptxas or nvdisasm is not on the path, nothing was looked at.
"""
import collections
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

COLUMNS = {  # title: opcode, as nvdisasm writes it, modifiers included
    "load128": r"LDG\.E(\.\w+)*\.128(\.\w+)*",
    "dot8": r"IDP\.4A.*",
    "ffma": r"FFMA2?",
    "int8 mma": r"IMMA\.16832.*",
    "bf16 mma": r"HMMA\.16816.*BF16",
    "async copy": r"LDGSTS.*",
    "ldmatrix": r"LDSM.*",
    "local": r"(LDL|STL).*",
}
OPCODE = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?\w+\s+)?([A-Z0-9_.]+)", re.MULTILINE)


def census(ptx, chip, folder):
    """The number of instructions of each column in one kernel's machine code."""
    cubin = folder / "kernel.cubin"
    subprocess.run(["ptxas", f"-arch={chip}", str(ptx), "-o", str(cubin)], check=True)
    text = subprocess.run(["nvdisasm", "-c", str(cubin)], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True).stdout
    opcodes = collections.Counter(OPCODE.findall(text))
    if not opcodes:
        sys.exit(f"{ptx.name}: nvdisasm shows no instructions")
    return {title: sum(n for name, n in opcodes.items() if re.fullmatch(pattern, name))
            for title, pattern in COLUMNS.items()}


def wanted(mlir, encoding):
    """The columns that must not be 0; nothing is asked of kernels that are no projection."""
    many = "nvvm.mma.sync" in mlir
    if encoding == "f32":
        return ["load128", "ffma"]
    if not many:
        return ["load128"] + (["dot8"] if encoding in ("q4", "q8") else ["ffma"])
    return ["async copy", "ldmatrix", "bf16 mma" if encoding == "bf16" else "int8 mma"]


def main():
    compiler, config, targets = sys.argv[1], sys.argv[2], sys.argv[3:]
    missing = [tool for tool in ("ptxas", "nvdisasm") if not shutil.which(tool)]
    if missing:
        print(f"SKIPPED, nothing was looked at: not on the path: {', '.join(missing)}")
        return 77
    failures = 0
    print(f"{'kernel':58}" + "".join(f"{title:>11}" for title in COLUMNS))
    for encoding in ("q4", "q8", "bf16"):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            command = [compiler, config, "--weights=random:1", f"--quantize={encoding}", "-q", "--compile-to=codegen",
                       f"--dump-code-to={folder}", "-o", str(folder / "out.mlir")]
            subprocess.run(command + [f"--target={target}" for target in targets], check=True)
            forms = collections.Counter()
            for target in targets:
                chip = target.split(":")[1]
                for ptx in sorted(folder.glob(f"cuda_{chip}.*.ptx")):
                    kernel = ptx.name.removesuffix(".ptx").split(".", 1)[1]
                    own = re.match(r"(linear|experts)_([a-z0-9]+)_", kernel)
                    if not own:
                        continue
                    mlir = ptx.with_suffix(".mlir").read_text()
                    counts = census(ptx, chip, folder)
                    lacking = [title for title in wanted(mlir, own[2]) if counts[title] == 0]
                    if counts["local"]:
                        lacking.append("no local memory")
                    forms[chip, "mma" if "nvvm.mma.sync" in mlir else "other"] += own[2] == encoding
                    print(f"{chip + ' ' + kernel:58}" + "".join(f"{n:11}" for n in counts.values()) +
                          (f"   LACKS {', '.join(lacking)}" if lacking else ""))
                    failures += bool(lacking)
                for form in ("mma", "other"):
                    if not forms[chip, form]:
                        print(f"{chip}: no projection of {encoding} in the form for {form}")
                        failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
