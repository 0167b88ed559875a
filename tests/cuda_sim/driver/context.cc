// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Streams that run late, launches that are checked, settings from the environment.
#include "tests/cuda_sim/driver/context.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fathom::cuda_sim {
namespace {

// "8G", "512M", "100"; `fallback` when the variable is not set.
uint64_t SizeFromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return fallback;
  char* end = nullptr;
  uint64_t value = std::strtoull(text, &end, 10);
  const std::string unit = end;
  const int shift = unit.empty() ? 0 : unit == "K" ? 10 : unit == "M" ? 20 : unit == "G" ? 30 : -1;
  if (end == text || shift < 0) {
    std::fprintf(stderr, "cuda_sim: %s: expected a number with K, M or G, found \"%s\"\n", name,
                 text);
    std::abort();
  }
  return value << shift;
}

}  // namespace

Settings SettingsFromEnvironment() {
  Settings settings;
  settings.sm = static_cast<int>(SizeFromEnvironment("FATHOM_CUDA_SIM_SM", 80));
  settings.devices = static_cast<int>(SizeFromEnvironment("FATHOM_CUDA_SIM_DEVICES", 1));
  settings.driver_version =
      static_cast<int>(SizeFromEnvironment("FATHOM_CUDA_SIM_DRIVER_VERSION", 13000));
  settings.memory = SizeFromEnvironment("FATHOM_CUDA_SIM_MEMORY", uint64_t{8} << 30);
  settings.launch.seed = SizeFromEnvironment("FATHOM_CUDA_SIM_SEED", 1);
  settings.launch.max_steps = SizeFromEnvironment("FATHOM_CUDA_SIM_STEPS", uint64_t{1} << 32);
  const char* mode = std::getenv("FATHOM_CUDA_SIM_UNINITIALISED");
  if (mode != nullptr && std::strcmp(mode, "poison") == 0) {
    settings.launch.uninitialised = Uninitialised::poison;
  }
  const char* races = std::getenv("FATHOM_CUDA_SIM_RACES");
  settings.launch.global_races = races == nullptr || std::strcmp(races, "shared") != 0;
  if (const char* report = std::getenv("FATHOM_CUDA_SIM_REPORT")) settings.report = report;
  return settings;
}

Context::Context(const Settings& settings)
    : settings_(settings), memory_(settings.memory, settings.launch.uninitialised) {}

Context::~Context() {
  for (const auto& [host, pinned] : pinned_) std::free(reinterpret_cast<void*>(host));
}

uint32_t Context::max_dynamic_shared() const {
  switch (settings_.sm) {
    case 75:
      return 64 * 1024;
    case 80:
    case 87:
      return 163 * 1024;
    case 90:
    case 100:
      return 227 * 1024;
    default:
      return 99 * 1024;
  }
}

void Context::Report(const std::string& text) const {
  std::FILE* out = settings_.report.empty() ? stderr : std::fopen(settings_.report.c_str(), "a");
  if (out == nullptr) out = stderr;
  std::fprintf(out, "cuda_sim: %s\n", text.c_str());
  if (out == stderr) {
    std::fflush(out);
  } else {
    std::fclose(out);
  }
}

LoadedModule* Context::Load(const std::string& ptx) {
  auto loaded = std::make_unique<LoadedModule>();
  const PlaceVariable place = [&](const Variable& variable) {
    const uint64_t bytes = std::max<uint64_t>(variable.bytes, 1);
    const uint64_t address = memory_.Allocate(bytes);
    if (address == 0) throw Fault{Error::out_of_memory, "no memory for " + variable.name};
    loaded->memory.push_back(address);
    memory_.Fill(address, 0, bytes);
    memory_.Write(address, variable.initial.data(), variable.initial.size());
    return address;
  };
  try {
    loaded->module = LoadModule(ptx, settings_.sm, place);
  } catch (const Fault&) {
    for (uint64_t address : loaded->memory) memory_.Free(address);
    throw;
  }
  LoadedModule* handle = loaded.get();
  modules[handle] = std::move(loaded);
  return handle;
}

bool Context::Unload(LoadedModule* module) {
  const auto it = modules.find(module);
  if (it == modules.end()) return false;
  DrainAll();
  for (uint64_t address : module->memory) memory_.Free(address);
  std::erase_if(functions, [&](const auto& entry) { return entry.second->owner == module; });
  modules.erase(it);
  return true;
}

Function* Context::Find(LoadedModule* module, const std::string& name) {
  const auto it = module->module->kernels.find(name);
  if (it == module->module->kernels.end()) return nullptr;
  for (auto& [handle, function] : functions) {
    if (function->kernel == it->second.get()) return handle;
  }
  auto function = std::make_unique<Function>();
  function->owner = module;
  function->kernel = it->second.get();
  Function* handle = function.get();
  functions[handle] = std::move(function);
  return handle;
}

Stream* Context::CreateStream(bool blocking) {
  auto stream = std::make_unique<Stream>();
  stream->blocking = blocking;
  Stream* handle = stream.get();
  streams[handle] = std::move(stream);
  return handle;
}

bool Context::DestroyStream(Stream* stream) {
  if (streams.count(stream) == 0) return false;
  Drain(*stream);
  for (auto& [handle, event] : events) {
    if (event->stream == stream) event->stream = nullptr;
  }
  streams.erase(stream);
  return true;
}

