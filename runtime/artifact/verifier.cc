// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The semantic verifier. One class walks the header; each method checks one table and names the
// field.
#include "runtime/artifact/verifier.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "runtime/artifact/encoding.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

using flatbuffers::Offset;
using flatbuffers::Vector;

// [offset, offset + length) of something, for overlap checks.
struct Range {
  uint64_t offset;
  uint64_t length;
  std::string what;
};

// True for UTF-8 without control characters: what may be printed in a terminal.
bool IsPrintable(const flatbuffers::String& text) {
  for (size_t i = 0; i < text.size();) {
    const uint8_t lead = static_cast<uint8_t>(text.Get(i));
    if (lead < 0x20 || lead == 0x7f) return false;
    const int extra = lead < 0x80                   ? 0
                      : lead >= 0xc2 && lead < 0xe0 ? 1
                      : (lead & 0xf0) == 0xe0       ? 2
                      : lead >= 0xf0 && lead < 0xf5 ? 3
                                                    : -1;
    if (extra < 0 || i + extra >= text.size()) return false;
    uint32_t code = extra == 0 ? lead : lead & (0x3f >> extra);
    for (int k = 1; k <= extra; ++k) {
      const uint8_t byte = static_cast<uint8_t>(text.Get(i + k));
      if ((byte & 0xc0) != 0x80) return false;
      code = code << 6 | (byte & 0x3f);
    }
    if ((extra == 2 && code < 0x800) || (extra == 3 && code < 0x10000) || code > 0x10ffff ||
        (code >= 0xd800 && code < 0xe000)) {
      return false;
    }
    i += 1 + extra;
  }
  return true;
}

class HeaderVerifier {
 public:
  HeaderVerifier(const std::string& path, const schema::ArtifactPrefix& prefix,
                 const schema::Artifact& header)
      : path_(path), prefix_(prefix), header_(header) {}

  absl::Status Verify() {
    FATHOM_RETURN_IF_ERROR(CheckModel());
    FATHOM_RETURN_IF_ERROR(CheckSegments());
    FATHOM_RETURN_IF_ERROR(CheckTensors());
    FATHOM_RETURN_IF_ERROR(
        CheckSegmentIndex("tokenizer", header_.tokenizer(), schema::SegmentKind::tokenizer));
    FATHOM_RETURN_IF_ERROR(CheckSegmentIndex("notes", header_.notes(), schema::SegmentKind::notes));
    std::unordered_set<std::string_view> targets;
    for (uint32_t i = 0; i < header_.programs()->size(); ++i) {
      const std::string where = absl::StrCat("programs[", i, "]");
      const schema::Program& program = *header_.programs()->Get(i);
      FATHOM_RETURN_IF_ERROR(CheckUnique(where + ".target", program.target(), &targets));
      FATHOM_RETURN_IF_ERROR(CheckProgram(where, program));
    }
    return absl::OkStatus();
  }

 private:
  template <typename... Args>
  absl::Status Error(const std::string& where, const Args&... args) const {
    return InputError(absl::StrCat(path_, ": ", where), args...);
  }

  absl::Status CheckName(const std::string& where, const flatbuffers::String* name) const {
    if (name->size() == 0 || name->size() > kMaxNameBytes) {
      return Error(where, "length of the name", absl::StrCat("1 to ", kMaxNameBytes, " bytes"),
                   name->size());
    }
    if (!IsPrintable(*name)) return Error(where, "the name is not printable UTF-8");
    return absl::OkStatus();
  }

  // JSON for tools that explain a program; nothing that runs one reads it, so only what could hurt
  // a reader is refused here.
  absl::Status CheckDescription(const std::string& where, const flatbuffers::String* text) const {
    if (text == nullptr) return absl::OkStatus();
    if (text->size() > kMaxDescriptionBytes) {
      return Error(where, "length", absl::StrCat("at most ", kMaxDescriptionBytes, " bytes"),
                   text->size());
    }
    if (!IsPrintable(*text)) return Error(where, "the text is not printable UTF-8");
    return absl::OkStatus();
  }

  absl::Status CheckUnique(const std::string& where, const flatbuffers::String* name,
                           std::unordered_set<std::string_view>* seen) const {
    FATHOM_RETURN_IF_ERROR(CheckName(where, name));
    if (!seen->insert(name->string_view()).second) {
      return Error(where, absl::StrCat("\"", name->str(), "\" is there twice"));
    }
    return absl::OkStatus();
  }

