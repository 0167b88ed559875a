// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The header of the artifact: the schedule dialect written as a FlatBuffer, one to one.
#include "compiler/emit/EmitArtifact.h"

#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "compiler/emit/EmitWeights.h"
#include "compiler/emit/artifact_writer.h"
#include "compiler/target/ProfileAttr.h"
#include "dialects/schedule/Schedule.h"
#include "llvm/Support/FormatVariadic.h"
#include "runtime/artifact/verifier.h"
#include "runtime/base/status.h"
#include "runtime/schema/artifact_generated.h"

using namespace mlir;

namespace fathom::emit {
namespace {

template <typename T>
using Table = flatbuffers::Offset<T>;

// The pool of integer expressions of an entry point; equal nodes are stored once.
class ExprPool {
 public:
  uint32_t add(AffineMap map) {
    uint32_t node = add(map.getResult(0));
    for (AffineExpr result : map.getResults().drop_front()) node = make(schema::ExprOp::min, node, add(result), 0);
    return node;
  }
  const std::vector<schema::ExprNode>& nodes() const { return pool; }

 private:
  uint32_t add(AffineExpr expr) {
    if (auto c = dyn_cast<AffineConstantExpr>(expr)) return make(schema::ExprOp::constant, 0, 0, c.getValue());
    if (auto s = dyn_cast<AffineSymbolExpr>(expr)) return make(schema::ExprOp::symbol, s.getPosition(), 0, 0);
    auto binary = cast<AffineBinaryOpExpr>(expr);
    const uint32_t a = add(binary.getLHS()), b = add(binary.getRHS());
    switch (binary.getKind()) {
      case AffineExprKind::Add:
        return make(schema::ExprOp::add, a, b, 0);
      case AffineExprKind::Mul:
        return make(schema::ExprOp::mul, a, b, 0);
      case AffineExprKind::FloorDiv:
        return make(schema::ExprOp::floor_div, a, b, 0);
      default:  // mod does not occur: schedule's verifier refuses it
        return make(schema::ExprOp::ceil_div, a, b, 0);
    }
  }
  uint32_t make(schema::ExprOp op, uint32_t a, uint32_t b, int64_t value) {
    auto [it, inserted] = index.try_emplace({op, a, b, value}, pool.size());
    if (inserted) pool.emplace_back(op, a, b, value);
    return it->second;
  }

  std::vector<schema::ExprNode> pool;
  std::map<std::tuple<schema::ExprOp, uint32_t, uint32_t, int64_t>, uint32_t> index;
};

std::string textOf(DictionaryAttr attr) { return llvm::formatv("{0}", jsonOf(attr)).str(); }

class HeaderBuilder {
 public:
  HeaderBuilder(ModuleOp module, const ArtifactWriter& writer, const EmitOptions& options)
      : module(module), writer(writer), options(options) {
    for (size_t i = 0; i < writer.tensors().size(); ++i) tensorIndex[writer.tensors()[i].name] = i;
  }

  void build(ArrayRef<uint32_t> codeSegments, int32_t tokenizer, int32_t notes) {
    std::vector<Table<schema::Segment>> segments;
    for (const WrittenSegment& s : writer.segments()) {
      const schema::Digest digest(flatbuffers::make_span(s.digest));
      segments.push_back(schema::CreateSegmentDirect(fbb, static_cast<schema::SegmentKind>(s.kind),
                                                     s.name.c_str(), s.offset, s.length, &digest));
    }
    std::vector<Table<schema::Tensor>> tensors;
    for (const WrittenTensor& t : writer.tensors()) {
      const schema::Digest digest(flatbuffers::make_span(t.digest));
      std::optional<schema::Digest> source;
      if (t.source) source.emplace(flatbuffers::make_span(*t.source));
      tensors.push_back(schema::CreateTensorDirect(fbb, t.name.c_str(), &t.shape,
                                                   static_cast<schema::Encoding>(t.encoding), t.segment,
                                                   t.offset, t.length, &digest, source ? &*source : nullptr));
    }
    std::vector<Table<schema::Program>> programs;
    size_t number = 0;
    for (auto op : module.getOps<schedule::ProgramOp>()) programs.push_back(program(op, codeSegments[number++]));
    fbb.Finish(schema::CreateArtifactDirect(fbb, "fathom " FATHOM_VERSION, model(), &segments, &tensors,
                                            &programs, tokenizer, notes),
               schema::ArtifactIdentifier());
  }
  absl::Span<const uint8_t> bytes() const { return {fbb.GetBufferPointer(), fbb.GetSize()}; }

 private:
  // What a value of an entry point is in the artifact. `offset` and `length`: the part of a tensor.
  struct Place {
    int32_t tensor = -1, buffer = -1, layer = -1;
    uint64_t offset = 0, length = 0;
  };

