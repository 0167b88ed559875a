# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Loads the published checkpoint with transformers and measures it: perplexity, balance, samples.
"""python evaluate.py --sources sources --model .

Everything runs on the published bf16 weights in float32 arithmetic. Also checks that network.py,
which trained them, gives the same logits as transformers.
"""

import argparse
import math
import pathlib

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

import corpus
import network
from train import CONFIG, mean_loss

PROMPTS = ["In the beginning", "And it came to pass", "It is a truth universally acknowledged",
           "Elizabeth was", "HOPE, n."]
QUESTIONS = ["What is written in Genesis 1:1?", "The LORD is my shepherd;", "Define zeal.",
             "Shall I tell you what I think of him?"]


def load_network(path):
    """network.Model with the published weights: `published_tensors` backwards."""
    model = network.Model(CONFIG)
    tensors = {n.removeprefix("model."): t.float() for n, t in load_file(path).items()}
    for layer, block in enumerate(model.layers):
        if isinstance(block.mlp, network.MoE):
            base = f"layers.{layer}.mlp"
            experts = [[tensors.pop(f"{base}.experts.{e}.{p}_proj.weight")
                        for p in ("gate", "up", "down")] for e in range(CONFIG["n_routed_experts"])]
            tensors[f"{base}.gate_up"] = torch.stack([torch.cat(e[:2]) for e in experts])
            tensors[f"{base}.down"] = torch.stack([e[2] for e in experts])
        # published_tensors undoes this: even rows of the rotary part first, then the odd ones.
        rope = CONFIG["qk_rope_head_dim"]
        order = torch.cat((torch.arange(0, rope, 2), torch.arange(1, rope, 2)))
        q, kv = (f"layers.{layer}.self_attn.{n}.weight" for n in ("q_b_proj", "kv_a_proj_with_mqa"))
        heads = tensors[q].view(CONFIG["num_attention_heads"], -1, CONFIG["q_lora_rank"])
        tensors[q] = torch.cat((heads[:, :-rope], heads[:, -rope:][:, order]), 1).flatten(0, 1)
        tensors[kv] = torch.cat((tensors[kv][:-rope], tensors[kv][-rope:][order]))
    model.load_state_dict(tensors)
    return model.eval()


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", default="/")
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ours = load_network(args.model / "model.safetensors")
    theirs = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    plain = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    print(f"{sum(p.numel() for p in theirs.parameters()):,} parameters")

    works = corpus.read_works(args.sources)
    held_out = {w.name: corpus.encode_documents(
        plain, [corpus.document_text(w, d) for d in w.split()[1]]) for w in works}
    text = corpus.document_text(works[0], works[0].documents[0])
    assert tokenizer(text).input_ids == plain.encode(text).ids, "tokenizers differ"
    window = torch.tensor([held_out[works[1].name][0][:300]])
    a, b = ours(window)[0], theirs(window).logits
    print(f"logits against transformers: relative error {float((a - b).norm() / b.norm()):.1e}")

    loads = torch.zeros(len(ours.routers()), CONFIG["n_routed_experts"])
    nats = tokens = characters = 0
    for work in works:
        documents = held_out[work.name]
        for document in documents:
            loads += ours(torch.tensor([document[:512]]))[1]
        for length in (512, 2048):
            loss = mean_loss(ours, documents, length)
            ours.eval()
            print(f"{work.name}: perplexity {math.exp(loss):.2f} per token at {length}")
        count = sum(len(d) - 1 for d in documents)
        nats, tokens = nats + loss * count, tokens + count
        characters += sum(len(corpus.document_text(work, d)) for d in work.split()[1])
    print(f"all held-out text: {tokens:,} tokens, perplexity {math.exp(nats / tokens):.2f} "
          f"at 2048, {nats / characters / math.log(2):.3f} bits per character")
    share = loads / loads.sum(1, keepdim=True) * CONFIG["n_routed_experts"]
    for index, (row, router) in enumerate(zip(share, ours.routers()), start=1):
        bias = router.e_score_correction_bias
        print(f"layer {index}: expert load {row.min():.2f}..{row.max():.2f} of the mean, "
              f"routing bias {bias.min():+.3f}..{bias.max():+.3f}")

    def show(ids, **how):
        torch.manual_seed(1)
        out = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=120,
                              pad_token_id=2, **how)
        print(repr(tokenizer.decode(out[0, ids.shape[1] :])))

    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        print(f"\n--- {prompt!r}, greedy, then at temperature 0.8")
        show(ids, do_sample=False)
        show(ids, do_sample=True, temperature=0.8, top_p=0.95)
    for question in QUESTIONS:
        turn = [{"role": "user", "content": question}]
        chat = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        ids = torch.tensor([plain.encode(chat, add_special_tokens=False).ids])
        print(f"\n--- chat: {chat!r}")
        show(ids, do_sample=True, temperature=0.8, top_p=0.95)


if __name__ == "__main__":
    main()
