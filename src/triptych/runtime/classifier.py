"""A trained image network without PyTorch: images in, class names out. Image files are decoded by Pillow."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from triptych.config import SeeDecoding
from triptych.errors import RunError
from triptych.images.classifier import Array, Classified, Classifier
from triptych.images.form import InputForm
from triptych.runtime.folder import Exported

__all__ = ["Classified", "Classifier", "GraphScorer", "SeeDecoding", "load"]


class GraphScorer:
    """Scores images by an exported graph.

    Args:
        session: of the graph.
    """

    def __init__(self, session: Any) -> None:
        self.session = session

    def __call__(self, images: Array) -> Array:
        """Float images (B, C, height, width) to scores (B, K)."""
        scores: Array = self.session.run(["scores"], {"images": images})[0]
        return scores


def load(exported: Exported, *, threads: int = 1) -> Classifier[GraphScorer]:
    """The classifier of an exported folder.

    Raises:
        RunError: its description is damaged.
        MissingExtraError: ONNX Runtime is not installed.
    """
    model, path = exported.model, exported.manifest
    try:
        form = InputForm.from_dict(model["input"], path)
        classes, decoding = model["classes"], SeeDecoding.model_validate(model["decoding"])
        if not all(isinstance(name, str) for name in classes):
            raise ValueError("classes are not names")
        session = exported.session(model["graph"], threads=threads)
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"the image model is damaged ({reason}).", hint="Export the run again.", path=path) from None
    return Classifier(GraphScorer(session), form=form, classes=classes, decoding=decoding)
