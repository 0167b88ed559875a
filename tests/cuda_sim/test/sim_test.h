// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A simulated device for tests: upload, launch, download; a launch gives its report.
#ifndef FATHOM_TESTS_CUDA_SIM_TEST_SIM_TEST_H_
#define FATHOM_TESTS_CUDA_SIM_TEST_SIM_TEST_H_

#include <array>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cuda_sim/block.h"
#include "tests/cuda_sim/memory.h"
#include "tests/cuda_sim/program.h"

namespace fathom::cuda_sim {

class Sim {
 public:
  explicit Sim(int sm = 80, Uninitialised mode = Uninitialised::report)
      : sm_(sm), memory_(uint64_t{1} << 30, mode) {
    options_.uninitialised = mode;
  }

  LaunchOptions& options() { return options_; }
  DeviceMemory& memory() { return memory_; }

  // The message of a module that cannot be loaded, or "".
  std::string Load(const std::string& ptx) {
    try {
      module_ = LoadModule(ptx, sm_, [&](const Variable& variable) {
        const uint64_t address = memory_.Allocate(std::max<uint64_t>(variable.bytes, 1));
        memory_.Fill(address, 0, variable.bytes);
        memory_.Write(address, variable.initial.data(), variable.initial.size());
        return address;
      });
      return "";
    } catch (const Fault& fault) {
      error_ = fault.error;
      return fault.what;
    }
  }

  template <typename T>
  uint64_t Upload(const std::vector<T>& values) {
    const uint64_t address = memory_.Allocate(std::max<uint64_t>(values.size() * sizeof(T), 1));
    memory_.Write(address, values.data(), values.size() * sizeof(T));
    return address;
  }
  uint64_t Allocate(uint64_t bytes) { return memory_.Allocate(bytes); }
  template <typename T>
  std::vector<T> Download(uint64_t address, size_t count) {
    std::vector<T> values(count);
    memory_.Read(values.data(), address, count * sizeof(T));
    return values;
  }

  // Runs the kernel (the only one if `name` is empty) with 64-bit arguments. Returns the report.
  std::string Launch(const std::string& name, std::array<uint32_t, 3> grid,
                     std::array<uint32_t, 3> threads, const std::vector<uint64_t>& arguments,
                     uint32_t dynamic_bytes = 0) {
    const auto it = name.empty() ? module_->kernels.begin() : module_->kernels.find(name);
    launch_ = {};
    launch_.kernel = it->second.get();
    launch_.grid = grid;
    launch_.threads = threads;
    launch_.dynamic_bytes = dynamic_bytes;
    launch_.regions = &memory_.regions();
    launch_.number = ++launches_;
    launch_.options = options_;
    launch_.parameters.resize(it->second->parameter_bytes);
    for (size_t i = 0; i < it->second->parameters.size(); ++i) {
      std::memcpy(launch_.parameters.data() + it->second->parameters[i].offset, &arguments.at(i),
                  it->second->parameters[i].bytes);
    }
    try {
      RunLaunch(launch_);
      return "";
    } catch (const Fault& fault) {
      error_ = fault.error;
      return fault.what;
    }
  }
  Error error() const { return error_; }

 private:
  const int sm_;
  DeviceMemory memory_;
  LaunchOptions options_;
  std::unique_ptr<Module> module_;
  cuda_sim::Launch launch_;
  uint64_t launches_ = 0;
  Error error_ = Error::ok;
};

inline std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// A module with one kernel k of `parameters` 64-bit parameters p0, p1 ...; `body` between braces.
inline std::string Ptx(int parameters, const std::string& body, int sm = 80,
                       const std::string& globals = "") {
  std::string text = ".version 8.8\n.target sm_" + std::to_string(sm) + "\n.address_size 64\n" +
                     globals + "\n.visible .entry k(\n";
  for (int i = 0; i < parameters; ++i) {
    text += std::string(i == 0 ? "" : ",\n") + "  .param .u64 p" + std::to_string(i);
  }
  return text + ")\n{\n" + body + "\n}\n";
}

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_TEST_SIM_TEST_H_
