"""Why a model predicted what it did."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.images.predictions import Classified
from triptych.report.canvas import save
from triptych.report.figures import attention_map
from triptych.report.image_figures import activation_maps as draw_activation_maps
from triptych.report.image_figures import saliency as draw_saliency
from triptych.runs.run import Run
from triptych.see import panel as see
from triptych.see.evidence import evidence
from triptych.spell import panel as spell
from triptych.text.predictions import Prediction


@dataclass(frozen=True)
class Explanation:
    """Why a speller predicted what it did.

    Attributes:
        prediction: the candidates.
        weights: attention of the best candidate over source symbols, a row per target symbol and one for the end.
        picture: the same as a picture; None without attention.
    """

    prediction: Prediction[Any]
    weights: list[list[float]] | None
    picture: Path | None


def explain(run: Run, source: str, *, n_best: int = 3, out: Path | None = None, device: str = "cpu") -> Explanation:
    """Predict one source and draw where the model looked.

    Args:
        run: a run of the panel `spell`.
        source: one source as text.
        n_best: candidates to list.
        out: folder for the picture; by default the run's figures.
        device: where the model runs.
    """
    prediction = spell.load(run, device=device).predict(source, n_best=n_best, with_attention=True)[0]
    attention = prediction.attention
    if attention is None:
        return Explanation(prediction, None, None)
    figure = attention_map(attention, prediction.source, prediction.symbols)
    saved = save(figure, out or run.figures, f"attention-{_stem(prediction.text)}")
    return Explanation(prediction, attention.tolist(), saved.png)


@dataclass(frozen=True)
class ImageExplanation:
    """What a classifier saw in an image.

    Attributes:
        classified: the most probable classes.
        layer: name of the convolution whose activations are drawn.
        explained_class: the class whose evidence is drawn.
        maps: picture of the activations beside the original.
        saliency: picture of what spoke for the class.
    """

    classified: Classified
    layer: str
    explained_class: str
    maps: Path
    saliency: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "image": self.classified.name,
            "classes": [
                {"class": name, "probability": probability}
                for name, probability in zip(self.classified.classes, self.classified.probabilities, strict=True)
            ],
            "layer": self.layer,
            "explained_class": self.explained_class,
            "activation_maps": str(self.maps),
            "saliency": str(self.saliency),
        }


def explain_image(
    run: Run,
    image: Path,
    *,
    layer: str | None = None,
    of_class: str | None = None,
    out: Path | None = None,
    device: str = "cpu",
) -> ImageExplanation:
    """Classify one image, and draw what a convolution made of it and what spoke for the class.

    Args:
        run: a run of the panel `see`.
        image: an image file.
        layer: the convolution whose activations are drawn, by name or number; the first by default.
        of_class: the class whose evidence is drawn; the predicted one by default.
        out: folder for the pictures; by default the run's figures.
        device: where the model runs.
    Raises:
        DataError: the image cannot be read.
        RecipeError: no such convolution or class.
    """
    classifier = see.load(run, device=device)
    pixels = classifier.read(image)
    found = evidence(classifier, pixels, layer=layer, of_class=of_class)
    classified, chosen = classifier.predict(image)[0], found.explained_class
    original = pixels.permute(1, 2, 0).numpy()
    heats = {
        "Grad-CAM": found.grad_cam.numpy(),
        "integrated gradients": found.integrated_gradients.numpy(),
    }
    top = list(zip(classified.classes, classified.probabilities, strict=True))
    path_digest = hashlib.sha256(os.fsencode(image.absolute())).hexdigest()[:6]  # images of several folders share names
    folder, stem = out or run.figures, f"{_stem(image.stem)}-{path_digest}"
    maps = save(
        draw_activation_maps(original, found.maps.numpy(), layer=found.layer),
        folder,
        f"activations-{stem}-{_stem(found.layer)}",
    )
    drawn = save(draw_saliency(original, heats, top, explained=chosen), folder, f"saliency-{stem}-{_stem(chosen)}")
    return ImageExplanation(classified, found.layer, chosen, maps.png, drawn.png)


def _stem(text: str) -> str:
    """A text as part of a file's name."""
    return "".join(letter if letter.isalnum() else "-" for letter in text)[:60] or "empty"
