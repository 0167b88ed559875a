# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains small tokenizers in the shapes of the published ones and records how the libraries encode with them.

    pip install tokenizers sentencepiece
    python3 make_tokenizer_goldens.py         writes the folders beside this file and strings.json

Each folder has a checkpoint's tokenizer.json (and tokenizer_config.json) plus ids.json: for each string of
strings.json the ids that the `tokenizers` library gives, special tokens recognised and added. sentencepiece/
has the fields of a GGUF "llama" tokenizer in fields.json, and the ids of the `sentencepiece` library.
"""
import json
import os
import tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import mixed_strings

HERE = os.path.dirname(os.path.abspath(__file__))
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^" + "\r\n" + r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[" + "\r\n" + r"]*|\s*[" + "\r\n" + r"]+|\s+(?!\S)|\s+")
STRINGS = mixed_strings.strings(78, seed=3, sizes=(1, 2, 3, 5, 8, 12)) + [
    "<|im_start|>user\nHi<|im_end|>\n", "a<|mask|>b  <|mask|>  c", "one word oneword one", "x\u2581y \u2581z",
    " " * 40 + "deep", "\n" * 20, "9" * 40, "日本語テキスト" * 4, "Ａ１ｂ", "don't DON'T don\u2019t"]


def corpus():
    return mixed_strings.strings(1500, seed=11)


def split(pattern, behavior="isolated"):
    return pre_tokenizers.Split(Regex(pattern), behavior=behavior)


def byte_level(add_prefix_space=False, use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)


def train(tokenizer, size, special, alphabet=None):
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False,
        initial_alphabet=alphabet if alphabet is not None else pre_tokenizers.ByteLevel.alphabet()))


def gpt2_like(steps, special, normalizer=None, size=420, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, size, special)
    return tokenizer


def deepseek_v3():
    special = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
    tokenizer = gpt2_like([split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(DEEPSEEK), byte_level()], special,
                          normalizers.Sequence([]))
    tokenizer.add_tokens([AddedToken(t, normalized=True) for t in
                          ["<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", "<|EOT|>"]])
    return tokenizer, {"add_bos_token": True, "add_eos_token": False, "bos_token": {"content": special[0]},
                       "eos_token": {"content": special[1]}, "tokenizer_class": "LlamaTokenizerFast"}


def llama3():
    pattern = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
    tokenizer = gpt2_like([split(pattern), byte_level()], ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"],
                          ignore_merges=True)
    # A whole word that no merge makes: found because merges are ignored for words of the vocabulary.
    state = json.loads(tokenizer.to_str())
    for word in ["Ġthought", "Ġ世"]:
        state["model"]["vocab"].setdefault(word, len(state["model"]["vocab"]))
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)])])
    return tokenizer, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def qwen2():
    tokenizer = gpt2_like([split(QWEN), byte_level()], ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                          normalizers.NFC())
    tokenizer.add_tokens([AddedToken("<think>"), AddedToken("</think>")])
    return tokenizer, {"eos_token": "<|im_end|>", "bos_token": None}


def olmo():
    tokenizer = gpt2_like([byte_level(use_regex=True)], ["<|endoftext|>"], normalizers.NFC())
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in range(2, 8)] + [AddedToken("|||IP|||")])
    tokenizer.add_special_tokens([AddedToken("<|mask|>", lstrip=True, rstrip=True, special=True),
                                  AddedToken("oneword", single_word=True, special=True)])
    return tokenizer, {"eos_token": "<|endoftext|>"}


def smollm():
    tokenizer = gpt2_like([pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=True)],
                          ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return tokenizer, {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}


def deepseek_v2():
    letters = "A-Za-zµÀ-ÖØ-öø-ƺΆΈ-ΊΑ-ώА-я"
    tokenizer = gpt2_like([split("[\r\n]"), split(rf"\s?[{letters}]+"), split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"),
                           split("[一-龥ࠀ-一가-\ud7ff]+"), pre_tokenizers.Digits(individual_digits=True), byte_level()],
                          ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"])
    return tokenizer, {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}


def prefixed():
    """Steps that only older checkpoints use: a prefix space, contiguous digits, punctuation, other behaviours."""
    tokenizer = gpt2_like([pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Punctuation("isolated"),
                           split(r"\n", "merged_with_previous"), split(r"\t", "merged_with_next"),
                           split(r"\r", "removed"), byte_level(add_prefix_space=True, use_regex=True)],
                          ["<s>", "</s>"], normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s{3,}"), "  ")]))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=False)
    return tokenizer, {}


def mixtral(metaspace=False):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    common = sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,'\"-(){}=<>_\n▁的一是é"))
    tokenizer.train_from_iterator((t.replace(" ", "▁") for t in corpus()), trainers.BpeTrainer(
        vocab_size=520, special_tokens=special, initial_alphabet=common, limit_alphabet=len(common),
        max_token_length=8, show_progress=False))
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = state["added_tokens"][:3]
    if metaspace:
        state["decoder"] = {"type": "Sequence", "decoders": [
            {"type": "ByteFallback"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}]}
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def write(name, content):
    os.makedirs(os.path.dirname(os.path.join(HERE, name)), exist_ok=True)
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        file.write(json.dumps(content, ensure_ascii=True, separators=(",", ":")) + "\n")


def write_tokenizer(name, tokenizer, config):
    state = json.loads(tokenizer.to_str())
    write(f"{name}/tokenizer.json", state)
    write(f"{name}/tokenizer_config.json", config)
    tokenizer = Tokenizer.from_str(json.dumps(state))
    if config.get("tokenizer_class") == "LlamaTokenizerFast":  # the class adds BOS, whatever the file says
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{config['bos_token']['content']} $A", special_tokens=[(config["bos_token"]["content"], 0)])
    ids = [tokenizer.encode(text).ids for text in STRINGS]
    text = [tokenizer.decode(each, skip_special_tokens=True) for each in ids]
    # Most texts come back as they were; only the others are recorded.
    write(f"{name}/ids.json", {"ids": ids, "decoded": {str(i): t for i, t in enumerate(text) if t != STRINGS[i]}})


def write_sentencepiece():
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/text", "w", encoding="utf-8") as file:
            file.writelines("".join(c for c in t if " " <= c <= "~" or c in "的一是é") + "\n" for t in corpus())
        sentencepiece.SentencePieceTrainer.train(
            input=f"{folder}/text", model_prefix=f"{folder}/m", model_type="bpe", vocab_size=520, byte_fallback=True,
            character_coverage=1.0, normalization_rule_name="identity", remove_extra_whitespaces=False,
            split_digits=True, allow_whitespace_only_pieces=True, minloglevel=2)
        model = sentencepiece.SentencePieceProcessor(f"{folder}/m.model")
    size = model.get_piece_size()
    kind = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1 for i in range(size)]
    write("sentencepiece/fields.json", {"tokens": [model.id_to_piece(i) for i in range(size)],
                                        "scores": [model.get_score(i) for i in range(size)], "token_types": kind})
    ids = [model.encode(text) for text in STRINGS]
    text = [model.decode(each) for each in ids]
    write("sentencepiece/ids.json", {"ids": ids, "decoded": {str(i): t for i, t in enumerate(text) if t != STRINGS[i]}})


if __name__ == "__main__":
    write("strings.json", STRINGS)
    for name, (tokenizer, config) in {
            "deepseek_v3": deepseek_v3(), "deepseek_v2": deepseek_v2(), "llama3": llama3(), "qwen2": qwen2(),
            "olmo": olmo(), "smollm": smollm(), "prefixed": prefixed(), "mixtral": mixtral(),
            "mixtral_metaspace": mixtral(metaspace=True)}.items():
        write_tokenizer(name, tokenizer, config)
    write_sentencepiece()
