"""What is drawn, read back from the figures; that nothing overlaps or is cut off; and that bytes repeat."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from triptych.errors import DataError, ShapeError, TriptychError
from triptych.report import canvas
from triptych.report.canvas import figure_bytes, house_style, new_figure, save, symbol_label
from triptych.report.figures import attention_map, compare_curves, confusion_bars, curves, error_by_length
from triptych.report.search import search_picture
from triptych.statistics import Estimate, Interval


def history(epochs: int, best: int = 5) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "validation_cer": 0.2 + 0.01 * abs(epoch - best), "training_loss": 2 / epoch}
        for epoch in range(1, epochs + 1)
    ]


def estimate(value: float, half: float = 0.02) -> Estimate:
    return Estimate(value, Interval(value - half, value + 2 * half, 0.9))


def spread(rows: int, columns: int) -> Any:
    weights = np.random.default_rng(0).random((rows, columns))
    return weights / weights.sum(axis=1, keepdims=True)


def texts(figure: Figure) -> list[str]:
    """All words in a figure."""
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]


def xy(line: Any) -> tuple[list[float], list[float]]:
    return list(line.get_xdata()), list(line.get_ydata())


def trial(value: float | None, state: str = "complete", **params: Any) -> dict[str, Any]:
    return {"params": params, "value": value, "state": state}


KEYS: dict[str, Any] = {"metric": "validation_cer", "loss": "training_loss"}
TRIALS = [trial(0.1 * k, lr=10.0**-k, hidden=64 * k, kind=f"kind{k % 3}") for k in range(1, 7)] + [
    trial(0.05, "PRUNED", lr=0.5, hidden=100, kind="kind0"),
    trial(None, "failed", lr=0.2, hidden=70, kind="kind1"),
]
PICTURES: dict[str, Callable[[], Figure]] = {
    "curves": lambda: curves(history(20), **KEYS),
    "curves of three": lambda: curves(history(20), **KEYS, also={"validation_cer": "validation CER"}),
    "compare": lambda: compare_curves({f"a run with a long name, number {k}": history(9, k) for k in range(9)}, **KEYS),
    "compare one number": lambda: compare_curves(
        {f"training.learning_rate=0.{k}": history(9, k) for k in range(9)}, metric="validation_cer"
    ),
    "attention": lambda: attention_map(spread(5, 6), ["t͡ʃ", "iː", "ɑ̃", " ", "AH0", "$"], list("abcd")),
    "attention long": lambda: attention_map(spread(61, 55), ["a"] * 55, ["b"] * 60),
    "attention wide names": lambda: attention_map(spread(3, 3), ["voiceless", "b", "c"], ["affricate", "e", "f"]),
    "search": lambda: search_picture(TRIALS, value_label="validation CER"),
    "length": lambda: error_by_length(
        [(f"{k}-{k + 4}", estimate(0.1 * k), 12_345) for k in range(1, 9)], measure="CER"
    ),
    "confusions": lambda: confusion_bars([("ə", "t͡ʃ", 99), ("h", "", 50), ("", "e", 9)] * 9),
    "one confusion": lambda: confusion_bars([("ə", "ɪ", 99)]),
    "search of few values": lambda: search_picture(
        [trial(0.1 * k, lr=lr) for k, lr in enumerate((0.0123, 0.01234, 0.01312, 0.0871))], value_label="validation CER"
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_no_words_are_cut_off_or_run_into_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Text] = []
    draw = Text.draw

    def watched_draw(text: Text, renderer: Any) -> None:
        drawn.append(text)
        draw(text, renderer)

    figure = PICTURES[name]()
    page = figure.bbox
    canvas: Any = FigureCanvasAgg(figure)
    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", watched_draw)
        canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in dict.fromkeys(drawn)
        if text.get_visible() and text.get_text().strip()
    ]
    assert len(boxes) > 5
    for words, box in boxes:
        assert box.x0 >= -1, words
        assert box.x1 <= page.x1 + 1, words
        assert box.y0 >= -1, words
        assert box.y1 <= page.y1 + 1, words
    for place, (words, box) in enumerate(boxes):
        for other_words, other in boxes[:place]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            down = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 1 or down <= 3, (words, other_words)


@pytest.mark.parametrize("name", ["attention", "search", "confusions"])
def test_the_same_figure_is_the_same_bytes_without_dates(name: str, tmp_path: Path) -> None:
    first, second = save(PICTURES[name](), tmp_path, "first"), save(PICTURES[name](), tmp_path / "new", "second")
    assert first.png.read_bytes() == second.png.read_bytes()
    assert first.svg.read_bytes() == second.svg.read_bytes()
    assert first.png.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in first.svg.read_bytes()
    assert b"date>" not in first.svg.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.png", "first.svg", "new"]


def test_figures_are_drawn_at_twice_the_usual_resolution(tmp_path: Path) -> None:
    png = save(curves([], **KEYS), tmp_path, "a").png.read_bytes()
    assert int.from_bytes(png[16:20], "big") == 9 * 200


def test_a_name_with_a_folder_is_refused(tmp_path: Path) -> None:
    for name in ("../a", "", "a/b"):
        with pytest.raises(TriptychError) as caught:
            save(curves([], **KEYS), tmp_path, name)
        assert (caught.value.field, caught.value.value) == ("name", name)
    assert list(tmp_path.iterdir()) == []


def test_global_settings_and_pyplot_are_left_alone(tmp_path: Path) -> None:
    with mpl.rc_context({"font.size": 3, "axes.titlepad": 50, "svg.hashsalt": "mine"}):
        before = dict(mpl.rcParams)
        mine = figure_bytes(PICTURES["curves"](), "svg")
        assert dict(mpl.rcParams) == before
    assert mine == figure_bytes(PICTURES["curves"](), "svg")
    code = "import sys, triptych.report.html, triptych.report.figures as f, triptych.report.canvas as c; "
    code += "print('matplotlib' in sys.modules); "
    code += "c.save(f.confusion_bars([]), sys.argv[1], 'a'); print('matplotlib.pyplot' in sys.modules)"
    code += "; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False", "False"]


def test_a_figure_does_not_change_with_how_often_it_is_drawn() -> None:
    def dots() -> Figure:
        with house_style():
            figure = new_figure(4, 3)
            figure.subplots().plot([n * n % 4099 for n in range(100)], "o")
        return figure

    figure = dots()
    first = figure_bytes(figure, "png")
    assert figure_bytes(figure, "svg") == figure_bytes(dots(), "svg")
    assert figure_bytes(figure, "png") == first


def test_dollar_signs_are_not_mathematics() -> None:
    figures = [
        attention_map([[1.0]], ["$a$"], ["$\\b$"]),
        confusion_bars([("$a$", "$\\nope$", 1)]),
        search_picture([trial(0.1, kind="$\\nope$")]),
    ]
    for figure in figures:
        assert figure_bytes(figure, "png")  # as mathematics this fails
        assert not any(text.get_parse_math() for text in figure.findobj(Text) if isinstance(text, Text))


def test_letters_that_no_font_has_are_boxes_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    strange = "\U0001fbf9\U000e0101"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert figure_bytes(confusion_bars([(letter, "a", 2) for letter in strange]), "png")
    (record,) = caplog.records
    assert "no installed font has" in record.getMessage()
    assert f"({strange[0]} ◌{strange[1]})" in record.getMessage()


def test_of_a_mark_on_a_circle_the_mark_is_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    """Matplotlib names the circle, the first letter of the cluster, which the font has."""
    mark = "\u0943"  # a Devanagari vowel sign
    fonts = canvas._fonts_with(frozenset(mark))
    assert figure_bytes(attention_map([[1.0]], [mark], ["a"]), "png")
    messages = [record.getMessage() for record in caplog.records]
    if fonts:
        assert messages == []
    else:
        assert len(messages) == 1
        assert f"has 1 of the letters in a figure (◌{mark})" in messages[0]
        assert "this script (Devanagari)" in messages[0]


def test_letters_that_another_font_has_are_drawn_with_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Any other font will do: here matplotlib's own for mathematics, as the only one with a letter."""
    letter = "\u22f7"
    plain = figure_bytes(confusion_bars([("a", "a", 2)]), "png")
    monkeypatch.setattr(canvas, "_FONT", "STIXSizeOneSym")  # has next to nothing
    assert canvas._fonts_with(frozenset(letter))
    figure = confusion_bars([(letter, "a", 2)])
    assert figure_bytes(figure, "png") != plain
    assert caplog.records == []
    families = {name for text in figure.findobj(Text) for name in text.get_fontfamily()}
    assert len(families) > 1


