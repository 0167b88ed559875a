// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every architecture's graph from its config: it verifies and uses every weight in its place.
#include "models/registry.h"

#include <map>

#include "dialects/graph/Graph.h"
#include "frontend/config/expected_tensors.h"
#include "frontend/config/open_model.h"
#include "frontend/weights/random_checkpoint.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;
using testing::HasSubstr;

namespace fathom {
namespace {

class BuildModel : public testing::Test {
protected:
  BuildModel() {
    handler.emplace(&context, [this](Diagnostic &diagnostic) {
      errors.push_back(diagnostic.str());
      return success();
    });
  }

  void open(const std::string &path, const std::string &weights = "random:1") {
    auto opened = OpenModel(path, weights);
    ASSERT_TRUE(opened.ok()) << opened.status();
    model = std::move(*opened);
    auto built = buildModel(&context, model.config, *model.weights);
    ASSERT_TRUE(succeeded(built)) << testing::PrintToString(errors);
    module = std::move(*built);
  }

  template <typename OpT>
  std::vector<OpT> all(StringRef entry = "decode") {
    std::vector<OpT> ops;
    module->lookupSymbol<func::FuncOp>(entry).walk([&](OpT op) { ops.push_back(op); });
    return ops;
  }
  template <typename OpT>
  size_t count(StringRef entry = "decode") {
    return all<OpT>(entry).size();
  }

  // Elements of every weight that the entry point refers to; a name counts once.
  uint64_t referencedElements() {
    std::map<std::string, uint64_t> elements;
    for (graph::ParamOp param : all<graph::ParamOp>())
      for (Attribute name : param.getNames())
        elements[cast<StringAttr>(name).str()] =
            param.getType().getNumElements() / param.getNames().size();
    uint64_t sum = 0;
    for (const auto &[name, n] : elements) sum += n;
    return sum;
  }

  int64_t modelField(StringRef name) {
    return module->getOperation()
        ->getAttrOfType<DictionaryAttr>(graph::kModelAttr)
        .getAs<IntegerAttr>(name)
        .getInt();
  }

  std::string text() {
    std::string out;
    llvm::raw_string_ostream os(out);
    module->print(os);
    return out;
  }

