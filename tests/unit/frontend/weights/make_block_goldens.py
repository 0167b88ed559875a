# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Writes block_goldens.json: what the gguf package of PyPI decodes from blocks made by a formula.
#
#   python make_block_goldens.py > block_goldens.json
import json

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize

# Bytes of a block, where its float16 scales lie, blocks to decode.
TYPES = {
    "Q4_0": (18, [0], 2), "Q4_1": (20, [0, 2], 2), "Q5_0": (22, [0], 2), "Q5_1": (24, [0, 2], 2),
    "Q8_0": (34, [0], 2), "Q4_K": (144, [0, 2], 1), "Q5_K": (176, [0, 2], 1), "Q6_K": (210, [208], 1),
}


def block(size, scales, number):
    """Byte i is (7 i^2 + 13 i + 91 number) mod 256; scale k is the half 0x2c00 + 0x123 k + 37 number."""
    data = np.array([(7 * i * i + 13 * i + 91 * number) & 255 for i in range(size)], dtype=np.uint8)
    for k, offset in enumerate(scales):
        half = 0x2C00 + 0x123 * k + 37 * number
        data[offset], data[offset + 1] = half & 255, half >> 8
    return data


goldens = {}
for name, (size, scales, count) in TYPES.items():
    data = np.concatenate([block(size, scales, n) for n in range(count)])
    values = dequantize(data.reshape(1, -1), T[name]).reshape(-1)
    goldens[name] = [float(str(v)) for v in values]
print("{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in goldens.items()) + "\n}")