def test_curves_show_the_rows_and_mark_the_best_epoch() -> None:
    rows = history(12)
    left, right = curves(rows, **KEYS, metric_label="validation CER").axes
    assert xy(left.lines[0]) == (list(range(1, 13)), [row["validation_cer"] for row in rows])
    assert xy(right.lines[0]) == (list(range(1, 13)), [row["training_loss"] for row in rows])
    assert left.get_title(loc="left") == "best: 0.2 at epoch 5"
    assert right.get_title(loc="left") == "0.4 at epoch 5"
    assert xy(left.lines[2]) == ([5], [0.2])
    assert xy(right.lines[2]) == ([5], [0.4])
    assert (left.get_ylabel(), right.get_ylabel(), left.get_xlabel()) == ("validation CER", "training loss", "epoch")
    assert curves(rows, **KEYS, goal="max").axes[0].get_title(loc="left") == "best: 0.27 at epoch 12"
    labels = [axes.get_ylabel() for axes in curves(rows, **KEYS, loss_label="nats").axes]
    assert labels == ["validation_cer", "nats"]


def test_curves_show_further_metrics_at_the_best_epoch() -> None:
    rows = [{**row, "accuracy": 0.9 + row["epoch"] / 1000} for row in history(12)]
    _, middle, right = curves(rows, **KEYS, also={"accuracy": "validation accuracy"}).axes
    assert (middle.get_ylabel(), right.get_ylabel()) == ("validation accuracy", "training loss")
    assert xy(middle.lines[0])[1] == [row["accuracy"] for row in rows]
    assert xy(middle.lines[2]) == ([5], [0.905])
    assert middle.get_title(loc="left") == "0.905 at epoch 5"
    compared = compare_curves({"a": rows, "b": rows[:4]}, **KEYS, also={"accuracy": "validation accuracy"}).axes
    assert [axes.get_ylabel() for axes in compared] == ["validation_cer", "validation accuracy", "training loss"]
    assert xy(compared[1].lines[1])[1] == [row["accuracy"] for row in rows[:4]]


