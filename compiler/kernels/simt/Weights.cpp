// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads of tile16 weights (docs/spec/encodings.md).
#include "compiler/kernels/simt/Weights.h"

using namespace mlir;

namespace fathom::kernels::simt {

Val Weights::element(Val matrix, Val row, Val col) const {
  SimtBuilder& k = *k_;
  Val tile = matrix + row / kTileRows * tileWords();
  Val lane = row % kTileRows;
  switch (layout_.enc) {
    case Enc::f32:
      return k.load(k.f32View(binding_), tile + col * kTileRows + lane);
    case Enc::bf16: {
      Val pair = k.load(k.i32View(binding_), tile + col / 2 * kTileRows + lane);
      return select(col % 2 == 0, lowBf16(pair), highBf16(pair));
    }
    case Enc::q8:
    case Enc::q4:
      break;
  }
  Buf words = k.i32View(binding_);
  bool nibbles = layout_.enc == Enc::q4;
  Val block = tile + col / kSuperblock * stepWords();
  Val group = col / kGroup % 2, inGroup = col % kGroup;
  auto halves = k.unpackF16(k.load(words, block + group * 8 + lane / 2));
  Val scale = select(lane % 2 == 0, halves.first, halves.second);
  // In a group of nibbles words hold columns 4 j + b (low) and 16 + 4 j + b (high).
  Val quad = nibbles ? inGroup % 16 / 4 : inGroup / 4;
  int64_t groupWords = (nibbles ? 4 : 8) * kTileRows;
  Val word = k.load(words, block + group * groupWords + quad * kTileRows + lane + kScaleBytes / 4);
  Val shift = inGroup % 4 * 8;
  if (nibbles) shift = shift + inGroup / 16 * 4;
  Val value = shr(word, toInt(shift, k.i32())) & (nibbles ? 15 : 255);
  return toFloat(value - (nibbles ? 8 : 128)) * scale;
}

Val Weights::fourWords(Val at) const {
  return k_->load(k_->view(binding_, k_->vec(k_->i32(), 4)), at / 4);
}

Val Weights::fourFloats(Val at) const {
  return k_->load(k_->view(binding_, k_->vec(k_->f32(), 4)), at / 4);
}

Val Weights::fourScales(Val at) const {
  Val pair = k_->load(k_->view(binding_, k_->vec(k_->i32(), 2)), at / 2);
  auto low = k_->unpackF16(lane(pair, 0)), high = k_->unpackF16(lane(pair, 1));
  return fromLanes({low.first, low.second, high.first, high.second});
}

}  // namespace fathom::kernels::simt
