// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Encoding in bounded memory: a batch of tiles is read, encoded by several threads, hashed and written.
#include "compiler/emit/EmitWeights.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "compiler/emit/ReuseWeights.h"
#include "compiler/quantize/WeightSource.h"
#include "compiler/quantize/tile16.h"
#include "dialects/graph/Graph.h"
#include "dialects/schedule/Schedule.h"
#include "frontend/weights/checkpoint.h"
#include "llvm/ADT/bit.h"
#include "runtime/base/status.h"

using namespace mlir;

namespace fathom::emit {
namespace {

// Encoded bytes of one batch: large enough for its threads' start not to matter.
constexpr int64_t kBatchBytes = 4 << 20;

// One weight: `matrices` matrices of rows x cols. Raw tensors count as one tile per row.
struct Layout {
  WeightEncoding encoding;
  int64_t matrices, rows, cols;

  uint64_t bytes() const { return tiles() * tileBytes(); }
  bool raw() const { return encoding == WeightEncoding::kRawF32 || encoding == WeightEncoding::kRawI32; }
  int64_t tileRows() const { return raw() ? 1 : kTileRows; }
  int64_t tilesPerMatrix() const { return (rows + tileRows() - 1) / tileRows(); }
  int64_t tiles() const { return matrices * tilesPerMatrix(); }
  int64_t tileBytes() const { return raw() ? 4 * cols : TileBytes(encoding, cols); }
};

Layout layoutOf(schedule::WeightOp op) {
  RankedTensorType type = op.getTensorType();
  ArrayRef<int64_t> shape = type.getShape();
  const auto encoding = cast<graph::EncodingAttr>(type.getEncoding()).getKind();
  Layout layout{static_cast<WeightEncoding>(encoding), 1, 1, shape.back()};
  if (shape.size() > 1) layout.rows = shape[shape.size() - 2];
  for (int64_t d = 0; d + 2 < static_cast<int64_t>(shape.size()); ++d) layout.matrices *= shape[d];
  return layout;
}

// The index of the first value that is NaN or infinite, or -1.
int64_t firstNotFinite(ArrayRef<float> values) {
  constexpr size_t kStretch = 4096;
  for (size_t begin = 0; begin < values.size(); begin += kStretch) {
    ArrayRef<float> stretch = values.slice(begin, std::min(kStretch, values.size() - begin));
    uint32_t wrong = 0;  // no early exit, so that the loop is one of vectors
    for (float v : stretch) wrong |= (llvm::bit_cast<uint32_t>(v) & 0x7f800000) == 0x7f800000;
    if (wrong)
      return begin + (llvm::find_if(stretch, [](float v) { return !std::isfinite(v); }) - stretch.begin());
  }
  return -1;
}

// Hashes and writes batches on a thread of its own while the next ones are encoded.
class WriteBehind {
 public:
  explicit WriteBehind(ArtifactWriter& writer) : writer(writer) {}
  ~WriteBehind() { (void)wait(); }

  /// Takes the content of `bytes`, leaves another buffer in its place. Errors of earlier batches.
  absl::Status append(std::vector<uint8_t>& bytes) {
    FATHOM_RETURN_IF_ERROR(wait());
    std::swap(bytes, pending);
    thread = std::thread([this] { status = writer.Append(pending); });
    return absl::OkStatus();
  }
  /// Returns when everything is written.
  absl::Status wait() {
    if (thread.joinable()) thread.join();
    return std::exchange(status, absl::OkStatus());
  }

