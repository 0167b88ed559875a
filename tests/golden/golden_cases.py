# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The golden cases: published-style config.json, storage choices and seed of each checkpoint.
"""Every case is small enough to commit and odd enough to catch mistakes.

Dimensions are mixed on purpose: hidden sizes 64 to 144, widths such as 32, 48, 144, 160 and
vocabularies that are no multiple of 16, so that padding to tiles, groups and superblocks is
exercised. Head dimensions and latent ranks stay multiples of 16.
"""


def _yarn(mscale, factor=40):
    # The rope_scaling block as DeepSeek publishes it ("type", not "rope_type").
    return {
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": factor,
        "mscale": mscale,
        "mscale_all_dim": mscale,
        "original_max_position_embeddings": 4096,
        "type": "yarn",
    }


def _deepseek(version, **fields):
    """The fields that both published generations share, then those of the generation."""
    config = {
        "architectures": [f"DeepseekV{version}ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "aux_loss_alpha": 0.001,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "ep_size": 1,
        "first_k_dense_replace": 1,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 163840,
        "model_type": f"deepseek_v{version}",
        "moe_layer_freq": 1,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 10000,
        "seq_aux": True,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
    }
    if version == 2:
        config.update(scoring_func="softmax", norm_topk_prob=False)
    else:
        config.update(
            scoring_func="sigmoid",
            norm_topk_prob=True,
            topk_method="noaux_tc",
            routed_scaling_factor=2.5,
            num_nextn_predict_layers=0,
        )
    config.update(fields)
    config["num_key_value_heads"] = config["num_attention_heads"]
    return config


def _dense(architecture, model_type, **fields):
    """The fields of the Llama-shaped families (dense and mixture)."""
    config = {
        "architectures": [architecture],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 32768,
        "model_type": model_type,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
    }
    config.update(fields)
    return config


# name -> about, config, seed and, where not the default: dtype ("bf16", "f16", "f32", "fp8"),
# shards, prompt_length, rule_prompt (store the rule instead of the tokens), greedy, gains.
CASES = {
    "deepseek_v2_greedy": {
        "about": "V2-Lite: no q_lora, greedy softmax routing, two shared experts, YaRN 0.707",
        "seed": 2,
        "config": _deepseek(
            2,
            vocab_size=320,
            hidden_size=96,
            intermediate_size=160,
            moe_intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            q_lora_rank=None,
            kv_lora_rank=48,
            qk_nope_head_dim=32,
            qk_rope_head_dim=16,
            v_head_dim=32,
            n_routed_experts=8,
            n_shared_experts=2,
            num_experts_per_tok=3,
            n_group=1,
            topk_group=1,
            topk_method="greedy",
            routed_scaling_factor=1.0,
            rope_scaling=_yarn(0.707),
        ),
    },
    "deepseek_v2_group": {
        "about": "V2: q_lora, group_limited_greedy 4 groups keep 2, scaling 16, two shards",
        "seed": 28,
        "shards": 2,
        "config": _deepseek(
            2,
            vocab_size=264,
            hidden_size=96,
            intermediate_size=144,
            moe_intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            q_lora_rank=48,
            kv_lora_rank=32,
            qk_nope_head_dim=16,
            qk_rope_head_dim=16,
            v_head_dim=32,
            n_routed_experts=16,
            n_shared_experts=2,
            num_experts_per_tok=4,
            n_group=4,
            topk_group=2,
            topk_method="group_limited_greedy",
            routed_scaling_factor=16.0,
            rope_scaling=_yarn(0.707),
        ),
    },
    "deepseek_v3_plain": {
        "about": "V3 graph as Moonlight uses it: no q_lora, one group, no YaRN; float32 file",
        "seed": 6,
        "dtype": "f32",
        # Latents this small show that their norm keeps epsilon 1e-6 whatever rms_norm_eps says.
        "gains": {"latent": 0.02},
        "config": _deepseek(
            3,
            vocab_size=260,
            hidden_size=80,
            intermediate_size=144,
            moe_intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=3,
            q_lora_rank=None,
            kv_lora_rank=64,
            qk_nope_head_dim=32,
            qk_rope_head_dim=32,
            v_head_dim=16,
            n_routed_experts=6,
            n_shared_experts=1,
            num_experts_per_tok=2,
            n_group=1,
            topk_group=1,
            max_position_embeddings=8192,
            rms_norm_eps=1e-05,
            rope_theta=50000.0,
            routed_scaling_factor=2.446,
        ),
    },
    "deepseek_v3_group": {
        "about": "V3: q_lora, noaux_tc 4 groups keep 2 with bias, YaRN 1.0, two dense layers",
        "seed": 9,
        "shards": 2,
        "config": _deepseek(
            3,
            vocab_size=256,
            hidden_size=96,
            intermediate_size=144,
            moe_intermediate_size=48,
            num_hidden_layers=3,
            first_k_dense_replace=2,
            num_attention_heads=4,
            q_lora_rank=48,
            kv_lora_rank=48,
            qk_nope_head_dim=32,
            qk_rope_head_dim=16,
            v_head_dim=16,
            n_routed_experts=8,
            n_shared_experts=1,
            num_experts_per_tok=3,
            n_group=4,
            topk_group=2,
            rope_scaling=_yarn(1.0),
        ),
    },
    "deepseek_v3_long": {
        "about": "V3 past the original context: 4200 prompt tokens, then up to position 4263",
        "seed": 12,
        "prompt_length": 4200,
        "rule_prompt": True,
        "gains": {"q": 2.5},
        "config": _deepseek(
            3,
            vocab_size=256,
            hidden_size=64,
            intermediate_size=96,
            moe_intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            q_lora_rank=32,
            kv_lora_rank=32,
            qk_nope_head_dim=16,
            qk_rope_head_dim=64,
            v_head_dim=32,
            n_routed_experts=4,
            n_shared_experts=1,
            num_experts_per_tok=2,
            n_group=2,
            topk_group=1,
            rope_scaling=_yarn(1.0),
        ),
    },
    "deepseek_v3_fp8": {
        "about": "V3 as published: e4m3, 128x128 weight_scale_inv, partial blocks, MTP layer",
        "seed": 3,
        "dtype": "fp8",
        "shards": 2,
        "config": _deepseek(
            3,
            vocab_size=160,
            hidden_size=144,
            intermediate_size=160,
            moe_intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            q_lora_rank=48,
            kv_lora_rank=144,
            qk_nope_head_dim=32,
            qk_rope_head_dim=16,
            v_head_dim=48,
            n_routed_experts=4,
            n_shared_experts=1,
            num_experts_per_tok=2,
            n_group=2,
            topk_group=1,
            rope_scaling=_yarn(1.0),
            num_nextn_predict_layers=1,
            quantization_config={
                "activation_scheme": "dynamic",
                "fmt": "e4m3",
                "quant_method": "fp8",
                "weight_block_size": [128, 128],
            },
        ),
    },
    "llama_gqa": {
        "about": "Llama 3.1: GQA 4/2, llama3 rope scaling, untied head",
        "seed": 3,
        "config": _dense(
            "LlamaForCausalLM",
            "llama",
            vocab_size=256,
            hidden_size=128,
            intermediate_size=144,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            attention_bias=False,
            mlp_bias=False,
            max_position_embeddings=131072,
            rms_norm_eps=1e-05,
            rope_theta=500000.0,
            rope_scaling={
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
                "rope_type": "llama3",
            },
        ),
    },
    "llama_tied": {
        "about": "A small Llama with tied embeddings and plain RoPE; float16 file, two shards",
        "seed": 4,
        "dtype": "f16",
        "gains": {"out": 3.0},
        "shards": 2,
        "config": _dense(
            "LlamaForCausalLM",
            "llama",
            vocab_size=300,
            hidden_size=96,
            intermediate_size=160,
            num_hidden_layers=3,
            num_attention_heads=6,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            rms_norm_eps=1e-05,
            rope_theta=10000.0,
            rope_scaling=None,
            tie_word_embeddings=True,
            torch_dtype="float16",
        ),
    },
    "qwen2": {
        "about": "Qwen2.5: biases on q, k and v, GQA 4/2",
        "seed": 8,
        "config": _dense(
            "Qwen2ForCausalLM",
            "qwen2",
            vocab_size=256,
            hidden_size=128,
            intermediate_size=144,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_window_layers=2,
            sliding_window=32768,
            use_sliding_window=False,
        ),
    },
    "qwen3": {
        "about": "Qwen3: per-head q and k norms, head_dim 32 with hidden 80, tied embeddings",
        "seed": 8,
        "gains": {"out": 3.0},
        "config": _dense(
            "Qwen3ForCausalLM",
            "qwen3",
            vocab_size=320,
            hidden_size=80,
            intermediate_size=144,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            attention_bias=False,
            max_window_layers=3,
            sliding_window=None,
            use_sliding_window=False,
            rope_scaling=None,
            tie_word_embeddings=True,
        ),
    },
    "qwen3_moe": {
        "about": "Qwen3-MoE: q and k norms, softmax routing renormalised, no shared expert",
        "seed": 8,
        "config": _dense(
            "Qwen3MoeForCausalLM",
            "qwen3_moe",
            vocab_size=256,
            hidden_size=96,
            intermediate_size=192,
            moe_intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=32,
            attention_bias=False,
            decoder_sparse_step=1,
            mlp_only_layers=[],
            norm_topk_prob=True,
            num_experts=8,
            num_experts_per_tok=3,
            output_router_logits=False,
            router_aux_loss_coef=0.001,
            max_window_layers=2,
            sliding_window=None,
            use_sliding_window=False,
            rope_scaling=None,
        ),
    },
    "mixtral": {
        "about": "Mixtral: GQA 4/2, 8 experts top 2, block_sparse_moe names, two shards",
        "seed": 6,
        "shards": 2,
        "config": _dense(
            "MixtralForCausalLM",
            "mixtral",
            vocab_size=256,
            hidden_size=96,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            num_local_experts=8,
            num_experts_per_tok=2,
            output_router_logits=False,
            rms_norm_eps=1e-05,
            router_aux_loss_coef=0.02,
            sliding_window=None,
        ),
    },
    "olmoe": {
        "about": "OLMoE: full-width q and k norms, softmax routing without renormalisation",
        "seed": 6,
        "config": _dense(
            "OlmoeForCausalLM",
            "olmoe",
            vocab_size=264,
            hidden_size=96,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=6,
            attention_bias=False,
            clip_qkv=None,
            max_position_embeddings=4096,
            norm_topk_prob=False,
            num_experts=12,
            num_experts_per_tok=4,
            output_router_logits=False,
            rms_norm_eps=1e-05,
            rope_scaling=None,
            rope_theta=10000.0,
            router_aux_loss_coef=0.01,
        ),
    },
}


def tensor_shapes(config, with_mtp=True):
    """Published tensor names and shapes of a checkpoint, in file order: {name: shape}."""
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], config["hidden_size"])}
    layers = config["num_hidden_layers"]
    mtp_layers = config.get("num_nextn_predict_layers", 0) if with_mtp else 0
    for layer in range(layers + mtp_layers):
        prefix = f"model.layers.{layer}."
        attention = _mla if config["model_type"].startswith("deepseek") else _gqa
        parts = {
            **attention(config),
            **_mlp(config, layer),
            "input_layernorm.weight": (config["hidden_size"],),
            "post_attention_layernorm.weight": (config["hidden_size"],),
        }
        if layer >= layers:
            parts.update(_mtp(config))
        shapes.update({prefix + name: shape for name, shape in parts.items()})
    shapes["model.norm.weight"] = (config["hidden_size"],)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], config["hidden_size"])
    return shapes


