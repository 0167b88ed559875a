// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads of a projection's activations.
#include "compiler/kernels/simt/ProjectionInput.h"

namespace fathom::kernels::simt {

Vals ProjectionInput::fourFloats(SimtBuilder::Binding from, Val at) const {
  Val four = k_->load(k_->view(from, k_->vec(k_->f32(), 4)), at / 4);
  Vals x;
  for (int64_t c = 0; c < 4; ++c) x.push_back(lane(four, c));
  return x;
}

Vals ProjectionInput::elements(Val row, Val first, int64_t columns) const {
  Vals x;
  if (form_ == Act::bf16) {
    for (int64_t c = 0; c < columns; c += 2) {
      Val pair = word(row + first / 2 + c / 2);
      x.push_back(lowBf16(pair));
      x.push_back(highBf16(pair));
    }
    x.resize(columns);
    return x;
  }
  bool four = columns == 4 && aligned_ && !shared_.mem;
  Buf from = shared_.mem ? shared_ : k_->f32View(binding);
  if (four) x = fourFloats(binding, row + first);
  for (int64_t c = 0; !four && c < columns; ++c) x.push_back(k_->load(from, row + first + c));
  if (!gamma_) return x;
  Vals gamma;
  if (columns == 4) gamma = fourFloats(gamma_, first);
  for (int64_t c = 0; c < columns; ++c) {
    if (columns < 4) gamma.push_back(k_->load(k_->f32View(gamma_), first + c));
    x[c] = x[c] * scale_ * gamma[c];
  }
  return x;
}

Val ProjectionInput::word(Val at) const {
  return k_->load(shared_.mem ? shared_ : k_->i32View(binding), at);
}

Vals ProjectionInput::group(Val row, Val u) const {
  Vals words;
  for (int64_t half = 0; half < 2; ++half) {
    Val at = row + u * 8 + 4 * half;
    if (shared_.mem) {
      for (int64_t c = 0; c < 4; ++c) words.push_back(k_->load(shared_, at + c));
      continue;
    }
    Val four = k_->load(k_->view(binding, k_->vec(k_->i32(), 4)), at / 4);
    for (int64_t c = 0; c < 4; ++c) words.push_back(lane(four, c));
  }
  return words;
}

Val ProjectionInput::scale(Val row, Val u) const {
  Val at = row + u + padded_ / 4;
  return shared_.mem ? bitcast(k_->load(shared_, at), k_->f32())
                     : k_->load(k_->f32View(binding), at);
}

Val ProjectionInput::bias(Val row, Val u) const {
  return word(row + u + (padded_ / 4 + padded_ / 32));
}

}  // namespace fathom::kernels::simt