 private:
  ArtifactWriter& writer;
  std::vector<uint8_t> pending;
  absl::Status status;
  std::thread thread;
};

// Reads tiles [begin, end) and notes what they are; encodes them to `out`, if given. NaN and infinity are refused: they
// would spread into every logit, and the quantised encodings cannot hold them.
absl::Status encodeTiles(quantize::WeightSource& source, const Layout& layout, int64_t begin,
                         int64_t end, ValuesDigest& digest, uint8_t* out, StringRef name) {
  std::vector<float> values(layout.tileRows() * layout.cols);
  for (int64_t tile = begin; tile < end; ++tile) {
    const int64_t matrix = tile / layout.tilesPerMatrix();
    const int64_t first = tile % layout.tilesPerMatrix() * layout.tileRows();
    const int64_t count = std::min(layout.tileRows(), layout.rows - first);
    const int64_t row = matrix * layout.rows + first;
    FATHOM_RETURN_IF_ERROR(source.read(row, row + count, values.data()));
    const ArrayRef<float> read = ArrayRef(values).take_front(count * layout.cols);
    digest.add(tile, read);
    if (!out) continue;
    const int64_t i = firstNotFinite(read);
    if (i >= 0)
      return InputError(absl::StrCat("tensor '", name.str(), "'"),
                        absl::StrCat("element (", row + i / layout.cols, ", ", i % layout.cols, ")"),
                        "a finite value", values[i]);
    if (layout.raw())
      std::memcpy(out, values.data(), layout.tileBytes());
    else
      EncodeTile(layout.encoding, values.data(), count, layout.cols, out);
    out += layout.tileBytes();
  }
  return absl::OkStatus();
}

// Cuts [0, count) for `workers` threads; the first error in order.
absl::Status inParallel(int64_t workers, int64_t count,
                        llvm::function_ref<absl::Status(int64_t worker, int64_t begin, int64_t end)> work) {
  std::vector<absl::Status> statuses(workers);
  auto run = [&](int64_t w) { statuses[w] = work(w, count * w / workers, count * (w + 1) / workers); };
  std::vector<std::thread> threads;
  for (int64_t w = 1; w < workers; ++w) threads.emplace_back(run, w);
  run(0);
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) FATHOM_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

// Opens the tensor of `op`.
absl::Status beginTensor(schedule::WeightOp op, const Layout& layout, ArtifactWriter& writer) {
  const ArrayRef<int64_t> shape = op.getTensorType().getShape();
  return writer.BeginTensor(op.getSymName().str(), std::vector<uint64_t>(shape.begin(), shape.end()),
                            static_cast<uint8_t>(layout.encoding));
}

// Writes weights one by one. `kept` may be null. A weight that is taken over is copied while the values of the next one
// are read; finish() waits for the last.
class WeightEmitter {
 public:
  WeightEmitter(const Checkpoint& weights, const EmitOptions& options, KeptWeights* kept, ArtifactWriter& writer)
      : weights(weights), options(options), kept(kept), writer(writer) {}

  absl::Status emit(ModuleOp module) {
    total = weightBytes(module);
    for (auto op : module.getOps<schedule::WeightOp>()) {
      const Layout layout = layoutOf(op);
      FATHOM_ASSIGN_OR_RETURN(const std::optional<Taken> place, find(op, layout));
      FATHOM_RETURN_IF_ERROR(finish());
      FATHOM_RETURN_IF_ERROR(beginTensor(op, layout, writer));
      if (options.stats) ++options.stats->tensors;
      if (place)
        take(*place);
      else
        FATHOM_RETURN_IF_ERROR(encode(op, layout));
    }
    return finish();
  }

 private:
  // A weight that the kept artifact holds.
  struct Taken {
    schedule::WeightOp op;
    DigestBytes source;
    KeptWeights::Place place;
  };
  using Sources = std::vector<std::unique_ptr<quantize::WeightSource>>;  // one per thread

  absl::StatusOr<Sources> open(schedule::WeightOp op) {
    Sources sources;
    for (int i = 0; i < std::max(1, options.threads); ++i) {
      auto source = quantize::makeWeightSource(op.getYielded(), weights);
      if (failed(source)) return absl::InvalidArgumentError(absl::StrCat("weight '", op.getSymName().str(), "' cannot be read (see above)"));
      sources.push_back(std::move(*source));
    }
    return sources;
  }

  int64_t workersFor(int64_t bytes, int64_t tiles) const {
    return std::min<int64_t>(std::max(1, options.threads), bytes < (1 << 18) ? 1 : tiles);
  }

  void advance(uint64_t bytes) {
    done += bytes;
    if (options.progress) options.progress(done, total);
  }

