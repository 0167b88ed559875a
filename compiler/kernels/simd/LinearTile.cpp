// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One step of K for every weight encoding and activation form.
#include "compiler/kernels/simd/LinearTile.h"

namespace fathom::kernels {
namespace {

constexpr int64_t kWords = kGroup / 4;  // 32-bit words of a group of 8-bit activations

// The integer sum over a group of u8 weights times s8 activations, word by word.
class GroupSum {
 public:
  GroupSum(Enc enc, Val bias) : k_(bias.k()), enc_(enc), bias_(bias) {
    const TargetProfile& profile = k_.profile();
    // pmaddubsw of nibbles: at most 8 words x 2 products x 15 x 127 = 30480, so that the group's
    // sum stays in 16 bits and is widened once.
    in16Bits_ = enc == Enc::q4 && profile.avx2 && !profile.vnni;
    // sdot takes signed weights: without the offset there is nothing to correct.
    flipped_ = enc == Enc::q8 && profile.dotprod;
    if (!in16Bits_) sum_ = flipped_ ? number(bias, 0) : bias;
  }

  void add(Val w, Val x) {
    if (in16Bits_) {
      Val pairs = k_.profile().avx512
                      ? k_.intrinsic("llvm.x86.avx512.pmaddubs.w.512", k_.vec(k_.i16(), 32), {w, x})
                      : concat(half("llvm.x86.avx2.pmadd.ub.sw", k_.vec(k_.i16(), 16), w, x, 0),
                               half("llvm.x86.avx2.pmadd.ub.sw", k_.vec(k_.i16(), 16), w, x, 1));
      sum_ = sum_ ? sum_ + pairs : pairs;
    } else if (flipped_) {
      sum_ = dotU7S8(sum_, w ^ -128, x);
    } else {
      sum_ = enc_ == Enc::q4 ? dotU7S8(sum_, w, x) : dotU8S8(sum_, w, x);
    }
  }

  // The same of weights that are 16 times as large, nibbles that stayed where they are.
  void add16(Val w, Val x) { sum16_ = dotU8S8(sum16_ ? sum16_ : number(bias_, 0), w, x); }

  Val total() {
    if (sum16_) return sum_ + sar(sum16_, 4);
    if (!in16Bits_) return sum_;
    Val ones = number(sum_, 1);
    Val wide = k_.profile().avx512
                   ? k_.intrinsic("llvm.x86.avx512.pmaddw.d.512", k_.vec(k_.i32()), {sum_, ones})
                   : concat(half("llvm.x86.avx2.pmadd.wd", k_.vec(k_.i32(), 8), sum_, ones, 0),
                            half("llvm.x86.avx2.pmadd.wd", k_.vec(k_.i32(), 8), sum_, ones, 1));
    return wide + bias_;
  }

 private:
  Val half(llvm::StringRef name, mlir::Type type, Val a, Val b, int64_t which) {
    int64_t lanes = a.lanes() / 2;
    return k_.intrinsic(name, type,
                        {slice(a, lanes * which, lanes), slice(b, lanes * which, lanes)});
  }

