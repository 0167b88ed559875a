// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A TargetProfile as an attribute, so that a program carries the profile it was lowered for.
#ifndef FATHOM_COMPILER_TARGET_PROFILEATTR_H
#define FATHOM_COMPILER_TARGET_PROFILEATTR_H

#include "compiler/target/TargetProfile.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace fathom {

/// Where a schedule.program holds the profile. A program without it was written by hand: its
/// target's name says everything.
inline constexpr llvm::StringLiteral kProfileAttr = "schedule.profile";

/// Where a schedule.entry holds few_tokens and few_context of its entry point (docs/spec/artifact.md),
/// if they are not 0.
inline constexpr llvm::StringLiteral kFewTokensAttr = "schedule.few_tokens";
inline constexpr llvm::StringLiteral kFewContextAttr = "schedule.few_context";

/// Texts, numbers, booleans, arrays and dictionaries as JSON. Attributes of other kinds become null.
llvm::json::Value jsonOf(mlir::Attribute attr);

/// The fields of TargetProfile::toJson. Texts, integers, floats (f64), booleans, arrays and
/// dictionaries stand for what they are in JSON.
mlir::DictionaryAttr profileAttr(mlir::MLIRContext* context, const TargetProfile& profile);

/// The inverse. The attribute may come from an edited dump, so everything that
/// TargetProfile::fromJson refuses is an error that begins with `where`.
llvm::Expected<TargetProfile> profileFromAttr(mlir::DictionaryAttr attr, llvm::StringRef where);

}  // namespace fathom

#endif  // FATHOM_COMPILER_TARGET_PROFILEATTR_H
