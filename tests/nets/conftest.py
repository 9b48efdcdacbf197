"""Weights and comparisons for the tests of the nets."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from reference import TAG, Arrays, Load


@pytest.fixture(scope="session")
def recipe(shared: Path) -> ModuleType:
    """The module that makes the seeded weights behind the reference outputs."""
    spec = importlib.util.spec_from_file_location("recipe", shared / "goldens" / "singlehdr" / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load(goldens: Path) -> Load:
    """Read one reference file."""

    def read(name: str) -> Arrays:
        with np.load(goldens / f"{name}.npz") as file:
            return dict(file)

    return read


@pytest.fixture(scope="session")
def hal_variables(load: Load, recipe: ModuleType) -> Arrays:
    """The seeded weights of the hallucination net, by TF1 name."""
    names = json.loads(str(load("hal_forward")["var_list_json"]))
    return {name: recipe.make(TAG, name, shape) for name, shape in names}
