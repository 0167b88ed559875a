// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// JSON values as attributes and back.
#include "compiler/target/ProfileAttr.h"

#include "mlir/IR/Builders.h"

namespace fathom {
namespace {

using mlir::Attribute;

Attribute toAttr(mlir::Builder& builder, const llvm::json::Value& json) {
  switch (json.kind()) {
    case llvm::json::Value::Null:
      return builder.getUnitAttr();
    case llvm::json::Value::Boolean:
      return builder.getBoolAttr(*json.getAsBoolean());
    case llvm::json::Value::Number:
      if (std::optional<int64_t> integer = json.getAsInteger())
        return builder.getI64IntegerAttr(*integer);
      return builder.getF64FloatAttr(*json.getAsNumber());
    case llvm::json::Value::String:
      return builder.getStringAttr(*json.getAsString());
    case llvm::json::Value::Array: {
      llvm::SmallVector<Attribute> list;
      for (const llvm::json::Value& element : *json.getAsArray())
        list.push_back(toAttr(builder, element));
      return builder.getArrayAttr(list);
    }
    case llvm::json::Value::Object: {
      mlir::NamedAttrList members;
      for (const auto& member : *json.getAsObject())
        members.set(llvm::StringRef(member.first), toAttr(builder, member.second));
      return members.getDictionary(builder.getContext());
    }
  }
  return {};
}

}  // namespace

llvm::json::Value jsonOf(Attribute attr) {
  if (auto flag = mlir::dyn_cast<mlir::BoolAttr>(attr)) return flag.getValue();
  if (auto integer = mlir::dyn_cast<mlir::IntegerAttr>(attr)) {
    if (std::optional<int64_t> value = integer.getValue().trySExtValue()) return *value;
    return nullptr;
  }
  if (auto number = mlir::dyn_cast<mlir::FloatAttr>(attr)) return number.getValueAsDouble();
  if (auto text = mlir::dyn_cast<mlir::StringAttr>(attr)) return text.getValue();
  if (auto list = mlir::dyn_cast<mlir::ArrayAttr>(attr)) {
    llvm::json::Array array;
    for (Attribute element : list) array.push_back(jsonOf(element));
    return array;
  }
  if (auto members = mlir::dyn_cast<mlir::DictionaryAttr>(attr)) {
    llvm::json::Object object;
    for (mlir::NamedAttribute member : members)
      object[member.getName().getValue()] = jsonOf(member.getValue());
    return object;
  }
  return nullptr;
}

mlir::DictionaryAttr profileAttr(mlir::MLIRContext* context, const TargetProfile& profile) {
  mlir::Builder builder(context);
  return mlir::cast<mlir::DictionaryAttr>(toAttr(builder, profile.toJson()));
}

llvm::Expected<TargetProfile> profileFromAttr(mlir::DictionaryAttr attr, llvm::StringRef where) {
  return TargetProfile::fromJson(jsonOf(attr), where);
}

}  // namespace fathom
