// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Binds the published tensor names to the fields of LayerWeights.
#ifndef FATHOM_MODELS_REFERENCE_REFERENCE_WEIGHTS_H_
#define FATHOM_MODELS_REFERENCE_REFERENCE_WEIGHTS_H_

#include <cstdint>

#include "models/reference/reference_model.h"

namespace fathom::reference {

// Throws std::invalid_argument naming the tensor when it is missing.
const float* RequireWeight(const WeightLookup& weights, const std::string& name);

LayerWeights BindLayer(const ModelConfig& config, const WeightLookup& weights, int64_t layer);

}  // namespace fathom::reference

#endif  // FATHOM_MODELS_REFERENCE_REFERENCE_WEIGHTS_H_
