// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the attention kernels are made of: word products, transposes, packing of rows.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_ATTENTIONTILE_H_
#define FATHOM_COMPILER_KERNELS_SIMD_ATTENTIONTILE_H_

#include <limits>

#include "compiler/kernels/simd/Cache.h"
#include "compiler/kernels/simd/KernelBuilder.h"

namespace fathom::kernels {

/// The score of a row that is not seen, and the greatest of none.
constexpr double kNever = -std::numeric_limits<double>::infinity();
/// How far the maximum by which probabilities are scaled may lie below the true one
/// (docs/spec/kernels.md): e^8 more or less is nothing to the range of float32 and bf16.
constexpr double kSlack = 8;
/// Lines of 4 KB: what prefetchers of the hardware take for a stream.
constexpr int64_t kStripe = 64;

/// The arithmetic of an attention kernel. All operands are 32-bit *words* along the summed index:
/// one float32 each, or a pair of bf16 that one vdpbf16ps instruction multiplies. bf16 is used
/// where the cache is bf16 and the ISA has the instruction; elsewhere words are float32.
struct Words {
  bool pairs = false;

  static Words choose(const TargetProfile& profile, const Cache& cache) {
    return {cache.bf16 && profile.avx512Bf16};
  }
  /// Elements per word.
  int64_t per() const { return pairs ? 2 : 1; }
  mlir::Type type(KernelBuilder& k) const { return pairs ? k.i32() : k.f32(); }
  /// acc + a . b, lane by lane.
  Val dot(Val acc, Val a, Val b) const { return pairs ? dotBf16(acc, a, b) : fma(a, b, acc); }
  /// The words of one vector of summed indices from two vectors of float32 (pairs), or the vector.
  /// `lo`, `hi` are the even and the odd element of every word.
  Val join(Val lo, Val hi) const { return packBf16(lo, hi); }
};

/// A matrix of words: word (r, w) lies at element at + r outer + w inner.
struct Operand {
  Buf buf;
  Val at;
  int64_t outer = 0;
  int64_t inner = 1;
};

/// c[r vecs + j] += sum over w < words of splat(a(r, w)) . b(j, w), where b(j, w) are 16 lanes.
/// rows x vecs accumulators: at most registers() / 2 of them keep within the register file.
Vals product(KernelBuilder& k, Words form, const Operand& a, const Operand& b, int64_t rows,
             int64_t vecs, int64_t words, Vals c);

/// 16 vectors of 16 32-bit lanes, transposed.
Vals transpose16(llvm::ArrayRef<Val> rows);

/// 4 such vectors: 128-bit lane l of out[c] has column 4 l + c of the rows.
Vals transpose4(llvm::ArrayRef<Val> rows);

/// lane l = the sum of the lanes of rows[l]; 16 or 4 rows of 16 lanes give as many lanes.
Val reduceRows(llvm::ArrayRef<Val> rows);
/// 128-bit lane l = the sum of the 128-bit lanes of rows[l], for l = 0, 2, 1, 3 in this order.
Val reduceQuads(llvm::ArrayRef<Val> rows);
/// The same of 4 rows with their largest lanes.
Val largestOfRows(llvm::ArrayRef<Val> rows);

/// Interleaved 16-bit halves of 128-bit lanes, as vpunpcklwd and vpunpckhwd give them, and back:
/// lane order of the two results is restored by untangle.
std::pair<Val, Val> tangle(Val a, Val b);             // 32 x i16 twice -> 16 x i32 twice
std::pair<Val, Val> untangle(Val first, Val second);  // 16 x f32 twice, in order of the elements

/// Transposes 16 rows of `words` words: to[toAt + w toStride + r] = row r's word w. `load(r, w,
/// count)` gives words w .. w + 15 of row r, of which `count` matter.
void transposeRows(KernelBuilder& k, int64_t words,
                   llvm::function_ref<Val(int64_t r, Val w, Val count)> load, Buf to, Val toAt,
                   int64_t toStride);

/// How many of `most` splits a context of `pages` is cut into at most, where the number of workers
/// is known (SplitShape).
Val splitsForWorkers(KernelBuilder& k, Val pages, int64_t most, int64_t even);

/// Reads 16 words of a row: float32 elements turned into words, times `scale`. `elements` <= 16
/// per().
Val loadQuery(KernelBuilder& k, Words form, Buf x, Val from, int64_t elements, double scale);

/// e^x within 3e-6 of it, a thousandth of what rounding it to bf16 takes away; next to 0 below -87,
/// of -inf and NaN too. x is at most kSlack.
Val expOfWeight(Val x);
/// 2^x as near to it for x <= 0; 0 of -inf and NaN, next to it below -126.
Val exp2OfWeight(Val x);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_ATTENTIONTILE_H_
