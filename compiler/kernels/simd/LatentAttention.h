// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the forms of latent_attention share: queries, the walk over a split, the partial sums.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_LATENTATTENTION_H_
#define FATHOM_COMPILER_KERNELS_SIMD_LATENTATTENTION_H_

#include <memory>

#include "compiler/kernels/simd/AttentionTile.h"
#include "compiler/kernels/simd/HeadShapes.h"

namespace fathom::kernels {

/// Config and bindings of the kernel.
struct LatentInputs {
  explicit LatentInputs(KernelBuilder& k);

  int64_t heads = 0, rank = 0, dim = 0, splits = 0, evenSplits = 0;
  int64_t qLd = 0, qHeadLd = 0, qOffset = 0;
  double scale = 1, mscale = 1;
  bool rotate = false, interleaved = false;
  Cache cache;
  Words form;
  LatentShape shape;
  // Bound once the config is known to be right.
  Buf qLatent, q, positions, sequence, pageTable, angles, rows, partial;
  Val pages;
};

/// The absorbed form, 16 `groups` heads of one token over one split of the context. The cache row
/// is both key and value: score(h, t) = q[h] . row[t] over rank + dim, u[h] = sum_t p(h, t)
/// row[t][0 .. rank). Work is blocked by blockPages() pages. A split without pages says no more
/// than m = -inf and l = 0.
class LatentAttention {
 public:
  LatentAttention(KernelBuilder& k, LatentInputs in) : k_(k), in_(std::move(in)) {}
  virtual ~LatentAttention() = default;
  void emit();

 protected:
  static constexpr int64_t kLanes = 16;

  virtual int64_t blockPages() const = 0;
  virtual void allocate() = 0;
  /// Words word0 .. word0 + count - 1 of a group's 16 heads, a vector for each of them, into
  /// query_.
  virtual void storeQueries(llvm::ArrayRef<Val> heads, Val group, int64_t word0, int64_t count);
  /// Beside the packing of 32 elements of the queries of a group of 16 heads; the split has pages.
  virtual void besidePacking(Val group, int64_t element) {}
  /// Makes u zeros.
  virtual void clearSums() = 0;
  /// Gives use(i, v) all elements i .. i + 15 of head h's u.
  virtual void readSums(Val h, llvm::function_ref<void(Val i, Val v)> use) = 0;
  /// Adds pages [first, last) to m_, l_ and u: `rows` tokens, at least one, blockTokens() of all
  /// blocks but the split's last.
  virtual void attend(Val first, Val last, Val rows) = 0;
  /// Does what attend() left undone, after the split's last block, which it names again.
  virtual void finish(Val first, Val last, Val rows) {}

  int64_t rowWords() const { return (in_.rank + in_.dim) / in_.form.per(); }
  int64_t heads() const { return kLanes * in_.shape.groups; }  // of a workgroup
  int64_t blockTokens() const { return blockPages() * in_.cache.pageTokens; }
  /// Byte address of a page of the sequence.
  Val pageAt(Val page) { return in_.cache.pageAt(k_, in_.pageTable, tableAt_, page); }

  KernelBuilder& k_;
  const LatentInputs in_;
  // Words [groups][rowWords][16 heads], unless storeQueries has it otherwise, and their bf16.
  Buf query_, queryHalves_;
  Buf m_, l_, alpha_;  // f32 [heads]
  Val tableAt_, pageBegin_, pageEnd_;
  Val lastPage_;  // of the context

 private:
  Val splitsOf(Val pages);
  void packQueries(Val token, Val head0, Val group);
  void rotateQueries(Val token, Val head0, Val position);
  void packPart(Buf x, llvm::function_ref<Val(Val)> from, int64_t elements, Val group,
                int64_t element0);
  void attendSplit(Val rows);
  void writePartial(Val token, Val head0, bool sums);

  Buf rotated_;  // f32 [16 heads][dim] with rotate
};

/// The form for matrix units, of which `shape.units` says whether it serves.
std::unique_ptr<LatentAttention> makeLatentAttentionMatrix(KernelBuilder& k, LatentInputs in);
std::unique_ptr<LatentAttention> makeLatentAttentionVector(KernelBuilder& k, LatentInputs in);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_LATENTATTENTION_H_
