// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Makes artifacts for tests: honest ones, and ones that lie wherever a test wants.
#ifndef FATHOM_TESTS_UNIT_RUNTIME_ARTIFACT_ARTIFACT_BUILDER_H_
#define FATHOM_TESTS_UNIT_RUNTIME_ARTIFACT_ARTIFACT_BUILDER_H_

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/artifact/digest.h"
#include "runtime/base/checked.h"
#include "runtime/schema/artifact_generated.h"
#include "runtime/schema/prefix.h"

namespace fathom::testing {

using Bytes = std::vector<uint8_t>;

// A file that goes away with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const Bytes& bytes) : path_(NewPath()) {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  static std::string NewPath() {
    static int number = 0;
    const char* folder = std::getenv("TMPDIR");
    return std::string(folder != nullptr ? folder : "/tmp") + "/fathom-test-" +
           std::to_string(::getpid()) + "-" + std::to_string(number++) + ".fathom";
  }
  const std::string path_;
};

// The pool of expressions of one entry point; each call gives the new node's number.
class ExprBuilder {
 public:
  uint32_t Constant(int64_t value) { return Add(schema::ExprOp::constant, 0, 0, value); }
  uint32_t Symbol(uint32_t symbol) { return Add(schema::ExprOp::symbol, symbol, 0, 0); }
  uint32_t Op(schema::ExprOp op, uint32_t a, uint32_t b) { return Add(op, a, b, 0); }
  uint32_t Mul(uint32_t a, int64_t b) { return Op(schema::ExprOp::mul, a, Constant(b)); }
  const std::vector<schema::ExprNode>& nodes() const { return nodes_; }

 private:
  uint32_t Add(schema::ExprOp op, uint32_t a, uint32_t b, int64_t value) {
    nodes_.emplace_back(op, a, b, value);
    return static_cast<uint32_t>(nodes_.size() - 1);
  }
  std::vector<schema::ExprNode> nodes_;
};

inline std::unique_ptr<schema::Digest> MakeDigest(const DigestBytes& bytes) {
  auto digest = std::make_unique<schema::Digest>();
  std::memcpy(digest.get(), bytes.data(), bytes.size());
  return digest;
}

class ArtifactBuilder {
 public:
  schema::ArtifactT header;
  // Called on the finished header, before it is packed: where a test lies.
  std::function<void(schema::ArtifactT&)> lie;
  // Called on the prefix after everything else.
  std::function<void(schema::ArtifactPrefix&)> lie_in_prefix;

  ArtifactBuilder() {
    header.producer = "test";
    header.model = std::make_unique<schema::ModelT>();
    header.model->name = "test model";
    header.model->architecture = "test";
    header.model->quantization = "f32";
    header.model->context_length = 1024;
    header.model->vocab_size = 32;
    header.model->hidden_size = 16;
    header.model->layers = 1;
  }

  uint32_t AddSegment(schema::SegmentKind kind, std::string name, Bytes bytes) {
    auto segment = std::make_unique<schema::SegmentT>();
    segment->kind = kind;
    segment->name = std::move(name);
    header.segments.push_back(std::move(segment));
    segments_.push_back(std::move(bytes));
    return static_cast<uint32_t>(segments_.size() - 1);
  }

  // Appends a tensor to weight segment `segment`.
  uint32_t AddTensor(uint32_t segment, std::string name, std::vector<uint64_t> shape,
                     schema::Encoding encoding, const Bytes& bytes) {
    Bytes& data = segments_[segment];
    data.resize(RoundUp(data.size(), schema::kTensorAlignment));
    auto tensor = std::make_unique<schema::TensorT>();
    tensor->name = std::move(name);
    tensor->shape = std::move(shape);
    tensor->encoding = encoding;
    tensor->segment = segment;
    tensor->offset = data.size();
    tensor->length = bytes.size();
    tensor->digest = MakeDigest(Blake2b(bytes));
    data.insert(data.end(), bytes.begin(), bytes.end());
    header.tensors.push_back(std::move(tensor));
    return static_cast<uint32_t>(header.tensors.size() - 1);
  }

  // The whole file.
  Bytes Build() {
    Bytes file(schema::kPrefixBytes);
    for (size_t i = 0; i < segments_.size(); ++i) {
      file.resize(RoundUp(file.size(), schema::kSegmentAlignment));
      schema::SegmentT& segment = *header.segments[i];
      segment.offset = file.size();
      segment.length = segments_[i].size();
      segment.digest = MakeDigest(SegmentDigest(static_cast<uint32_t>(i)));
      file.insert(file.end(), segments_[i].begin(), segments_[i].end());
    }
    if (lie) lie(header);
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(schema::CreateArtifact(builder, &header), schema::ArtifactIdentifier());
    return Finish(std::move(file),
                  {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()});
  }

  // `file` with `header` behind it and a prefix that is true of both.
  Bytes Finish(Bytes file, const Bytes& header_bytes) const {
    file.resize(RoundUp(file.size(), schema::kHeaderAlignment));
    schema::ArtifactPrefix prefix;
    prefix.header_offset = file.size();
    prefix.header_length = header_bytes.size();
    file.insert(file.end(), header_bytes.begin(), header_bytes.end());
    prefix.file_length = file.size();
    const DigestBytes digest = Blake2b(header_bytes);
    std::copy_n(digest.begin(), schema::kPrefixDigestBytes, prefix.header_digest.begin());
    if (lie_in_prefix) lie_in_prefix(prefix);
    const auto bytes = schema::EncodePrefix(prefix);
    std::copy(bytes.begin(), bytes.end(), file.begin());
    return file;
  }

 private:
  DigestBytes SegmentDigest(uint32_t index) const {
    if (header.segments[index]->kind != schema::SegmentKind::weights)
      return Blake2b(segments_[index]);
    DigestStream stream;
    for (const auto& tensor : header.tensors) {
      if (tensor->segment == index) {
        stream.Update({tensor->digest->bytes()->data(), sizeof(DigestBytes)});
      }
    }
    return stream.Finish();
  }

  std::vector<Bytes> segments_;
};

inline std::unique_ptr<schema::BufferT> MakeBuffer(std::string name, schema::BufferKind kind,
                                                   uint32_t size, uint32_t offset = 0) {
  auto buffer = std::make_unique<schema::BufferT>();
  buffer->name = std::move(name);
  buffer->kind = kind;
  buffer->size = size;
  buffer->offset = offset;
  return buffer;
}

inline std::unique_ptr<schema::BindingT> TensorBinding(int32_t tensor, uint64_t length) {
  auto binding = std::make_unique<schema::BindingT>();
  binding->tensor = tensor;
  binding->length = length;
  return binding;
}

// `layer`: whose pages, of a cache.
inline std::unique_ptr<schema::BindingT> BufferBinding(int32_t buffer, int32_t layer = -1) {
  auto binding = std::make_unique<schema::BindingT>();
  binding->buffer = buffer;
  binding->layer = layer;
  return binding;
}

}  // namespace fathom::testing

#endif  // FATHOM_TESTS_UNIT_RUNTIME_ARTIFACT_ARTIFACT_BUILDER_H_
