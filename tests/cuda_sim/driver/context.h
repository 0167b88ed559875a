// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The simulated device with what a driver keeps for it: memory, modules, streams, events, graphs.
//
// Work given to a stream runs when somebody waits for it, not before: code that reads a result
// without waiting finds it missing. The first fault of a launch stays: every later call answers
// with it, as on a device, until the context is given back.
#ifndef FATHOM_TESTS_CUDA_SIM_DRIVER_CONTEXT_H_
#define FATHOM_TESTS_CUDA_SIM_DRIVER_CONTEXT_H_

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_sim/block.h"
#include "tests/cuda_sim/memory.h"
#include "tests/cuda_sim/program.h"

namespace fathom::cuda_sim {

// From the environment; see README.md.
struct Settings {
  int sm = 80;
  int devices = 1;
  int driver_version = 13000;
  uint64_t memory = uint64_t{8} << 30;
  LaunchOptions launch;
  std::string report;  // a file the reports are appended to; empty: stderr
};
Settings SettingsFromEnvironment();

using Work = std::function<void()>;

struct Graph {
  std::vector<Work> work;
};

struct Stream {
  bool blocking = true;
  std::deque<Work> work;
  uint64_t given = 0, done = 0;
  std::unique_ptr<Graph> capture;
};

struct Event {
  Stream* stream = nullptr;
  uint64_t ticket = 0;  // done once the stream has done so much
  bool happened = false;
  bool recorded = false;
  std::chrono::steady_clock::time_point time;
};

struct LoadedModule {
  std::unique_ptr<Module> module;
  std::vector<uint64_t> memory;  // of its variables
};

struct Function {
  LoadedModule* owner = nullptr;
  const Kernel* kernel = nullptr;
  uint32_t max_dynamic = 48 * 1024;
};

// Not thread-safe: the API holds a lock.
class Context {
 public:
  explicit Context(const Settings& settings);
  ~Context();

  const Settings& settings() const { return settings_; }
  DeviceMemory& memory() { return memory_; }
  Error error() const { return error_; }  // sticky
  uint32_t max_dynamic_shared() const;

  // Throws Fault with a log for the caller.
  LoadedModule* Load(const std::string& ptx);
  bool Unload(LoadedModule* module);
  Function* Find(LoadedModule* module, const std::string& name);

  Stream* CreateStream(bool blocking);
  bool DestroyStream(Stream* stream);
  // Null stands for the default stream; returns null for a handle that is none.
  Stream* FindStream(Stream* stream);
  // Records the work if the stream captures, else keeps it until somebody waits.
  void Give(Stream& stream, Work work);
  // Runs what was given, up to `ticket`. Faults of launches end in error().
  void Drain(Stream& stream, uint64_t ticket = UINT64_MAX);
  void DrainAll();
  // What a synchronous copy waits for: the default stream and blocking streams.
  void DrainBlocking();
  bool IsCapturing() const;

  Event* CreateEvent();
  void Record(Event& event, Stream& stream);
  bool WaitFor(Event& event);  // false: never recorded

  // Checks the launch against the limits of the device and gives it to the stream.
  Error LaunchKernel(const Function& function, const std::array<uint32_t, 3>& grid,
                     const std::array<uint32_t, 3>& threads, uint32_t dynamic_bytes, Stream& stream,
                     void** arguments);

  uint64_t AllocateHost(uint64_t bytes, void** host);
  bool FreeHost(void* host);
  // The device's address of pinned memory; 0 when `host` is not in any.
  uint64_t DeviceAddressOf(const void* host) const;

  void Report(const std::string& text) const;

  std::map<LoadedModule*, std::unique_ptr<LoadedModule>> modules;
  std::map<Function*, std::unique_ptr<Function>> functions;
  std::map<Stream*, std::unique_ptr<Stream>> streams;
  std::map<Event*, std::unique_ptr<Event>> events;
  std::map<Graph*, std::unique_ptr<Graph>> graphs;

 private:
  struct Pinned {
    uint64_t bytes = 0;
    uint64_t device = 0;
  };

  const Settings settings_;
  DeviceMemory memory_;
  Error error_ = Error::ok;
  uint64_t launches_ = 0;
  Stream default_stream_;
  std::map<uintptr_t, Pinned> pinned_;
};

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_DRIVER_CONTEXT_H_