  absl::Status CheckIndex(const std::string& where, uint64_t index, uint64_t count) const {
    if (index < count) return absl::OkStatus();
    return Error(where, "index out of range", absl::StrCat("below ", count), index);
  }

  absl::Status CheckOverlap(std::vector<Range> ranges) const {
    std::sort(ranges.begin(), ranges.end(),
              [](const Range& a, const Range& b) { return a.offset < b.offset; });
    const Range* last = nullptr;
    for (const Range& range : ranges) {
      if (range.length == 0) continue;
      if (last != nullptr && range.offset - last->offset < last->length) {
        return Error(range.what, absl::StrCat("overlaps ", last->what),
                     absl::StrCat("an offset of at least ", last->offset + last->length),
                     range.offset);
      }
      last = &range;
    }
    return absl::OkStatus();
  }

  absl::Status CheckModel() const {
    const schema::Model& model = *header_.model();
    FATHOM_RETURN_IF_ERROR(CheckName("producer", header_.producer()));
    FATHOM_RETURN_IF_ERROR(CheckName("model.name", model.name()));
    FATHOM_RETURN_IF_ERROR(CheckName("model.architecture", model.architecture()));
    FATHOM_RETURN_IF_ERROR(CheckName("model.quantization", model.quantization()));
    if (model.vocab_size() == 0 || model.vocab_size() > INT32_MAX) {
      return Error("model.vocab_size", "out of range", "1 to 2^31 - 1", model.vocab_size());
    }
    if (model.context_length() == 0 || model.context_length() > INT32_MAX) {
      return Error("model.context_length", "out of range", "1 to 2^31 - 1", model.context_length());
    }
    return absl::OkStatus();
  }

  absl::Status CheckSegments() const {
    std::vector<Range> ranges = {
        {0, schema::kPrefixBytes, "prefix"},
        {prefix_.header_offset, prefix_.header_length, "header"},
    };
    std::unordered_set<std::string_view> names;
    for (uint32_t i = 0; i < header_.segments()->size(); ++i) {
      const std::string where = absl::StrCat("segments[", i, "]");
      const schema::Segment& segment = *header_.segments()->Get(i);
      FATHOM_RETURN_IF_ERROR(CheckUnique(where + ".name", segment.name(), &names));
      if (segment.kind() > schema::SegmentKind::MAX) {
        return Error(where + ".kind", "unknown kind", "at most 3",
                     static_cast<int>(segment.kind()));
      }
      if (segment.offset() % schema::kSegmentAlignment != 0) {
        return Error(where + ".offset", "misaligned", "a multiple of 4096", segment.offset());
      }
      if (!RangeFits(segment.offset(), segment.length(), prefix_.file_length)) {
        return Error(where, "the segment lies outside the file",
                     absl::StrCat("an end of at most ", prefix_.file_length),
                     absl::StrCat("offset ", segment.offset(), " + length ", segment.length()));
      }
      ranges.push_back({segment.offset(), segment.length(), where});
    }
    return CheckOverlap(std::move(ranges));
  }

  absl::Status CheckSegmentIndex(const std::string& where, int32_t index,
                                 schema::SegmentKind kind) const {
    if (index == -1) return absl::OkStatus();
    if (index < 0) return Error(where, "index out of range", "-1 or a segment", index);
    FATHOM_RETURN_IF_ERROR(CheckIndex(where, index, header_.segments()->size()));
    const schema::SegmentKind found = header_.segments()->Get(index)->kind();
    if (found != kind) {
      return Error(where, "segment of another kind", schema::EnumNameSegmentKind(kind),
                   schema::EnumNameSegmentKind(found));
    }
    return absl::OkStatus();
  }

  absl::Status CheckTensors() const {
    std::vector<std::vector<Range>> ranges(header_.segments()->size());
    std::unordered_set<std::string_view> names;
    for (uint32_t i = 0; i < header_.tensors()->size(); ++i) {
      const schema::Tensor& tensor = *header_.tensors()->Get(i);
      FATHOM_RETURN_IF_ERROR(
          CheckUnique(absl::StrCat("tensors[", i, "].name"), tensor.name(), &names));
      const std::string where = absl::StrCat("tensors[", i, "] ", tensor.name()->str());
      FATHOM_RETURN_IF_ERROR(CheckTensor(where, tensor));
      ranges[tensor.segment()].push_back({tensor.offset(), tensor.length(), where});
    }
    for (std::vector<Range>& segment : ranges) {
      FATHOM_RETURN_IF_ERROR(CheckOverlap(std::move(segment)));
    }
    return absl::OkStatus();
  }

