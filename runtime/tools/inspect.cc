// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom inspect: what an artifact holds, for people and as JSON.
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "runtime/artifact/artifact.h"
#include "runtime/base/status.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"

namespace fathom::tools {
namespace {

using Json = nlohmann::ordered_json;

// One line per expression of a pool, with T, B, P, R.
class ExpressionText {
 public:
  explicit ExpressionText(const schema::EntryPoint& entry) {
    for (const schema::ExprNode* node : *entry.exprs()) text_.push_back(Format(*node));
  }
  const std::string& operator[](uint32_t index) const { return text_[index]; }

 private:
  std::string Format(const schema::ExprNode& node) const {
    static constexpr const char* kSymbolNames[] = {"T", "B", "P", "R"};
    if (node.op() == schema::ExprOp::constant) return absl::StrCat(node.value());
    if (node.op() == schema::ExprOp::symbol) return kSymbolNames[node.a()];
    const std::string &a = text_[node.a()], &b = text_[node.b()];
    // Shared operands make text grow exponentially; nobody reads beyond a few terms.
    if (a.size() + b.size() > 512) return "...";
    switch (node.op()) {
      case schema::ExprOp::add:
        return absl::StrCat("(", a, " + ", b, ")");
      case schema::ExprOp::mul:
        return absl::StrCat(a, " * ", b);
      default:
        return absl::StrCat(schema::EnumNameExprOp(node.op()), "(", a, ", ", b, ")");
    }
  }
  std::vector<std::string> text_;
};

std::string ShapeText(const schema::Tensor& tensor) {
  return absl::StrJoin(tensor.shape()->begin(), tensor.shape()->end(), " x ");
}

Json TensorJson(const schema::Tensor& tensor) {
  return {{"name", tensor.name()->str()},
          {"shape", std::vector<uint64_t>(tensor.shape()->begin(), tensor.shape()->end())},
          {"encoding", schema::EnumNameEncoding(tensor.encoding())},
          {"segment", tensor.segment()},
          {"offset", tensor.offset()},
          {"bytes", tensor.length()}};
}

Json EntryJson(const schema::Program& program, const schema::EntryPoint& entry) {
  const ExpressionText text(entry);
  Json json = {{"name", entry.name()->str()},
               {"arena_bytes", text[entry.arena()]},
               {"buffers", Json::array()},
               {"commands", Json::array()}};
  for (const schema::Buffer* buffer : *entry.buffers()) {
    Json item = {{"name", buffer->name()->str()},
                 {"kind", schema::EnumNameBufferKind(buffer->kind())},
                 {"bytes", text[buffer->size()]}};
    if (buffer->kind() == schema::BufferKind::transient) item["offset"] = text[buffer->offset()];
    json["buffers"].push_back(std::move(item));
  }
  for (const schema::Command* command : *entry.commands()) {
    if (command->kind() == schema::CommandKind::barrier) {
      json["commands"].push_back("barrier");
      continue;
    }
    Json grid = Json::array(), push = Json::array(), bindings = Json::array();
    for (uint32_t index : *command->grid()) grid.push_back(text[index]);
    for (uint32_t index : *command->push()) push.push_back(text[index]);
    for (const schema::Binding* binding : *command->bindings()) {
      const bool tensor = binding->tensor() >= 0;
      bindings.push_back({{tensor ? "tensor" : "buffer",
                           tensor ? binding->tensor() : binding->buffer()},
                          {"offset", binding->offset()}});
      if (tensor) bindings.back()["bytes"] = binding->length();
      if (binding->layer() >= 0) bindings.back()["layer"] = binding->layer();
    }
    json["commands"].push_back(
        {{"label", command->label() ? command->label()->str() : ""},
         {"kernel", program.kernels()->Get(command->kernel())->name()->str()},
         {"grid", std::move(grid)},
         {"push", std::move(push)},
         {"bindings", std::move(bindings)}});
  }
  return json;
}

Json ProgramJson(const schema::Program& program) {
  Json json = {{"target", program.target()->str()},
               {"driver", program.driver()->str()},
               {"features", Json::array()},
               {"code_segment", program.code()},
               {"kv_cache",
                {{"page_tokens", program.kv()->page_tokens()},
                 {"layers", program.kv()->layers()},
                 {"row_bytes", program.kv()->row_bytes()},
                 {"page_bytes", program.kv()->page_bytes()}}},
               {"kernels", Json::array()},
               {"entries", Json::array()}};
  if (program.features() != nullptr) {
    for (const auto* feature : *program.features()) json["features"].push_back(feature->str());
  }
  for (const schema::Kernel* kernel : *program.kernels()) {
    json["kernels"].push_back({{"name", kernel->name()->str()},
                               {"bindings", kernel->bindings()},
                               {"push", kernel->push()}});
  }
  for (const schema::EntryPoint* entry : *program.entries()) {
    json["entries"].push_back(EntryJson(program, *entry));
  }
  return json;
}

Json ArtifactJson(const Artifact& artifact) {
  const schema::Artifact& header = artifact.header();
  const schema::Model& model = *header.model();
  Json json = {{"file", artifact.path()},
               {"format", absl::StrCat(artifact.prefix().major, ".", artifact.prefix().minor)},
               {"bytes", artifact.prefix().file_length},
               {"header_bytes", artifact.prefix().header_length},
               {"producer", header.producer()->str()},
               {"model",
                {{"name", model.name()->str()},
                 {"architecture", model.architecture()->str()},
                 {"parameters", model.parameters()},
                 {"context_length", model.context_length()},
                 {"vocab_size", model.vocab_size()},
                 {"hidden_size", model.hidden_size()},
                 {"layers", model.layers()},
                 {"quantization", model.quantization()->str()}}},
               {"segments", Json::array()},
               {"tensors", Json::array()},
               {"programs", Json::array()}};
  for (const schema::Segment* segment : *header.segments()) {
    json["segments"].push_back({{"name", segment->name()->str()},
                                {"kind", schema::EnumNameSegmentKind(segment->kind())},
                                {"offset", segment->offset()},
                                {"bytes", segment->length()}});
  }
  for (const schema::Tensor* tensor : *header.tensors())
    json["tensors"].push_back(TensorJson(*tensor));
  for (const schema::Program* program : *header.programs())
    json["programs"].push_back(ProgramJson(*program));
  return json;
}

void PrintTensors(const schema::Artifact& header, bool verbose) {
  struct Total {
    uint64_t tensors = 0, bytes = 0;
  };
  std::map<std::string, Total> totals;
  for (const schema::Tensor* tensor : *header.tensors()) {
    Total& total = totals[schema::EnumNameEncoding(tensor->encoding())];
    ++total.tensors;
    total.bytes += tensor->length();
  }
  std::printf("\ntensors   %u\n", header.tensors()->size());
  for (const auto& [encoding, total] : totals) {
    std::printf("  %-8s %6llu  %s\n", encoding.c_str(),
                static_cast<unsigned long long>(total.tensors), FormatBytes(total.bytes).c_str());
  }
  if (!verbose) return;
  for (const schema::Tensor* tensor : *header.tensors()) {
    std::printf("  %-8s %12s  %-22s %s\n", schema::EnumNameEncoding(tensor->encoding()),
                FormatBytes(tensor->length()).c_str(), ShapeText(*tensor).c_str(),
                tensor->name()->c_str());
  }
}

void PrintProgram(const schema::Program& program, bool verbose) {
  std::printf("\nprogram   %s, driver %s\n", program.target()->c_str(), program.driver()->c_str());
  if (program.features() != nullptr && program.features()->size() != 0) {
    std::printf("  needs  ");
    for (const auto* feature : *program.features()) std::printf(" %s", feature->c_str());
    std::printf("\n");
  }
  const schema::KvCache& kv = *program.kv();
  std::printf("  cache   pages of %u tokens, %s; %s per token\n", kv.page_tokens(),
              FormatBytes(kv.page_bytes()).c_str(),
              FormatBytes(uint64_t{kv.layers()} * kv.row_bytes()).c_str());
  std::printf("  kernels %u\n", program.kernels()->size());
  if (verbose) {
    for (const schema::Kernel* kernel : *program.kernels()) {
      std::printf("    %s (%u bindings, %u push)\n", kernel->name()->c_str(), kernel->bindings(),
                  kernel->push());
    }
  }
  for (const schema::EntryPoint* entry : *program.entries()) {
    const ExpressionText text(*entry);
    uint32_t dispatches = 0;
    for (const schema::Command* command : *entry->commands()) {
      dispatches += command->kind() == schema::CommandKind::dispatch;
    }
    std::printf("  entry   %s: %u dispatches, %u barriers, arena %s bytes\n",
                entry->name()->c_str(), dispatches, entry->commands()->size() - dispatches,
                text[entry->arena()].c_str());
    if (!verbose) continue;
    for (const schema::Command* command : *entry->commands()) {
      if (command->kind() == schema::CommandKind::barrier) {
        std::printf("    --\n");
        continue;
      }
      std::printf("    %-44s %s [%s, %s, %s]\n", command->label() ? command->label()->c_str() : "",
                  program.kernels()->Get(command->kernel())->name()->c_str(),
                  text[command->grid()->Get(0)].c_str(), text[command->grid()->Get(1)].c_str(),
                  text[command->grid()->Get(2)].c_str());
    }
  }
}

void PrintText(const Artifact& artifact, bool verbose) {
  const schema::Artifact& header = artifact.header();
  const schema::Model& model = *header.model();
  std::printf("%s: format %u.%u, %s, made by %s\n\n", artifact.path().c_str(),
              artifact.prefix().major, artifact.prefix().minor,
              FormatBytes(artifact.prefix().file_length).c_str(), header.producer()->c_str());
  std::printf("model     %s (%s), %s parameters, %s\n", model.name()->c_str(),
              model.architecture()->c_str(), FormatCount(model.parameters()).c_str(),
              model.quantization()->c_str());
  std::printf("          %u layers, hidden %u, vocabulary %u, context %llu\n\n", model.layers(),
              model.hidden_size(), model.vocab_size(),
              static_cast<unsigned long long>(model.context_length()));
  std::printf("segments\n");
  for (const schema::Segment* segment : *header.segments()) {
    std::printf("  %-10s %12s  at %-14llu %s\n", schema::EnumNameSegmentKind(segment->kind()),
                FormatBytes(segment->length()).c_str(),
                static_cast<unsigned long long>(segment->offset()), segment->name()->c_str());
  }
  std::printf("  %-10s %12s  at %llu\n", "header",
              FormatBytes(artifact.prefix().header_length).c_str(),
              static_cast<unsigned long long>(artifact.prefix().header_offset));
  PrintTensors(header, verbose);
  for (const schema::Program* program : *header.programs()) PrintProgram(*program, verbose);
}

}  // namespace

absl::Status RunInspect(const InspectFlags& flags) {
  FATHOM_ASSIGN_OR_RETURN(const auto artifact, Artifact::Open(flags.model));
  if (flags.json) {
    std::printf(
        "%s\n",
        ArtifactJson(*artifact).dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    PrintText(*artifact, flags.verbose);
  }
  return absl::OkStatus();
}

}  // namespace fathom::tools
