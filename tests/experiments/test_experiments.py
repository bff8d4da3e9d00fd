"""Experiments against what is published of random memories, small cases worked by hand, and their recipes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from triptych.config import RECALL_EXPERIMENTS, load_experiment, shipped_recipes, tiny
from triptych.config.recall import CapacityNetworks
from triptych.errors import RecipeError, ShapeError, TriptychError
from triptych.experiments.capacity import Capacity, CapacityTrial, measure_capacity, polynomial_limit
from triptych.experiments.landscape import map_landscape
from triptych.experiments.metastable import count_states, group_states, measure_sizes, sizes_of
from triptych.experiments.noise import measure_noise
from triptych.experiments.patterns import (
    known_places,
    load_digits,
    random_signs,
    separation_of,
    stored_patterns,
)
from triptych.experiments.run import measure
from triptych.recall.energy import energy
from triptych.recall.separation import SOFTMAX, SPARSEMAX, Entmax, TopK

TINY = {name.removeprefix("recall-"): tiny(name) for name in shipped_recipes() if name.startswith("recall-")}


def measured(names: list[str], counts: list[int], *, width: int = 64, **more: Any) -> Capacity:
    given: dict[str, Any] = {"seeds": range(3), "known": 0.5, "cues": 32, "success": 0.9}
    given = given | {"networks": CapacityNetworks()} | more
    return measure_capacity(names, counts, width=width, **given)


def test_networks_break_where_theory_says() -> None:
    found = measured(["classic", "polynomial", "exponential", "sparse"], [5, 14, 80, 640])
    shares = {name: [point.median for point in found.curve(name)] for name in found.networks}
    # 0.14 D is 9 patterns; half of it is safe, and at 14 most are lost.
    assert shares["classic"][0] > 0.7
    assert max(shares["classic"][1:]) < 0.5
    # Degree 3 holds 164 without error at all coordinates; from half a pattern most of 80, and of 640 next to none.
    assert shares["polynomial"][0] == shares["polynomial"][1] == 1
    assert shares["polynomial"][2] > 0.5 > 0.1 > shares["polynomial"][3]
    assert shares["exponential"] == shares["sparse"] == [1, 1, 1, 1]


def test_the_exponential_network_has_a_limit_too() -> None:
    found = measured(["exponential"], [4, 1024], width=12)
    few, many = found.curve("exponential")
    assert few.median > 0.7
    assert many.median < 0.2


def test_the_polynomial_limit_is_the_published_one() -> None:
    assert polynomial_limit(64, 3) == pytest.approx(64**2 / (2 * 3 * math.log(64)))
    assert polynomial_limit(100, 4) == pytest.approx(100**3 / (2 * 15 * math.log(100)))


def test_the_same_seeds_give_the_same_trials_and_cues_are_at_most_one_a_pattern() -> None:
    first, second = (measured(["classic"], [4, 20], width=16) for _ in range(2))
    assert first == second
    assert first != measured(["classic"], [4, 20], width=16, seeds=range(3, 6))
    shares = [trial.recalled * 4 for trial in first.trials if trial.patterns == 4]
    assert shares == [round(share) for share in shares]


def test_capacity_is_read_off_the_median_up_to_the_first_fall() -> None:
    shares: dict[int, list[float]] = {2: [1, 1, 0.2], 4: [0.5, 0.5, 0.5], 8: [0.4, 0.3, 0.9], 16: [1, 1, 1]}
    found = Capacity(9, tuple(CapacityTrial("a", n, s, x) for n, xs in shares.items() for s, x in enumerate(xs)))
    assert found.capacity("a") == 4
    point = found.curve("a")[0]
    assert point.patterns == 2
    assert [point.low, point.median, point.high] == pytest.approx([0.6, 1, 1])
    assert Capacity(9, (CapacityTrial("a", 2, 0, 0.0),)).capacity("a") == 0


def test_known_places_are_as_many_in_every_row_and_not_the_same() -> None:
    places = known_places(50, 10, 0.5, torch.Generator().manual_seed(0))
    assert places.sum(1).tolist() == [5] * 50
    assert len({tuple(row) for row in places.tolist()}) > 20
    assert known_places(2, 10, 1.0, torch.Generator().manual_seed(0)).all()


def test_digits_are_centred_of_one_length_and_drawn_without_repeats() -> None:
    digits = load_digits(1797, seed=3)
    torch.testing.assert_close(digits.patterns.norm(dim=1), torch.full((1797,), 8.0))
    torch.testing.assert_close(digits.images.mean(0), digits.mean)
    torch.testing.assert_close(digits.mean + digits.patterns * digits.lengths[:, None] / 8, digits.images)
    assert [digits.images.min().item(), digits.images.max().item()] == [0, 1]
    assert len({tuple(row) for row in digits.images.tolist()}) == 1797
    assert torch.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert not torch.equal(load_digits(5, seed=0).labels, load_digits(5, seed=1).labels)
    with pytest.raises(TriptychError) as caught:
        load_digits(1798, seed=0)
    assert (caught.value.field, caught.value.value) == ("count", 1798)


def test_noise_costs_recall_and_beta_decides_how_much() -> None:
    patterns = stored_patterns("signs", 20, 64, seed=0)
    trials = measure_noise(
        patterns,
        separations={"softmax": SOFTMAX},
        betas=[1e-3, 1.0],
        noise=[0.0, 1.0, 8.0],
        draws=2,
        success=0.9,
        max_steps=50,
    )
    shares = {(t.beta, t.noise, t.draw): t.recalled for t in trials}
    assert len(shares) == len(trials) == 12
    assert shares[1.0, 0.0, 0] == shares[1.0, 1.0, 1] == 1
    assert shares[1.0, 8.0, 0] < 0.5
    assert shares[1e-3, 0.0, 0] == 0, "one state for all"
    assert all(-1 <= t.cosine <= 1 for t in trials)
    assert len({t.cosine for t in trials if t.noise == 8 and t.beta == 1}) == 2, "every draw is another"


def test_sizes_count_the_fewest_weights_that_hold_the_mass() -> None:
    weights = torch.tensor([[0.5, 0.1, 0.4], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert sizes_of(weights, 0.9).tolist() == [2, 1, 3]
    assert sizes_of(weights, 0.3).tolist() == [1, 1, 1]


def test_states_nearer_than_the_distance_are_one() -> None:
    states = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.1, 0.0], [5.0, 0.2]])
    assert group_states(states, 0.5).tolist() == [0, 1, 0, 1]
    assert count_states(states, 0.01) == 4


def test_from_one_average_of_all_to_single_patterns() -> None:
    patterns = stored_patterns("digits", 40, 64, seed=0)
    low, high = measure_sizes(patterns, separations={"softmax": SOFTMAX}, betas=[1e-4, 5.0], mass=0.9, max_steps=100)
    assert low.states == 1
    assert set(low.sizes) == {36}, "nine tenths of 40 nearly equal weights"
    assert high.states == 40
    assert set(high.sizes) == {1}
    sparse, *_ = measure_sizes(patterns, separations={"x": SPARSEMAX}, betas=[0.01], mass=0.9, max_steps=100)
    soft, *_ = measure_sizes(patterns, separations={"x": SOFTMAX}, betas=[0.01], mass=0.9, max_steps=100)
    assert max(sparse.sizes) < min(soft.sizes)


def test_a_landscape_of_two_patterns_is_two_halves() -> None:
    patterns = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = map_landscape(patterns, beta=8.0, separation=SOFTMAX, half_width=1.5, resolution=20, paths=2, max_steps=200)
    assert found.shares == [0.5, 0.5]
    left = found.basins[:, :10]
    assert (left == left[0, 0]).all()
    assert (found.basins[:, 10:] != left[0, 0]).all()
    torch.testing.assert_close(found.fixed_points.abs(), torch.tensor([[1.0, 0.0]] * 2).double(), atol=1e-5, rtol=0)
    place = torch.stack([found.axis[3], found.axis[17]]).unsqueeze(0)
    torch.testing.assert_close(found.energies[17, 3], energy(patterns.double(), place, beta=8.0)[0])
    assert found.paths.shape[1:] == (4, 2)
    torch.testing.assert_close(found.paths[0, 0], torch.tensor([-0.5, -0.5]).double())
    one = map_landscape(patterns, beta=0.5, separation=SOFTMAX, half_width=1.5, resolution=20, paths=0, max_steps=500)
    assert len(one.fixed_points) == 1
    with pytest.raises(ShapeError) as caught:
        map_landscape(torch.eye(3), beta=1.0, separation=SOFTMAX, half_width=1, resolution=9, paths=0, max_steps=1)
    assert str(caught.value).startswith("patterns has shape (3, 3); expected (N, 2)")


def test_names_choose_separations_and_sources() -> None:
    assert separation_of("softmax", alpha=1.5, k=3) == SOFTMAX
    assert separation_of("entmax", alpha=1.5, k=3) == Entmax(1.5)
    assert separation_of("top-k", alpha=1.5, k=3) == TopK(3)
    for act, field, value in (
        (lambda: separation_of("sofmax", alpha=1.5, k=3), "separation", "sofmax"),
        (lambda: stored_patterns("faces", 3, 64, seed=0), "source", "faces"),
        (lambda: measured(["clasic"], [2]), "network", "clasic"),
    ):
        with pytest.raises(TriptychError) as caught:
            act()
        assert (caught.value.field, caught.value.value) == (field, value)
    signs = random_signs(100, 100, torch.Generator().manual_seed(0))
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.05


# recipes: every setting acts

CHANGES = {
    "capacity": {
        "patterns.width": "patterns.width=16",
        "patterns.counts": "patterns.counts=[2, 8]",
        "patterns.seeds": "patterns.seeds=2",
        "patterns.seed": "patterns.seed=7",
        "cues.known": "cues.known=0.2",
        "cues.per_memory": "cues.per_memory=3",
        "cues.success": "cues.success=0.2",
        "networks.names": 'networks.names=["classic", "polynomial", "sparse"]',
        "networks.degree": "networks.degree=5",
        "networks.beta": "networks.beta=0.02",
        "networks.max_steps": "networks.max_steps=1",
    },
    "noise": {
        "patterns.source": "patterns.source=signs",
        "patterns.count": "patterns.count=20",
        "patterns.seed": "patterns.seed=1",
        "cues.noise": "cues.noise=[0.0, 2.0]",
        "cues.draws": "cues.draws=1",
        "cues.success": "cues.success=0.5",
        "networks.separations": 'networks.separations=["entmax"]',
        "networks.betas": "networks.betas=[0.2]",
        "networks.alpha": "networks.alpha=1.5",
        "networks.max_steps": "networks.max_steps=1",
    },
    "metastable": {
        "patterns.source": "patterns.source=signs",
        "patterns.count": "patterns.count=20",
        "patterns.seed": "patterns.seed=1",
        "networks.separations": 'networks.separations=["entmax"]',
        "networks.alpha": "networks.alpha=1.5",
        "networks.max_steps": "networks.max_steps=1",
        "networks.beta_low": "networks.beta_low=0.05",
        "networks.beta_high": "networks.beta_high=0.5",
        "networks.points": "networks.points=4",
        "networks.mass": "networks.mass=0.5",
    },
    "landscape": {
        "patterns.points": "patterns.points=[[1.0, 0.0], [0.0, 1.0]]",
        "networks.separation": "networks.separation=entmax",
        "networks.betas": "networks.betas=[3.0]",
        "networks.max_steps": "networks.max_steps=1",
        "grid.half_width": "grid.half_width=2.0",
        "grid.resolution": "grid.resolution=21",
    },
}
CASES = [(experiment, key) for experiment, changes in CHANGES.items() for key in changes]


def rows_of(experiment: str, *settings: str) -> Any:
    return measure(load_experiment(TINY[experiment], settings)).tables[0].rows


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return {experiment: rows_of(experiment) for experiment in CHANGES}


@pytest.mark.parametrize(("experiment", "key"), CASES, ids=[f"{experiment}-{key}" for experiment, key in CASES])
def test_every_setting_changes_the_numbers(experiment: str, key: str, plain: dict[str, Any]) -> None:
    assert rows_of(experiment, CHANGES[experiment][key]) != plain[experiment]


OF_ONE_CHOICE = [
    (("noise", "patterns.source=signs"), "patterns.width=32"),
    (("noise", 'networks.separations=["top-k"]'), "networks.k=1"),
    (("capacity", "networks.beta=0.12"), "networks.alpha=1.5"),
    (("metastable", 'networks.separations=["top-k"]'), "networks.k=1"),
    (("metastable", "patterns.source=signs"), "patterns.width=32"),
    (("landscape", "networks.separation=entmax"), "networks.alpha=1.5"),
    (("landscape", "networks.separation=top-k"), "networks.k=1"),
]


@pytest.mark.parametrize(("settings", "change"), OF_ONE_CHOICE)
def test_settings_of_one_choice_change_the_numbers_of_that_choice(settings: tuple[str, str], change: str) -> None:
    experiment, chosen = settings
    assert rows_of(experiment, chosen) != rows_of(experiment, chosen, change)


def test_no_setting_is_missing() -> None:
    elsewhere = {"panel", "experiment", "title", "grid.paths"}
    for experiment, schema in RECALL_EXPERIMENTS.items():
        tree = schema.model_validate({"panel": "recall", "experiment": experiment}).model_dump()
        keys = {
            f"{table}.{key}" if isinstance(value, dict) else table
            for table, value in tree.items()
            for key in (value if isinstance(value, dict) else [""])
        }
        chosen = {change.partition("=")[0] for (name, _), change in OF_ONE_CHOICE if name == experiment}
        assert keys - elsewhere == CHANGES[experiment].keys() | chosen


def test_trajectories_are_as_many_as_asked() -> None:
    one, two = (
        measure(load_experiment("recall-landscape-tiny", [f"grid.paths={paths}"])).figures["landscape"].figure
        for paths in (1, 2)
    )
    assert [len(f.axes[0].lines) for f in (two, one)] == [2 * 4 + 4, 2 * 1 + 4]


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        (
            "recall-noise",
            "patterns.width=32",
            "patterns: width is 32 with source 'digits'; expected 64, the digits' own.",
        ),
        ("recall-noise", "patterns.count=1798", "patterns: count is 1798 with source 'digits'; expected at most 1797"),
        ("recall-noise", "networks.k=3", "networks: k is 3 and has no effect without 'top-k'; expected separations"),
        ("recall-noise", "cues.noise=[1.0, 0.5]", "cues.noise: the values [1.0, 0.5] do not rise."),
        ("recall-capacity", "patterns.counts=[4, 2]", "patterns.counts: the values [4, 2] do not rise."),
        ("recall-capacity", "patterns.count=3", "patterns.count is not a known key. Did you mean 'counts'?"),
        (
            "recall-capacity",
            'networks.names=["classic", "classic"]',
            "networks.names: the values ['classic', 'classic'] are not all different.",
        ),
        (
            "recall-metastable",
            "networks.beta_low=9.0",
            "networks: beta_low is 9.0 and beta_high 3.0; expected a smaller",
        ),
        ("recall-landscape", "patterns.points=[[1.0]]", "patterns.points.0 is [1.0]; expected"),
        ("recall-landscape", "experiment=landscap", "experiment is 'landscap'; expected the name of one. Did you mean"),
        ("p2g-plain", "title=x", "panel is 'spell'; expected 'recall', whose recipes are experiments."),
    ],
)
def test_a_recipe_that_breaks_a_rule_says_which(name: str, setting: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_experiment(name, [setting])
    assert str(caught.value).startswith(f"{name}: {message}")


@pytest.mark.slow
def test_the_shipped_capacity_recipe_shows_the_published_limits() -> None:
    findings = measure(load_experiment("recall-capacity")).findings
    assert 6 <= findings["classic holds"] <= 12, "0.14 x 64 = 9"
    assert 64 <= findings["polynomial holds"] <= 256
    assert findings["exponential holds"] == findings["sparse holds"] == 4096
