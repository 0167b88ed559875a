# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The files the checks look at: those git tracks or would add, else every file below the root.
import os
import subprocess


def files():
    """Paths of the repository's files, relative to the root (the working directory)."""
    try:
        out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], check=True,
                             capture_output=True, text=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        out = [os.path.relpath(os.path.join(d, f), ".") for d, _, fs in os.walk(".") for f in fs]
    return sorted(p for p in out if p and os.path.isfile(p) and not p.startswith("build/"))


def sources():
    return [p for p in files() if p.endswith((".h", ".cc", ".cpp", ".c"))]


def report(check, errors):
    for error in errors:
        print(error)
    print(f"{check}: {len(errors)} violations")
    raise SystemExit(1 if errors else 0)
