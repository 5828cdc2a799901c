"""A trained model on the test split: loss, and exact match and F1 of the answers it writes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from bench.errors import UserError
from bench.hf import randomness
from bench.hf.arguments import training_arguments
from bench.hf.checkpoint import config_of, load_weights
from bench.hf.clock import PhaseClock
from bench.hf.collate import Collator, left_padded
from bench.hf.effective import effective_task
from bench.hf.model import to_train
from bench.hf.moments import write_weights
from bench.hf.prepared import Prepared, prepare
from bench.hf.quiet import quiet
from bench.hf.sparing import absent
from bench.squad_score import score
from bench.training import FinalResult, TrainingTask


def score_final(task: TrainingTask, checkpoint: Path) -> FinalResult:
    """Scores a checkpoint once on the test split: restoring counts as restore, loss and generation as eval.

    Always without DeepSpeed, whose checkpoints here are as any other's. Raises UserError where the checkpoint cannot be
    read.
    """
    clock = PhaseClock()
    config = config_of(checkpoint)
    task = effective_task(task, config)
    with quiet(), randomness.restored(), absent("deepspeed"):
        prepared = prepare(task)
        clock.enter("restore")
        model = to_train(prepared.model, task, config)
        try:
            write_weights(model, load_weights(checkpoint))
        except OSError as error:
            raise UserError(f"Cannot read the checkpoint {checkpoint} ({error}): score another one.") from None
        clock.enter("eval")
        test_loss = _loss(task, prepared, model)
        predictions = _answers(task, prepared, model)
    exact, overlap = score(predictions, prepared.answers)
    return FinalResult(
        test_loss=test_loss,
        exact_match=exact,
        f1=overlap,
        examples=len(prepared.test),
        phases=clock.take(),
    )


def _loss(task: TrainingTask, prepared: Prepared, model: Any) -> float:
    """The mean loss on the test split, in batches as in the evaluation of a trial."""
    pad_to = task.workload.max_tokens if task.recipe.padding == "max_length" else None
    unused = {"learning_rate": 1.0, "batch_size": 1, "weight_decay": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=training_arguments(task, unused, Path(folder), None),
            data_collator=Collator(prepared.tokenizer.pad_token_id, pad_to),
            eval_dataset=prepared.test,
        )
        # Not through evaluate(), which prints what it logs.
        metrics = trainer.evaluation_loop(trainer.get_eval_dataloader(), "Test", prediction_loss_only=True).metrics
    return float(metrics["eval_loss"])


def _answers(task: TrainingTask, prepared: Prepared, model: Any) -> list[str]:
    """The answers to the test prompts, written greedily from left-padded batches until the end-of-sequence token."""
    tokenizer = prepared.tokenizer
    device = torch.device(task.device)
    model.to(device).eval()
    written: list[str] = []
    size = task.workload.eval_batch_size
    for start in range(0, len(prepared.prompts), size):
        ids, mask = left_padded(prepared.prompts[start : start + size], tokenizer.pad_token_id)
        with torch.no_grad():
            output = model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=task.workload.max_new_tokens,
                do_sample=False,
                num_beams=1,
                use_cache=True,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        written += tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
    return [answer.strip() for answer in written]
