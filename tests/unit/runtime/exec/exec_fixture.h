// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The history model, opened on a CPU device.
#ifndef FATHOM_TESTS_UNIT_RUNTIME_EXEC_EXEC_FIXTURE_H_
#define FATHOM_TESTS_UNIT_RUNTIME_EXEC_EXEC_FIXTURE_H_

#include <memory>

#include "gtest/gtest.h"
#include "runtime/exec/context.h"
#include "runtime/hal/driver_registry.h"
#include "tests/unit/runtime/artifact/history_model.h"

namespace fathom::testing {

struct OpenedModel {
  std::unique_ptr<TemporaryFile> file;
  std::unique_ptr<hal::Device> device;
  std::shared_ptr<const Program> program;
};

// Writes `builder`'s artifact and loads it; the status of the first step that fails.
inline absl::StatusOr<OpenedModel> OpenModel(ArtifactBuilder builder,
                                             const std::string& device = "cpu", int threads = 2) {
  OpenedModel model;
  model.file = std::make_unique<TemporaryFile>(builder.Build());
  auto opened = hal::MakeDriverRegistry().Open(device, {threads});
  if (!opened.ok()) return opened.status();
  model.device = *std::move(opened);
  auto artifact = Artifact::Open(model.file->path());
  if (!artifact.ok()) return artifact.status();
  auto weights = Weights::Load(*artifact, LoadMode::copy);
  if (!weights.ok()) return weights.status();
  auto program = Program::Load(*artifact, *weights, *model.device);
  if (!program.ok()) return program.status();
  model.program = *std::move(program);
  return model;
}

}  // namespace fathom::testing

#endif  // FATHOM_TESTS_UNIT_RUNTIME_EXEC_EXEC_FIXTURE_H_