def test_one_number_of_several_trainings_is_a_figure_of_its_own() -> None:
    rows = [[{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}], [{"epoch": 1, "loss": math.nan}]]
    figure = compare_curves(
        {"learning_rate=0.01": rows[0], "0.1": rows[1]}, metric="loss", metric_label="training loss"
    )
    (axes,) = figure.axes
    assert [xy(line)[1][:1] for line in axes.lines] == [[2.0], [pytest.approx(math.nan, nan_ok=True)]]
    assert xy(axes.lines[0]) == ([1, 2], [2.0, 1.0])
    assert axes.get_ylabel() == "training loss"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["learning_rate=0.01", "0.1"]
    assert texts(compare_curves({}, metric="loss")).count("no epochs yet") == 1


def test_curves_leave_gaps_and_take_text_from_a_file() -> None:
    rows: list[dict[str, Any]] = [
        {"epoch": "1", "validation_cer": "0.5", "training_loss": "2.0"},
        {"epoch": "2", "validation_cer": "", "training_loss": math.inf},
        {"epoch": "3", "validation_cer": None},
        {"epoch": "4", "validation_cer": "0.4", "training_loss": math.nan},
    ]
    left, right = curves(rows, **KEYS).axes
    assert np.array_equal(np.array(left.lines[0].get_ydata()), [0.5, math.nan, math.nan, 0.4], equal_nan=True)
    assert np.array_equal(np.array(right.lines[0].get_ydata()), [2, math.nan, math.nan, math.nan], equal_nan=True)
    assert left.get_title(loc="left") == "best: 0.4 at epoch 4"


@pytest.mark.parametrize(
    ("rows", "words"),
    [([], "no epochs yet"), ([{"epoch": 1, "validation_cer": math.nan, "training_loss": None}], "no finite values")],
)
def test_histories_without_numbers_say_so(rows: list[dict[str, Any]], words: str) -> None:
    histories: dict[str, list[dict[str, Any]]] = {"a": rows}
    for figure in (curves(rows, **KEYS), compare_curves(histories, **KEYS)):
        assert texts(figure).count(words) == 2
        assert figure_bytes(figure, "png")
    assert texts(compare_curves({}, **KEYS)).count("no epochs yet") == 2


def test_one_epoch_is_a_point_over_a_whole_number() -> None:
    figure = curves(history(1), **KEYS)
    figure_bytes(figure, "png")
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1"]


