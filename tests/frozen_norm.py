"""``hdrlab.train`` with batch norm on its running averages, where ranks would differ by their own batches."""

from __future__ import annotations

from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from hdrlab.train import COMMAND

if __name__ == "__main__":
    plain = _BatchNorm.train

    def frozen(self: Any, mode: bool = True) -> Any:
        return plain(self, False)

    _BatchNorm.train = frozen  # type: ignore[method-assign]
    COMMAND.main()
