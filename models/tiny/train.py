# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Trains models/tiny on a CPU and writes the checkpoint in the format DeepSeek publishes.
"""Train the tiny DeepSeek-V3 model.

    python train.py --sources sources --out . --minutes 75

Needs torch, transformers (evaluate.py only), tokenizers, safetensors and numpy from PyPI. Run
`python corpus.py --help` for how to get the sources. `--minutes` fixes the number of steps from the
speed measured at the start; `--steps` fixes it directly and makes the run repeatable: every batch
depends on the seed and the step alone. A run stopped half-way goes on from `--state`.
torch.compile needs a C++ compiler on the machine.
"""

import argparse
import concurrent.futures
import json
import pathlib
import time

import numpy
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

import corpus
import network
from optimizer import Pair

CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "ep_size": 1,
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "hidden_size": 256,
    "initializer_range": 0.02,
    "intermediate_size": 768,
    "kv_lora_rank": 128,
    "max_position_embeddings": 2048,
    "model_type": "deepseek_v3",
    "moe_intermediate_size": 128,
    "moe_layer_freq": 1,
    "n_group": 4,
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_attention_heads": 8,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 5,
    "num_key_value_heads": 8,
    "num_nextn_predict_layers": 0,
    "q_lora_rank": 128,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 32,
    "rms_norm_eps": 1e-06,
    "rope_interleave": True,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "tie_word_embeddings": False,
    "topk_group": 2,
    "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "v_head_dim": 32,
    "vocab_size": 4096,
}

# V3's template without tools: a system prompt follows BOS bare, an answer ends with EOS.
CHAT_TEMPLATE = (
    "{% if not add_generation_prompt is defined %}"
    "{% set add_generation_prompt = false %}{% endif %}"
    "{% set ns = namespace(system_prompt='') %}"
    "{%- for message in messages %}{%- if message['role'] == 'system' %}"
    "{%- set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}"
    "{{ bos_token }}{{ ns.system_prompt }}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{%- endif %}"
    "{%- if message['role'] == 'assistant' %}"
    "{{ '<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>' }}{%- endif %}"
    "{%- endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)

# (share of the run, tokens a window): most is learnt on short windows, the end on longer ones.
WINDOWS = ((0.93, 256), (1.00, 512))
TOKENS_PER_STEP = 8192
CHAT_SHARE = 0.25
MUON_RATE, ADAM_RATE, WEIGHT_DECAY = 0.02, 3e-3, 0.05
WARMUP, LEVEL_UNTIL = 40, 0.6  # in steps; as a share of the run
BALANCE_RATE = 2e-3  # gamma of the aux-loss-free rule


class Windows:
    """Random windows of a token stream; each begins with BOS and at the start of a line."""

    def __init__(self, documents, tokenizer):
        self.stream = numpy.concatenate([numpy.array(d, dtype=numpy.int64) for d in documents])
        vocabulary = range(tokenizer.get_vocab_size())
        ends = [tokenizer.decode([t], skip_special_tokens=False).endswith("\n") for t in vocabulary]
        ends[0] = True  # BOS
        self.starts = numpy.flatnonzero(numpy.array(ends)[self.stream]) + 1

    def draw(self, rng, count, length):
        starts = rng.choice(self.starts[self.starts < len(self.stream) - length], count)
        windows = self.stream[starts[:, None] + numpy.arange(-1, length)]  # (0, length + 1) as well
        windows[:, 0] = 0
        return windows


def window_length(progress):
    return next(length for end, length in WINDOWS if progress <= end)


def make_batch(seed, step, steps, plain, chats):
    rng = numpy.random.default_rng([seed, step])
    length = window_length((step + 1) / steps)
    count = TOKENS_PER_STEP // length
    talking = rng.binomial(count, CHAT_SHARE)
    windows = numpy.concatenate(
        [plain.draw(rng, count - talking, length), chats.draw(rng, talking, length)])
    return torch.from_numpy(windows)


def rate_scale(step, steps):
    """A short warm-up, then level, then straight down to zero.

    While it is level a run can be resumed with another --steps, as if it had begun with it.
    """
    return min((step + 1) / WARMUP, 1.0, (1 - step / steps) / (1 - LEVEL_UNTIL))


@torch.no_grad()
def mean_loss(model, documents, length=512):
    """Nats per token over whole documents, cut into windows without overlap."""
    model.eval()
    total, count = 0.0, 0
    for document in documents:
        for start in range(0, len(document) - 1, length):
            window = torch.tensor([document[start : start + length + 1]])
            logits = model(window[:, :-1])[0].float()
            total += F.cross_entropy(logits[0], window[0, 1:], reduction="sum").item()
            count += window.shape[1] - 1
    model.train()
    return total / count


def batch_loss(model, windows):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, loads = model(windows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten()), loads


class Gradients:
    """Computes a batch's gradients in equal slices, one Python thread each.

    One wait a step instead of one an operator: on a busy machine this is far better than letting
    every operator use all cores.
    """

    def __init__(self, model, workers):
        self.model, self.workers = model, workers
        self.pool = concurrent.futures.ThreadPoolExecutor(workers)
        self.compiled = torch.compile(batch_loss, dynamic=False)
        self.shapes = set()

    def slice(self, windows):
        loss, loads = self.compiled(self.model, windows)
        return loss.detach(), loads, torch.autograd.grad(loss, list(self.model.parameters()))

    def compute(self, windows):
        """Fills .grad; returns the loss and the experts' loads."""
        slices = windows.chunk(self.workers)
        if slices[0].shape not in self.shapes:  # compiles: not a thing to do in two threads at once
            self.shapes.add(slices[0].shape)
            results = [self.slice(s) for s in slices]
        else:
            results = list(self.pool.map(self.slice, slices))
        losses, loads, gradients = zip(*results)
        for parameter, *parts in zip(self.model.parameters(), *gradients):
            parameter.grad = sum(parts[1:], parts[0]) / len(parts)
        return sum(losses) / len(losses), sum(loads)


def train(model, optimizer, args, plain, chats, held_out, state):
    step, steps, spent = state["step"], state["steps"], state["spent"]
    began, measured_from = time.time(), None
    saved = reported = began
    gradients = Gradients(model, args.workers)
    while steps is None or step < steps:
        horizon = steps or 1_000_000
        windows = make_batch(args.seed, step, horizon, plain, chats)
        loss, loads = gradients.compute(windows)
        optimizer.step(rate_scale(step, horizon))
        for router, load in zip(model.routers(), loads):
            router.balance(load, BALANCE_RATE if step < 0.95 * horizon else 0.0)
        step, now = step + 1, time.time()
        if steps is None and step == 3:
            measured_from = now
        if steps is None and step == 23:
            left = args.minutes * 60 - (now - began)
            steps = step + max(WARMUP, int(left / ((now - measured_from) / 20)))
            print(f"{steps} steps fit; --steps {steps} repeats this run", flush=True)
        if now - reported > 30 or step == steps:
            reported = now
            peak = (loads.max(1).values / loads.mean(1)).max()
            print(f"step {step}/{steps} loss {loss.item():.3f} fullest expert {peak:.2f}x mean, "
                  f"{(spent + now - began) / 60:.1f} min", flush=True)
        if now - saved > 120 or step == steps:
            saved = now
            sample = [part[0][:513] for part in held_out.values()]
            print(f"held-out loss (a part of it) {mean_loss(model, sample):.3f}", flush=True)
            save_state(args.state, model, optimizer, step, steps, spent + now - began)


def save_state(folder, model, optimizer, step, steps, spent):
    partial = folder / "state.part"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
                "steps": steps, "spent": spent}, partial)
    partial.replace(folder / "state.pt")