  Table<schema::Model> model() {
    auto attr = module->getAttrOfType<DictionaryAttr>("graph.model");
    auto text = [&](StringRef key) { return cast<StringAttr>(attr.get(key)).str(); };
    auto number = [&](StringRef key) { return cast<IntegerAttr>(attr.get(key)).getInt(); };
    return schema::CreateModelDirect(fbb, text("name").c_str(), text("architecture").c_str(),
                                     number("parameters"), number("context_length"), number("vocab_size"),
                                     number("hidden_size"), number("layers"), options.quantization.c_str());
  }

  Table<schema::Program> program(schedule::ProgramOp op, uint32_t code) {
    std::vector<Table<schema::Kernel>> kernels;
    llvm::StringMap<uint32_t> kernelIndex;
    std::vector<Table<schema::EntryPoint>> entries;
    for (Operation& inner : op.getBody().front()) {
      if (auto kernel = dyn_cast<schedule::KernelOp>(inner)) {
        kernelIndex[kernel.getSymName()] = kernels.size();
        kernels.push_back(schema::CreateKernelDirect(fbb, kernel.getSymName().str().c_str(), kernel.getBindings(),
                                                     kernel.getPush(), kernel.getFamily().str().c_str(),
                                                     textOf(kernel.getConfig()).c_str()));
      } else if (auto entry = dyn_cast<schedule::EntryOp>(inner)) {
        entries.push_back(entryPoint(entry, kernelIndex));
      }
    }
    std::vector<Table<flatbuffers::String>> features;
    for (Attribute feature : op.getFeatures())
      features.push_back(fbb.CreateString(cast<StringAttr>(feature).str()));
    auto kv = [&](StringRef key) { return cast<IntegerAttr>(op.getKvAttr().get(key)).getInt(); };
    auto profile = op->getAttrOfType<DictionaryAttr>(kProfileAttr);
    return schema::CreateProgramDirect(
        fbb, op.getTarget().str().c_str(), op.getDriver().str().c_str(), &features, code, &kernels, &entries,
        schema::CreateKvCache(fbb, kv("page_tokens"), kv("layers"), kv("row_bytes"), kv("page_bytes")),
        profile ? textOf(profile).c_str() : nullptr);
  }

  Table<schema::EntryPoint> entryPoint(schedule::EntryOp op, const llvm::StringMap<uint32_t>& kernelIndex) {
    ExprPool pool;
    std::vector<Table<schema::Buffer>> buffers;
    std::vector<Table<schema::Command>> commands;
    llvm::DenseMap<Value, Place> place;
    for (Operation& inner : op.getBody().front()) {
      if (auto buffer = dyn_cast<schedule::BufferOp>(inner)) {
        place[buffer.getResult()] = {.buffer = static_cast<int32_t>(buffers.size())};
        const auto offset = buffer.getOffset();
        buffers.push_back(schema::CreateBufferDirect(
            fbb, buffer.getName().str().c_str(), static_cast<schema::BufferKind>(buffer.getKind()),
            pool.add(buffer.getSize()), offset ? pool.add(*offset) : pool.add(zero())));
      } else if (auto use = dyn_cast<schedule::UseWeightOp>(inner)) {
        const size_t tensor = tensorIndex.at(use.getWeight().str());
        Place& part = place[use.getResult()] = {.tensor = static_cast<int32_t>(tensor)};
        part.offset = use.getOffset().value_or(0);
        part.length = use.getLength().value_or(writer.tensors()[tensor].length);
      } else if (auto use = dyn_cast<schedule::UseCacheOp>(inner)) {
        place[use.getResult()] = {.buffer = place.at(use.getCache()).buffer,
                                  .layer = static_cast<int32_t>(use.getLayer())};
      } else if (auto dispatch = dyn_cast<schedule::DispatchOp>(inner)) {
        commands.push_back(command(dispatch, kernelIndex.lookup(dispatch.getKernel()), place, pool));
      } else if (isa<schedule::BarrierOp>(inner)) {
        const std::vector<uint32_t> none;
        const std::vector<Table<schema::Binding>> noBindings;
        commands.push_back(schema::CreateCommandDirect(fbb, schema::CommandKind::barrier, 0, &none,
                                                       &noBindings, &none, nullptr));
      }
    }
    static_assert(TargetProfile::kMaxFewTokens == kMaxFewTokens,
                  "what profiles and artifacts may say");
    auto number = [&](StringRef name) {
      auto attr = op->getAttrOfType<IntegerAttr>(name);
      return attr ? attr.getInt() : 0;
    };
    const uint32_t arena = op.getArena() ? pool.add(*op.getArena()) : pool.add(zero());
    return schema::CreateEntryPointDirect(fbb, op.getSymName().str().c_str(), &pool.nodes(), &buffers,
                                          &commands, arena, number(kFewTokensAttr), number(kFewContextAttr));
  }