def _mla(c):
    hidden, heads, latent = c["hidden_size"], c["num_attention_heads"], c["kv_lora_rank"]
    nope, rope, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    shapes = {}
    if c["q_lora_rank"] is None:
        shapes["self_attn.q_proj.weight"] = (heads * (nope + rope), hidden)
    else:
        shapes["self_attn.q_a_proj.weight"] = (c["q_lora_rank"], hidden)
        shapes["self_attn.q_a_layernorm.weight"] = (c["q_lora_rank"],)
        shapes["self_attn.q_b_proj.weight"] = (heads * (nope + rope), c["q_lora_rank"])
    shapes["self_attn.kv_a_proj_with_mqa.weight"] = (latent + rope, hidden)
    shapes["self_attn.kv_a_layernorm.weight"] = (latent,)
    shapes["self_attn.kv_b_proj.weight"] = (heads * (nope + value), latent)
    shapes["self_attn.o_proj.weight"] = (hidden, heads * value)
    return shapes


def _gqa(c):
    hidden, heads, kv_heads = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    head = c.get("head_dim") or hidden // heads
    shapes = {
        "self_attn.q_proj.weight": (heads * head, hidden),
        "self_attn.k_proj.weight": (kv_heads * head, hidden),
        "self_attn.v_proj.weight": (kv_heads * head, hidden),
        "self_attn.o_proj.weight": (hidden, heads * head),
    }
    if c["model_type"] == "qwen2":
        for name, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            shapes[f"self_attn.{name}_proj.bias"] = (rows * head,)
    if c["model_type"] in ("qwen3", "qwen3_moe"):
        shapes["self_attn.q_norm.weight"] = (head,)
        shapes["self_attn.k_norm.weight"] = (head,)
    if c["model_type"] == "olmoe":
        shapes["self_attn.q_norm.weight"] = (heads * head,)
        shapes["self_attn.k_norm.weight"] = (kv_heads * head,)
    return shapes


