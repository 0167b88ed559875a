// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The `embed` kernel: one row of a tile16 matrix per token, decoded to float32.
#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simd/Emitters.h"

namespace fathom::kernels {
namespace {

// Everything the decoders of one row need: the tile's first byte, the row in it, the output row.
struct Row {
  Buf weight, out;
  Val tile, row, to;
};

// Four consecutive columns that lie in one 32-bit word, as unsigned bytes.
Val wordBytes(Val word) { return zext(bitcast(splat(word, 1), word.k().i8()), word.k().i32()); }

void decodeF32(KernelBuilder& k, const Row& r, int64_t cols) {
  k.forLoop(k.idx(0), k.idx(cols), 1, [&](Val i) {
    k.store(k.load(k.view(r.weight, r.tile, k.f32()), i * kTileRows + r.row), r.out, r.to + i);
  });
}

void decodeBf16(KernelBuilder& k, const Row& r, int64_t cols) {
  auto pair = [&](Val i) {
    return k.load(k.view(r.weight, r.tile, k.i32()), i * kTileRows + r.row);
  };
  k.forLoop(k.idx(0), k.idx(cols / 2), 1, [&](Val i) {
    Val word = pair(i);
    k.store(lowBf16(word), r.out, r.to + i * 2);
    k.store(highBf16(word), r.out, r.to + i * 2 + 1);
  });
  if (cols % 2) k.store(lowBf16(pair(k.idx(cols / 2))), r.out, r.to + (cols - 1));
}

// Columns [64 s, 64 s + count) of a quantised row. Stores whole quadruples: a row of out has room
// for round_up(cols, 16) elements.
void decodeSuperblock(KernelBuilder& k, const Row& r, const WeightLayout& layout, Val s,
                      int64_t count) {
  Val block = r.tile + s * layout.stepBytes;
  Val to = r.to + s * kSuperblock;
  Buf scales = k.view(r.weight, block, k.i16());
  Buf words = k.view(r.weight, block + kScaleBytes, k.i32());
  bool nibbles = layout.enc == Enc::q4;
  int64_t wordsPerGroup = nibbles ? 4 : 8;
  for (int64_t g = 0; g < 2 && kGroup * g < count; ++g) {
    Val scale = splat(f16ToF32(k.load(scales, r.row + kTileRows * g)), 4);
    auto put = [&](Val quads, int64_t column, int64_t zero) {
      if (column < count) k.store(toFloat(quads - zero) * scale, r.out, to + column);
    };
    for (int64_t j = 0; j < wordsPerGroup && kGroup * g + 4 * j < count; ++j) {
      Val bytes = wordBytes(k.load(words, r.row + kTileRows * (wordsPerGroup * g + j)));
      if (nibbles) {
        put(bytes & 15, kGroup * g + 4 * j, 8);
        put(shr(bytes, 4), kGroup * g + 16 + 4 * j, 8);
      } else {
        put(bytes, kGroup * g + 4 * j, 128);
      }
    }
  }
}

void decodeRow(KernelBuilder& k, const Row& r, const WeightLayout& layout, int64_t cols) {
  switch (layout.enc) {
    case Enc::f32:
      return decodeF32(k, r, cols);
    case Enc::bf16:
      return decodeBf16(k, r, cols);
    case Enc::q8:
    case Enc::q4:
      k.forLoop(k.idx(0), k.idx(cols / kSuperblock), 1,
                [&](Val s) { decodeSuperblock(k, r, layout, s, kSuperblock); });
      if (cols % kSuperblock)
        decodeSuperblock(k, r, layout, k.idx(cols / kSuperblock), cols % kSuperblock);
  }
}

}  // namespace

mlir::LogicalResult emitEmbed(KernelBuilder& k) {
  Config& cfg = k.cfg();
  int64_t vocab = cfg.in("vocab", 1, kMaxExtent);
  int64_t hidden = cfg.in("hidden", 1, kMaxExtent);
  int64_t outLd = cfg.in("out_ld", hidden, kMaxExtent, 16);
  bool part = cfg.has("first");
  int64_t first = cfg.in("first", 0, kMaxExtent - vocab, 1, 0);
  Enc enc = readEnc(cfg);
  if (cfg.failed()) return mlir::failure();
  WeightLayout layout(enc, vocab, hidden);

  Buf tokens = k.in(k.i32());
  Row r;
  r.weight = k.in(k.i8());
  r.out = k.out(k.f32());
  Val token = toIndex(k.load(tokens, k.x()));
  if (first) token = token - first;
  // One unsigned comparison would do; the builder's are signed.
  Val good = (token >= 0) & (token < vocab);
  auto decode = [&](Val row) {
    r.tile = row / kTileRows * layout.tileBytes;
    r.row = row % kTileRows;
    r.to = k.x() * outLd;
    decodeRow(k, r, layout, hidden);
  };
  if (part)
    k.ifThen(good, [&] { decode(token); });
  else
    decode(select(good, token, k.idx(0)));
  return mlir::success();
}

}  // namespace fathom::kernels
