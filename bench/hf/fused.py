"""Has a model compute as a recipe says: PyTorch's fused kernels in place of BLOOM's own code, and no work in vain.

What transformers has in its BLOOM is written out in elementary operations. Other architectures come with fused kernels
already: of them only the head is touched. Parameters and their names stay.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.bloom.modeling_bloom import BloomAttention, BloomGelu, BloomMLP, BloomModel, dropout_add

from bench.hf.labelled import LabelledHead
from bench.hf.rows import Rows
from bench.workload import Computation


def fuse(model: Any, computation: Computation) -> None:
    """Changes the model that is to be trained, before anything wraps it; not where all is as the model has it.

    Attention with dropout stays the model's own, and where anything has dropout no position is left out before the
    head: other random numbers would be drawn than under `qa`.
    """
    if computation == Computation():
        return
    labelled = computation.head == "labelled"
    rows = Rows(model, labelled=labelled)
    if labelled:
        LabelledHead(model, rows)
    for bloom in [module for module in model.modules() if isinstance(module, BloomModel)]:
        if computation.activation == "fused":
            _fuse_activation(bloom)
        if computation.attention == "fused" and not any(_unfit(block.self_attention) for block in bloom.h):
            leaves_out = not _has_dropout(bloom)
            _Fused(
                bloom,
                rows,
                leaves_padding_out=leaves_out and computation.tokens == "real",
                ends_labelled=leaves_out and computation.last_block == "labelled",
            )


def _fuse_activation(bloom: BloomModel) -> None:
    """PyTorch's GELU by hyperbolic tangent is BLOOM's up to the digits of its constants."""
    for module in bloom.modules():
        if isinstance(module, BloomMLP) and isinstance(module.gelu_impl, BloomGelu):
            module.gelu_impl = torch.nn.GELU(approximate="tanh")


def _unfit(attention: BloomAttention) -> bool:
    return attention.attention_dropout.p > 0 or (attention.pretraining_tp > 1 and attention.slow_but_exact)


def _has_dropout(bloom: BloomModel) -> bool:
    return bloom.config.hidden_dropout > 0 or any(m.p > 0 for m in bloom.modules() if isinstance(m, torch.nn.Dropout))


class _Fused:
    """A BLOOM's attention by `scaled_dot_product_attention`, with ALiBi and mask as one bias made once a forward.

    `leaves_padding_out`: between the embeddings and the last layer norm, tokens without padding lie end to end in one
    row; attention alone takes them apart. `ends_labelled`: behind the last attention, labelled positions go on alone.
    """

    def __init__(self, bloom: BloomModel, rows: Rows, *, leaves_padding_out: bool, ends_labelled: bool) -> None:
        self._rows = rows
        self._leaves_padding_out = leaves_padding_out
        self._ends_labelled = ends_labelled
        self._alibi: torch.Tensor | None = None
        self._bias = torch.empty(0)
        for block in bloom.h:
            attention = block.self_attention
            attention.forward = functools.partial(self._attend, attention, attention.forward, block is bloom.h[-1])
        bloom.h[0].register_forward_pre_hook(self._enter)
        bloom.ln_f.register_forward_pre_hook(self._leave)

    @property
    def _dense(self) -> bool:
        return self._leaves_padding_out and self._rows.real is not None

    @property
    def _ends(self) -> bool:
        return self._ends_labelled and self._rows.labelled is not None

    def _enter(self, block: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return (self._rows.without_padding(args[0]), *args[1:]) if self._dense else None

    def _leave(self, norm: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return (self._rows.with_padding(args[0]),) if self._dense and not self._ends else None

    def _attend(
        self,
        attention: BloomAttention,
        own: Any,
        last: bool,
        hidden_states: torch.Tensor,
        residual: torch.Tensor,
        alibi: torch.Tensor,
        attention_mask: torch.Tensor | None,
        layer_past: Any = None,
        use_cache: bool = False,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What BloomAttention.forward computes; the attention's probabilities are not to be had."""
        if layer_past is not None or output_attentions:
            written: tuple[torch.Tensor, torch.Tensor] = own(
                hidden_states, residual, alibi, attention_mask, layer_past, use_cache, output_attentions, **kwargs
            )
            return written
        mixed = attention.query_key_value(hidden_states)
        query, key, value = attention._reshape(self._rows.with_padding(mixed) if self._dense else mixed)
        bias = self._shared_bias(alibi, attention_mask, attention.num_heads, query.dtype)
        context = scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=attention.inv_norm_factor)
        context = context.transpose(1, 2).flatten(2)
        if self._dense:
            context = self._rows.without_padding(context)
        if last and self._ends:
            context, residual = (self._rows.labelled_of(values, dense=self._dense) for values in (context, residual))
        output = attention.dense(context)
        return dropout_add(output, residual, attention.hidden_dropout, attention.training), None

    def _shared_bias(
        self, alibi: torch.Tensor, mask: torch.Tensor | None, heads: int, dtype: torch.dtype
    ) -> torch.Tensor:
        """[batch, heads, queries, keys]; alibi is [batch * heads, 1, keys], mask [batch, 1, queries, keys]."""
        if self._alibi is not alibi or self._bias.dtype != dtype:
            bias = alibi.view(-1, heads, *alibi.shape[1:])
            self._alibi, self._bias = alibi, (bias if mask is None else bias + mask).to(dtype)
        return self._bias
