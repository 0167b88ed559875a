# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# DeepSeek-V3 (latent attention, noaux_tc routing) as one batched module that trains fast on a CPU.
"""The same arithmetic as transformers' DeepseekV3ForCausalLM, with every expert's tokens gathered
into one matrix product. `published_tensors` gives the weights under their published names."""

import torch
from torch import nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


def rotate(x, cos, sin):
    """RoPE on the pairs (j, j + half): faster here than the published order, see `interleaved`."""
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


def interleaved(weight, rows):
    """Put the last `rows` of every head's rows into the published order of pairs (2j, 2j + 1)."""
    low, high = weight[..., -rows:, :].chunk(2, dim=-2)
    pairs = torch.stack((low, high), dim=-2).flatten(-3, -2)
    return torch.cat((weight[..., :-rows, :], pairs), dim=-2)


class GatherRows(torch.autograd.Function):
    """input[forth], where `back[i]` lists the output rows that came from input row i.

    The gradient is then a gather too, instead of a scatter with conflicts. Out-of-range indices
    (== number of rows) stand for a row of zeros.
    """

    @staticmethod
    def forward(ctx, rows, forth, back):
        ctx.save_for_backward(back)
        return F.pad(rows, (0, 0, 0, 1))[forth]

    @staticmethod
    def backward(ctx, gradient):
        (back,) = ctx.saved_tensors
        gathered = F.pad(gradient.flatten(0, -2), (0, 0, 0, 1))[back]
        return gathered if back.dim() == 1 else gathered.sum(1), None, None


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.rank = c["num_attention_heads"], c["kv_lora_rank"]
        self.nope, self.rope = c["qk_nope_head_dim"], c["qk_rope_head_dim"]
        self.value = c["v_head_dim"]
        hidden, eps = c["hidden_size"], c["rms_norm_eps"]
        head = self.nope + self.rope
        self.q_a_proj = nn.Linear(hidden, c["q_lora_rank"], bias=False)
        self.q_a_layernorm = RMSNorm(c["q_lora_rank"], 1e-6)
        self.q_b_proj = nn.Linear(c["q_lora_rank"], self.heads * head, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(hidden, self.rank + self.rope, bias=False)
        self.kv_a_layernorm = RMSNorm(self.rank, eps)
        self.kv_b_proj = nn.Linear(self.rank, self.heads * (self.nope + self.value), bias=False)
        self.o_proj = nn.Linear(self.heads * self.value, hidden, bias=False)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        q = q.view(batch, length, self.heads, -1).transpose(1, 2)
        q_nope, q_rope = q.split([self.nope, self.rope], dim=-1)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split([self.rank, self.rope], dim=-1)
        kv = self.kv_b_proj(self.kv_a_layernorm(latent))
        kv = kv.view(batch, length, self.heads, -1).transpose(1, 2)
        k_nope, value = kv.split([self.nope, self.value], dim=-1)
        k_rope = rotate(k_rope, cos, sin)[:, None].expand(-1, self.heads, -1, -1)
        query = torch.cat((q_nope, rotate(q_rope, cos, sin)), dim=-1)
        key = torch.cat((k_nope, k_rope), dim=-1)
        if length <= 256:
            # Short windows: plain products, whose gradient is cheaper than the fused kernel's.
            later = torch.ones(length, length, dtype=torch.bool).triu(1)
            score = torch.matmul(query, key.transpose(2, 3)) * query.shape[-1] ** -0.5
            weight = score.masked_fill(later, float("-inf")).softmax(-1, dtype=torch.float32)
            mixed = torch.matmul(weight.to(value.dtype), value)
        else:
            # The fused CPU kernel wants values as wide as keys; the padding is dropped again.
            padded = F.pad(value, (0, key.shape[-1] - self.value))
            mixed = F.scaled_dot_product_attention(query, key, padded, is_causal=True)
        mixed = mixed[..., : self.value].transpose(1, 2).reshape(batch, length, -1)
        return self.o_proj(mixed)


class MLP(nn.Module):
    def __init__(self, hidden, intermediate):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, intermediate, bias=False)
        self.up_proj = nn.Linear(hidden, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Router(nn.Module):
    """noaux_tc: sigmoid scores; the bias takes part in the choice but not in the weights."""

    def __init__(self, c):
        super().__init__()
        self.experts, self.top_k = c["n_routed_experts"], c["num_experts_per_tok"]
        self.groups, self.kept_groups = c["n_group"], c["topk_group"]
        self.scale = c["routed_scaling_factor"]
        self.weight = nn.Parameter(torch.empty(self.experts, c["hidden_size"]))
        self.register_buffer("e_score_correction_bias", torch.zeros(self.experts))

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            scores = F.linear(x.float(), self.weight.float()).sigmoid()
        with torch.no_grad():
            choice = (scores + self.e_score_correction_bias).view(len(x), self.groups, -1)
            best = choice.topk(2, dim=-1).values.sum(-1).topk(self.kept_groups, dim=-1).indices
            mask = torch.ones(choice.shape[:2], dtype=torch.bool).scatter_(1, best, False)
            choice = choice.masked_fill(mask[..., None], float("-inf")).flatten(1)
            chosen = choice.topk(self.top_k, dim=-1).indices
        weights = scores.gather(1, chosen)
        return chosen, weights / (weights.sum(-1, keepdim=True) + 1e-20) * self.scale

    @torch.no_grad()
    def balance(self, load, rate):
        """The aux-loss-free rule: raise the bias of underloaded experts, lower the others'."""
        self.e_score_correction_bias += rate * torch.sign(load.mean() - load)


class MoE(nn.Module):
    SPARE = 1.5  # room of an expert in training, in mean loads

    def __init__(self, c):
        super().__init__()
        hidden, inner = c["hidden_size"], c["moe_intermediate_size"]
        self.gate = Router(c)
        self.gate_up = nn.Parameter(torch.empty(c["n_routed_experts"], 2 * inner, hidden))
        self.down = nn.Parameter(torch.empty(c["n_routed_experts"], hidden, inner))
        self.shared_experts = MLP(hidden, c["n_shared_experts"] * inner)

    def forward(self, x, loads):
        # Each expert's tokens go into a block of fixed size, as fixed shapes are much faster than
        # ragged ones. In training what does not fit is left out: rare once the load is balanced.
        flat = x.flatten(0, 1)
        chosen, weights = self.gate(flat)
        experts, total = len(self.down), chosen.numel()
        hits = F.one_hot(chosen.flatten(), experts)
        loads.append(hits.sum(0).float())
        room = int(total / experts * self.SPARE) if self.training else int(loads[-1].max())
        rank = ((hits.cumsum(0) - 1) * hits).sum(1)
        place = torch.where(rank < room, chosen.flatten() * room + rank, experts * room)
        slot = torch.full((experts * room + 1,), total)
        slot = slot.scatter(0, place, torch.arange(total))[:-1]
        place = place.view(chosen.shape)
        block = GatherRows.apply(flat, slot // chosen.shape[1], place).view(experts, room, -1)
        gate, up = torch.bmm(block, self.gate_up.transpose(1, 2)).chunk(2, dim=-1)
        out = torch.bmm(F.silu(gate) * up, self.down.transpose(1, 2)).flatten(0, 1)
        picked = GatherRows.apply(out, place, slot)
        routed = (picked * weights[..., None].to(picked.dtype)).sum(1)
        return routed.view(x.shape) + self.shared_experts(x)


class Layer(nn.Module):
    def __init__(self, c, index):
        super().__init__()
        dense = index < c["first_k_dense_replace"]
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = MLP(c["hidden_size"], c["intermediate_size"]) if dense else MoE(c)

    def forward(self, x, cos, sin, loads):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        normed = self.post_attention_layernorm(x)
        return x + (self.mlp(normed, loads) if isinstance(self.mlp, MoE) else self.mlp(normed))


class Model(nn.Module):
    """Token ids [batch, length] -> logits [batch, length, vocabulary] and loads [layer, expert]."""

    def __init__(self, c):
        super().__init__()
        self.config = c
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c, i) for i in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.lm_head = nn.Linear(c["hidden_size"], c["vocab_size"], bias=False)
        size = c["qk_rope_head_dim"]
        frequency = c["rope_theta"] ** (-torch.arange(0, size, 2, dtype=torch.float32) / size)
        angles = torch.arange(c["max_position_embeddings"])[:, None] * frequency
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        residual = (2 * c["num_hidden_layers"]) ** -0.5
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                into_residual = name.endswith(("o_proj.weight", "down_proj.weight", ".down"))
                nn.init.normal_(weight, std=0.02 * (residual if into_residual else 1.0))

    def forward(self, tokens):
        length = tokens.shape[1]
        x, loads = self.embed_tokens(tokens), []
        for layer in self.layers:
            x = layer(x, self.cos[:length], self.sin[:length], loads)
        return self.lm_head(self.norm(x)), torch.stack(loads)

    def routers(self):
        return [layer.mlp.gate for layer in self.layers if isinstance(layer.mlp, MoE)]


def published_tensors(model):
    """{published name: tensor}: bf16, but the routing bias stays float32 as DeepSeek ships it."""
    tensors = {}
    config = model.config
    for name, value in model.state_dict().items():
        if name.endswith("q_b_proj.weight"):
            heads = value.view(config["num_attention_heads"], -1, value.shape[1])
            value = interleaved(heads, config["qk_rope_head_dim"]).flatten(0, 1)
        elif name.endswith("kv_a_proj_with_mqa.weight"):
            value = interleaved(value, config["qk_rope_head_dim"])
        prefix = name if name.startswith("lm_head") else f"model.{name}"
        if name.endswith("mlp.gate_up"):
            for expert, weight in enumerate(value):
                gate, up = weight.chunk(2)
                base = f"{prefix[: -len('gate_up')]}experts.{expert}"
                tensors[f"{base}.gate_proj.weight"], tensors[f"{base}.up_proj.weight"] = gate, up
        elif name.endswith("mlp.down"):
            for expert, weight in enumerate(value):
                tensors[f"{prefix[: -len('down')]}experts.{expert}.down_proj.weight"] = weight
        else:
            tensors[prefix] = value
    return {
        name: value.float() if name.endswith("bias") else value.to(torch.bfloat16)
        for name, value in ((n, v.contiguous().clone()) for n, v in sorted(tensors.items()))
    }