  absl::StatusOr<std::optional<Taken>> find(schedule::WeightOp op, const Layout& layout) {
    const auto encoding = static_cast<uint8_t>(layout.encoding);
    const ArrayRef<int64_t> shape = op.getTensorType().getShape();
    if (!kept || !kept->mayHold(encoding, shape)) return std::nullopt;
    FATHOM_ASSIGN_OR_RETURN(const Sources sources, open(op));
    ValuesDigest digest(layout.tiles());
    auto look = [&](int64_t w, int64_t begin, int64_t end) {
      return encodeTiles(*sources[w], layout, begin, end, digest, nullptr, op.getSymName());
    };
    const int64_t workers = workersFor(layout.bytes(), layout.tiles());
    FATHOM_RETURN_IF_ERROR(inParallel(workers, layout.tiles(), look));
    const DigestBytes source = digest.finish(encoding, shape);
    const std::optional<KeptWeights::Place> place = kept->find(source, encoding, shape);
    if (!place) return std::nullopt;
    return Taken{op, source, *place};
  }

  // Begins to copy the open tensor.
  void take(const Taken& weight) {
    taking = weight;
    copied = std::async(std::launch::async, [this, place = weight.place] {
      return writer.TakeTensor(kept->file(), place.offset, place.length, place.digest);
    });
  }

  // Waits for the tensor that is being copied, if there is one.
  absl::Status finish() {
    if (!copied.valid()) return absl::OkStatus();
    FATHOM_ASSIGN_OR_RETURN(const bool good, copied.get());
    if (good) {
      writer.SetSource(taking.source);
      if (options.stats) ++options.stats->reused;
      advance(taking.place.length);
      return absl::OkStatus();
    }
    if (options.note)
      options.note(absl::StrCat(options.reuse, ": weight '", taking.op.getSymName().str(),
                                "' is encoded again: its hash does not match its bytes"));
    return encode(taking.op, layoutOf(taking.op));
  }

  // Encodes into the open tensor.
  absl::Status encode(schedule::WeightOp op, const Layout& layout) {
    FATHOM_ASSIGN_OR_RETURN(const Sources sources, open(op));
    ValuesDigest digest(layout.tiles());
    const int64_t batch = std::max<int64_t>(1, kBatchBytes / layout.tileBytes());
    WriteBehind behind(writer);
    std::vector<uint8_t> bytes;
    for (int64_t first = 0; first < layout.tiles(); first += batch) {
      const int64_t count = std::min(batch, layout.tiles() - first);
      bytes.resize(count * layout.tileBytes());
      auto encode = [&](int64_t w, int64_t begin, int64_t end) {
        return encodeTiles(*sources[w], layout, first + begin, first + end, digest,
                           bytes.data() + begin * layout.tileBytes(), op.getSymName());
      };
      FATHOM_RETURN_IF_ERROR(inParallel(workersFor(bytes.size(), count), count, encode));
      const uint64_t size = bytes.size();
      FATHOM_RETURN_IF_ERROR(behind.append(bytes));
      advance(size);
    }
    FATHOM_RETURN_IF_ERROR(behind.wait());
    writer.EndTensor();
    writer.SetSource(digest.finish(static_cast<uint8_t>(layout.encoding), op.getTensorType().getShape()));
    return absl::OkStatus();
  }

  const Checkpoint& weights;
  const EmitOptions& options;
  KeptWeights* kept;
  ArtifactWriter& writer;
  uint64_t total = 0, done = 0;  // bytes
  Taken taking;
  std::future<absl::StatusOr<bool>> copied;  // of `taking`; its destructor waits
};

}  // namespace

uint64_t weightBytes(ModuleOp module) {
  uint64_t bytes = 0;
  for (auto op : module.getOps<schedule::WeightOp>()) bytes += layoutOf(op).bytes();
  return bytes;
}

absl::Status measureWeights(ModuleOp module, ArtifactWriter& writer) {
  for (auto op : module.getOps<schedule::WeightOp>()) {
    const Layout layout = layoutOf(op);
    FATHOM_RETURN_IF_ERROR(beginTensor(op, layout, writer));
    writer.Reserve(layout.bytes());
    writer.EndTensor();
  }
  return absl::OkStatus();
}

absl::Status emitWeights(ModuleOp module, const Checkpoint& weights, const EmitOptions& options,
                         ArtifactWriter& writer) {
  std::unique_ptr<KeptWeights> kept;
  if (!options.reuse.empty()) {
    auto opened = KeptWeights::open(options.reuse);
    if (!opened.ok() && options.reuse_required) return opened.status();
    if (opened.ok()) kept = std::move(*opened);
  }
  return WeightEmitter(weights, options, kept.get(), writer).emit(module);
}

}  // namespace fathom::emit
