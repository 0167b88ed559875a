// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the forms of attention share: queries, the walk over a split, the partial sums.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_ATTENTION_H_
#define FATHOM_COMPILER_KERNELS_SIMD_ATTENTION_H_

#include <memory>

#include "compiler/kernels/simd/AttentionTile.h"
#include "compiler/kernels/simd/HeadShapes.h"

namespace fathom::kernels {

/// Config and bindings of the kernel.
struct AttentionInputs {
  explicit AttentionInputs(KernelBuilder& k);

  /// Query heads of a kv head.
  int64_t group() const { return heads / kvHeads; }
  /// Whether matrix units make the products: of a bf16 cache whose rows are whole lines of tiles,
  /// for tokens that attend to more than `unitsFrom` tokens. Below, a split has a page or none, and
  /// setting up the units takes longer than they save. The choice depends on the model, the target
  /// and the token's own place.
  bool units(const TargetProfile& profile) const;

  int64_t heads = 0, kvHeads = 0, headDim = 0, qLd = 0, splits = 0, evenSplits = 0, window = 0,
          unitsFrom = 0;
  double scale = 1, mscale = 1;
  bool rotate = false, interleaved = false;
  int64_t dim = 0;  // of a head, with rotate
  Cache cache;
  Words form;
  // Bound once the config is known to be right.
  Buf q, positions, sequence, pageTable, angles, rows, partial;
  Val pages;
};

/// The query heads of some kv heads of one token over one split of the context: score(h, t) = q[h]
/// . key[t], u[h] = sum_t p(h, t) value[t], a page at a time. Query head g counts from the
/// workgroup's first.
class Attention {
 public:
  Attention(KernelBuilder& k, AttentionInputs in)
      : k_(k), in_(std::move(in)), together_(GroupedShape::of(k.profile(), in_.kvHeads).together) {}
  virtual ~Attention() = default;
  /// A workgroup: split x of token y, kv heads z together_ and on.
  void emit();

 protected:
  static constexpr int64_t kLanes = 16;

  virtual void allocate() = 0;
  /// Forgets what was summed and packs the queries: head g's is x[from + g headDim ..], rotated but
  /// not scaled.
  virtual void begin(Buf x, Val from) = 0;
  /// Adds the first `rows` tokens of a page, at least one, but for those before `from`.
  virtual void attend(Val page, Val rows, Val from) = 0;
  /// Gives use(i, v) all elements i .. i + 15 of head g's u.
  virtual void readSums(Val g, llvm::function_ref<void(Val i, Val v)> use) = 0;
  /// Head g's maximum and its sum of exponentials.
  virtual std::pair<Val, Val> readWeights(Val g) = 0;

  /// Byte address of a page of the sequence.
  Val pageAt(Val page) { return in_.cache.pageAt(k_, in_.pageTable, tableAt_, page); }
  /// That of the page to ask for beside this one. Beyond the split's last is what the same worker
  /// is likely to read next.
  Val pageAhead(Val page) { return pageAt(min(page + 1, lastPage_)); }
  /// The first of the workgroup's kv heads.
  Val firstHead() { return k_.z() * together_; }
  /// Elements of the page before a kv head's keys and before its values.
  Val keysAt(Val head) { return head * in_.cache.runElements(); }
  Val valuesAt(Val head) { return (head + in_.kvHeads) * in_.cache.runElements(); }

  KernelBuilder& k_;
  const AttentionInputs in_;
  const int64_t together_;  // kv heads of a workgroup
  Val kvHeads_;             // those of this one: fewer in the last

 private:
  void rotateQueries(Val from, Val heads, Val position);
  void writePartial(Val to0, Val heads);
  void writeNothing(Val to0, Val heads);

  Buf rotated_;  // f32 [together_ group][headDim] with rotate
  Val tableAt_;
  Val lastPage_;  // of the context
};

std::unique_ptr<Attention> makeAttentionMatrix(KernelBuilder& k, AttentionInputs in);
std::unique_ptr<Attention> makeAttentionVector(KernelBuilder& k, AttentionInputs in);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_ATTENTION_H_