  absl::Status CheckTensor(const std::string& where, const schema::Tensor& tensor) const {
    std::vector<uint64_t> shape;
    for (uint32_t d = 0; d < std::min(tensor.shape()->size(), 9u); ++d) {
      shape.push_back(tensor.shape()->Get(d));
    }
    const absl::StatusOr<uint64_t> bytes = EncodedBytes(tensor.encoding(), shape);
    if (!bytes.ok()) return Error(where, std::string(bytes.status().message()));
    if (tensor.length() != *bytes) {
      return Error(where, "length does not follow from shape and encoding", *bytes,
                   tensor.length());
    }
    FATHOM_RETURN_IF_ERROR(
        CheckIndex(where + ".segment", tensor.segment(), header_.segments()->size()));
    const schema::Segment& segment = *header_.segments()->Get(tensor.segment());
    if (segment.kind() != schema::SegmentKind::weights) {
      return Error(where + ".segment", "segment of another kind", "weights",
                   schema::EnumNameSegmentKind(segment.kind()));
    }
    if (tensor.offset() % schema::kTensorAlignment != 0) {
      return Error(where + ".offset", "misaligned", "a multiple of 256", tensor.offset());
    }
    if (!RangeFits(tensor.offset(), tensor.length(), segment.length())) {
      return Error(where, "the tensor lies outside its segment",
                   absl::StrCat("an end of at most ", segment.length()),
                   absl::StrCat("offset ", tensor.offset(), " + length ", tensor.length()));
    }
    return absl::OkStatus();
  }

  absl::Status CheckProgram(const std::string& where, const schema::Program& program) const {
    FATHOM_RETURN_IF_ERROR(CheckName(where + ".driver", program.driver()));
    if (program.features() != nullptr) {
      if (program.features()->size() > kMaxFeatures) {
        return Error(where + ".features", "too many", absl::StrCat("at most ", kMaxFeatures),
                     program.features()->size());
      }
      for (const auto* feature : *program.features()) {
        FATHOM_RETURN_IF_ERROR(CheckName(where + ".features", feature));
      }
    }
    if (program.code() > INT32_MAX) {
      return Error(where + ".code", "index out of range", "a segment", program.code());
    }
    FATHOM_RETURN_IF_ERROR(CheckSegmentIndex(where + ".code", static_cast<int32_t>(program.code()),
                                             schema::SegmentKind::code));
    std::unordered_set<std::string_view> kernels;
    for (uint32_t i = 0; i < program.kernels()->size(); ++i) {
      const std::string at = absl::StrCat(where, ".kernels[", i, "]");
      const schema::Kernel& kernel = *program.kernels()->Get(i);
      FATHOM_RETURN_IF_ERROR(CheckUnique(at + ".name", kernel.name(), &kernels));
      if (kernel.family() != nullptr) {
        FATHOM_RETURN_IF_ERROR(CheckName(at + ".family", kernel.family()));
      }
      FATHOM_RETURN_IF_ERROR(CheckDescription(at + ".config", kernel.config()));
      for (uint32_t count : {kernel.bindings(), kernel.push()}) {
        if (count > kMaxKernelArguments) {
          return Error(at, "number of arguments", absl::StrCat("at most ", kMaxKernelArguments),
                       count);
        }
      }
    }
    FATHOM_RETURN_IF_ERROR(CheckKvCache(where + ".kv", *program.kv()));
    FATHOM_RETURN_IF_ERROR(CheckDescription(where + ".profile", program.profile()));
    std::unordered_set<std::string_view> entries;
    for (uint32_t i = 0; i < program.entries()->size(); ++i) {
      const std::string at = absl::StrCat(where, ".entries[", i, "]");
      const schema::EntryPoint& entry = *program.entries()->Get(i);
      FATHOM_RETURN_IF_ERROR(CheckUnique(at + ".name", entry.name(), &entries));
      FATHOM_RETURN_IF_ERROR(CheckEntry(at, program, entry));
    }
    return absl::OkStatus();
  }

