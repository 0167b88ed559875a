// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Building images.
#include "tests/unit/backends/cuda/test_code.h"

#include <fstream>
#include <iterator>

namespace fathom::cuda {
namespace {

std::unique_ptr<abi::KernelT> Kernel(const char* name, uint32_t bindings, uint32_t push,
                                     uint32_t threads, uint32_t shared_bytes = 0) {
  auto kernel = std::make_unique<abi::KernelT>();
  kernel->name = name;
  kernel->entry = std::string("test_") + name;
  kernel->bindings = bindings;
  kernel->push = push;
  kernel->workgroup = {threads, 1, 1};
  kernel->shared_bytes = shared_bytes;
  return kernel;
}

}  // namespace

abi::ImageT TestImage() {
  std::ifstream file("tests/unit/backends/cuda/test_kernels.ptx");
  abi::ImageT image;
  image.ptx = std::string(std::istreambuf_iterator<char>(file), {});
  image.sm = 75;
  image.kernels.push_back(Kernel("count", 1, 2, 1));
  image.kernels.push_back(Kernel("sum", 2, 1, 64));
  image.kernels.push_back(Kernel("fault", 2, 0, 32));
  image.kernels.push_back(Kernel("reverse", 1, 1, 256, 1024));
  return image;
}

std::vector<uint8_t> Pack(const abi::ImageT& image) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(abi::Image::Pack(builder, &image), abi::ImageIdentifier());
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

}  // namespace fathom::cuda