def _swiglu(prefix, hidden, width, names=("gate_proj", "up_proj", "down_proj")):
    gate, up, down = (f"{prefix}.{name}.weight" for name in names)
    return {gate: (width, hidden), up: (width, hidden), down: (hidden, width)}


def _mlp(c, layer):
    hidden, kind = c["hidden_size"], c["model_type"]
    if kind == "mixtral":
        shapes = {"block_sparse_moe.gate.weight": (c["num_local_experts"], hidden)}
        for e in range(c["num_local_experts"]):
            prefix = f"block_sparse_moe.experts.{e}"
            shapes.update(_swiglu(prefix, hidden, c["intermediate_size"], ("w1", "w3", "w2")))
        return shapes
    dense_layers = c.get("first_k_dense_replace", 0)
    experts = c.get("n_routed_experts") or c.get("num_experts") or 0
    if experts == 0 or layer < dense_layers:
        return _swiglu("mlp", hidden, c["intermediate_size"])
    # OLMoE publishes the width of an expert as intermediate_size.
    width = c.get("moe_intermediate_size", c["intermediate_size"])
    shapes = {"mlp.gate.weight": (experts, hidden)}
    if kind == "deepseek_v3":
        shapes["mlp.gate.e_score_correction_bias"] = (experts,)
    for e in range(experts):
        shapes.update(_swiglu(f"mlp.experts.{e}", hidden, width))
    if kind.startswith("deepseek"):
        shapes.update(_swiglu("mlp.shared_experts", hidden, width * c["n_shared_experts"]))
    return shapes


def _mtp(c):
    hidden, vocab = c["hidden_size"], c["vocab_size"]
    return {
        "enorm.weight": (hidden,),
        "hnorm.weight": (hidden,),
        "eh_proj.weight": (hidden, 2 * hidden),
        "embed_tokens.weight": (vocab, hidden),
        "shared_head.norm.weight": (hidden,),
        "shared_head.head.weight": (vocab, hidden),
    }