  absl::Status CheckKvCache(const std::string& where, const schema::KvCache& kv) const {
    uint64_t bytes = 0;
    if (!CheckedMul<uint64_t>(uint64_t{kv.page_tokens()} * kv.layers(), kv.row_bytes(), &bytes) ||
        bytes != kv.page_bytes()) {
      return Error(where + ".page_bytes", "not page_tokens x layers x row_bytes",
                   absl::StrCat(kv.page_tokens(), " x ", kv.layers(), " x ", kv.row_bytes()),
                   kv.page_bytes());
    }
    if (bytes == 0 && kv.page_tokens() != 0) {
      return Error(where, "out of range", "at least 1 layer and 1 byte per row",
                   absl::StrCat(kv.layers(), " layers, ", kv.row_bytes(), " bytes"));
    }
    if (kv.page_tokens() == 0 || kv.page_tokens() > 65536) {
      return Error(where + ".page_tokens", "out of range", "1 to 65536", kv.page_tokens());
    }
    if (kv.layers() > kMaxCacheLayers) {
      return Error(where + ".layers", "out of range", absl::StrCat("1 to ", kMaxCacheLayers),
                   kv.layers());
    }
    return absl::OkStatus();
  }

  absl::Status CheckEntry(const std::string& where, const schema::Program& program,
                          const schema::EntryPoint& entry) const {
    FATHOM_RETURN_IF_ERROR(CheckExpressions(where + ".exprs", *entry.exprs()));
    const uint32_t exprs = entry.exprs()->size();
    FATHOM_RETURN_IF_ERROR(CheckIndex(where + ".arena", entry.arena(), exprs));
    if (entry.few_tokens() > kMaxFewTokens) {
      return Error(where + ".few_tokens", "out of range", absl::StrCat("at most ", kMaxFewTokens),
                   entry.few_tokens());
    }
    std::unordered_set<std::string_view> buffers;
    for (uint32_t i = 0; i < entry.buffers()->size(); ++i) {
      const std::string at = absl::StrCat(where, ".buffers[", i, "]");
      const schema::Buffer& buffer = *entry.buffers()->Get(i);
      // The arena's buffers are found by number; their names are for people.
      FATHOM_RETURN_IF_ERROR(buffer.kind() == schema::BufferKind::transient
                                 ? CheckName(at + ".name", buffer.name())
                                 : CheckUnique(at + ".name", buffer.name(), &buffers));
      if (buffer.kind() > schema::BufferKind::MAX) {
        return Error(at + ".kind", "unknown kind", "at most 3", static_cast<int>(buffer.kind()));
      }
      FATHOM_RETURN_IF_ERROR(CheckIndex(at + ".size", buffer.size(), exprs));
      if (buffer.kind() == schema::BufferKind::transient) {
        FATHOM_RETURN_IF_ERROR(CheckIndex(at + ".offset", buffer.offset(), exprs));
      }
    }
    for (uint32_t i = 0; i < entry.commands()->size(); ++i) {
      FATHOM_RETURN_IF_ERROR(CheckCommand(absl::StrCat(where, ".commands[", i, "]"), program, entry,
                                          *entry.commands()->Get(i)));
    }
    return absl::OkStatus();
  }

