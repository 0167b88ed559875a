// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The driver API: modules, launches, streams, events, graphs.
#include <algorithm>
#include <cstring>

#include "tests/cuda_sim/driver/cuda_abi.h"
#include "tests/cuda_sim/driver/driver_api.h"

using namespace fathom::cuda_sim;  // NOLINT: the API lies outside every namespace

namespace {

struct Log {
  char* buffer = nullptr;
  size_t bytes = 0;
};

// The error log among the options of a module load.
Log ErrorLog(unsigned count, const int* options, void** values) {
  Log log;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == kErrorLogBuffer) log.buffer = static_cast<char*>(values[i]);
    if (options[i] == kErrorLogBufferBytes) log.bytes = reinterpret_cast<uintptr_t>(values[i]);
  }
  return log;
}

}  // namespace

CUDA_SIM_API cuModuleLoadDataEx(LoadedModule** module, const void* image, unsigned count,
                                int* options, void** values) {
  return WithContext([&](Context& context) {
    const auto* text = static_cast<const char*>(image);
    // A cubin: machine code, which nothing here can run.
    if (std::memcmp(text,
                    "\x7f"
                    "ELF",
                    4) == 0)
      return Error::no_binary_for_gpu;
    try {
      *module = context.Load(text);
      return Error::ok;
    } catch (const Fault& fault) {
      const Log log = ErrorLog(count, options, values);
      if (log.buffer != nullptr && log.bytes > 0) {
        const size_t length = std::min(log.bytes - 1, fault.what.size());
        std::memcpy(log.buffer, fault.what.data(), length);
        log.buffer[length] = '\0';
      }
      context.Report(fault.what);
      return fault.error;
    }
  });
}

CUDA_SIM_API cuModuleLoadData(LoadedModule** module, const void* image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

CUDA_SIM_API cuModuleUnload(LoadedModule* module) {
  return WithContext(
      [&](Context& context) { return context.Unload(module) ? Error::ok : Error::invalid_handle; });
}

CUDA_SIM_API cuModuleGetFunction(Function** function, LoadedModule* module, const char* name) {
  return WithContext([&](Context& context) {
    if (context.modules.count(module) == 0) return Error::invalid_handle;
    *function = context.Find(module, name);
    return *function == nullptr ? Error::not_found : Error::ok;
  });
}

CUDA_SIM_API cuModuleGetGlobal_v2(uint64_t* address, size_t* bytes, LoadedModule* module,
                                  const char* name) {
  return WithContext([&](Context& context) {
    if (context.modules.count(module) == 0) return Error::invalid_handle;
    const auto it = module->module->variables.find(name);
    if (it == module->module->variables.end()) return Error::not_found;
    if (address != nullptr) *address = it->second.first;
    if (bytes != nullptr) *bytes = it->second.second;
    return Error::ok;
  });
}

CUDA_SIM_API cuFuncGetAttribute(int* value, int attribute, Function* function) {
  return WithContext([&](Context& context) {
    if (context.functions.count(function) == 0) return Error::invalid_handle;
    const Kernel& kernel = *function->kernel;
    switch (attribute) {
      case kFunctionMaxThreads: {
        const auto& most =
            kernel.required_threads[0] != 0 ? kernel.required_threads : kernel.max_threads;
        *value = most[0] == 0 ? 1024 : static_cast<int>(most[0] * most[1] * most[2]);
        return Error::ok;
      }
      case kFunctionSharedBytes:
        *value = static_cast<int>(kernel.shared_bytes);
        return Error::ok;
      case kFunctionLocalBytes:
        *value = static_cast<int>(kernel.local_bytes);
        return Error::ok;
      case kFunctionRegisters:
        *value = 32;
        return Error::ok;
      case kFunctionMaxDynamicShared:
        *value = static_cast<int>(function->max_dynamic);
        return Error::ok;
      default:
        return Error::invalid_value;
    }
  });
}

CUDA_SIM_API cuFuncSetAttribute(Function* function, int attribute, int value) {
  return WithContext([&](Context& context) {
    if (context.functions.count(function) == 0) return Error::invalid_handle;
    if (attribute != kFunctionMaxDynamicShared || value < 0 ||
        static_cast<uint32_t>(value) > context.max_dynamic_shared()) {
      return Error::invalid_value;
    }
    function->max_dynamic = static_cast<uint32_t>(value);
    return Error::ok;
  });
}

CUDA_SIM_API cuLaunchKernel(Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                            unsigned block_x, unsigned block_y, unsigned block_z,
                            unsigned shared_bytes, Stream* handle, void** parameters,
                            void** extra) {
  return WithContext([&](Context& context) {
    Stream* stream = context.FindStream(handle);
    if (stream == nullptr || context.functions.count(function) == 0) return Error::invalid_handle;
    if (extra != nullptr) return Error::invalid_value;
    return context.LaunchKernel(*function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z},
                                shared_bytes, *stream, parameters);
  });
}

CUDA_SIM_API cuStreamCreate(Stream** stream, unsigned flags) {
  return WithContext([&](Context& context) {
    if (flags > 1) return Error::invalid_value;
    *stream = context.CreateStream(flags == 0);
    return Error::ok;
  });
}

