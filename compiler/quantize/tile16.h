// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes float32 rows in the tile16 weight encodings (docs/spec/encodings.md).
#ifndef FATHOM_COMPILER_QUANTIZE_TILE16_H_
#define FATHOM_COMPILER_QUANTIZE_TILE16_H_

#include <cstdint>

namespace fathom {

// How a weight lies in the artifact. The values are those of schema::Encoding.
enum class WeightEncoding : uint8_t { kRawF32 = 0, kRawI32 = 1, kF32 = 2, kBf16 = 3, kQ8 = 4, kQ4 = 5 };

// Raised whenever EncodeTile writes other bytes for the same values: encoded weights of other versions are
// not taken over from earlier artifacts.
inline constexpr uint32_t kEncoderVersion = 1;

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kGroup = 32;       // columns that share a scale
inline constexpr int64_t kSuperblock = 64;  // columns of one q4/q8 step

// Columns of one step, and its bytes for a tile of 16 rows.
int64_t TileStepColumns(WeightEncoding encoding);
int64_t TileStepBytes(WeightEncoding encoding);

// Bytes of one tile of 16 rows x cols, and of a whole (rows, cols) matrix; rows are filled up to 16.
int64_t TileBytes(WeightEncoding encoding, int64_t cols);
int64_t MatrixBytes(WeightEncoding encoding, int64_t rows, int64_t cols);

// Encodes `rows` (1..16) rows of `cols` float32 values, stored `cols` apart, as one tile of
// TileBytes(encoding, cols) bytes at `out`. Not-finite inputs count as 0 in q4/q8; the return value is
// their number (the caller names the tensor). Threads: pure.
int64_t EncodeTile(WeightEncoding encoding, const float* values, int64_t rows, int64_t cols,
                   uint8_t* out);

// The inverse, for tests and `explain`: decodes row `row` of a tile into cols float32 values.
void DecodeTileRow(WeightEncoding encoding, const uint8_t* tile, int64_t row, int64_t cols,
                   float* out);

uint16_t FloatToBf16(float value);  // round to nearest even; NaN stays NaN
uint16_t FloatToF16(float value);   // round to nearest even
float F16ToFloat(uint16_t bits);

}  // namespace fathom

#endif  // FATHOM_COMPILER_QUANTIZE_TILE16_H_