  ValueBuilder& k_;
  Enc enc_;
  Val bias_, sum_, sum16_;
  bool in16Bits_, flipped_;
};

}  // namespace

LinearTile::LinearTile(KernelBuilder& k, Enc enc, Act act, int64_t cols)
    : k_(k), act_(act), cols_(cols), layout_(enc, kTileRows, cols) {
  if (k.registers() < 32) {
    // Integer sums and float32 accumulators live at once.
    bool grouped = enc == Enc::q4 || enc == Enc::q8;
    manyRows_ = grouped ? 4 : 6;
    manyTiles_ = 1;
  }
}

bool LinearTile::allowed(Enc enc, Act act) {
  switch (act) {
    case Act::f32:
      return true;
    case Act::bf16:
      return enc == Enc::bf16;
    case Act::i8:
      return enc == Enc::q8 || enc == Enc::q4;
  }
  return false;
}

Vals LinearTile::overSteps(int64_t steps, int64_t unroll, Vals acc,
                           llvm::function_ref<void(Val, Vals&)> body) {
  int64_t whole = steps / unroll * unroll;
  if (whole)
    acc =
        k_.forLoop(k_.idx(0), k_.idx(whole), unroll, acc, [&](Val i, llvm::ArrayRef<Val> carried) {
          Vals next(carried);
          for (int64_t u = 0; u < unroll; ++u) body(i + u, next);
          return next;
        });
  for (int64_t i = whole; i < steps; ++i) body(k_.idx(i), acc);
  return acc;
}

Vals LinearTile::sums(Buf act, llvm::ArrayRef<Val> rows, llvm::ArrayRef<Weight> tiles,
                      const Weight* later) {
  Operands o{act, rows, tiles, later};
  Vals acc(rows.size() * tiles.size(), k_.zero());
  // A loop iteration of some 64 products hides its own counting.
  int64_t unroll = rows.size() * tiles.size() > 4 ? 4 : 8;
  switch (layout_.enc) {
    case Enc::f32:
      return overSteps(layout_.steps, unroll, acc, [&](Val i, Vals& a) { stepF32(o, i, a); });
    case Enc::bf16:
      if (act_ == Act::bf16)
        return overSteps(layout_.steps, unroll, acc, [&](Val i, Vals& a) { stepBf16(o, i, a); });
      acc = overSteps(cols_ / 2, unroll / 2, acc, [&](Val i, Vals& a) { stepWidened(o, i, 2, a); });
      if (cols_ % 2) stepWidened(o, k_.idx(cols_ / 2), 1, acc);
      return acc;
    case Enc::q8:
    case Enc::q4:
      break;
  }
  if (act_ == Act::i8)
    return overSteps(layout_.steps, 1, acc, [&](Val i, Vals& a) {
      if (rows.size() == 1) prefetch(o, i);
      for (int64_t g = 0; g < 2; ++g) groupI8(o, i, g, a);
    });
  acc = overSteps(cols_ / kSuperblock, 1, acc, [&](Val i, Vals& a) {
    prefetch(o, i);
    for (int64_t g = 0; g < 2; ++g) groupF32(o, i, g, kGroup, a);
  });
  // What lies behind a float32 row is unspecified: the last superblock reads its own columns only.
  int64_t rest = cols_ % kSuperblock;
  for (int64_t g = 0; g < 2 && rest > kGroup * g; ++g)
    groupF32(o, k_.idx(cols_ / kSuperblock), g, std::min(kGroup, rest - kGroup * g), acc);
  return acc;
}

int64_t LinearTile::ahead(size_t streams) const {
  return k_.profile().prefetchBytes / static_cast<int64_t>(streams) / 64 * 64;
}

// Steps of several rows take longer, and so do what they wait for. Their arithmetic comes between
// the reads, which prefetchers of the hardware do not keep up with even where they do for one row
// (measured with two streams).
int64_t LinearTile::aheadOfRows(size_t streams) const {
  if (int64_t bytes = ahead(streams)) return 2 * bytes;
  constexpr int64_t kBytes = 9216;
  return manyTiles_ > 1 ? kBytes / static_cast<int64_t>(streams) / 64 * 64 : 0;
}

// The first rows have their tiles from memory, however many they are; the others, which have them
// from the cache, ask in vain.
void LinearTile::prefetch(const Operands& o, Val step) {
  prefetch(o, step, 0, layout_.stepBytes / 64);
}

void LinearTile::prefetch(const Operands& o, Val step, int64_t first, int64_t last) {
  int64_t distance = o.rows.size() > 1 ? aheadOfRows(o.tiles.size()) : ahead(o.tiles.size());
  if (!distance) return;
  Val from = step * layout_.stepBytes;
  for (int64_t line = first; line < last; ++line) {
    if (o.later) {
      k_.prefetch(o.later->buf, o.later->at + from + 64 * line, 2);
      continue;
    }
    for (const Weight& tile : o.tiles)
      k_.prefetch(tile.buf, tile.at + from + (distance + 64 * line));
  }
}

void LinearTile::open(llvm::ArrayRef<Weight> streams) {
  for (int64_t at = 0; at < ahead(streams.size()); at += 64)
    for (const Weight& tile : streams) k_.prefetch(tile.buf, tile.at + at);
}

void LinearTile::stepF32(const Operands& o, Val step, Vals& acc) {
  prefetch(o, step);
  Vals w;
  for (const Weight& tile : o.tiles)
    w.push_back(k_.load(k_.view(tile.buf, tile.at, k_.f32()), step * kTileRows, kTileRows));
  for (size_t m = 0; m < o.rows.size(); ++m) {
    Val x = splat(k_.load(k_.view(o.act, o.rows[m], k_.f32()), step));
    for (size_t j = 0; j < w.size(); ++j) {
      Val& a = acc[m * w.size() + j];
      a = fma(w[j], x, a);
    }
  }
}

void LinearTile::stepBf16(const Operands& o, Val step, Vals& acc) {
  prefetch(o, step);
  Vals w;
  for (const Weight& tile : o.tiles)
    w.push_back(k_.load(k_.view(tile.buf, tile.at, k_.i32()), step * kTileRows, kTileRows));
  for (size_t m = 0; m < o.rows.size(); ++m) {
    Val x = splat(k_.load(k_.view(o.act, o.rows[m], k_.i32()), step));
    for (size_t j = 0; j < w.size(); ++j) {
      Val& a = acc[m * w.size() + j];
      a = dotBf16(a, w[j], x);
    }
  }
}

// bf16 weights, float32 activations: `columns` (1 or 2) of the pair.
void LinearTile::stepWidened(const Operands& o, Val step, int64_t columns, Vals& acc) {
  prefetch(o, step);
  Vals pairs;
  for (const Weight& tile : o.tiles)
    pairs.push_back(k_.load(k_.view(tile.buf, tile.at, k_.i32()), step * kTileRows, kTileRows));
  for (int64_t c = 0; c < columns; ++c) {
    Vals w;
    for (Val pair : pairs) w.push_back(c ? highBf16(pair) : lowBf16(pair));
    for (size_t m = 0; m < o.rows.size(); ++m) {
      Val x = splat(k_.load(k_.view(o.act, o.rows[m], k_.f32()), step * 2 + c));
      for (size_t j = 0; j < w.size(); ++j) {
        Val& a = acc[m * w.size() + j];
        a = fma(w[j], x, a);
      }
    }
  }
}

Val LinearTile::scales(const Weight& tile, Val step, int64_t group) {
  Buf halves = k_.view(tile.buf, tile.at + step * layout_.stepBytes, k_.i16());
  return f16ToF32(k_.load(halves, k_.idx(kTileRows * group), kTileRows));
}

Val LinearTile::line(const Weight& tile, Val step, int64_t group, Val at) {
  int64_t perGroup = layout_.enc == Enc::q4 ? 4 : 8;
  Val offset = tile.at + step * layout_.stepBytes + (kScaleBytes + 64 * perGroup * group);
  return k_.load(tile.buf, offset + at * 64, 64);
}

void LinearTile::groupI8(const Operands& o, Val step, int64_t group, Vals& acc) {
  size_t tiles = o.tiles.size(), rows = o.rows.size();
  int64_t padded = roundUp(cols_, kSuperblock);
  Val index = step * 2 + group;  // of the group in the record's scales and biases
  std::vector<GroupSum> sums;
  for (size_t m = 0; m < rows; ++m) {
    Buf biases = k_.view(o.act, o.rows[m] + (padded + padded / kGroup * 4), k_.i32());
    Val bias = splat(k_.load(biases, index));
    // bias = -8 sum(q): what the nibbles' offset of 8 adds; the bytes' offset is 128 = 16 x 8.
    if (layout_.enc == Enc::q8) bias = shl(bias, 4);
    for (size_t j = 0; j < tiles; ++j) sums.emplace_back(layout_.enc, bias);
  }
  // Word by word, so that the operands alive beside the sums are one word of each tile.
  auto addWord = [&](int64_t word, const Vals& w, bool times16) {
    for (size_t m = 0; m < rows; ++m) {
      Buf words = k_.view(o.act, o.rows[m], k_.i32());
      Val x = k_.load(words, step * (kSuperblock / 4) + (kWords * group + word));
      x = bitcast(splat(x), k_.i8());
      for (size_t j = 0; j < tiles; ++j) {
        GroupSum& sum = sums[m * tiles + j];
        times16 ? sum.add16(w[j], x) : sum.add(w[j], x);
      }
    }
  };
  bool nibbles = layout_.enc == Enc::q4;
  // A mask is cheaper than a shift and a mask, but the second sum takes registers and two more
  // instructions, which repays for one row.
  bool inPlace = nibbles && rows == 1 && k_.profile().vnni;
  // Lines asked for all at once wait for line buffers, and arithmetic of several rows with them.
  int64_t places = nibbles ? kWords / 2 : kWords, lines = layout_.stepBytes / 64;
  for (int64_t at = 0; at < places; ++at) {
    int64_t place = group * places + at;
    if (rows > 1)
      prefetch(o, step, place * lines / (2 * places), (place + 1) * lines / (2 * places));
    Vals w;
    for (const Weight& tile : o.tiles) w.push_back(line(tile, step, group, k_.idx(at)));
    if (!nibbles) {
      addWord(at, w, false);
      continue;
    }
    Vals low, high;
    for (Val v : w) {
      low.push_back(v & 15);
      high.push_back(inPlace ? v & -16 : shr(v, 4));
    }
    addWord(at, low, false);
    addWord(at + kWords / 2, high, inPlace);
  }
  Vals scale;
  for (const Weight& tile : o.tiles) scale.push_back(scales(tile, step, group));
  for (size_t m = 0; m < rows; ++m) {
    Buf factors = k_.view(o.act, o.rows[m] + padded, k_.f32());
    Val actScale = splat(k_.load(factors, index));
    for (size_t j = 0; j < tiles; ++j) {
      Val& a = acc[m * tiles + j];
      a = fma(toFloat(sums[m * tiles + j].total()), scale[j] * actScale, a);
    }
  }
}

// q4 or q8 weights, float32 activations: the first `columns` of the group, line by line.
void LinearTile::groupF32(const Operands& o, Val step, int64_t group, int64_t columns, Vals& acc) {
  size_t tiles = o.tiles.size(), rows = o.rows.size();
  bool nibbles = layout_.enc == Enc::q4;
  Val first = step * kSuperblock + kGroup * group;
  // Columns 4 at .. 4 at + 3 and, of nibbles, 16 more on; `limit` of the group's columns exist.
  auto addLine = [&](Val at, int64_t column, int64_t limit, Vals& sum) {
    Vals packed;
    for (const Weight& tile : o.tiles)
      packed.push_back(bitcast(line(tile, step, group, at), k_.i32()));
    for (int64_t part = 0; part < (nibbles ? 8 : 4); ++part) {
      int64_t ahead = part / 4 * 16 + part % 4;
      if (column + ahead >= limit) continue;
      int shift = static_cast<int>(8 * (part % 4) + part / 4 * 4);
      Vals w;
      for (Val p : packed)
        w.push_back(
            toFloat(((shift ? shr(p, shift) : p) & (nibbles ? 15 : 255)) - (nibbles ? 8 : 128)));
      for (size_t m = 0; m < rows; ++m) {
        Val x = splat(k_.load(k_.view(o.act, o.rows[m], k_.f32()), first + at * 4 + ahead));
        for (size_t j = 0; j < tiles; ++j) {
          Val& s = sum[m * tiles + j];
          s = fma(w[j], x, s);
        }
      }
    }
  };
  int64_t lines = nibbles ? 4 : 8;
  Vals sum(rows * tiles, k_.zero());
  if (columns == kGroup)
    sum = k_.forLoop(k_.idx(0), k_.idx(lines), 1, sum, [&](Val at, llvm::ArrayRef<Val> carried) {
      Vals next(carried);
      addLine(at, 0, kGroup, next);
      return next;
    });
  else
    for (int64_t at = 0; at < lines; ++at) addLine(k_.idx(at), 4 * at, columns, sum);
  for (size_t j = 0; j < tiles; ++j) {
    Val scale = scales(o.tiles[j], step, group);
    for (size_t m = 0; m < rows; ++m) {
      Val& a = acc[m * tiles + j];
      a = fma(sum[m * tiles + j], scale, a);
    }
  }
}

}  // namespace fathom::kernels
