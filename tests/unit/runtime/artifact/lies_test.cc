// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Well-formed headers that lie, one field at a time; the message must name the field.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/artifact/artifact.h"
#include "tests/unit/runtime/artifact/history_model.h"

namespace fathom {
namespace {

using schema::ArtifactT;
using ::testing::HasSubstr;

struct Lie {
  const char* name;
  const char* message;  // part of the error
  void (*tell)(ArtifactT&);
};

schema::ProgramT& Program0(ArtifactT& a) { return *a.programs[0]; }
schema::EntryPointT& Entry0(ArtifactT& a) { return *a.programs[0]->entries[0]; }
schema::CommandT& Command0(ArtifactT& a) { return *Entry0(a).commands[0]; }

const Lie kLies[] = {
    {"vocab_zero", "model.vocab_size", [](ArtifactT& a) { a.model->vocab_size = 0; }},
    {"vocab_huge", "model.vocab_size", [](ArtifactT& a) { a.model->vocab_size = 1u << 31; }},
    {"context_zero", "model.context_length", [](ArtifactT& a) { a.model->context_length = 0; }},
    {"model_name_empty", "model.name", [](ArtifactT& a) { a.model->name = ""; }},
    {"model_name_long", "model.name", [](ArtifactT& a) { a.model->name.assign(2000, 'x'); }},
    {"model_name_escape", "printable", [](ArtifactT& a) { a.model->name = "\033[2J"; }},
    {"model_name_nul", "printable", [](ArtifactT& a) { a.model->name.assign("a\0b", 3); }},
    {"model_name_not_utf8", "printable", [](ArtifactT& a) { a.model->name = "\xff\xfe"; }},
    {"model_name_overlong", "printable", [](ArtifactT& a) { a.model->name = "\xc0\xaf"; }},
    {"model_name_surrogate", "printable", [](ArtifactT& a) { a.model->name = "\xed\xa0\x80"; }},
    {"model_name_cut", "printable", [](ArtifactT& a) { a.model->name = "\xe2\x82"; }},

    {"segment_kind", "segments[0].kind",
     [](ArtifactT& a) { a.segments[0]->kind = static_cast<schema::SegmentKind>(9); }},
    {"segment_twice", "is there twice",
     [](ArtifactT& a) { a.segments[1]->name = a.segments[0]->name; }},
    {"segment_misaligned", "segments[0].offset", [](ArtifactT& a) { a.segments[0]->offset += 64; }},
    {"segment_past_end", "segments[1]", [](ArtifactT& a) { a.segments[1]->length = 1 << 30; }},
    {"segment_wraps", "segments[1]",
     [](ArtifactT& a) {
       a.segments[1]->offset = UINT64_MAX - 4095;
       a.segments[1]->length = 8192;
     }},
    {"segment_over_prefix", "overlaps prefix", [](ArtifactT& a) { a.segments[1]->offset = 0; }},
    {"segments_overlap", "overlaps segments",
     [](ArtifactT& a) { a.segments[1]->offset = a.segments[0]->offset; }},
    {"segment_over_header", "header: overlaps", [](ArtifactT& a) { a.segments[1]->length += 60; }},
    {"tokenizer_index", "tokenizer", [](ArtifactT& a) { a.tokenizer = 7; }},
    {"tokenizer_negative", "tokenizer", [](ArtifactT& a) { a.tokenizer = -2; }},
    {"tokenizer_kind", "another kind", [](ArtifactT& a) { a.tokenizer = 0; }},
    {"notes_kind", "notes", [](ArtifactT& a) { a.notes = 1; }},

    {"kernel_family", "kernels[0].family",
     [](ArtifactT& a) { Program0(a).kernels[0]->family = "lin\near"; }},
    {"kernel_config", "kernels[0].config",
     [](ArtifactT& a) { Program0(a).kernels[0]->config = "{\x1b}"; }},
    {"kernel_config_long", "kernels[0].config",
     [](ArtifactT& a) { Program0(a).kernels[0]->config.assign((1 << 20) + 1, ' '); }},
    {"program_profile", "programs[0].profile",
     [](ArtifactT& a) { Program0(a).profile = "\xff"; }},

    {"tensor_twice", "is there twice",
     [](ArtifactT& a) { a.tensors.push_back(std::make_unique<schema::TensorT>(*a.tensors[0])); }},
    {"tensors_overlap", "overlaps tensors",
     [](ArtifactT& a) {
       a.tensors.push_back(std::make_unique<schema::TensorT>(*a.tensors[0]));
       a.tensors[1]->name = "other";
     }},
    {"tensor_segment", "tensors[0] gain.segment", [](ArtifactT& a) { a.tensors[0]->segment = 9; }},
    {"tensor_in_code", "another kind", [](ArtifactT& a) { a.tensors[0]->segment = 0; }},
    {"tensor_misaligned", "tensors[0] gain.offset",
     [](ArtifactT& a) { a.tensors[0]->offset = 64; }},
    {"tensor_past_end", "outside its segment",
     [](ArtifactT& a) { a.tensors[0]->offset = 1 << 20; }},
    {"tensor_wraps", "outside its segment",
     [](ArtifactT& a) { a.tensors[0]->offset = UINT64_MAX - 255; }},
    {"tensor_length", "does not follow from shape",
     [](ArtifactT& a) { a.tensors[0]->length -= 4; }},
    {"tensor_shape", "does not follow from shape",
     [](ArtifactT& a) {
       a.tensors[0]->shape = {1, 99};
     }},
    {"tensor_rank_zero", "rank", [](ArtifactT& a) { a.tensors[0]->shape.clear(); }},
    {"tensor_rank_huge", "rank", [](ArtifactT& a) { a.tensors[0]->shape.assign(10000, 1); }},
    {"tensor_dim_zero", "dimension",
     [](ArtifactT& a) {
       a.tensors[0]->shape = {100, 0};
     }},
    {"tensor_dims_wrap", "2^63",
     [](ArtifactT& a) {
       a.tensors[0]->shape = {uint64_t{1} << 32, uint64_t{1} << 32};
     }},
    {"tensor_encoding", "unknown encoding",
     [](ArtifactT& a) { a.tensors[0]->encoding = static_cast<schema::Encoding>(200); }},
    {"tensor_tile_rank", "rank of a tiled tensor",
     [](ArtifactT& a) { a.tensors[0]->encoding = schema::Encoding::q8; }},

    {"program_twice", "is there twice",
     [](ArtifactT& a) {
       a.programs.push_back(std::make_unique<schema::ProgramT>(*a.programs[0]));
     }},
    {"program_code", "programs[0].code", [](ArtifactT& a) { Program0(a).code = 5; }},
    {"program_code_negative", "programs[0].code",
     [](ArtifactT& a) { Program0(a).code = UINT32_MAX; }},
    {"program_code_kind", "another kind", [](ArtifactT& a) { Program0(a).code = 1; }},
    {"features_many", "features", [](ArtifactT& a) { Program0(a).features.assign(1000, "x"); }},
    {"kernel_twice", "is there twice",
     [](ArtifactT& a) { Program0(a).kernels[1]->name = Program0(a).kernels[0]->name; }},
    {"kernel_bindings", "number of arguments",
     [](ArtifactT& a) { Program0(a).kernels[0]->bindings = 65; }},
    {"kernel_push", "number of arguments",
     [](ArtifactT& a) { Program0(a).kernels[0]->push = UINT32_MAX; }},
    {"kv_bytes", "kv.page_bytes", [](ArtifactT& a) { Program0(a).kv->page_bytes += 1; }},
    {"kv_wraps", "kv.page_bytes",
     [](ArtifactT& a) {
       Program0(a).kv->page_tokens = 1u << 31;
       Program0(a).kv->layers = 1u << 31;
       Program0(a).kv->row_bytes = 4;
       Program0(a).kv->page_bytes = 0;
     }},
    {"kv_layers", ".kv: out of range",
     [](ArtifactT& a) {
       Program0(a).kv->layers = 0;
       Program0(a).kv->page_bytes = 0;
     }},
    {"kv_rows", ".kv: out of range",
     [](ArtifactT& a) {
       Program0(a).kv->row_bytes = 0;
       Program0(a).kv->page_bytes = 0;
     }},
    {"kv_layers_many", "kv.layers: out of range: expected 1 to 65536",
     [](ArtifactT& a) {
       Program0(a).kv->layers = 65537;
       Program0(a).kv->page_bytes *= 65537;
     }},
    {"kv_tokens", "kv.page_tokens",
     [](ArtifactT& a) {
       Program0(a).kv->page_tokens = 0;
       Program0(a).kv->page_bytes = 0;
     }},

    {"entry_twice", "is there twice",
     [](ArtifactT& a) { Program0(a).entries[1]->name = "prefill"; }},
    {"arena", "arena", [](ArtifactT& a) { Entry0(a).arena = 1000; }},
    {"few_tokens", "few_tokens", [](ArtifactT& a) { Entry0(a).few_tokens = 4097; }},
    {"no_expressions", "arena", [](ArtifactT& a) { Entry0(a).exprs.clear(); }},
    {"expression_op", "exprs[0].op",
     [](ArtifactT& a) {
       Entry0(a).exprs[0] = schema::ExprNode(static_cast<schema::ExprOp>(8), 0, 0, 0);
     }},
    {"expression_symbol", "unknown symbol",
     [](ArtifactT& a) { Entry0(a).exprs[2] = schema::ExprNode(schema::ExprOp::symbol, 4, 0, 0); }},
    {"expression_self", "earlier node",
     [](ArtifactT& a) { Entry0(a).exprs[1] = schema::ExprNode(schema::ExprOp::add, 1, 0, 0); }},
    {"expression_forward", "earlier node",
     [](ArtifactT& a) { Entry0(a).exprs[1] = schema::ExprNode(schema::ExprOp::add, 0, 9, 0); }},
    {"buffer_kind", "buffers[0].kind",
     [](ArtifactT& a) { Entry0(a).buffers[0]->kind = static_cast<schema::BufferKind>(4); }},
    {"buffer_size", "buffers[0].size", [](ArtifactT& a) { Entry0(a).buffers[0]->size = 1000; }},
    {"buffer_offset", "buffers[7].offset",
     [](ArtifactT& a) { Entry0(a).buffers[7]->offset = 1000; }},
    {"buffer_twice", "is there twice", [](ArtifactT& a) { Entry0(a).buffers[1]->name = "tokens"; }},
    {"command_kind", "commands[0].kind",
     [](ArtifactT& a) { Command0(a).kind = static_cast<schema::CommandKind>(2); }},
    {"command_kernel", "commands[0].kernel", [](ArtifactT& a) { Command0(a).kernel = 3; }},
    {"command_grid_count", "commands[0].grid", [](ArtifactT& a) { Command0(a).grid.pop_back(); }},
    {"command_grid", "commands[0].grid", [](ArtifactT& a) { Command0(a).grid[1] = 1000; }},
    {"command_push_count", "commands[0].push", [](ArtifactT& a) { Command0(a).push.clear(); }},
    {"command_push", "commands[0].push", [](ArtifactT& a) { Command0(a).push[0] = 1000; }},
    {"command_bindings", "commands[0].bindings",
     [](ArtifactT& a) { Command0(a).bindings.pop_back(); }},
    {"command_label", "commands[0].label", [](ArtifactT& a) { Command0(a).label = "\n"; }},
    {"binding_none", "names no one target",
     [](ArtifactT& a) { Command0(a).bindings[0]->buffer = -1; }},
    {"binding_both", "names no one target",
     [](ArtifactT& a) { Command0(a).bindings[0]->tensor = 0; }},
    {"binding_negative", "names no one target",
     [](ArtifactT& a) { Command0(a).bindings[0]->tensor = -5; }},
    {"binding_buffer", "bindings[0].buffer",
     [](ArtifactT& a) { Command0(a).bindings[0]->buffer = 99; }},
    {"binding_tensor", "bindings[1].tensor",
     [](ArtifactT& a) { Entry0(a).commands[4]->bindings[1]->tensor = 1; }},
    {"binding_offset", "bindings[1].offset",
     [](ArtifactT& a) { Entry0(a).commands[4]->bindings[1]->offset = 400; }},
    {"binding_length", "bindings[1].length",
     [](ArtifactT& a) { Entry0(a).commands[4]->bindings[1]->offset = 4; }},
    {"binding_no_length", "bindings[1].length",
     [](ArtifactT& a) { Entry0(a).commands[4]->bindings[1]->length = 0; }},
    {"binding_length_wraps", "bindings[1].length",
     [](ArtifactT& a) { Entry0(a).commands[4]->bindings[1]->length = UINT64_MAX; }},
    {"binding_length_of_a_buffer", "bindings[0].length",
     [](ArtifactT& a) { Command0(a).bindings[0]->length = 4; }},
    {"binding_layer_of_a_tensor", "bindings[1].layer",
     [](ArtifactT& a) { Entry0(a).commands[4]->bindings[1]->layer = 0; }},
    {"binding_layer_of_a_buffer", "bindings[0].layer",
     [](ArtifactT& a) { Command0(a).bindings[0]->layer = 0; }},
    {"binding_cache_without_layer", "bindings[4].layer: out of range: expected 0 to 0, found -1",
     [](ArtifactT& a) { Command0(a).bindings[4]->layer = -1; }},
    {"binding_cache_layer", "bindings[4].layer: out of range: expected 0 to 0, found 1",
     [](ArtifactT& a) { Command0(a).bindings[4]->layer = 1; }},
    {"binding_cache_offset", "bindings[4].offset",
     [](ArtifactT& a) { Command0(a).bindings[4]->offset = 256; }},
};

class LiesTest : public ::testing::TestWithParam<Lie> {};

TEST_P(LiesTest, IsRefusedByName) {
  auto builder = testing::HistoryModel();
  builder.lie = GetParam().tell;
  const testing::TemporaryFile file(builder.Build());
  const absl::Status status = Artifact::Open(file.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
  EXPECT_THAT(std::string(status.message()), HasSubstr(file.path()));
}

INSTANTIATE_TEST_SUITE_P(Header, LiesTest, ::testing::ValuesIn(kLies),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Honest, TheSameHeaderWithoutALieOpens) {
  const testing::TemporaryFile file(testing::HistoryModel().Build());
  EXPECT_TRUE(Artifact::Open(file.path()).ok());
}

}  // namespace
}  // namespace fathom