def test_an_unknown_key_or_goal_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"'validation_cr' is in no row of the history.*Did you mean 'validation_cer'\?"
    ):
        curves(history(3), metric="validation_cr", loss="training_loss")
    with pytest.raises(DataError, match="'loss' is in no row"):
        compare_curves({"a": history(3)}, metric="validation_cer", loss="loss")
    with pytest.raises(DataError, match="'epoch' is in no row"):
        curves([{"validation_cer": 1, "training_loss": 2}], **KEYS)
    with pytest.raises(TriptychError, match="goal is 'smallest'; expected 'min' or 'max'"):
        curves(history(3), **KEYS, goal="smallest")  # type: ignore[arg-type]


def test_compared_runs_are_distinguishable() -> None:
    runs = {f"run {number}": history(6, number) for number in range(9)}
    figure = compare_curves(runs, **KEYS, metric_label="CER", loss_label="nats")
    left, right = figure.axes
    looks = [(line.get_color(), line.get_linestyle()) for line in left.lines]
    assert len(set(looks)) == 9
    assert looks == [(line.get_color(), line.get_linestyle()) for line in right.lines]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(runs)
    assert xy(left.lines[7])[1] == [row["validation_cer"] for row in runs["run 7"]]
    assert (left.get_ylabel(), right.get_ylabel()) == ("CER", "nats")


def test_attention_rows_are_outputs_and_the_extra_row_is_the_end() -> None:
    weights = spread(3, 4)
    axes, bar = attention_map(weights, ["t͡ʃ", " ", "$a$", "\u0303"], ["x", "end"]).axes
    assert np.array_equal(np.asarray(axes.images[0].get_array()), weights)
    assert axes.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["t͡ʃ", "␣", "$a$", "◌\u0303"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "end", "end"]
    assert [label.get_fontstyle() for label in axes.get_yticklabels()] == ["normal", "normal", "italic"]
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("source", "output", "attention weight")
    without_end = attention_map(weights, list("abcd"), list("xyz")).axes[0]
    assert [label.get_text() for label in without_end.get_yticklabels()] == ["x", "y", "z"]
    assert [label.get_fontstyle() for label in without_end.get_yticklabels()] == ["normal"] * 3


def test_attention_cells_are_square_and_the_letters_readable() -> None:
    for rows, columns in ((5, 6), (61, 55), (2, 1), (3, 40), (1, 1)):
        figure = attention_map(spread(rows, columns), ["a"] * columns, ["b"] * rows)
        box = figure.axes[0].get_window_extent()
        assert box.width / columns == pytest.approx(box.height / rows)
        assert max(figure.get_size_inches()) <= 13
        assert float(figure.axes[0].get_xticklabels()[0].get_fontsize()) >= 7


@pytest.mark.parametrize(
    ("shape", "source", "target", "message"),
    [
        ((3, 4), 3, 3, r"weights has shape \(3, 4\); expected \(T, 3\)"),
        ((3, 4), 4, 4, r"weights has 3 rows; expected 4, one per target symbol, or 5 with the end row"),
        ((3, 4), 4, 1, r"weights has 3 rows; expected 1"),
        ((0, 4), 4, 0, r"weights has shape \(0, 4\)"),
    ],
)
def test_symbols_that_do_not_fit_the_weights(shape: tuple[int, int], source: int, target: int, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        attention_map(np.ones(shape), ["a"] * source, ["b"] * target)


def test_search_marks_the_best_complete_trial_in_every_panel() -> None:
    figure = search_picture(TRIALS, value_label="validation CER")
    panels = figure.axes[:3]
    assert [axes.get_xlabel() for axes in panels] == ["lr", "hidden", "kind"]
    stars = [line for axes in panels for line in axes.lines if line.get_marker() == "*"]
    assert [xy(star) for star in stars] == [([0.1], [0.1]), ([64], [0.1]), ([0], [0.1])]
    assert "best: 0.1 at lr = 0.1, hidden = 64, kind = kind1" in texts(figure)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["complete", "stopped early", "failed", "best"]
    assert panels[0].get_ylabel() == "validation CER"
    largest = search_picture(TRIALS, goal="max")
    assert any(text.startswith("best: 0.6 at lr = 1e-06") for text in texts(largest))
    pruned = next(line for line in panels[1].lines if line.get_label() == "stopped early")
    failed = next(line for line in panels[1].lines if line.get_label() == "failed")
    assert xy(pruned) == ([100], [0.05])
    assert xy(failed)[0] == [70]
    names = [label.get_text() for label in panels[2].get_xticklabels()]
    assert names == ["kind1", "kind2", "kind0"]
    assert xy(panels[2].lines[0])[0] == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ((1e-5, 5e-4, 0.01), "log"),
        ((0.1, 0.01, 0.001), "log"),
        ((64, 128, 256, 512), "linear"),
        ((0, 0.1, 0.5), "linear"),
        (tuple(0.005 + 0.495 * k / 30 for k in range(31)), "linear"),
        ((7,), "linear"),
    ],
)
def test_a_wide_parameter_has_a_logarithmic_axis(settings: tuple[float, ...], scale: str) -> None:
    figure = search_picture([trial(0.1 * k, lr=setting) for k, setting in enumerate(settings)])
    assert figure.axes[0].get_xscale() == scale
    figure.axes[0].autoscale_view()
    left, right = figure.axes[0].transData.transform([(min(settings), 0), (max(settings), 0)])[:, 0]
    room = figure.axes[0].get_window_extent()
    assert min(left - room.x0, room.x1 - right) > 20  # the star of the best trial is not cut
    if len(settings) <= 5:
        labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert labels == [f"{setting:g}" for setting in sorted(settings)]


