// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// gpu, arith, math, memref, scf and vector to SPIR-V, around what upstream's conversions lack.
#include "backends/vulkan/target/LowerToSpirv.h"

#include "backends/vulkan/target/RotateLoops.h"
#include "llvm/ADT/StringSet.h"
#include "mlir/Conversion/ArithToSPIRV/ArithToSPIRV.h"
#include "mlir/Conversion/FuncToSPIRV/FuncToSPIRV.h"
#include "mlir/Conversion/GPUToSPIRV/GPUToSPIRV.h"
#include "mlir/Conversion/IndexToSPIRV/IndexToSPIRV.h"
#include "mlir/Conversion/MathToSPIRV/MathToSPIRV.h"
#include "mlir/Conversion/MemRefToSPIRV/MemRefToSPIRV.h"
#include "mlir/Conversion/SCFToSPIRV/SCFToSPIRV.h"
#include "mlir/Conversion/UBToSPIRV/UBToSPIRV.h"
#include "mlir/Conversion/VectorToSPIRV/VectorToSPIRV.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"
#include "mlir/Dialect/SPIRV/Transforms/Passes.h"
#include "mlir/Dialect/SPIRV/Transforms/SPIRVConversion.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/SPIRV/Serialization.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace fathom::vulkan {
namespace {

using Capability = spirv::Capability;

spirv::TargetEnvAttr targetEnv(MLIRContext* context, const GpuProfile& gpu) {
  SmallVector<Capability> capabilities = {Capability::Shader, Capability::GroupNonUniform,
                                          Capability::GroupNonUniformArithmetic};
  if (gpu.dot8)
    capabilities.append({Capability::DotProduct, Capability::DotProductInput4x8BitPacked});
  SmallVector<spirv::Extension> extensions = {
      spirv::Extension::SPV_KHR_storage_buffer_storage_class,
      spirv::Extension::SPV_KHR_integer_dot_product};
  auto triple = spirv::VerCapExtAttr::get(spirv::Version::V_1_6, capabilities, extensions, context);
  return spirv::TargetEnvAttr::get(triple, spirv::getDefaultResourceLimits(context),
                                   spirv::ClientAPI::Vulkan);
}

// Workgroup memory of a gpu.func does not convert; an allocation in that memory does.
void allocateShared(gpu::GPUFuncOp func) {
  unsigned count = func.getNumWorkgroupAttributions();
  if (count == 0) return;
  OpBuilder builder = OpBuilder::atBlockBegin(&func.getBody().front());
  auto space = spirv::StorageClassAttr::get(func.getContext(), spirv::StorageClass::Workgroup);
  for (BlockArgument shared : func.getWorkgroupAttributions()) {
    auto type = cast<MemRefType>(shared.getType());
    auto own = MemRefType::get(type.getShape(), type.getElementType(), type.getLayout(), space);
    shared.replaceAllUsesWith(memref::AllocOp::create(builder, func.getLoc(), own));
  }
  func.getBody().front().eraseArguments(func.getNumArguments(), count);
  func->setAttr(gpu::GPUFuncOp::getNumWorkgroupAttributionsAttrName(),
                builder.getI64IntegerAttr(0));
}

// The position in the grid is what the builtin says plus `base`, an i32.
void addToBlockId(gpu::GPUFuncOp func, gpu::Dimension dimension, Value base) {
  func.walk([&](gpu::BlockIdOp id) {
    if (id.getDimension() != dimension) return;
    id->moveAfter(base.getDefiningOp());
    OpBuilder builder(func.getContext());
    builder.setInsertionPointAfter(id);
    Location loc = id.getLoc();
    Value offset = arith::IndexCastOp::create(builder, loc, builder.getIndexType(), base);
    Value position = arith::AddIOp::create(builder, loc, id, offset);
    id.getResult().replaceAllUsesExcept(position, position.getDefiningOp());
  });
}

// The last `own` arguments become loads of a push constant block of 32-bit integers. Three more of
// them say where the dispatch's part of a large grid begins (backends/vulkan/abi).
void loadPushConstants(gpu::GPUFuncOp func, unsigned own) {
  unsigned count = own + 3;
  MLIRContext* context = func.getContext();
  OpBuilder builder(func);
  Type i32 = builder.getI32Type();
  SmallVector<Type> members(count, i32);
  SmallVector<spirv::StructType::OffsetInfo> offsets;
  for (unsigned i = 0; i < count; ++i) offsets.push_back(4 * i);
  auto block = spirv::PointerType::get(spirv::StructType::get(members, offsets),
                                       spirv::StorageClass::PushConstant);
  // The serialiser wants a variable before its uses.
  auto variable = spirv::GlobalVariableOp::create(builder, func.getLoc(), block, "push_constants",
                                                  FlatSymbolRefAttr());
  Block& entry = func.getBody().front();
  builder.setInsertionPointToStart(&entry);
  unsigned first = func.getNumArguments() - own;
  Value address = spirv::AddressOfOp::create(builder, func.getLoc(), variable);
  for (unsigned i = 0; i < count; ++i) {
    Value index = spirv::ConstantOp::create(builder, func.getLoc(), i32,
                                            builder.getI32IntegerAttr(static_cast<int32_t>(i)));
    Value at = spirv::AccessChainOp::create(builder, func.getLoc(), address, ValueRange{index});
    Value value = spirv::LoadOp::create(builder, func.getLoc(), at);
    if (i < own)
      entry.getArgument(first + i).replaceAllUsesWith(value);
    else
      addToBlockId(func, static_cast<gpu::Dimension>(i - own), value);
  }
  entry.eraseArguments(first, own);
  auto type = func.getFunctionType();
  func.setFunctionType(
      FunctionType::get(context, type.getInputs().drop_back(own), type.getResults()));
}

struct ConvertToSpirv : PassWrapper<ConvertToSpirv, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ConvertToSpirv)
  void getDependentDialects(DialectRegistry& registry) const override {
    registry.insert<spirv::SPIRVDialect>();
  }

  void runOnOperation() override {
    SmallVector<gpu::GPUModuleOp> modules(getOperation().getOps<gpu::GPUModuleOp>());
    for (gpu::GPUModuleOp module : modules)
      if (failed(convert(module))) return signalPassFailure();
    getOperation().walk([&](spirv::ModuleOp module) {
      module->setAttr(spirv::getTargetEnvAttrName(), spirv::lookupTargetEnvOrDefault(module));
    });
  }

  LogicalResult convert(gpu::GPUModuleOp module) {
    spirv::TargetEnvAttr env = spirv::lookupTargetEnvOrDefault(module);
    auto target = SPIRVConversionTarget::get(env);
    target->addIllegalDialect<gpu::GPUDialect>();
    auto storageClass = [](Attribute space) -> std::optional<spirv::StorageClass> {
      if (auto own = dyn_cast_or_null<spirv::StorageClassAttr>(space)) return own.getValue();
      return spirv::mapMemorySpaceToVulkanStorageClass(space);
    };
    spirv::MemorySpaceToStorageClassConverter spaces(storageClass);
    spirv::convertMemRefTypesAndAttrs(module, spaces);
    // A type that the device lacks is an error, never another layout.
    SPIRVConversionOptions options;
    options.emulateUnsupportedFloatTypes = false;
    options.emulateLT32BitScalarTypes = false;
    SPIRVTypeConverter types(env, options);
    RewritePatternSet patterns(&getContext());
    ScfToSPIRVContext scf;
    populateGPUToSPIRVPatterns(types, patterns);
    arith::populateArithToSPIRVPatterns(types, patterns);
    populateMathToSPIRVPatterns(types, patterns);
    populateMemRefToSPIRVPatterns(types, patterns);
    populateFuncToSPIRVPatterns(types, patterns);
    populateBuiltinFuncToSPIRVPatterns(types, patterns);
    populateVectorToSPIRVPatterns(types, patterns);
    populateSCFToSPIRVPatterns(types, scf, patterns);
    ub::populateUBToSPIRVConversionPatterns(types, patterns);
    index::populateIndexToSPIRVPatterns(types, patterns);
    return applyFullConversion(module, *target, std::move(patterns));
  }
};