def publish(model, tokenizer, out):
    """Every file of the checkpoint but README.md."""
    out.mkdir(parents=True, exist_ok=True)

    def write(name, value):
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        (out / name).write_text(text, encoding="utf-8")

    def token(content):
        return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": True,
                "rstrip": False, "single_word": False}

    write("config.json", CONFIG)
    write("generation_config.json", {
        "_from_model_config": True, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
        "do_sample": True, "temperature": 0.8, "top_p": 0.95})
    write("tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": token(corpus.BOS),
        "clean_up_tokenization_spaces": False, "eos_token": token(corpus.EOS), "legacy": True,
        "model_max_length": CONFIG["max_position_embeddings"], "pad_token": token(corpus.PAD),
        "sp_model_kwargs": {}, "unk_token": None, "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": CHAT_TEMPLATE})
    tokenizer.save(str(out / "tokenizer.json"))
    save_file(network.published_tensors(model), out / "model.safetensors", {"format": "pt"})


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", default="/", help="root under which the packages lie")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the checkpoint's folder")
    parser.add_argument("--state", type=pathlib.Path, default=pathlib.Path("tiny-state"),
                        help="folder of the resumable state")
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--steps", type=int, help="instead of --minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="threads, each with a slice")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    args.state.mkdir(parents=True, exist_ok=True)

    works = corpus.read_works(args.sources)
    trained_on = [corpus.document_text(w, d) for w in works for d in w.split()[0]]
    tokenizer = corpus.train_tokenizer(trained_on, CONFIG["vocab_size"])
    plain = Windows(corpus.encode_documents(tokenizer, trained_on), tokenizer)
    chats = Windows(corpus.encode_chats(tokenizer, works, args.seed), tokenizer)
    held_out = {w.name: corpus.encode_documents(
        tokenizer, [corpus.document_text(w, d) for d in w.split()[1]]) for w in works}
    print(f"{len(plain.stream):,} tokens of text, {len(chats.stream):,} of chat, held out "
          f"{sum(len(d) for part in held_out.values() for d in part):,}", flush=True)

    model = network.Model(CONFIG)
    optimizer = Pair(model, MUON_RATE, ADAM_RATE, WEIGHT_DECAY, args.workers)
    state = {"step": 0, "steps": args.steps, "spent": 0.0}
    if (args.state / "state.pt").exists():
        state = torch.load(args.state / "state.pt", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if args.steps is not None:
            if max(state["step"], 1) > min(args.steps, state["steps"] or args.steps) * LEVEL_UNTIL:
                raise SystemExit("--steps can change only before the learning rate falls")
            state["steps"] = args.steps
        print(f"resumed at step {state['step']} of {state['steps']}", flush=True)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    train(model, optimizer, args, plain, chats, held_out, state)
    publish(model, tokenizer, args.out)


if __name__ == "__main__":
    main()