  absl::Status CheckExpressions(const std::string& where,
                                const Vector<const schema::ExprNode*>& nodes) const {
    for (uint32_t i = 0; i < nodes.size(); ++i) {
      const schema::ExprNode& node = *nodes.Get(i);
      if (node.op() > schema::ExprOp::MAX) {
        return Error(absl::StrCat(where, "[", i, "].op"), "unknown operation", "at most 7",
                     static_cast<int>(node.op()));
      }
      if (node.op() == schema::ExprOp::constant) continue;
      if (node.op() == schema::ExprOp::symbol) {
        if (node.a() >= kSymbols) {
          return Error(absl::StrCat(where, "[", i, "].a"), "unknown symbol", "below 4", node.a());
        }
        continue;
      }
      // Operands come before their user, so no pool has a cycle.
      for (uint32_t operand : {node.a(), node.b()}) {
        if (operand >= i) {
          return Error(absl::StrCat(where, "[", i, "]"), "operand is not an earlier node",
                       absl::StrCat("below ", i), operand);
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckCommand(const std::string& where, const schema::Program& program,
                            const schema::EntryPoint& entry, const schema::Command& command) const {
    if (command.kind() == schema::CommandKind::barrier) return absl::OkStatus();
    if (command.kind() != schema::CommandKind::dispatch) {
      return Error(where + ".kind", "unknown kind", "at most 1", static_cast<int>(command.kind()));
    }
    FATHOM_RETURN_IF_ERROR(
        CheckIndex(where + ".kernel", command.kernel(), program.kernels()->size()));
    const schema::Kernel& kernel = *program.kernels()->Get(command.kernel());
    const uint32_t exprs = entry.exprs()->size();
    FATHOM_RETURN_IF_ERROR(CheckExpressionList(where + ".grid", *command.grid(), 3, exprs));
    FATHOM_RETURN_IF_ERROR(
        CheckExpressionList(where + ".push", *command.push(), kernel.push(), exprs));
    if (command.label() != nullptr && command.label()->size() != 0) {
      FATHOM_RETURN_IF_ERROR(CheckName(where + ".label", command.label()));
    }
    if (command.bindings()->size() != kernel.bindings()) {
      return Error(where + ".bindings", absl::StrCat("count for ", kernel.name()->str()),
                   kernel.bindings(), command.bindings()->size());
    }
    for (uint32_t i = 0; i < command.bindings()->size(); ++i) {
      FATHOM_RETURN_IF_ERROR(CheckBinding(absl::StrCat(where, ".bindings[", i, "]"), program, entry,
                                          *command.bindings()->Get(i)));
    }
    return absl::OkStatus();
  }

  absl::Status CheckExpressionList(const std::string& where, const Vector<uint32_t>& list,
                                   uint32_t count, uint32_t exprs) const {
    if (list.size() != count) return Error(where, "count", count, list.size());
    for (uint32_t index : list) FATHOM_RETURN_IF_ERROR(CheckIndex(where, index, exprs));
    return absl::OkStatus();
  }

  absl::Status CheckBinding(const std::string& where, const schema::Program& program,
                            const schema::EntryPoint& entry, const schema::Binding& binding) const {
    if ((binding.tensor() == -1) == (binding.buffer() == -1) || binding.tensor() < -1 ||
        binding.buffer() < -1) {
      return Error(where, "names no one target", "a tensor or a buffer",
                   absl::StrCat("tensor ", binding.tensor(), ", buffer ", binding.buffer()));
    }
    if (binding.buffer() != -1) return CheckBufferBinding(where, program, entry, binding);
    FATHOM_RETURN_IF_ERROR(
        CheckIndex(where + ".tensor", binding.tensor(), header_.tensors()->size()));
    const uint64_t bytes = header_.tensors()->Get(binding.tensor())->length();
    if (binding.offset() >= bytes) {
      return Error(where + ".offset", "outside the tensor", absl::StrCat("below ", bytes),
                   binding.offset());
    }
    if (binding.length() == 0 || !RangeFits(binding.offset(), binding.length(), bytes)) {
      return Error(where + ".length", "outside the tensor",
                   absl::StrCat("1 to ", bytes - binding.offset()), binding.length());
    }
    if (binding.layer() != -1) {
      return Error(where + ".layer", "of a tensor", -1, binding.layer());
    }
    return absl::OkStatus();
  }

  absl::Status CheckBufferBinding(const std::string& where, const schema::Program& program,
                                  const schema::EntryPoint& entry,
                                  const schema::Binding& binding) const {
    FATHOM_RETURN_IF_ERROR(
        CheckIndex(where + ".buffer", binding.buffer(), entry.buffers()->size()));
    if (binding.length() != 0) {
      return Error(where + ".length", "of a buffer, whose size follows from the call", 0,
                   binding.length());
    }
    const bool cache =
        entry.buffers()->Get(binding.buffer())->kind() == schema::BufferKind::kv_cache;
    if (!cache && binding.layer() != -1) {
      return Error(where + ".layer", "of a buffer that is no cache", -1, binding.layer());
    }
    if (!cache) return absl::OkStatus();
    if (binding.layer() < 0 || static_cast<uint32_t>(binding.layer()) >= program.kv()->layers()) {
      return Error(where + ".layer", "out of range",
                   absl::StrCat("0 to ", program.kv()->layers() - 1), binding.layer());
    }
    if (binding.offset() != 0) {
      return Error(where + ".offset", "into a layer of the cache", 0, binding.offset());
    }
    return absl::OkStatus();
  }

  const std::string& path_;
  const schema::ArtifactPrefix& prefix_;
  const schema::Artifact& header_;
};

}  // namespace

absl::Status VerifyHeader(const std::string& path, const schema::ArtifactPrefix& prefix,
                          absl::Span<const uint8_t> bytes) {
  if (bytes.size() < 8 || bytes.size() > kMaxHeaderBytes) {
    return InputError(path + ": header", "length is out of range",
                      absl::StrCat("8 to ", kMaxHeaderBytes, " bytes"), bytes.size());
  }
  flatbuffers::Verifier::Options options;
  options.max_tables = kMaxHeaderTables;
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), options);
  if (!schema::VerifyArtifactBuffer(verifier)) {
    return InputError(path + ": header", "not a valid FlatBuffer of this schema");
  }
  return HeaderVerifier(path, prefix, *schema::GetArtifact(bytes.data())).Verify();
}

}  // namespace fathom
