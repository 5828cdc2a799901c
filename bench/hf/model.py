"""The model and its tokenizer: from the hub, from a folder, or a small BLOOM made here. No code or pickle is loaded."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import AutoModelForCausalLM, AutoTokenizer, BloomConfig, BloomForCausalLM, PreTrainedTokenizerFast

from bench.errors import UserError
from bench.hf import lora
from bench.space import Config
from bench.squad import Example
from bench.training import TrainingTask

SPECIAL_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
"""BLOOM's special tokens, in the order of its ids 0 to 3."""


def source_key(task: TrainingTask) -> str:
    """What decides the tokenizer, as text: the folder's own tokenizer files by content, since folders change."""
    if task.model is not None:
        names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
        found = [task.model / name for name in names if (task.model / name).is_file()]
        return "|".join(f"{p.name}:{hashlib.sha256(p.read_bytes()).hexdigest()}" for p in found) or str(task.model)
    model = task.workload.model
    return f"{model.hub}@{model.revision}" if model.hub else f"bpe-{model.vocab_size}"


def load_tokenizer(task: TrainingTask, train: list[Example]) -> Any:
    """The pretrained tokenizer, or a byte-level BPE trained on the examples `train`."""
    if task.model is None and task.workload.model.hub is None:
        return _trained_tokenizer(train, task.workload.model.vocab_size or 1024)
    tokenizer = _pretrained(AutoTokenizer, task)
    if tokenizer.eos_token_id is None:
        raise UserError(f"The tokenizer of {_name(task)} has no end-of-sequence token: give a model that has one.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(task: TrainingTask, tokenizer: Any) -> Any:
    """The untrained model, in 32-bit floats on the CPU. Weights made here depend on `task.init_seed` alone."""
    if task.model is None and task.workload.model.bloom is not None:
        ids = {name.replace("_token", "_token_id"): getattr(tokenizer, f"{name}_id") for name in SPECIAL_TOKENS}
        ids.pop("unk_token_id")
        config = BloomConfig(**{"vocab_size": len(tokenizer), **task.workload.model.bloom}, **ids)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.init_seed)
            return BloomForCausalLM(config)
    return _pretrained(AutoModelForCausalLM, task, dtype=torch.float32, use_safetensors=True)


def model_hash(model: Any) -> str:
    """A sha256 over the names, shapes and values of the weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        digest.update(f"{name}:{tuple(weight.shape)}:{weight.dtype}".encode())
        digest.update(weight.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tokenizer_hash(tokenizer: Any) -> str:
    """A sha256 over the vocabulary and the special tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(f"{rules}{sorted(tokenizer.special_tokens_map.items())}".encode()).hexdigest()


def to_train(model: Any, task: TrainingTask, config: Config) -> Any:
    """A copy to train, with the adapters that the configuration wants: the original stays as it was for the next
    trial."""
    copied = copy.deepcopy(model)
    wanted = lora.asked(config)
    if wanted is not None:
        lora.add(copied, wanted, task.init_seed)
    return copied


def _trained_tokenizer(train: list[Example], vocab_size: int) -> Any:
    tokenizer = Tokenizer(BPE(unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (f"Question: {e.question} Context: {e.context} Answer: {e.answers[0]}" for e in train)
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL_TOKENS)


def _name(task: TrainingTask) -> str:
    return str(task.model) if task.model is not None else str(task.workload.model.hub)


def _pretrained(loader: Any, task: TrainingTask, **options: Any) -> Any:
    hub = task.workload.model
    if task.model is not None and not task.model.is_dir():
        raise UserError(f"There is no folder {task.model}: give one with a model and its tokenizer as --model DIR.")
    if task.model is not None and not (task.model / "config.json").is_file():
        raise UserError(
            f"There is no config.json in {task.model}: give a folder with config.json, model.safetensors and "
            "tokenizer.json as --model DIR."
        )
    try:
        if task.model is not None:
            return loader.from_pretrained(str(task.model), trust_remote_code=False, local_files_only=True, **options)
        return loader.from_pretrained(hub.hub, revision=hub.revision, trust_remote_code=False, **options)
    except MemoryError:
        raise
    except Exception as error:  # network, cache, format and architecture errors come in too many types to list
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        if task.model is not None:
            raise UserError(
                f"Cannot load a causal language model from {task.model} ({reason[:200]}): give a folder with "
                "config.json, model.safetensors and tokenizer.json as --model DIR."
            ) from None
        raise UserError(
            f"Cannot load {hub.hub} at revision {str(hub.revision)[:12]} from the Hugging Face hub or its cache "
            f"({reason[:200]}): connect once, or give a folder with --model DIR."
        ) from None
