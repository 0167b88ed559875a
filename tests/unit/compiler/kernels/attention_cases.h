// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Batches over a paged cache and attention in doubles, for the tests of the attention kernels.
#ifndef FATHOM_TESTS_UNIT_COMPILER_KERNELS_ATTENTION_CASES_H
#define FATHOM_TESTS_UNIT_COMPILER_KERNELS_ATTENTION_CASES_H

#include <algorithm>
#include <cmath>

#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {

/// The last `tokens` tokens of a sequence whose context is `context` rows, these included.
struct Chunk {
  int64_t context, tokens;
};

/// A batch of chunks, one per sequence, and its page table: pages in no order, the rest of it -1.
struct Batch {
  explicit Batch(const std::vector<Chunk>& list) : chunks(list) {
    std::vector<int32_t> where, of;
    for (const Chunk& c : chunks) pages = std::max(pages, (c.context + 63) / 64);
    ++pages;
    pageTable.assign(chunks.size() * pages, -1);
    for (size_t b = 0; b < chunks.size(); ++b) {
      for (int64_t i = 0; i < chunks[b].tokens; ++i) {
        where.push_back(chunks[b].context - chunks[b].tokens + i);
        of.push_back(b);
      }
      contexts.push_back(chunks[b].context);
      used += (chunks[b].context + 63) / 64;
    }
    std::vector<int32_t> ids(used);
    for (int64_t i = 0; i < used; ++i) ids[i] = i;
    std::mt19937 bits(7);
    for (int64_t i = used - 1; i > 0; --i) std::swap(ids[i], ids[bits() % (i + 1)]);
    size_t next = 0;
    for (size_t b = 0; b < chunks.size(); ++b)
      for (int64_t i = 0; i < (chunks[b].context + 63) / 64; ++i)
        pageTable[b * pages + i] = ids[next++];
    positions = where;
    sequence = of;
  }

  std::vector<Chunk> chunks;
  int64_t pages = 0, used = 0;  // P; pages that hold something
  std::vector<int32_t> positions, sequence, contexts, pageTable;
  int64_t tokens() const { return positions.size(); }
};

/// Cache pages of rows of `width` elements, which lie in `runs` runs of equal parts of them; rows
/// outside every context are NaN.
struct TestCache {
  TestCache(const Batch& batch, int64_t width, bool bf16, uint32_t seed, int64_t runs = 1)
      : width(width),
        part(width / runs),
        bytes(bf16 ? 2 : 4),
        pageBytes(64 * width * bytes + 64),
        memory(batch.used * pageBytes) {
    for (size_t b = 0; b < batch.chunks.size(); ++b) {
      int64_t rows = batch.chunks[b].context;
      std::vector<float> data = randomFloats(rows * width, seed + b);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < width; ++i) {
          float& v = data[r * width + i];
          int64_t at = where(batch, b, r, i);
          uint16_t bits = floatToBf16(v);
          if (bf16) v = bf16ToFloat(bits);
          std::memcpy(&memory[at], bf16 ? static_cast<void*>(&bits) : static_cast<void*>(&v),
                      bytes);
        }
      values.push_back(std::move(data));
    }
  }
  std::string config(bool bf16) const {
    return std::string("kv = \"") + (bf16 ? "bf16" : "f32") +
           "\", page_tokens = 64, page_bytes = " + std::to_string(pageBytes);
  }

  /// Byte address of element i of row r of sequence b.
  int64_t where(const Batch& batch, size_t b, int64_t r, int64_t i) const {
    return batch.pageTable[b * batch.pages + r / 64] * pageBytes +
           (i / part * 64 * part + r % 64 * part + i % part) * bytes;
  }

  /// Element `column` of every row, of a bf16 cache: `value` of the row, exact in bf16.
  template <typename F>
  void setColumn(const Batch& batch, int64_t column, F value) {
    for (size_t b = 0; b < batch.chunks.size(); ++b)
      for (int64_t r = 0; r < batch.chunks[b].context; ++r) {
        float v = values[b][r * width + column] = value(r);
        uint16_t bits = floatToBf16(v);
        std::memcpy(&memory[where(batch, b, r, column)], &bits, bytes);
      }
  }

  int64_t width, part, bytes, pageBytes;
  Guarded<uint8_t> memory;
  std::vector<std::vector<float>> values;  // per sequence: (rows, width)
};

