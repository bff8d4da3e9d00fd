"""Writing an ONNX graph node by node.

Graphs are written by hand, not traced: of PyTorch's exporters the newer cannot follow packed sequences and the older is
about to be removed, while in ONNX a recurrent layer is one operator that takes lengths.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.errors import MissingExtraError

OPSET = 17
IR_VERSION = 8  # what readers of OPSET know
INLINE_LIMIT = 1 << 30  # bytes of tensors in one file; protocol buffers end at 2 GiB

Dimension = str | int


def need_onnx() -> Any:
    """The module `onnx`.

    Raises:
        MissingExtraError: it, or ONNX Runtime, is not installed.
    """
    for package in ("onnxruntime", "onnx"):
        try:
            module = importlib.import_module(package)
        except ImportError:
            raise MissingExtraError(package, "onnx") from None
    return module


class Graph:
    """A graph under construction. Values go by name; `op` returns the names of what a node makes.

    Args:
        name: of the graph.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._onnx = need_onnx()
        self._nodes: list[Any] = []
        self._tensors: dict[str, NDArray[Any]] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output. An empty name leaves an optional input out; `save` checks attributes."""
        return self.ops(kind, inputs, 1, **attributes)[0]

    def ops(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """A node with several outputs."""
        number = len(self._nodes)
        names = [f"{kind.lower()}_{number}" + (f"_{i}" if i else "") for i in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), names, name=f"n{number}", **attributes))
        return names

    def tensor(self, value: Tensor | NDArray[Any] | float | Sequence[int], *, name: str = "") -> str:
        """A constant: float32, bool or, for a sequence of integers, int64."""
        if isinstance(value, Tensor):
            array: NDArray[Any] = value.detach().cpu().numpy()
        elif isinstance(value, float):
            array = np.array(value, dtype=np.float32)
        else:
            array = value if isinstance(value, np.ndarray) else np.array(value, dtype=np.int64)
        name = name or f"constant_{len(self._tensors)}"
        self._tensors[name] = np.ascontiguousarray(array) if array.ndim else array
        return name

    def matmul(self, value: str, weight: Tensor) -> str:
        """value @ weight', as a linear layer without bias has it."""
        return self.op("MatMul", value, self.tensor(weight.T))

    def linear(self, value: str, layer: torch.nn.Linear) -> str:
        """A linear layer."""
        product = self.matmul(value, layer.weight)
        return product if layer.bias is None else self.op("Add", product, self.tensor(layer.bias))

    def unsqueeze(self, value: str, axis: int) -> str:
        """One more axis."""
        return self.op("Unsqueeze", value, self.tensor([axis]))

    def squeeze(self, value: str, axis: int) -> str:
        """One axis less."""
        return self.op("Squeeze", value, self.tensor([axis]))

    def transpose(self, value: str, *axes: int) -> str:
        """Axes in another order."""
        return self.op("Transpose", value, perm=list(axes))

    def size(self, value: str, axis: int) -> str:
        """Length of one axis, a scalar."""
        return self.op("Gather", self.op("Shape", value), self.tensor(np.array(axis)))

    def count(self, size: str) -> str:
        """0, 1, ... up to a scalar size."""
        return self.op("Range", self.tensor(np.array(0)), size, self.tensor(np.array(1)))

    def input(self, name: str, kind: type[np.generic], *shape: Dimension) -> str:
        """Declare an input; named dimensions are free."""
        self._inputs.append(self._value(name, kind, shape))
        return name

    def output(self, name: str, value: str, kind: type[np.generic], *shape: Dimension) -> None:
        """Declare an output under a name of its own."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=f"n{len(self._nodes)}"))
        self._outputs.append(self._value(name, kind, shape))

    def body(self) -> Any:
        """The graph as ONNX has it, for use inside a node or a model."""
        tensors = [self._onnx.numpy_helper.from_array(array, name) for name, array in self._tensors.items()]
        return self._onnx.helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, tensors)

    def save(self, path: Path, *, inline_limit: int = INLINE_LIMIT) -> None:
        """Check the graph and write it; tensors go into `<path>.data` where they are more than `inline_limit` bytes."""
        onnx = self._onnx
        opsets = [onnx.helper.make_opsetid("", OPSET)]
        model = onnx.helper.make_model(
            self.body(), opset_imports=opsets, ir_version=IR_VERSION, producer_name="triptych"
        )
        if sum(array.nbytes for array in self._tensors.values()) > inline_limit:
            location = f"{path.name}.data"
            onnx.save_model(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location=location)
        else:
            onnx.save_model(model, path)
        onnx.checker.check_model(str(path), full_check=True)

    def _value(self, name: str, kind: type[np.generic], shape: Sequence[Dimension]) -> Any:
        element = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return self._onnx.helper.make_tensor_value_info(name, element, list(shape))