// The texels of a view become what its loads were of: one word, two or four of them.
Value wordsOf(OpBuilder& builder, Location loc, Value texel, Type wanted) {
  auto vector = dyn_cast<VectorType>(wanted);
  Value words = texel;
  if (!vector)
    words = spirv::CompositeExtractOp::create(builder, loc, texel, ArrayRef<int32_t>{0});
  else if (vector.getNumElements() == 2)
    words = spirv::VectorShuffleOp::create(builder, loc, VectorType::get({2}, builder.getI32Type()),
                                           texel, texel, builder.getI32ArrayAttr({0, 1}));
  if (words.getType() == wanted) return words;
  return spirv::BitcastOp::create(builder, loc, wanted, words);
}

/// Descriptors with an entry in `texels` become uniform texel buffers, and loads fetches.
struct FetchTexels : PassWrapper<FetchTexels, OperationPass<spirv::ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FetchTexels)
  explicit FetchTexels(ArrayRef<int64_t> texels) : texels(texels) {}

  void runOnOperation() override {
    Builder builder(&getContext());
    auto image = spirv::ImageType::get(
        builder.getI32Type(), spirv::Dim::Buffer, spirv::ImageDepthInfo::NoDepth,
        spirv::ImageArrayedInfo::NonArrayed, spirv::ImageSamplingInfo::SingleSampled,
        spirv::ImageSamplerUseInfo::NeedSampler, spirv::ImageFormat::Unknown);
    auto pointer = spirv::PointerType::get(image, spirv::StorageClass::UniformConstant);
    llvm::StringSet<> fetched;
    for (auto variable : getOperation().getOps<spirv::GlobalVariableOp>()) {
      std::optional<uint32_t> binding = variable.getBinding();
      if (!binding || *binding >= texels.size() || texels[*binding] == 0) continue;
      variable.setTypeAttr(TypeAttr::get(pointer));
      fetched.insert(variable.getSymName());
    }
    SmallVector<spirv::AddressOfOp> addresses;
    getOperation().walk([&](spirv::AddressOfOp address) {
      if (fetched.contains(address.getVariable())) addresses.push_back(address);
    });
    for (spirv::AddressOfOp address : addresses) {
      address.getPointer().setType(pointer);
      for (Operation* user : llvm::make_early_inc_range(address->getUsers()))
        if (failed(fetch(address, user))) return signalPassFailure();
    }
  }

  LogicalResult fetch(spirv::AddressOfOp address, Operation* user) {
    auto chain = dyn_cast<spirv::AccessChainOp>(user);
    // The struct's one member, then the element.
    if (!chain || chain.getIndices().size() != 2)
      return user->emitOpError("is not an element of a view that is read as texels");
    for (Operation* use : llvm::make_early_inc_range(chain->getUsers())) {
      auto load = dyn_cast<spirv::LoadOp>(use);
      if (!load) return use->emitOpError("is not a load of a view that is read as texels");
      OpBuilder builder(load);
      Location loc = load.getLoc();
      Value image = spirv::LoadOp::create(builder, loc, address.getPointer());
      Value texel = spirv::ImageFetchOp::create(
          builder, loc, VectorType::get({4}, builder.getI32Type()), image, chain.getIndices()[1],
          spirv::ImageOperandsAttr(), ValueRange{});
      load.replaceAllUsesWith(wordsOf(builder, loc, texel, load.getType()));
      load.erase();
    }
    chain.erase();
    return success();
  }

  SmallVector<int64_t> texels;
};