/// softmax(scale q . key(r)) . value(r) over rows [first, last] in doubles.
template <typename Key, typename Value>
std::vector<double> attend(const std::vector<double>& q, int64_t first, int64_t last, double scale,
                           int64_t width, Key key, Value value) {
  std::vector<double> score;
  double top = -INFINITY, sum = 0;
  for (int64_t r = first; r <= last; ++r) {
    double s = 0;
    for (size_t i = 0; i < q.size(); ++i) s += q[i] * key(r, i);
    score.push_back(s * scale);
    top = std::max(top, score.back());
  }
  std::vector<double> out(width, 0.0);
  for (int64_t r = first; r <= last; ++r) {
    double p = std::exp(score[r - first] - top);
    sum += p;
    for (int64_t i = 0; i < width; ++i) out[i] += p * value(r, i);
  }
  for (double& v : out) v /= sum;
  return out;
}

struct Rounded {
  std::vector<double> value, tolerance;
};

/// The same with queries and probabilities rounded as matrix units get them: bf16(scale q), and
/// bf16(exp(score - top(r))) for the maximum that row r was weighed by. What is left is float32:
/// 1e-6 of the sum of magnitudes; and where a probability lies so near to the middle of two bf16
/// that float32 may take the other one, their distance.
template <typename Top, typename Key, typename Value>
Rounded attendRounded(const std::vector<float>& q, int64_t first, int64_t last, float scale,
                      int64_t width, Top top, Key key, Value value) {
  std::vector<double> query;
  for (float v : q) query.push_back(bf16ToFloat(floatToBf16(v * scale)));
  std::vector<double> score;
  double most = -INFINITY, sum = 0;
  for (int64_t r = first; r <= last; ++r) {
    double s = 0;
    for (size_t i = 0; i < query.size(); ++i) s += query[i] * key(r, i);
    score.push_back(s);
    most = std::max<double>(most, top(r));
  }
  Rounded out{std::vector<double>(width, 0.0), std::vector<double>(width, 0.0)};
  for (int64_t r = first; r <= last; ++r) {
    double p = std::exp(score[r - first] - top(r)), factor = std::exp(top(r) - most);
    double rounded = bf16ToFloat(floatToBf16(p)), unsure = 0;
    for (double near : {p * (1 - 4e-6), p * (1 + 4e-6)})
      unsure = std::max(unsure, std::fabs(bf16ToFloat(floatToBf16(near)) - rounded));
    sum += factor * p;
    for (int64_t i = 0; i < width; ++i) {
      out.value[i] += factor * rounded * value(r, i);
      out.tolerance[i] += factor * (1e-6 * rounded + unsure) * std::fabs(value(r, i));
    }
  }
  for (int64_t i = 0; i < width; ++i) {
    out.value[i] /= sum;
    out.tolerance[i] /= sum;
  }
  return out;
}

/// |got - expected| / |expected| as vectors.
inline double distance(const float* got, const std::vector<double>& expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::isfinite(difference) ? std::sqrt(difference / norm) : INFINITY;
}

/// Float32 throughout: sums of up to a thousand products and exponentials of differences of scores
/// of magnitude ~8, whose rounding (8 x 2^-24) passes to the probabilities. With bf16 dot products
/// queries and probabilities are rounded to 8 bits: 2^-9 each, on scores of that magnitude.
inline double attentionTolerance(const std::string& profile, bool bf16) {
  return bf16 && profileNamed(profile).avx512Bf16 ? 1.5e-2 : 1e-5;
}

inline std::string entry(const std::string& name, int64_t value) {
  return ", " + name + " = " + std::to_string(value);
}

}  // namespace fathom::testing

#endif  // FATHOM_TESTS_UNIT_COMPILER_KERNELS_ATTENTION_CASES_H
