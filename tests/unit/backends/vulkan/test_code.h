// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Code images made from the SPIR-V kernels of this folder.
#ifndef FATHOM_TESTS_UNIT_BACKENDS_VULKAN_TEST_CODE_H_
#define FATHOM_TESTS_UNIT_BACKENDS_VULKAN_TEST_CODE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "backends/vulkan/abi/vulkan_image_generated.h"
#include "backends/vulkan/driver/device_facts.h"

namespace fathom::vulkan {

// The words of <name>.spvasm, assembled.
std::vector<uint32_t> TestModule(const std::string& name);

// An image with a module for each kernel: count (1 binding, 2 push), sum (2, 1), count_base (1, 2),
// reverse (2, 0), subgroup (1, 0), and with `views` also views (2, 0). `subgroup_size` is what the
// kernel subgroup asks for.
abi::ImageT TestImage(uint32_t subgroup_size = 0, bool views = false);
// The kernels of the history model (tests/unit/runtime/artifact/history_model.h): append (5, 1),
// history (6, 1), logits (3, 1).
abi::ImageT HistoryImage();
std::vector<uint8_t> Pack(const abi::ImageT& image);

// A device without surprises: Vulkan's minimum limits, subgroups of 8, no features but subgroup
// arithmetic.
DeviceFacts TestFacts();

}  // namespace fathom::vulkan

#endif  // FATHOM_TESTS_UNIT_BACKENDS_VULKAN_TEST_CODE_H_
