"""``hdrlab.train`` with batch norm on its running averages, where ranks would differ by their own batches."""

from __future__ import annotations

from typing import Any

from torch import nn

from hdrlab.nets.layers import BiasedBatchNorm2d
from hdrlab.train import COMMAND


def freeze(cls: Any) -> None:
    plain = cls.forward

    def frozen(self: Any, x: Any) -> Any:
        self.training = False
        return plain(self, x)

    cls.forward = frozen


if __name__ == "__main__":
    freeze(nn.BatchNorm2d)
    freeze(BiasedBatchNorm2d)
    COMMAND.main()
