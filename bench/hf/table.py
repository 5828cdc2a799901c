"""Examples laid out once on the device, from which batches are gathered by their numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from bench.hf.collate import Collator, positions_of, said
from bench.hf.encode import Encoded


class Table:
    """A split on `device`, padded to its longest example or to `length`: 24 bytes a token. Called with numbers of
    examples it gives what `Collator` makes of these examples, on the device."""

    def __init__(
        self,
        rows: Sequence[Encoded],
        pad_id: int,
        length: int | None,
        device: torch.device,
        *,
        says: Collection[str] = (),
    ) -> None:
        self._columns = {name: column.to(device) for name, column in Collator(pad_id, length)(rows).items()}
        self._lengths = [length or len(row["input_ids"]) for row in rows]
        self._positions = {name: [positions_of(name, row) for row in rows] for name in says}
        self._device = device

    def __call__(self, batch: Sequence[int]) -> dict[str, torch.Tensor]:
        length = max(self._lengths[n] for n in batch)
        numbers = torch.tensor(batch, device=self._device)
        tensors = {name: column[:, :length].index_select(0, numbers) for name, column in self._columns.items()}
        words = said({name: [rows[n] for n in batch] for name, rows in self._positions.items()}, length)
        return tensors | {name: positions.to(self._device) for name, positions in words.items()}
