"""Hugging Face's GPT2LMHeadModel in PyTorch, eager. Options: see `training`.

`attention` names its implementation, `fused` says whether AdamW is PyTorch's fused one.
"""

from typing import Any

import numpy as np
import training
from contender import Document, main


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    training.use_threads(options["threads"])
    # Only now: a library makes its threads when it is imported.
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(options["threads"])
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=options["vocab"],
        n_positions=options["context"],
        n_embd=options["width"],
        n_layer=options["layers"],
        n_head=options["heads"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation="sdpa",
    )
    model = GPT2LMHeadModel(config).train()
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": training.WEIGHT_DECAY},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(
        groups,
        lr=training.LEARNING_RATE,
        betas=(training.BETA_1, training.BETA_2),
        eps=training.EPSILON,
        fused=True,
    )

    def step(inputs: np.ndarray, targets: np.ndarray) -> float:
        wanted = torch.from_numpy(targets).long()
        logits = model(input_ids=torch.from_numpy(inputs).long()).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, training.CLIP_NORM)
        optimiser.step()
        return loss.item()

    count = sum(parameter.numel() for parameter in parameters)
    return training.timed(
        options, count, "GPT2LMHeadModel, eager, sdpa attention, fused AdamW", step
    )


main(measure)
