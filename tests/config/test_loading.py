"""Reading recipes: overrides, extension, and the exact words of every refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes import spell_recipe
from triptych.config import SeeModel, load_any_recipe, load_recipe, parse_value, with_changes
from triptych.errors import RecipeError


def refusal(*overrides: str, recipe: str | Path = "p2g-plain") -> str:
    with pytest.raises(RecipeError) as caught:
        load_any_recipe(recipe, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("titel=x", "titel is not a known key. Did you mean 'title'?"),
        ("modle.hidden=3", "modle is not a known key. Did you mean 'model'?"),
        ("model.hiden=3", "model.hiden is not a known key. Did you mean 'hidden'?"),
        ("data.lower_case=true", "data.lower_case is not a known key. Did you mean 'lowercase'?"),
        ("optimizer.lerning_rate=3", "optimizer.lerning_rate is not a known key. Did you mean 'learning_rate'?"),
        ("training.epoch=3", "training.epoch is not a known key. Did you mean 'epochs'?"),
        ("decoding.beamsize=3", "decoding.beamsize is not a known key. Did you mean 'beam_size'?"),
        ("data.fractions.trian=0.8", "data.fractions.trian is not a known key. Did you mean 'train'?"),
        ("optimizer.lr=3", "optimizer.lr is not a known key. Did you mean 'learning_rate'?"),
        ("data.MTP=3", "data.MTP is not a known key. Did you mean 'max_train_pairs'?"),
        ("optimizer.zzz=3", "optimizer.zzz is not a known key. Known: beta1, beta2, final_fraction, learning_rate, "),
        ("int=3", "int is not a known key. Known: data, decoding, model, optimizer, panel, title, training."),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(override: str, message: str) -> None:
    assert refusal(override).startswith(f"p2g-plain: {message}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.hidden=x", "model.hidden is 'x'; expected an integer or 'auto'."),
        ("model.hidden=true", "model.hidden is true; expected an integer or 'auto'."),
        ("model.hidden=3", "model.hidden is 3; expected a multiple of 2 or 'auto'."),
        ("model.hidden=0", "model.hidden is 0; expected an integer >= 2 or 'auto'."),
        ("model.tie_output=1", "model.tie_output is 1; expected true or false."),
        ("model.dropout=1", "model.dropout is 1; expected a number < 1 or 'auto'."),
        ("model.dropout=-0.5", "model.dropout is -0.5; expected a number >= 0 or 'auto'."),
        ("model.cell=lstn", "model.cell is 'lstn'; expected one of lstm, gru. Did you mean 'lstm'?"),
        ("model=3", "model is 3; expected a table."),
        ("optimizer.learning_rate=0", "optimizer.learning_rate is 0; expected a number > 0."),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate is 'fast'; expected a number."),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate is inf; expected a finite number."),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate is nan; expected a finite number."),
        ("optimizer.final_fraction=1.5", "optimizer.final_fraction is 1.5; expected a number <= 1."),
        ("training.batch_size=1.0", "training.batch_size is 1.0; expected an integer or 'auto'."),
        ("training.seed=-1", "training.seed is -1; expected an integer >= 0."),
        (
            f"training.seed={2**63}",
            "training.seed is 9223372036854775808; expected an integer <= 9223372036854775807.",
        ),
        ("training.seed=", "training.seed is ''; expected an integer."),
        ("training.seed.x=3", "training.seed is {'x': 3}; expected an integer."),
        ("title=3", "title is 3; expected a text."),
        ("data.source_column=1.5", "data.source_column is 1.5; expected an integer or a text."),
        ("data.fractions=3", "data.fractions is 3; expected a table."),
        ("data.fractions.train=2.0", "data.fractions.train is 2.0; expected a number <= 1."),
        ("panel=spel", "panel is 'spel'; expected the name of a panel. Did you mean 'spell'?"),
        ("panel=[1]", "panel is [1]; expected the name of a panel."),
    ],
)
def test_a_wrong_value_gives_key_value_and_rule(override: str, message: str) -> None:
    assert refusal(override).startswith(f"p2g-plain: {message}")


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        (
            "scenes-cnn",
            "model.name=x",
            "model.name is 'x'; expected cnn, residual, efficientnet-lite0, efficientnet-lite1, efficientnet-lite2 or "
            "timm/NAME, NAME being a network of the timm library, such as timm/resnet18.",
        ),
        ("scenes-cnn", 'model.name="cnn\\n"', "model.name is 'cnn\\n'; expected cnn, residual, efficientnet-lite0, "),
        ("scenes-cnn", "model.name=timm/", "model.name is 'timm/'; expected cnn, residual, efficientnet-lite0, "),
        ("scenes-cnn", "model.head=x", "model.head is 'x'; expected one of '', flatten, average, hopfield."),
        ("recall-capacity", "networks.names=[]", "networks.names is []; expected a list with at least 1 entry."),
        ("recall-capacity", "patterns.counts=[4]", "patterns.counts is [4]; expected a list with at least 2 entries."),
        (
            "recall-landscape",
            "networks.betas=[1, 2, 3, 4, 5]",
            "networks.betas is [1, 2, 3, 4, 5]; expected a list with at most 4 entries.",
        ),
        ("scenes-cnn", "model.channels=[0]", "model.channels.0 is 0; expected an integer >= 1."),
        ("scenes-cnn", "model.channels=[]", "model.channels is []; expected a list with at least 1 entry."),
        ("scenes-best", "model.blocks=1001", "model.blocks is 1001; expected an integer <= 1000."),
        ("scenes-cnn", "data.height=4097", "data.height is 4097; expected an integer <= 4096 or 'auto'."),
        ("scenes-cnn", "data.width=4097", "data.width is 4097; expected an integer <= 4096 or 'auto'."),
        *(
            ("scenes-cnn", f"augmentation.{name}=100.5", f"augmentation.{name} is 100.5; expected a number <= 100.")
            for name in ("brightness", "contrast", "saturation", "mixup", "cutmix")
        ),
        *(
            (recipe, f"{key}={2**63}", f"{key} is {2**63}; expected an integer <= {2**63 - 1}.")
            for recipe, key in (
                ("p2g-plain", "data.split_seed"),
                ("p2g-plain", "decoding.seed"),
                ("scenes-cnn", "data.split_seed"),
                ("scenes-cnn", "training.seed"),
                ("recall-noise", "patterns.seed"),
            )
        ),
        ("recall-capacity", f"patterns.seed={2**32}", f"patterns.seed is {2**32}; expected an integer < {2**32}."),
    ],
)
def test_a_wrong_value_of_see_and_recall_gives_one_rule(recipe: str, override: str, message: str) -> None:
    refused = refusal(override, recipe=recipe)
    assert refused.startswith(f"{recipe}: {message}")
    assert refused.count("; expected") == 1


def test_the_largest_values_are_taken() -> None:
    largest = {
        "data.height": 4096, "data.split_seed": 2**63 - 1, "training.seed": 2**63 - 1, "model.blocks": 1000,
        "augmentation.mixup": 100.0, "model.name": "residual",
    }  # fmt: skip
    recipe = load_recipe("scenes-best", [f"{key}={value}" for key, value in largest.items()])
    for key, value in largest.items():
        table, name = key.split(".")
        assert recipe.model_dump()[table][name] == value
    assert SeeModel(name="timm/resnet18.a1_in1k").name == "timm/resnet18.a1_in1k"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.source_column=2"], "data: source_column and target_column are both 2; expected two columns."),
        (
            ["data.source_column=0"],
            "data: source_column is 0; expected a number from 1, or a name in the header.",
        ),
        (
            ["data.fractions.train=0.9"],
            "data: fractions has train 0.9; expected shares of train and valid, and of test if any.",
        ),
        (
            ["data.fractions={train=0.9, valid=0.3}"],
            "data: fractions sum to 1.2 (train 0.9, valid 0.3); expected 1.",
        ),
        (
            ["model.embedding=64"],
            "model: embedding is 64 and hidden is 128; expected the same number when tie_output is true.",
        ),
        (
            ["model.input_feeding=true"],
            "model: input_feeding is true with attention 'none'; expected an attention to feed back.",
        ),
        (
            ["model.attention_steps=3"],
            "model: attention_steps is 3 with attention 'none'; expected 1, since only attention 'hopfield' takes "
            "several.",
        ),
        (
            ["model.layer_dropout=0.2"],
            "model: layer_dropout is 0.2 with one layer on either side; expected 0, since it falls between layers. "
            "Raise encoder_layers or decoder_layers.",
        ),
        (
            ["model.attention=monotonic", "model.encoder_dropout=final"],
            "model: encoder_dropout is 'final' with attention 'monotonic'; expected 'states' or 'none', since that "
            "decoder does not start from the encoder's final state.",
        ),
        (
            ["model.encoder_residual=true"],
            "model: encoder_residual is true with one encoder layer; expected two or more. Raise encoder_layers.",
        ),
        (
            ["optimizer.momentum=0.9"],
            "optimizer: momentum is 0.9 and has no effect with name 'adam'; expected name to be sgd. "
            "Remove momentum or change name.",
        ),
        (
            ["optimizer.name=sgd", "optimizer.beta2=0.9"],
            "optimizer: beta2 is 0.9 and has no effect with name 'sgd'; expected name to be adam or adamw. "
            "Remove beta2 or change name.",
        ),
        (
            ["optimizer.schedule=one-cycle", "optimizer.plateau_patience=5"],
            "optimizer: plateau_patience is 5 and has no effect with schedule 'one-cycle'; "
            "expected schedule to be plateau. Remove plateau_patience or change schedule.",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: list[str], message: str) -> None:
    assert refusal(*overrides) == f"p2g-plain: {message}"


def test_all_wrong_keys_are_reported_at_once() -> None:
    message = refusal("model.dropout=1.5", "model.cell=x", "training.epochs=0")
    assert "model.dropout is 1.5; expected a number < 1 or 'auto'." in message
    assert "model.cell is 'x'; expected one of lstm, gru." in message
    assert "training.epochs is 0; expected an integer >= 1 or 'auto'." in message


@pytest.mark.parametrize("override", ["training.seed", "=3", "", " = 3"])
def test_an_override_without_key_or_equals_sign_is_refused(override: str) -> None:
    assert refusal(override) == (f"--set is {override!r}; expected table.key=value. For example: --set training.seed=1")


def test_an_override_into_a_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('panel = "spell"\n[training]\nseed = 3\n')
    assert refusal("training.seed.x=3", recipe=path) == (
        "--set is 'training.seed.x=3'; expected 'seed' to be a table, and it is a value."
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-3", -3), ("1e-3", 0.001), ("0.5", 0.5), ("true", True), ("false", False),
        ("cosine", "cosine"), ('"quoted"', "quoted"), ("'single'", "single"), ("two words", "two words"),
        ("train-eng.txt", "train-eng.txt"), ("", ""), ("True", "True"), ("[1, 2]", [1, 2]), ("{a = 1}", {"a": 1}),
        ("2020-01-01", "2020-01-01"), ("10:30:00", "10:30:00"), ("a=b", "a=b"), ("1\nx=2", 1),
    ],
)  # fmt: skip
def test_values_are_read_as_toml_and_else_stand_for_themselves(text: str, value: object) -> None:
    read = parse_value(text)
    assert (read, type(read)) == (value, type(value))


def test_overrides_apply_in_order_and_reach_every_level() -> None:
    recipe = load_recipe(
        "p2g-plain",
        [
            "training.seed=1",
            "training.seed = 2",
            "title=mine",
            "data.fractions={train=0.5, valid=0.5}",
            "data.train=a=b",
        ],
    )
    assert (recipe.training.seed, recipe.title, recipe.data.train) == (2, "mine", "a=b")
    assert recipe.data.fractions == {"train": 0.5, "valid": 0.5}
    assert recipe.training.epochs == 20


def test_a_chain_of_extends_merges_key_by_key_and_the_nearest_wins(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "p2g-additive"\ntitle = "a"\n[training]\nseed = 1\nepochs = 5\n')
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.toml").write_text('extends = "../a.toml"\n[training]\nseed = 2\n')
    recipe = spell_recipe(tmp_path / "deep" / "b.toml")
    assert (recipe.title, recipe.training.seed, recipe.training.epochs) == ("a", 2, 5)
    assert (recipe.model.attention, recipe.optimizer.learning_rate) == ("additive", 0.003)


def test_a_cycle_of_extends_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n')
    (tmp_path / "self.toml").write_text('extends = "self.toml"\n')
    assert refusal(recipe=tmp_path / "a.toml") == (
        f"{tmp_path}/a.toml: extends is a cycle: a.toml -> b.toml -> a.toml. Remove one extends."
    )
    assert "extends is a cycle: self.toml -> self.toml." in refusal(recipe=tmp_path / "self.toml")


def test_a_missing_parent_is_reported_with_its_child(tmp_path: Path) -> None:
    child = tmp_path / "child.toml"
    child.write_text('extends = "gone.toml"\n')
    assert refusal(recipe=child) == (
        f"recipe is '{tmp_path}/gone.toml', which child.toml extends; expected an existing file. "
        "List the shipped ones with: triptych recipes"
    )
    child.write_text('extends = "p2g-plan"\n')
    assert refusal(recipe=child) == (
        "recipe is 'p2g-plan', which child.toml extends; expected a shipped recipe or a path that ends in .toml. "
        "Did you mean 'p2g-plain'?"
    )


def test_a_recipe_that_is_not_there_or_not_toml_is_reported(tmp_path: Path) -> None:
    assert refusal(recipe="p2g-adative").endswith("Did you mean 'p2g-additive'?")
    missing = refusal(recipe=tmp_path / "x.toml")
    assert missing.startswith(f"recipe is '{tmp_path}/x.toml'; expected an existing file.")
    broken = tmp_path / "broken.toml"
    broken.write_text("panel = \n")
    assert refusal(recipe=broken).startswith(f"{broken}: not readable as TOML: ")
    assert "line 1" in refusal(recipe=broken)
    broken.write_bytes(b'panel = "\xff"\n')
    assert refusal(recipe=broken).startswith(f"{broken}: not readable as TOML: 'utf-8' codec")
    (tmp_path / "folder.toml").mkdir()
    assert "Is a directory" in refusal(recipe=tmp_path / "folder.toml")
    broken.write_text("")
    assert refusal(recipe=broken) == f"{broken}: panel is missing; expected the name of a panel. Known: see, spell."


def test_with_changes_checks_again_and_leaves_the_original() -> None:
    recipe = load_recipe("p2g-plain")
    changed = with_changes(recipe, {"training.seed": 5, "title": "other"})
    assert (changed.training.seed, changed.title, recipe.training.seed) == (5, "other", 0)
    with pytest.raises(RecipeError, match=r"^training.seed is -5; expected an integer >= 0\.$"):
        with_changes(recipe, {"training.seed": -5})
    with pytest.raises(RecipeError, match=r"^training.sed is not a known key. Did you mean 'seed'\?$"):
        with_changes(recipe, {"training.sed": 5})


def test_a_recipe_cannot_be_changed_in_place() -> None:
    recipe = load_recipe("p2g-plain")
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.seed = 3
