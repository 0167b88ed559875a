// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CUDA driver on the PTX interpreter: what is missing, what fails, and what is said of it.
#include "backends/cuda/driver/cuda_device.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/base/status.h"
#include "tests/unit/backends/cuda/test_code.h"

namespace fathom::cuda {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Sets variables of the environment for a scope.
class ScopedEnvironment {
 public:
  ScopedEnvironment(std::initializer_list<std::pair<std::string, std::string>> variables) {
    for (const auto& [name, value] : variables) {
      ::setenv(name.c_str(), value.c_str(), 1);
      names_.push_back(name);
    }
  }
  ~ScopedEnvironment() {
    for (const std::string& name : names_) ::unsetenv(name.c_str());
  }

 private:
  std::vector<std::string> names_;
};

DriverOptions OnInterpreter() {
  DriverOptions options;
  options.library = FATHOM_CUDA_SIM_LIBRARY;
  return options;
}

const std::vector<hal::KernelInterface> kKernels = {
    {"count", 1, 2}, {"sum", 2, 1}, {"fault", 2, 0}, {"reverse", 1, 1}};

TEST(CudaDriver, WithoutALibrary) {
  DriverOptions options;
  options.library = "libcuda-that-is-not-there.so.1";
  const auto driver = CreateDriver(options);
  EXPECT_THAT(driver->Devices(), IsEmpty());
  EXPECT_EQ(driver->Available().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(driver->Available().message()),
              AllOf(HasSubstr("no CUDA driver"), HasSubstr("libcuda-that-is-not-there.so.1")));
  EXPECT_EQ(driver->Open(0, {}).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(CudaDriver, WithALibraryThatLacksFunctions) {
  DriverOptions options;
  options.library = "libm.so.6";
  const auto driver = CreateDriver(options);
  EXPECT_THAT(driver->Devices(), IsEmpty());
  EXPECT_THAT(std::string(driver->Available().message()),
              HasSubstr("libm.so.6: the function cuInit is missing: the driver is too old"));
}

TEST(CudaDriver, WithAnOldDriver) {
  const ScopedEnvironment scope({{"FATHOM_CUDA_SIM_DRIVER_VERSION", "10020"}});
  const auto driver = CreateDriver(OnInterpreter());
  EXPECT_THAT(driver->Devices(), IsEmpty());
  EXPECT_THAT(std::string(driver->Available().message()),
              HasSubstr("expected CUDA 11.0 or later, found 10.2"));
}

TEST(CudaDriver, WithoutADevice) {
  const ScopedEnvironment scope({{"FATHOM_CUDA_SIM_DEVICES", "0"}});
  const auto driver = CreateDriver(OnInterpreter());
  EXPECT_THAT(driver->Devices(), IsEmpty());
  EXPECT_THAT(std::string(driver->Available().message()),
              AllOf(HasSubstr("no CUDA device"), HasSubstr("CUDA_ERROR_NO_DEVICE")));
}

TEST(CudaDriver, ListsDevicesThatCannotBeUsed) {
  const ScopedEnvironment scope({{"FATHOM_CUDA_SIM_SM", "61"}});
  const auto driver = CreateDriver(OnInterpreter());
  const auto devices = driver->Devices();
  ASSERT_EQ(devices.size(), 1u);
  EXPECT_EQ(devices[0].unusable, "compute capability: expected 7.5 or later, found 6.1");
  const absl::Status status = driver->Open(0, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("cuda:0"), HasSubstr("found 6.1")));
}

TEST(CudaDriver, SaysWhatADeviceIs) {
  const ScopedEnvironment scope({{"FATHOM_CUDA_SIM_SM", "120"}, {"FATHOM_CUDA_SIM_MEMORY", "3G"}});
  const auto devices = CreateDriver(OnInterpreter())->Devices();
  ASSERT_EQ(devices.size(), 1u);
  EXPECT_EQ(devices[0].id, "cuda:0");
  EXPECT_EQ(devices[0].architecture, "sm_120");
  EXPECT_EQ(devices[0].suggested_target, "cuda:sm_120");
  EXPECT_EQ(devices[0].memory_bytes, uint64_t{3} << 30);
  EXPECT_EQ(devices[0].driver, "CUDA 13.0");
  EXPECT_THAT(devices[0].features, AllOf(Contains("sm_75"), Contains("sm_80"), Contains("sm_120"),
                                         Not(Contains("sm_121"))));
}

class CudaDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    report_ = std::filesystem::temp_directory_path() /
              ("fathom_cuda_" + std::to_string(::getpid()) + ".txt");
    std::filesystem::remove(report_);
    ::setenv("FATHOM_CUDA_SIM_REPORT", report_.c_str(), 1);
    Open();
  }
  void TearDown() override {
    executable_.reset();
    device_.reset();
    ::unsetenv("FATHOM_CUDA_SIM_REPORT");
    std::filesystem::remove(report_);
  }
  void Open(bool graphs = true) {
    DriverOptions options = OnInterpreter();
    options.graphs = graphs;
    driver_ = CreateDriver(options);
    auto device = driver_->Open(0, options_);
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
  }
  absl::Status Load(const abi::ImageT& image,
                    const std::vector<hal::KernelInterface>& kernels = kKernels) {
    auto executable = device_->LoadExecutable(Pack(image), kernels);
    if (executable.ok()) executable_ = *std::move(executable);
    return executable.status();
  }
  std::shared_ptr<hal::Buffer> Allocate(uint64_t bytes,
                                        hal::MemoryUse use = hal::MemoryUse::host_io) {
    auto buffer = device_->allocator().Allocate(bytes, use);
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    return *std::move(buffer);
  }
  absl::Status SubmitAndWait(hal::CommandBuffer* commands, hal::DispatchTimes* times = nullptr) {
    auto done = device_->CreateSemaphore(0);
    FATHOM_RETURN_IF_ERROR(device_->queue().Submit({commands, {}, {{done, 1}}, times}));
    return done->Wait(1);
  }
  std::string Report() const {
    std::ifstream file(report_);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  std::filesystem::path report_;
  hal::DeviceOptions options_;
  std::unique_ptr<hal::Driver> driver_;
  std::unique_ptr<hal::Device> device_;
  std::unique_ptr<hal::Executable> executable_;
};

TEST_F(CudaDevice, JudgesPrograms) {
  EXPECT_TRUE(device_->Supports("cuda:sm_80", {{"sm_80"}}).ok());
  EXPECT_TRUE(device_->Supports("cuda:sm_75", {{"sm_75"}}).ok());
  const absl::Status newer = device_->Supports("cuda:sm_90", {{"sm_90"}});
  EXPECT_EQ(newer.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(newer.message()),
              AllOf(HasSubstr("needs compute capability 9.0"), HasSubstr("has 8.0"),
                    HasSubstr("--target=cuda:sm_80")));
  EXPECT_THAT(std::string(device_->Supports("cuda:sm_80", {{"tea"}}).message()),
              HasSubstr("the feature tea"));
  EXPECT_FALSE(device_->Supports("vulkan:generic", {}).ok());
}

TEST_F(CudaDevice, AFaultNamesItsDispatchAndTheContextIsLost) {
  ASSERT_TRUE(Load(TestImage()).ok());
  auto in = Allocate(4096), out = Allocate(4096);
  std::memset(in->host(), 0, 4096);
  const std::vector<hal::BufferRef> one = {{in.get()}}, two = {{in.get()}, {out.get()}};
  const std::vector<int64_t> push = {4, 1};
  auto commands = device_->CreateCommandBuffer();
  ASSERT_TRUE(
      commands->Append({executable_.get(), 0, {4, 1, 1}, one, push, "layers.0.count"}).ok());
  ASSERT_TRUE(commands->Append({executable_.get(), 2, {1, 1, 1}, two, {}, "layers.7.mlp"}).ok());
  ASSERT_TRUE(
      commands->Append({executable_.get(), 0, {4, 1, 1}, one, push, "layers.8.count"}).ok());
  ASSERT_TRUE(commands->End().ok());
  const absl::Status status = SubmitAndWait(commands.get());
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("layers.7.mlp (kernel fault)"),
                                                   HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS")));
  EXPECT_THAT(Report(), AllOf(HasSubstr("kernel test_fault at PTX line"),
                              HasSubstr("read of 4 bytes out of bounds"),
                              HasSubstr("ld.global.u32 %r2, [%rd4+4194304]")));
  auto good = device_->CreateCommandBuffer();
  ASSERT_TRUE(good->Append({executable_.get(), 0, {4, 1, 1}, one, push, "count"}).ok());
  ASSERT_TRUE(good->End().ok());
  EXPECT_FALSE(SubmitAndWait(good.get()).ok());
  EXPECT_FALSE(device_->allocator().Allocate(4096, hal::MemoryUse::weights).ok());
  // A new device starts afresh.
  good.reset();
  commands.reset();
  in.reset();
  out.reset();
  executable_.reset();
  device_.reset();
  Open();
  ASSERT_TRUE(Load(TestImage()).ok());
}

TEST_F(CudaDevice, ALaterFaultNamesItsList) {
  for (const bool graphs : {true, false}) {
    executable_.reset();
    device_.reset();
    Open(graphs);
    ASSERT_TRUE(Load(TestImage()).ok());
    auto in = Allocate(256);
    std::memset(in->host(), 0, 256);
    auto sum = Allocate(256);
    const std::vector<hal::BufferRef> refs = {{in.get()}, {sum.get()}};
    const std::vector<int64_t> push = {64};
    auto commands = device_->CreateCommandBuffer();
    ASSERT_TRUE(commands->Append({executable_.get(), 1, {1, 1, 1}, refs, push, "first"}).ok());
    ASSERT_TRUE(commands->Append({executable_.get(), 1, {1, 1, 1}, refs, push, "last"}).ok());
    ASSERT_TRUE(commands->End().ok());
    ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
    in.reset();  // what must not be done: the list still reads it
    EXPECT_THAT(std::string(SubmitAndWait(commands.get()).message()),
                AllOf(HasSubstr("one of 2 dispatches from first (kernel sum) to last"),
                      HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS")));
  }
}

TEST_F(CudaDevice, DynamicSharedMemory) {
  abi::ImageT image = TestImage();
  image.kernels[3]->shared_bytes = 100 * 1024;  // beyond what kernels get without asking
  ASSERT_TRUE(Load(image).ok());
  auto out = Allocate(1024);
  const std::vector<hal::BufferRef> refs = {{out.get()}};
  const std::vector<int64_t> push = {256};
  auto commands = device_->CreateCommandBuffer();
  ASSERT_TRUE(commands->Append({executable_.get(), 3, {1, 1, 1}, refs, push, "reverse"}).ok());
  ASSERT_TRUE(commands->End().ok());
  const absl::Status status = SubmitAndWait(commands.get());
  ASSERT_TRUE(status.ok()) << status;
  for (uint32_t i = 0; i < 256; ++i) {
    EXPECT_EQ(reinterpret_cast<const uint32_t*>(out->host())[i], 255 - i);
  }
}

TEST_F(CudaDevice, RefusesGridsBeyondTheDevice) {
  ASSERT_TRUE(Load(TestImage()).ok());
  auto out = Allocate(1024);
  const std::vector<hal::BufferRef> refs = {{out.get()}};
  const std::vector<int64_t> push = {1, 1};
  auto commands = device_->CreateCommandBuffer();
  const absl::Status status =
      commands->Append({executable_.get(), 0, {1, 70'000, 1}, refs, push, "layers.1.wide"});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("layers.1.wide"), HasSubstr("1 x 70000 x 1"), HasSubstr("65535")));
}

TEST_F(CudaDevice, SaysWhyCodeIsRefused) {
  abi::ImageT image = TestImage();
  const size_t at = image.ptx.find("add.u32 %r4, %r4, 1;");
  image.ptx.replace(at, 3, "odd");
  absl::Status status = Load(image);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("CUDA_ERROR_INVALID_PTX"), HasSubstr("unknown instruction odd"),
                    HasSubstr("odd.u32 %r4, %r4, 1")));

  image = TestImage();
  image.ptx.replace(image.ptx.find(".version 7.0"), 12, ".version 99.9");
  status = Load(image);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("is too old for it, a newer one is needed"));

  image = TestImage();
  image.ptx.replace(image.ptx.find("sm_75"), 5, "sm_90");
  EXPECT_EQ(Load(image).code(), absl::StatusCode::kUnimplemented);

  image = TestImage();
  image.kernels[0]->entry = "test_missing";
  status = Load(image);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("kernel count: the module has no entry test_missing"));

  EXPECT_THAT(std::string(Load(TestImage(), {{"count", 1, 3}}).message()),
              HasSubstr("expected 1 bindings, 3 push constants, found 1 and 2"));
  EXPECT_THAT(std::string(Load(TestImage(), {{"tea", 1, 3}}).message()),
              HasSubstr("the kernel tea is missing"));
  EXPECT_TRUE(Load(TestImage()).ok());
}

TEST_F(CudaDevice, FallsBackToPtxWhenTheCubinIsRefused) {
  abi::ImageT image = TestImage();
  auto cubin = std::make_unique<abi::CubinT>();
  cubin->arch = 80;
  cubin->bytes.resize(64);
  const uint8_t magic[] = {0x7f, 'E', 'L', 'F', 2};
  std::memcpy(cubin->bytes.data(), magic, sizeof(magic));
  image.cubins.push_back(std::move(cubin));
  const absl::Status status = Load(image);
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(CudaDevice, SaysHowMuchMemoryThereIs) {
  executable_.reset();
  device_.reset();
  const ScopedEnvironment scope({{"FATHOM_CUDA_SIM_MEMORY", "1M"}});
  Open();
  auto half = Allocate(600'000, hal::MemoryUse::weights);
  for (hal::MemoryUse use : {hal::MemoryUse::weights, hal::MemoryUse::cache}) {
    const absl::Status status = device_->allocator().Allocate(600'000, use).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("no memory for 600000 bytes"),
                                                     HasSubstr("448576 of 1048576 are free")));
  }
  half.reset();
  EXPECT_TRUE(device_->allocator().Allocate(600'000, hal::MemoryUse::weights).ok());
}

TEST_F(CudaDevice, LoadingCanBeStopped) {
  executable_.reset();
  device_.reset();
  std::vector<uint64_t> done;
  options_.progress = [&](uint64_t now, uint64_t all) {
    EXPECT_EQ(all, kKernels.size());
    done.push_back(now);
    return true;
  };
  Open();
  EXPECT_TRUE(Load(TestImage()).ok());
  EXPECT_THAT(done, ::testing::ElementsAre(0, 4));
  executable_.reset();
  device_.reset();
  options_.progress = [](uint64_t, uint64_t) { return false; };
  Open();
  EXPECT_EQ(Load(TestImage()).code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace fathom::cuda