// What spirv-update-vce deduces is the minimum, 1.0, which Vulkan 1.3's rules for interfaces do not
// allow; subgroup builtins need a capability it does not know of.
struct FinishModule : PassWrapper<FinishModule, OperationPass<spirv::ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FinishModule)

  void runOnOperation() override {
    spirv::ModuleOp module = getOperation();
    spirv::VerCapExtAttr triple = *module.getVceTriple();
    llvm::SetVector<Capability> capabilities;
    for (Capability capability : triple.getCapabilities()) capabilities.insert(capability);
    module.walk([&](spirv::GlobalVariableOp variable) {
      auto builtin = variable->getAttrOfType<StringAttr>("built_in");
      if (builtin && builtin.getValue().contains("Subgroup"))
        capabilities.insert(Capability::GroupNonUniform);
      // In-place kernels see one memory through several descriptors.
      auto pointer = cast<spirv::PointerType>(variable.getType());
      if (pointer.getStorageClass() == spirv::StorageClass::StorageBuffer)
        variable->setAttr("aliased", UnitAttr::get(&getContext()));
      if (isa<spirv::ImageType>(pointer.getPointeeType()))
        capabilities.insert(Capability::SampledBuffer);
    });
    // No extension: all that kernels use is core in 1.6.
    module.setVceTripleAttr(spirv::VerCapExtAttr::get(spirv::Version::V_1_6,
                                                      capabilities.getArrayRef(),
                                                      ArrayRef<spirv::Extension>(), &getContext()));
    // Sums keep the order and the roundings they were written with.
    module.walk([&](Operation* op) {
      if (isa<spirv::FAddOp, spirv::FSubOp, spirv::FMulOp, spirv::FDivOp, spirv::FNegateOp>(op))
        op->setAttr("no_contraction", UnitAttr::get(&getContext()));
    });
  }
};

}  // namespace