CUDA_SIM_API cuStreamDestroy_v2(Stream* stream) {
  return WithContext([&](Context& context) {
    return context.DestroyStream(stream) ? Error::ok : Error::invalid_handle;
  });
}

CUDA_SIM_API cuStreamSynchronize(Stream* handle) {
  return WithContext([&](Context& context) {
    Stream* stream = context.FindStream(handle);
    if (stream == nullptr) return Error::invalid_handle;
    if (stream->capture != nullptr) return Error::stream_capture_unsupported;
    context.Drain(*stream);
    return Error::ok;
  });
}

CUDA_SIM_API cuStreamQuery(Stream* handle) { return cuStreamSynchronize(handle); }

CUDA_SIM_API cuStreamWaitEvent(Stream* handle, Event* event, unsigned flags) {
  return WithContext([&](Context& context) {
    Stream* stream = context.FindStream(handle);
    if (stream == nullptr || context.events.count(event) == 0) return Error::invalid_handle;
    if (flags != 0) return Error::invalid_value;
    if (stream->capture != nullptr) return Error::stream_capture_unsupported;
    Stream* const other = event->stream;
    const uint64_t ticket = event->ticket;
    if (!event->recorded || other == nullptr || other == stream) return Error::ok;
    context.Give(*stream, [&context, other, ticket] {
      if (Stream* alive = context.FindStream(other)) context.Drain(*alive, ticket);
    });
    return Error::ok;
  });
}

CUDA_SIM_API cuEventCreate(Event** event, unsigned flags) {
  return WithContext([&](Context& context) {
    if ((flags & ~7u) != 0) return Error::invalid_value;
    *event = context.CreateEvent();
    return Error::ok;
  });
}

CUDA_SIM_API cuEventDestroy_v2(Event* event) {
  return WithContext([&](Context& context) {
    return context.events.erase(event) != 0 ? Error::ok : Error::invalid_handle;
  });
}

CUDA_SIM_API cuEventRecord(Event* event, Stream* handle) {
  return WithContext([&](Context& context) {
    Stream* stream = context.FindStream(handle);
    if (stream == nullptr || context.events.count(event) == 0) return Error::invalid_handle;
    if (stream->capture != nullptr) return Error::stream_capture_unsupported;
    context.Record(*event, *stream);
    return Error::ok;
  });
}

CUDA_SIM_API cuEventSynchronize(Event* event) {
  return WithContext([&](Context& context) {
    if (context.events.count(event) == 0) return Error::invalid_handle;
    context.WaitFor(*event);
    return Error::ok;
  });
}

CUDA_SIM_API cuEventQuery(Event* event) { return cuEventSynchronize(event); }

CUDA_SIM_API cuEventElapsedTime(float* milliseconds, Event* begin, Event* end) {
  return WithContext([&](Context& context) {
    if (context.events.count(begin) == 0 || context.events.count(end) == 0) {
      return Error::invalid_handle;
    }
    if (!begin->recorded || !end->recorded) return Error::invalid_handle;
    if (!begin->happened || !end->happened) return Error::not_ready;
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
    return Error::ok;
  });
}

CUDA_SIM_API cuStreamBeginCapture_v2(Stream* handle, int mode) {
  return WithContext([&](Context& context) {
    if (handle == nullptr) return Error::stream_capture_unsupported;
    Stream* stream = context.FindStream(handle);
    if (stream == nullptr) return Error::invalid_handle;
    if (mode < 0 || mode > 2) return Error::invalid_value;
    if (stream->capture != nullptr) return Error::illegal_state;
    stream->capture = std::make_unique<Graph>();
    return Error::ok;
  });
}

CUDA_SIM_API cuStreamEndCapture(Stream* handle, Graph** graph) {
  return WithContext([&](Context& context) {
    Stream* stream = context.FindStream(handle);
    if (stream == nullptr) return Error::invalid_handle;
    if (stream->capture == nullptr) return Error::illegal_state;
    *graph = stream->capture.get();
    context.graphs[*graph] = std::move(stream->capture);
    return Error::ok;
  });
}

// An executable graph is a graph of its own: the template may be destroyed.
CUDA_SIM_API cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, uint64_t flags) {
  return WithContext([&](Context& context) {
    if (context.graphs.count(graph) == 0) return Error::invalid_handle;
    if (flags != 0) return Error::invalid_value;
    auto copy = std::make_unique<Graph>(*graph);
    *executable = copy.get();
    context.graphs[*executable] = std::move(copy);
    return Error::ok;
  });
}

CUDA_SIM_API cuGraphLaunch(Graph* executable, Stream* handle) {
  return WithContext([&](Context& context) {
    Stream* stream = context.FindStream(handle);
    if (stream == nullptr || context.graphs.count(executable) == 0) return Error::invalid_handle;
    for (const Work& work : executable->work) context.Give(*stream, work);
    return Error::ok;
  });
}

CUDA_SIM_API cuGraphExecDestroy(Graph* executable) {
  return WithContext([&](Context& context) {
    return context.graphs.erase(executable) != 0 ? Error::ok : Error::invalid_handle;
  });
}

CUDA_SIM_API cuGraphDestroy(Graph* graph) { return cuGraphExecDestroy(graph); }