def test_values_too_close_to_be_named_are_named_by_the_first_and_the_last() -> None:
    figure = search_picture([trial(0.1, lr=lr) for lr in (0.0123, 0.01234, 0.01312, 0.0871)])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0.0123", "0.0871"]


def test_searches_without_results_are_drawn() -> None:
    assert "no trials yet" in texts(search_picture([]))
    figure = search_picture([trial(None, "failed", lr=0.1), trial(math.nan, lr=True)])
    assert figure_bytes(figure, "png")
    assert not any(text.startswith("best") for text in texts(figure))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["failed"]


def test_a_parameter_that_some_trials_lack_is_drawn_for_the_others() -> None:
    figure = search_picture([trial(0.3, a=1, b=5), trial(0.2, a=2)])
    second = next(line for line in figure.axes[1].lines if line.get_label() == "complete")
    assert xy(second) == ([5], [0.3])
    assert not any(line.get_marker() == "*" for line in figure.axes[1].lines)


def test_a_trial_without_its_keys_is_refused() -> None:
    with pytest.raises(DataError, match=r"trial 1 is \{'params': \{\}\}; expected the keys params, value and state"):
        search_picture([trial(1, a=1), {"params": {}}])


def test_errors_by_length_carry_counts_and_intervals() -> None:
    figure = error_by_length(
        [("1-4", estimate(0.2), 1200), ("5+", estimate(0.3), 7)], measure="CER", length_label="phones"
    )
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1-4\nn = 1,200", "5+\nn = 7"]
    segments = axes.collections[0].get_segments()  # type: ignore[attr-defined]
    assert np.array(segments)[:, :, 1] == pytest.approx(np.array([[0.18, 0.24], [0.28, 0.34]]))
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("CER, with 90% interval", "phones")
    assert "no items" in texts(error_by_length([], measure="CER"))


def test_confusions_are_the_most_frequent_in_order() -> None:
    figure = confusion_bars([("a", "b", 2), ("h", "", 9), ("", "e", 5), ("q", "r", 1)], top=3)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["h → ∅", "∅ → e", "a → b"]
    assert [bar.get_width() for bar in axes.patches] == [9, 5, 2]  # type: ignore[attr-defined]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["substitution", "deletion", "insertion"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert len(confusion_bars([("a", str(k), 1) for k in range(30)]).axes[0].patches) == 20
    assert "no errors" in texts(confusion_bars([]))
    with pytest.raises(TriptychError) as caught:
        confusion_bars([], top=0)
    assert (caught.value.field, caught.value.value) == ("top", 0)


@pytest.mark.parametrize(
    ("symbol", "label"),
    [
        ("", "∅"),
        (" ", "␣"),
        ("a b", "a␣b"),
        ("\n", "\\n"),
        ("\u0303", "◌\u0303"),
        ("t͡ʃ", "t͡ʃ"),
        ("\u200b", "\\u200b"),
        ("x" * 17, "x" * 15 + "…"),
    ],
)
def test_symbols_that_cannot_be_seen_are_spelt(symbol: str, label: str) -> None:
    assert symbol_label(symbol) == label
