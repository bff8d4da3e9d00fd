"""Learning curves, read back from matplotlib's own objects."""

from __future__ import annotations

import numpy as np

from tests.report.test_image_figures import words
from triptych.report.curves import learning_curves


def test_learning_curves_draw_every_training() -> None:
    histories = {
        "learning_rate=0.01": [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}],
        "learning_rate=0.1": [{"epoch": 1, "loss": float("nan")}],
    }
    figure = learning_curves(histories, key="loss", label="training loss")
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[1, 2.0], [2, 1.0]])
    assert len(axes.lines) == 2
    assert axes.get_ylabel() == "training loss"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(histories)
    assert "nothing to draw" in words(learning_curves({}, key="loss"))