Stream* Context::FindStream(Stream* stream) {
  if (stream == nullptr) return &default_stream_;
  return streams.count(stream) != 0 ? stream : nullptr;
}

void Context::Give(Stream& stream, Work work) {
  if (stream.capture != nullptr) {
    stream.capture->work.push_back(std::move(work));
    return;
  }
  stream.work.push_back(std::move(work));
  ++stream.given;
}

void Context::Drain(Stream& stream, uint64_t ticket) {
  while (!stream.work.empty() && stream.done < ticket) {
    const Work work = std::move(stream.work.front());
    stream.work.pop_front();
    ++stream.done;
    if (error_ != Error::ok) continue;
    try {
      work();
    } catch (const Fault& fault) {
      error_ = fault.error;
      Report(fault.what);
    }
  }
}

void Context::DrainAll() {
  Drain(default_stream_);
  for (auto& [handle, stream] : streams) Drain(*stream);
}

void Context::DrainBlocking() {
  Drain(default_stream_);
  for (auto& [handle, stream] : streams) {
    if (stream->blocking) Drain(*stream);
  }
}

bool Context::IsCapturing() const {
  return std::any_of(streams.begin(), streams.end(),
                     [](const auto& entry) { return entry.second->capture != nullptr; });
}

Event* Context::CreateEvent() {
  auto event = std::make_unique<Event>();
  Event* handle = event.get();
  events[handle] = std::move(event);
  return handle;
}

void Context::Record(Event& event, Stream& stream) {
  event.recorded = true;
  event.happened = false;
  event.stream = &stream;
  Event* handle = &event;
  Give(stream, [this, handle] {
    if (events.count(handle) == 0) return;  // destroyed meanwhile
    handle->happened = true;
    handle->time = std::chrono::steady_clock::now();
  });
  event.ticket = stream.given;
}

bool Context::WaitFor(Event& event) {
  if (!event.recorded) return false;
  if (event.stream != nullptr) Drain(*event.stream, event.ticket);
  return true;
}

Error Context::LaunchKernel(const Function& function, const std::array<uint32_t, 3>& grid,
                            const std::array<uint32_t, 3>& threads, uint32_t dynamic_bytes,
                            Stream& stream, void** arguments) {
  const Kernel& kernel = *function.kernel;
  const uint64_t count = uint64_t{threads[0]} * threads[1] * threads[2];
  const uint64_t blocks = uint64_t{grid[0]} * grid[1];
  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[0] > INT32_MAX || grid[1] > 65535 ||
      grid[2] > 65535 || count == 0 || threads[0] > 1024 || threads[1] > 1024 || threads[2] > 64 ||
      count > 1024) {
    return Error::invalid_value;
  }
  if (blocks * grid[2] > (uint64_t{1} << 30)) return Error::out_of_memory;  // of the simulator
  for (size_t i = 0; i < 3; ++i) {
    const uint32_t required = kernel.required_threads[i], most = kernel.max_threads[i];
    if (kernel.required_threads[0] != 0 && threads[i] != required) return Error::invalid_value;
    if (kernel.max_threads[0] != 0 && threads[i] > most) return Error::launch_out_of_resources;
  }
  if (dynamic_bytes > function.max_dynamic ||
      uint64_t{dynamic_bytes} + kernel.shared_bytes > max_dynamic_shared() + 4096) {
    return Error::invalid_value;
  }
  if (!kernel.parameters.empty() && arguments == nullptr) return Error::invalid_value;
  auto launch = std::make_shared<Launch>();
  launch->kernel = &kernel;
  launch->grid = grid;
  launch->threads = threads;
  launch->dynamic_bytes = dynamic_bytes;
  launch->parameters.resize(kernel.parameter_bytes);
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    std::memcpy(launch->parameters.data() + kernel.parameters[i].offset, arguments[i],
                kernel.parameters[i].bytes);
  }
  launch->options = settings_.launch;
  Give(stream, [this, launch] {
    launch->regions = &memory_.regions();
    launch->number = ++launches_;
    launch->options.seed = settings_.launch.seed + 0x9e3779b97f4a7c15u * launch->number;
    RunLaunch(*launch);
  });
  return Error::ok;
}

uint64_t Context::AllocateHost(uint64_t bytes, void** host) {
  const uint64_t rounded = (std::max<uint64_t>(bytes, 1) + 4095) / 4096 * 4096;
  *host = rounded < bytes ? nullptr : std::aligned_alloc(4096, rounded);
  if (*host == nullptr) return 0;
  const uint64_t device = memory_.Map(*host, bytes);
  pinned_[reinterpret_cast<uintptr_t>(*host)] = {bytes, device};
  return device;
}

bool Context::FreeHost(void* host) {
  const auto it = pinned_.find(reinterpret_cast<uintptr_t>(host));
  if (it == pinned_.end()) return false;
  DrainAll();
  memory_.Unmap(it->second.device);
  std::free(host);
  pinned_.erase(it);
  return true;
}

uint64_t Context::DeviceAddressOf(const void* host) const {
  const auto address = reinterpret_cast<uintptr_t>(host);
  auto it = pinned_.upper_bound(address);
  if (it == pinned_.begin()) return 0;
  --it;
  const uintptr_t at = address - it->first;
  return at < std::max<uint64_t>(it->second.bytes, 1) ? it->second.device + at : 0;
}

}  // namespace fathom::cuda_sim
