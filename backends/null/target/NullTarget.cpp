// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The null backend's compiler side: accepts every kernel, makes no code; the template to clone.
#include "backends/null/target/NullTarget.h"

#include "compiler/target/Target.h"

namespace fathom {
namespace {

class NullTarget : public Target {
 public:
  llvm::StringRef driver() const override { return "null"; }

  std::vector<std::string> names() const override { return {"null"}; }

  llvm::Expected<TargetProfile> profileFor(llvm::StringRef name) const override {
    if (name != "null")
      return llvm::createStringError("target '" + name + "' is unknown: expected null");
    TargetProfile profile;
    profile.name = "null";
    profile.driver = "null";
    return profile;
  }

  // The image is the list of the kernels' names, one a line: what the driver needs to find them.
  mlir::LogicalResult compile(llvm::ArrayRef<KernelRequest> kernels, const TargetProfile&,
                              llvm::SmallVectorImpl<char>& code,
                              const CodegenOptions&) const override {
    for (const KernelRequest& kernel : kernels) {
      code.append(kernel.name.begin(), kernel.name.end());
      code.push_back('\n');
    }
    return mlir::success();
  }
};

}  // namespace

void registerNullTarget(TargetRegistry& registry) { registry.add(std::make_unique<NullTarget>()); }

}  // namespace fathom
