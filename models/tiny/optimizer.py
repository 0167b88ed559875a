# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Muon for the matrices inside the layers, AdamW for everything else.
"""Muon replaces the momentum of a matrix by the nearest orthogonal one and needs fewer tokens than
AdamW. Matrices of one shape, such as all experts', are orthogonalised in one batch."""

import collections
import concurrent.futures

import torch


@torch.no_grad()
def orthogonalise(batch):
    """Newton-Schulz iterations that push every singular value of each [m, n] matrix towards 1."""
    tall = batch.shape[1] > batch.shape[2]
    x = (batch.transpose(1, 2) if tall else batch).to(torch.bfloat16)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = torch.bmm(x, x.transpose(1, 2))
        x = 3.4445 * x + torch.bmm(-4.7750 * gram + 2.0315 * torch.bmm(gram, gram), x)
    return (x.transpose(1, 2) if tall else x).to(batch.dtype)


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.0, workers=1):
        self.workers = workers
        self.pool = concurrent.futures.ThreadPoolExecutor(workers)
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            same_shape = collections.defaultdict(list)
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(state["momentum"], group["momentum"])
                same_shape[parameter.shape[-2:]].append((parameter, ahead))
            for (rows, columns), members in same_shape.items():
                stacked = torch.cat([ahead.view(-1, rows, columns) for _, ahead in members])
                updates = torch.cat(list(self.pool.map(orthogonalise, stacked.chunk(self.workers))))
                updates *= max(1.0, rows / columns) ** 0.5
                counts = [p.numel() // (rows * columns) for p, _ in members]
                for (parameter, _), update in zip(members, updates.split(counts)):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update.view_as(parameter), alpha=-group["lr"])


class Pair:
    """The two optimizers as one; `scale` multiplies both learning rates."""

    def __init__(self, model, muon_rate, adam_rate, weight_decay, workers):
        inside, others = [], []
        for name, parameter in model.named_parameters():
            matrix = parameter.dim() > 1 and name.startswith("layers.")
            (inside if matrix and "gate.weight" not in name else others).append(parameter)
        self.parts = [
            (Muon(inside, muon_rate, weight_decay=weight_decay, workers=workers), muon_rate),
            (torch.optim.AdamW(others, adam_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
             adam_rate),
        ]

    def step(self, scale):
        for optimizer, rate in self.parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
            optimizer.step()

    def state_dict(self):
        return [optimizer.state_dict() for optimizer, _ in self.parts]

    def load_state_dict(self, states):
        for (optimizer, _), state in zip(self.parts, states, strict=True):
            optimizer.load_state_dict(state)
