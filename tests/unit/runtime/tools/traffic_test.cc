// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Bytes per token, against numbers worked out by hand.
#include "runtime/tools/traffic.h"

#include "tests/unit/runtime/exec/exec_fixture.h"

namespace fathom::tools {
namespace {

// `kernel` bound to a tensor of `shape`, as a further dispatch of decode with grid (1, y, 1).
uint64_t BytesWith(const std::string& kernel, const std::vector<uint64_t>& shape, int64_t y) {
  auto builder = testing::HistoryModel();
  uint64_t elements = 1;
  for (uint64_t dim : shape) elements *= dim;
  const uint32_t tensor = builder.AddTensor(1, "weight", shape, schema::Encoding::raw_f32,
                                            testing::Bytes(elements * 4));
  schema::ProgramT& program = *builder.header.programs[0];
  auto added = std::make_unique<schema::KernelT>();
  added->name = kernel;
  added->bindings = 1;
  program.kernels.push_back(std::move(added));
  schema::EntryPointT& decode = *program.entries[1];
  decode.exprs.emplace_back(schema::ExprOp::constant, 0, 0, y);
  auto command = std::make_unique<schema::CommandT>();
  command->kernel = 3;
  command->grid = {0, static_cast<uint32_t>(decode.exprs.size() - 1), 0};
  command->bindings.push_back(testing::TensorBinding(static_cast<int32_t>(tensor), elements * 4));
  decode.commands.push_back(std::move(command));
  // The null device does not look for the kernel.
  auto model = testing::OpenModel(std::move(builder), "null");
  EXPECT_TRUE(model.ok()) << model.status();
  const auto traffic = DecodeTraffic(*model->program);
  EXPECT_TRUE(traffic.ok()) << traffic.status();
  EXPECT_EQ(traffic->cache_bytes_per_token, 4u);
  return traffic->weight_bytes - 400;  // the gain of the model itself
}

TEST(DecodeTraffic, CountsWhatIsRead) {
  EXPECT_EQ(BytesWith("linear_f32_8_4", {8, 4}, 1), 128u);
  EXPECT_EQ(BytesWith("linear_f32_8_4", {3, 8, 4}, 3), 384u);
  EXPECT_EQ(BytesWith("experts_f32_8_4_16", {16, 8, 4}, 2), 256u);
  EXPECT_EQ(BytesWith("experts_f32_8_4_16", {16, 8, 4}, 99), 2048u);
  EXPECT_EQ(BytesWith("embed_f32", {100, 4}, 1), 16u);
  EXPECT_EQ(BytesWith("rope_16", {600, 64}, 1), 0u);
  EXPECT_EQ(BytesWith("norm_4", {4}, 1), 16u);
}

}  // namespace
}  // namespace fathom::tools
