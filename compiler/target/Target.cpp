// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The target registry and the parser of --target.
#include "compiler/target/Target.h"

#include "llvm/ADT/StringExtras.h"

namespace fathom {

Target::~Target() = default;

void TargetRegistry::add(std::unique_ptr<Target> target) { targets.push_back(std::move(target)); }

const Target* TargetRegistry::find(llvm::StringRef driver) const {
  for (const auto& target : targets)
    if (target->driver() == driver) return target.get();
  return nullptr;
}

std::vector<std::string> TargetRegistry::names() const {
  std::vector<std::string> all;
  for (const auto& target : targets)
    for (std::string& name : target->names()) all.push_back(std::move(name));
  return all;
}

llvm::Expected<TargetProfile> parseTarget(const TargetRegistry& registry, llvm::StringRef value) {
  if (value.ends_with(".json")) {
    llvm::Expected<TargetProfile> profile = TargetProfile::load(value);
    if (profile && !registry.find(profile->driver))
      return llvm::createStringError(value + ": driver: no backend '" + profile->driver +
                                     "' in this build");
    return profile;
  }
  const Target* target = registry.find(value.split(':').first);
  if (!target)
    return llvm::createStringError("target '" + value + "' is unknown: expected one of " +
                                   llvm::join(registry.names(), ", "));
  return target->profileFor(value);
}

}  // namespace fathom
