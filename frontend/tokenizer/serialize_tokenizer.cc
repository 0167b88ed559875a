// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// TokenizerDef to FlatBuffer, field by field.
#include "frontend/tokenizer/serialize_tokenizer.h"

namespace fathom::tokenizer {
namespace {

template <typename Def, typename Table, typename Write>
auto WriteAll(flatbuffers::FlatBufferBuilder& builder, const std::vector<Def>& defs, Write write) {
  std::vector<flatbuffers::Offset<Table>> offsets;
  offsets.reserve(defs.size());
  for (const Def& def : defs) offsets.push_back(write(def));
  return builder.CreateVector(offsets);
}

}  // namespace

std::vector<uint8_t> SerializeTokenizer(const TokenizerDef& def) {
  flatbuffers::FlatBufferBuilder b(1 << 20);
  std::vector<uint8_t> bytes, classes;
  std::vector<uint32_t> ends;
  std::vector<float> scores;
  for (const TokenizerDef::Token& token : def.tokens) {
    bytes.insert(bytes.end(), token.bytes.begin(), token.bytes.end());
    ends.push_back(static_cast<uint32_t>(bytes.size()));
    classes.push_back(static_cast<uint8_t>(token.token_class));
    if (def.kind == schema::TokenizerKind::sentencepiece_bpe) scores.push_back(token.score);
  }
  const auto token_bytes = b.CreateVector(bytes);
  const auto token_ends = b.CreateVector(ends);
  const auto token_classes = b.CreateVector(classes);
  const auto token_scores = b.CreateVector(scores);
  const auto merges = b.CreateVectorOfStructs(def.merges);
  const auto added = WriteAll<TokenizerDef::Added, schema::AddedToken>(
      b, def.added_tokens, [&](const TokenizerDef::Added& t) {
        return schema::CreateAddedToken(b, t.id, b.CreateString(t.content), t.control, t.special,
                                        t.left_strip, t.right_strip, t.single_word, t.normalized);
      });
  const auto normalizer = WriteAll<TokenizerDef::NormalizerStep, schema::NormalizerStep>(
      b, def.normalizer, [&](const TokenizerDef::NormalizerStep& s) {
        return schema::CreateNormalizerStep(b, s.kind, b.CreateString(s.pattern),
                                            b.CreateString(s.content), s.left, s.right);
      });
  const auto pre_tokenizer = WriteAll<TokenizerDef::PreTokenizerStep, schema::PreTokenizerStep>(
      b, def.pre_tokenizer, [&](const TokenizerDef::PreTokenizerStep& s) {
        return schema::CreatePreTokenizerStep(b, s.kind, b.CreateString(s.pattern), s.behavior,
                                              s.invert, b.CreateString(s.content), s.prepend,
                                              s.split);
      });
  const auto replacements = WriteAll<TokenizerDef::Replacement, schema::TokenReplacement>(
      b, def.decoder_replacements, [&](const TokenizerDef::Replacement& r) {
        return schema::CreateTokenReplacement(b, b.CreateString(r.pattern),
                                              b.CreateString(r.content));
      });
  const auto decoder =
      schema::CreateTokenDecoder(b, replacements, b.CreateString(def.decoder_first_token_drop),
                                 def.decoder_strip_left, b.CreateString(def.decoder_strip_char));
  const auto prefix_ids = b.CreateVector(def.prefix_ids);
  const auto suffix_ids = b.CreateVector(def.suffix_ids);
  const auto eos_ids = b.CreateVector(def.eos_ids);
  const auto templates = WriteAll<TokenizerDef::ChatTemplate, schema::ChatTemplateSource>(
      b, def.chat_templates, [&](const TokenizerDef::ChatTemplate& t) {
        return schema::CreateChatTemplateSource(b, b.CreateString(t.name),
                                                b.CreateString(t.source));
      });
  schema::FinishTokenizerBuffer(
      b,
      schema::CreateTokenizer(b, def.kind, token_bytes, token_ends, token_classes, token_scores,
                              merges, added, normalizer, pre_tokenizer, decoder, prefix_ids,
                              suffix_ids, def.bos_id, def.pad_id, def.unknown_id, eos_ids,
                              def.byte_fallback, def.fuse_unknown, def.ignore_merges, templates));
  return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
}

}  // namespace fathom::tokenizer