  Table<schema::Command> command(schedule::DispatchOp op, uint32_t kernel,
                                 const llvm::DenseMap<Value, Place>& place, ExprPool& pool) {
    std::vector<uint32_t> grid, push;
    for (Attribute size : op.getGrid()) grid.push_back(pool.add(cast<AffineMapAttr>(size).getValue()));
    for (Attribute value : op.getPush()) push.push_back(pool.add(cast<AffineMapAttr>(value).getValue()));
    std::vector<Table<schema::Binding>> bindings;
    for (auto [value, offset] : llvm::zip(op.getBuffers(), op.getOffsets())) {
      const Place part = place.at(value);
      const uint64_t length = part.tensor < 0 ? 0 : part.length - offset;
      bindings.push_back(
          schema::CreateBinding(fbb, part.tensor, part.buffer, part.offset + offset, length, part.layer));
    }
    return schema::CreateCommandDirect(fbb, schema::CommandKind::dispatch, kernel, &grid, &bindings, &push,
                                       op.getLabel().str().c_str());
  }

  AffineMap zero() { return AffineMap::getConstantMap(0, module.getContext()); }

  ModuleOp module;
  const ArtifactWriter& writer;
  const EmitOptions& options;
  flatbuffers::FlatBufferBuilder fbb;
  std::unordered_map<std::string, size_t> tensorIndex;
};

absl::Span<const uint8_t> asBytes(const void* data, size_t size) {
  return {static_cast<const uint8_t*>(data), size};
}

}  // namespace

absl::Status emitArtifact(ModuleOp module, const Checkpoint& weights, const EmitOptions& options) {
  const Caching caching = ChooseCaching(options.write, weightBytes(module));
  FATHOM_ASSIGN_OR_RETURN(auto writer, ArtifactWriter::Create(options.output, caching));
  auto kind = [](schema::SegmentKind k) { return static_cast<uint8_t>(k); };
  std::vector<uint32_t> codeSegments;
  size_t number = 0;
  for (auto program : module.getOps<schedule::ProgramOp>()) {
    codeSegments.push_back(writer->segments().size());
    const std::vector<char>& code = options.code[number++];
    FATHOM_RETURN_IF_ERROR(writer->AddSegment(kind(schema::SegmentKind::code), program.getTarget().str(),
                                              asBytes(code.data(), code.size())));
  }
  int32_t tokenizer = -1;
  if (!options.tokenizer.empty()) {
    tokenizer = writer->segments().size();
    FATHOM_RETURN_IF_ERROR(
        writer->AddSegment(kind(schema::SegmentKind::tokenizer), "tokenizer", options.tokenizer));
  }
  const int32_t notes = writer->segments().size();
  FATHOM_RETURN_IF_ERROR(writer->AddSegment(kind(schema::SegmentKind::notes), "notes",
                                            asBytes(options.notes.data(), options.notes.size())));
  FATHOM_RETURN_IF_ERROR(writer->BeginTensorSegment(kind(schema::SegmentKind::weights), "weights"));
  FATHOM_RETURN_IF_ERROR(emitWeights(module, weights, options, *writer));
  writer->EndTensorSegment();
  HeaderBuilder header(module, *writer, options);
  header.build(codeSegments, tokenizer, notes);
  return writer->Finish(header.bytes());
}

absl::StatusOr<std::vector<uint8_t>> emitHeader(ModuleOp module, const EmitOptions& options) {
  auto writer = ArtifactWriter::Measure();
  auto kind = [](schema::SegmentKind k) { return static_cast<uint8_t>(k); };
  std::vector<uint32_t> codeSegments;
  for (auto program : module.getOps<schedule::ProgramOp>()) {
    codeSegments.push_back(writer->segments().size());
    FATHOM_RETURN_IF_ERROR(writer->AddSegment(kind(schema::SegmentKind::code), program.getTarget().str(), {}));
  }
  const int32_t notes = writer->segments().size();
  FATHOM_RETURN_IF_ERROR(writer->AddSegment(kind(schema::SegmentKind::notes), "notes",
                                            asBytes(options.notes.data(), options.notes.size())));
  FATHOM_RETURN_IF_ERROR(writer->BeginTensorSegment(kind(schema::SegmentKind::weights), "weights"));
  FATHOM_RETURN_IF_ERROR(measureWeights(module, *writer));
  writer->EndTensorSegment();
  HeaderBuilder header(module, *writer, options);
  header.build(codeSegments, /*tokenizer=*/-1, notes);
  return writer->HeaderOnly(header.bytes());
}

}  // namespace fathom::emit
