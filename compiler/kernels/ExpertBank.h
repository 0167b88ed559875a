// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which of a layer's experts a dispatch has the weights of.
#ifndef FATHOM_COMPILER_KERNELS_EXPERTBANK_H_
#define FATHOM_COMPILER_KERNELS_EXPERTBANK_H_

#include "compiler/kernels/Config.h"
#include "compiler/kernels/Values.h"
#include "compiler/kernels/WeightLayout.h"

namespace fathom::kernels {

/// Experts first .. first + count - 1 of a layer: all of them unless the config says otherwise.
struct ExpertBank {
  bool part = false;
  int64_t first = 0, count = 0;

  /// Reads `first` and `bank`, which stand together, of `experts`.
  static ExpertBank read(Config& cfg, int64_t experts) {
    ExpertBank bank{cfg.has("first") || cfg.has("bank"), 0, experts};
    if (!bank.part || cfg.failed()) return bank;
    bank.first = cfg.in("first", 0, experts - 1);
    bank.count = cfg.in("bank", 1, experts);
    cfg.require(cfg.failed() || bank.first + bank.count <= experts,
                "config entries 'first' and 'bank' must add up to at most 'experts'");
    return bank;
  }

  /// `body` with the number in the bank of `expert` of the layer, if the bank has it. Uniform
  /// control flow.
  template <typename Builder>
  void serve(Builder& k, Val expert, llvm::function_ref<void(Val)> body) const {
    if (!part) return body(expert);
    Val own = expert - first;
    k.ifThen((own >= 0) & (own < count), [&] { body(own); });
  }
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_EXPERTBANK_H_