  MLIRContext context;
  std::vector<std::string> errors;
  std::optional<ScopedDiagnosticHandler> handler;
  OpenedModel model;
  OwningOpRef<ModuleOp> module;
};

//===-- Published shapes --------------------------------------------------------------------===//

TEST_F(BuildModel, V2LiteHasItsPublishedSize) {
  open("tests/golden/configs/deepseek_v2_lite.json");
  EXPECT_EQ(referencedElements(), 15706484224u);
  EXPECT_EQ(modelField("parameters"), 15706484224);
  EXPECT_EQ(modelField("layers"), 27);
  EXPECT_EQ(modelField("vocab_size"), 102400);
  std::optional<graph::KvLayout> kv = graph::getKvLayout(*module);
  ASSERT_TRUE(kv);
  EXPECT_EQ(kv->layers, 27);
  EXPECT_EQ(kv->rowElements, 576);
  EXPECT_TRUE(kv->latent);
  for (StringRef entry : {"prefill", "decode"}) {
    EXPECT_EQ(count<graph::LatentAttentionOp>(entry), 27u);
    EXPECT_EQ(count<graph::CacheAppendOp>(entry), 27u);
    EXPECT_EQ(count<graph::MoeExpertsOp>(entry), 26u);
    EXPECT_EQ(count<graph::RopeTableOp>(entry), 1u);
    // q, kv_a, o; a dense or shared MLP; a router in 26 layers.
    EXPECT_EQ(count<graph::LinearOp>(entry), 27u * 6 + 26);
    EXPECT_EQ(count<graph::SwigluOp>(entry), 27u);
    // Two per layer: no q_a_layernorm, and kv_a_layernorm is part of latent_compress.
    EXPECT_EQ(count<graph::RmsNormOp>(entry), 27u * 2);
    EXPECT_EQ(count<graph::LogitsOp>(entry), 1u);
  }
  auto attention = all<graph::LatentAttentionOp>().front();
  EXPECT_EQ(attention.getForm(), graph::AttentionForm::Auto);
  EXPECT_NEAR(attention.getScale(), 0.1147213867929261, 1e-15);
  auto route = all<graph::MoeRouteOp>().front();
  EXPECT_EQ(route.getMethod(), graph::RouteMethod::Greedy);
  EXPECT_EQ(route.getTopK(), 6);
  EXPECT_FALSE(route.getNormalize());
  EXPECT_FALSE(route.getBias());
  auto rope = all<graph::RopeOp>().front();
  EXPECT_EQ(rope.getOffset(), 128);
  EXPECT_EQ(rope.getDim(), 64);
  EXPECT_TRUE(rope.getInterleaved());
  EXPECT_EQ(rope.getMscale(), 1.0);
}

TEST_F(BuildModel, V3HasItsPublishedSize) {
  open("tests/golden/configs/deepseek_v3.json");
  EXPECT_EQ(referencedElements(), 671026419200u);
  EXPECT_EQ(count<graph::LatentAttentionOp>(), 61u);
  EXPECT_EQ(count<graph::MoeExpertsOp>(), 58u);
  // Three per layer: q_a_layernorm too.
  EXPECT_EQ(count<graph::RmsNormOp>(), 61u * 3);
  EXPECT_NEAR(all<graph::LatentAttentionOp>().front().getScale(), 0.1352337788608801, 1e-15);
  auto route = all<graph::MoeRouteOp>().front();
  EXPECT_EQ(route.getMethod(), graph::RouteMethod::NoauxTc);
  EXPECT_EQ(route.getScoring(), graph::Scoring::Sigmoid);
  EXPECT_EQ(route.getTopK(), 8);
  EXPECT_EQ(route.getNGroup(), 8);
  EXPECT_EQ(route.getTopkGroup(), 4);
  EXPECT_TRUE(route.getNormalize());
  EXPECT_EQ(route.getScale(), 2.5);
  EXPECT_TRUE(route.getBias());
  // 163840 positions in two levels, and a graph of 671 B parameters that is small on disk.
  EXPECT_EQ(all<graph::RopeTableOp>().front().getType().getDimSize(0), 832);
  EXPECT_LT(text().size(), 2u << 20);
}

//===-- What the architectures differ in ----------------------------------------------------===//

struct Family {
  const char *config;
  size_t layers, dense;  // `dense` of them have no experts
  size_t biases;
  QkNorm qkNorm;
  bool latent, tied, interleaved;
};

void PrintTo(const Family &family, std::ostream *os) { *os << family.config; }

class BuildFamily : public BuildModel, public testing::WithParamInterface<Family> {};

TEST_P(BuildFamily, HasTheOpsOfItsArchitecture) {
  const Family &f = GetParam();
  open(std::string("tests/golden/") + f.config + "/config.json");
  const ModelConfig &c = model.config;
  // Every weight of the checkpoint is used, and no other.
  EXPECT_EQ(referencedElements(), ParameterCount(c));
  EXPECT_EQ(count<graph::MoeExpertsOp>(), f.layers - f.dense);
  EXPECT_EQ(count<graph::LatentAttentionOp>(), f.latent ? f.layers : 0);
  EXPECT_EQ(count<graph::AttentionOp>(), f.latent ? 0 : f.layers);
  EXPECT_EQ(graph::getKvLayout(*module)->latent, f.latent);
  size_t biases = 0, routers = 0;
  for (graph::LinearOp op : all<graph::LinearOp>()) {
    biases += bool(op.getBias());
    routers += op.getKeepF32();
  }
  EXPECT_EQ(biases, f.biases);
  EXPECT_EQ(routers, f.layers - f.dense);
  if (!f.latent) {
    EXPECT_EQ(count<graph::RmsNormOp>(), (f.qkNorm == QkNorm::kNone ? 2 : 4) * f.layers);
    // The norm of q, if there is one, is the second of a layer, after input_layernorm.
    const bool perHead = f.qkNorm == QkNorm::kPerHead;
    EXPECT_EQ(all<graph::RmsNormOp>()[1].getGroups(), perHead ? c.num_attention_heads : 1);
  }
  for (graph::RopeOp rope : all<graph::RopeOp>()) EXPECT_EQ(rope.getInterleaved(), f.interleaved);
  auto embed = all<graph::EmbedOp>().front();
  auto logits = all<graph::LogitsOp>().front();
  EXPECT_EQ(embed.getW() == logits.getHead(), f.tied);
}

TEST_P(BuildFamily, EntryPointsAreTheSameGraph) {
  open(std::string("tests/golden/") + GetParam().config + "/config.json");
  std::vector<std::string> prefill, decode;
  for (auto [entry, ops] : {std::pair("prefill", &prefill), std::pair("decode", &decode)})
    for (Operation &op : module->lookupSymbol<func::FuncOp>(entry).getBody().front()) {
      std::string line;
      llvm::raw_string_ostream os(line);
      op.print(os, OpPrintingFlags().useLocalScope());
      ops->push_back(line);
    }
  EXPECT_EQ(prefill, decode);
}

TEST_P(BuildFamily, TextReadsBack) {
  open(std::string("tests/golden/") + GetParam().config + "/config.json");
  OwningOpRef<ModuleOp> again = parseSourceString<ModuleOp>(text(), &context);
  ASSERT_TRUE(again) << testing::PrintToString(errors);
  std::string second;
  llvm::raw_string_ostream os(second);
  again->print(os);
  EXPECT_EQ(second, text());
}

INSTANTIATE_TEST_SUITE_P(
    All, BuildFamily,
    testing::Values(
        Family{"deepseek_v2_greedy", 2, 1, 0, QkNorm::kNone, true, false, true},
        Family{"deepseek_v2_group", 2, 1, 0, QkNorm::kNone, true, false, true},
        Family{"deepseek_v3_group", 3, 2, 0, QkNorm::kNone, true, false, true},
        Family{"deepseek_v3_plain", 2, 1, 0, QkNorm::kNone, true, false, true},
        Family{"llama_gqa", 2, 2, 0, QkNorm::kNone, false, false, false},
        Family{"llama_tied", 3, 3, 0, QkNorm::kNone, false, true, false},
        Family{"qwen2", 2, 2, 6, QkNorm::kNone, false, false, false},
        Family{"qwen3", 3, 3, 0, QkNorm::kPerHead, false, true, false},
        Family{"qwen3_moe", 2, 0, 0, QkNorm::kPerHead, false, false, false},
        Family{"mixtral", 2, 0, 0, QkNorm::kNone, false, false, false},
        Family{"olmoe", 2, 0, 0, QkNorm::kFullWidth, false, false, false}),
    [](const auto &info) { return info.param.config; });

//===-- Stored types, names, places ---------------------------------------------------------===//

TEST_F(BuildModel, KeepsStoredTypesAndLeavesMtpLayersOut) {
  open("tests/golden/deepseek_v3_fp8", "");
  bool sawFp8 = false;
  for (graph::ParamOp param : all<graph::ParamOp>()) {
    for (Attribute name : param.getNames())
      EXPECT_FALSE(cast<StringAttr>(name).getValue().starts_with("model.layers.2."));
    sawFp8 |= isa<Float8E4M3FNType>(param.getType().getElementType());
  }
  EXPECT_TRUE(sawFp8);
  EXPECT_EQ(referencedElements(), ParameterCount(model.config));
}

TEST_F(BuildModel, NamesPlacesAndTheModel) {
  open("tests/golden/deepseek_v3_plain/config.json");
  auto name = module->getOperation()
                  ->getAttrOfType<DictionaryAttr>(graph::kModelAttr)
                  .getAs<StringAttr>("name");
  EXPECT_EQ(name, "deepseek_v3_plain");
  auto place = [](Operation *op) {
    return op->getLoc()->findInstanceOf<NameLoc>().getName().str();
  };
  EXPECT_EQ(place(all<graph::LinearOp>().front()), "layers.0.self_attn.q_proj");
  EXPECT_EQ(place(all<graph::MoeExpertsOp>().front()), "layers.1.mlp.experts");
  // The sum that a projection will be fused with is named after it.
  EXPECT_EQ(place(all<arith::AddFOp>().front()), "layers.0.self_attn.o_proj");
  // Shared experts are added to the routed ones.
  auto experts = all<graph::MoeExpertsOp>().front();
  auto sum = dyn_cast<arith::AddFOp>(*experts.getResult().user_begin());
  ASSERT_TRUE(sum);
  EXPECT_EQ(place(sum.getLhs().getDefiningOp()), "layers.1.mlp.shared_experts.down_proj");
}

TEST_F(BuildModel, TakesEpsilonsFromWhereTheReferenceDoes) {
  open("tests/golden/deepseek_v2_group/config.json");
  model.config.rms_norm_eps = 1e-5;
  auto built = buildModel(&context, model.config, *model.weights);
  ASSERT_TRUE(succeeded(built));
  module = std::move(*built);
  auto norms = all<graph::RmsNormOp>();
  EXPECT_EQ(norms[0].getEps(), 1e-5);  // input_layernorm
  EXPECT_EQ(norms[1].getEps(), 1e-6);  // q_a_layernorm
  EXPECT_EQ(all<graph::LatentCompressOp>().front().getEps(), 1e-6);
  EXPECT_EQ(all<graph::LogitsOp>().front().getEps(), 1e-5);
}

TEST_F(BuildModel, EveryNthLayerHasExperts) {
  auto opened = OpenModel("tests/golden/deepseek_v3_group/config.json", "random:1");
  ASSERT_TRUE(opened.ok());
  ModelConfig config = opened->config;
  config.first_k_dense_replace = 1;
  config.moe_layer_freq = 2;
  auto weights = RandomCheckpoint::Create(1, ExpectedTensors(config));
  ASSERT_TRUE(weights.ok());
  auto built = buildModel(&context, config, **weights);
  ASSERT_TRUE(succeeded(built)) << testing::PrintToString(errors);
  module = std::move(*built);
  ASSERT_EQ(count<graph::MoeExpertsOp>(), 1u);  // layer 2 of 0, 1, 2
  EXPECT_EQ(all<graph::MoeExpertsOp>().front().getLoc()->findInstanceOf<NameLoc>().getName().str(),
            "layers.2.mlp.experts");
}

//===-- Errors ------------------------------------------------------------------------------===//

class BadCheckpoint : public BuildModel {
protected:
  // Builds llama_gqa from its expected tensors after `change`; the errors go to `errors`.
  bool builds(const char *config, llvm::function_ref<bool(TensorSpec &)> keep) {
    auto opened = OpenModel(std::string("tests/golden/") + config + "/config.json", "random:1");
    if (!opened.ok()) return false;
    std::vector<TensorSpec> specs;
    for (TensorSpec spec : ExpectedTensors(opened->config))
      if (keep(spec)) specs.push_back(spec);
    auto weights = RandomCheckpoint::Create(7, specs);
    return weights.ok() && succeeded(buildModel(&context, opened->config, **weights));
  }
};

TEST_F(BadCheckpoint, MissingTensorsAreAllNamed) {
  EXPECT_FALSE(builds("llama_gqa", [](TensorSpec &spec) {
    return spec.name != "model.norm.weight" &&
           spec.name != "model.layers.1.self_attn.k_proj.weight";
  }));
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_THAT(errors[0], HasSubstr("random:7: tensor \"model.layers.1.self_attn.k_proj.weight\": "
                                   "expected shape ["));
  EXPECT_THAT(errors[0], HasSubstr("found no tensor of this name"));
  EXPECT_THAT(errors[1], HasSubstr("\"model.norm.weight\""));
}

TEST_F(BadCheckpoint, WrongShapeIsNamed) {
  EXPECT_FALSE(builds("llama_gqa", [](TensorSpec &spec) {
    if (spec.name == "lm_head.weight") spec.shape[0] += 1;
    return true;
  }));
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_THAT(errors[0], HasSubstr("tensor \"lm_head.weight\": expected shape ["));
  EXPECT_THAT(errors[0], HasSubstr(", found ["));
}

TEST_F(BadCheckpoint, OneMissingExpertIsOneError) {
  EXPECT_FALSE(builds("mixtral", [](TensorSpec &spec) {
    return spec.name.find("layers.1.block_sparse_moe.experts.") == std::string::npos;
  }));
  ASSERT_EQ(errors.size(), 3u);  // w1, w3 and w2 of expert 0
  EXPECT_THAT(errors[0], HasSubstr("experts.0.w1.weight"));
}

}  // namespace
}  // namespace fathom