void registerLoweringDialects(DialectRegistry& registry) {
  registry.insert<spirv::SPIRVDialect, ub::UBDialect>();
}

LogicalResult lowerToSpirv(ModuleOp module, const TargetProfile& profile,
                           SmallVectorImpl<uint32_t>& words) {
  MLIRContext* context = module.getContext();
  auto kernels = *module.getOps<gpu::GPUModuleOp>().begin();
  kernels->setAttr(spirv::getTargetEnvAttrName(), targetEnv(context, *profile.gpu));
  ArrayRef<int64_t> texels;
  for (auto func : llvm::make_early_inc_range(kernels.getOps<gpu::GPUFuncOp>())) {
    // One kernel, or none with texels: descriptors are known by their numbers.
    if (auto own = func->getAttrOfType<DenseI64ArrayAttr>("fathom.texels"))
      texels = own.asArrayRef();
    allocateShared(func);
    auto push = func->getAttrOfType<IntegerAttr>("fathom.push");
    loadPushConstants(func, push.getInt());
    auto lanes = func->getAttrOfType<IntegerAttr>("fathom.workgroup");
    func->setAttr(
        spirv::getEntryPointABIAttrName(),
        spirv::getEntryPointABIAttr(context, {static_cast<int32_t>(lanes.getInt()), 1, 1}));
  }
  PassManager passes(context);
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addNestedPass<gpu::GPUModuleOp>(createRotateLoopsPass());
  passes.addPass(std::make_unique<ConvertToSpirv>());
  OpPassManager& inModule = passes.nest<spirv::ModuleOp>();
  inModule.addPass(createSplitLoopBodiesPass());
  inModule.addPass(createCanonicalizerPass());
  inModule.addPass(createCSEPass());
  inModule.addPass(spirv::createSPIRVCanonicalizeGLPass());
  inModule.addPass(spirv::createSPIRVRewriteInsertsPass());
  inModule.addPass(spirv::createSPIRVLowerABIAttributesPass());
  inModule.addPass(spirv::createSPIRVUpdateVCEPass());
  if (!texels.empty()) {
    inModule.addPass(std::make_unique<FetchTexels>(texels));
    inModule.addPass(createCSEPass());
  }
  inModule.addPass(std::make_unique<FinishModule>());
  if (failed(passes.run(module))) return failure();
  spirv::SerializationOptions options;
  options.emitSymbolName = true;
  return spirv::serialize(*module.getOps<spirv::ModuleOp>().begin(), words, options);
}

}  // namespace fathom::vulkan
