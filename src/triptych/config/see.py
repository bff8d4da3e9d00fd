"""The recipe of the panel `see`: naming what is in a small image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from triptych.config.common import (
    AUTO,
    Auto,
    Fraction,
    Fractions,
    NonNegativeInt,
    OptimizerTable,
    PositiveFloat,
    PositiveInt,
    Probability,
    Seed,
    Table,
    TrainingTable,
    check_fractions,
    decided,
    without_retired,
)

Share = Annotated[float, Field(ge=0, le=1)]
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1, strict=False)]
Padding = Literal["same", "valid"]
Side = Annotated[int, Field(ge=1, le=4096)]
PRETRAINED = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")  # their weights can be installed
Strength = Annotated[float, Field(ge=0, le=100)]


def _is_network(name: str) -> str:
    if not re.fullmatch(r"cnn|residual|efficientnet-lite[012]|timm/[\w.\-]+", name):
        rule = (
            "cnn, residual, efficientnet-lite0, efficientnet-lite1, efficientnet-lite2 or timm/NAME, NAME being a "
            "network of the timm library, such as timm/resnet18"
        )
        raise PydanticCustomError("network_name", rule)
    return name


def _toml(value: Any) -> str:
    """A default as a recipe writes it."""
    if isinstance(value, tuple):
        return f"[{','.join(_toml(entry) for entry in value)}]"
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """A text as one word for a shell."""
    return text if re.fullmatch(r"[\w.=+-]+", text) else f'"{text}"'


NetworkName = Annotated[str, AfterValidator(_is_network)]


class ImageForm(Table):
    """The form that every image is brought to."""

    height: Side = Field(default=32, description="pixels")
    width: Side = Field(default=32, description="pixels")
    colour: Literal["grey", "rgb"] = Field(default="rgb", description="one channel, or three")
    fit: Literal["stretch", "crop", "pad"] = Field(
        default="stretch",
        description="how an image of another shape is brought to height x width: stretched, its middle cut out, or "
        "with black edges",
    )
    max_pixels: PositiveInt = Field(default=50_000_000, description="largest image that is decoded, width times height")

    @property
    def channels(self) -> int:
        """1 or 3."""
        return 1 if self.colour == "grey" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width


class SeeData(ImageForm):
    """`[data]`: where images come from and the form the network sees them in.

    Images come from a named set (`set = "digits"`), or from the folder or file given on the command line with `--data`:
    a folder of images per class, with or without the split folders named by `train`, `valid` and `test` around them; an
    `.npz`; a folder with IDX files. What has no splits is split by `fractions`; where only validation is missing, it
    becomes `valid_fraction` of the training images.
    """

    height: Side | Auto = Field(  # type: ignore[assignment]  # a form has numbers; data may yet be asked for them
        default=32, description="pixels; auto chooses a size for pretrained weights from the sizes of the images"
    )
    width: Side | Auto = Field(default=32, description="pixels; auto with height")  # type: ignore[assignment]
    set: str = Field(default="", description="named data set; empty when the images come from --data")
    train: str = Field(default="train", description="folder of the training images; common names are found too")
    valid: str = Field(default="valid", description="folder of the validation images, likewise")
    test: str = Field(default="test", description="folder of the test images, likewise")
    pixels: Literal["unit", "standard", "pretrained"] = Field(
        default="unit",
        description="values from 0 to 1; or less the training images' mean and divided by their deviation per channel, "
        "or as pretrained weights expect them",
    )
    skip_bad: bool = Field(default=False, description="skip files that cannot be read, and report how many")
    memory_limit_mb: PositiveInt = Field(
        default=2048, description="decoded images beyond this many MiB are mapped from disk"
    )
    fractions: Fractions = Field(
        default={"train": 0.8, "valid": 0.1, "test": 0.1}, description="shares of the splits of data without splits"
    )
    valid_fraction: Annotated[float, Field(gt=0, lt=1)] | Auto = Field(
        default=0.1,
        description="share of the training images that validate where only validation is missing; auto, for a fitted "
        "last layer alone, is a tenth, or none of few images, which are then cross-validated",
    )
    split_seed: Seed = 0
    max_train_images: NonNegativeInt = Field(default=0, description="use at most this many training images; 0 uses all")
    max_eval_images: NonNegativeInt = Field(
        default=0, description="the same for valid and test of the run's own data; 0 uses all"
    )

    @model_validator(mode="before")
    @classmethod
    def _older_settings(cls, values: Any) -> Any:
        return without_retired(values, {}, renamed={"skip_bad_files": "skip_bad"})

    @model_validator(mode="after")
    def _fractions_are_whole(self) -> Self:
        check_fractions(self.fractions)
        return self

    @model_validator(mode="after")
    def _both_sides_are_known(self) -> Self:
        if (self.height == AUTO) != (self.width == AUTO):
            raise ValueError(f"height is {self.height} and width is {self.width}; expected both to be auto, or neither")
        return self

    @property
    def is_sized(self) -> bool:
        """Whether height and width are numbers."""
        return self.height != AUTO

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width).

        Raises:
            RecipeError: they are still "auto".
        """
        return self.channels, decided(self.height, "data.height"), decided(self.width, "data.width")


class SeeAugmentation(Table):
    """`[augmentation]`: random changes of training images, drawn for every image of every batch."""

    flip: Share = Field(default=0.0, description="probability of a mirror image, left to right")
    vertical_flip: Share = Field(default=0.0, description="probability of a mirror image, top to bottom")
    crop_scale: Fraction = Field(
        default=1.0,
        description="smallest share of the area that a random crop keeps before it is resized, its sides stretched by "
        "up to 4:3; 1 is off",
    )
    shift: Share = Field(default=0.0, description="largest shift, as a share of height and width")
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(default=0.0, description="largest turn, in degrees")
    zoom: Probability = Field(default=0.0, description="largest change of size: 0.1 is 0.9 to 1.1 times")
    brightness: Strength = Field(
        default=0.0, description="largest relative change of the values: 0.2 is a factor from 0.8 to 1.2"
    )
    contrast: Strength = Field(
        default=0.0, description="largest relative change of the values' distance from the image's mean grey"
    )
    saturation: Strength = Field(
        default=0.0, description="(colour images) largest relative change of the distance from the pixel's grey"
    )
    mixup: Strength = Field(
        default=0.0,
        description="alpha of the Beta distribution of mixing weights, one per image (Zhang et al. 2018, "
        "arXiv:1710.09412); 0 is off",
    )
    cutmix: Strength = Field(
        default=0.0,
        description="alpha of the Beta distribution of the area that stays when a rectangle of another image is pasted "
        "(Yun et al. 2019, arXiv:1905.04899); with mixup too, each image draws one of the two; 0 is off",
    )
    cutout: Share = Field(
        default=0.0,
        description="side of a square of the batch's mean colour at a random place, as a share of height and width "
        "(DeVries and Taylor 2017, arXiv:1708.04552); 0 is off",
    )


class SeeModel(Table):
    """`[model]`: the network.

    `cnn` is blocks of convolution, ReLU, pooling and dropout, then linear layers; `residual` is a compact
    pre-activation residual network; `efficientnet-lite0` to `efficientnet-lite2` are networks for photographs with
    weights to begin with; `timm/NAME` is a network of the timm library.
    """

    name: NetworkName = Field(
        default="cnn", description="cnn, residual, efficientnet-lite0, -lite1, -lite2 or timm/NAME"
    )
    weights: Literal["", "imagenet"] = Field(
        default="",
        description="(efficientnet) what a training begins with: empty is random weights, imagenet those trained on "
        "ImageNet, from the extra triptych[pretrained]",
    )
    normalised: bool = Field(
        default=False,
        description="(cnn) batch normalisation in each block and after the hidden linear layers, and the average "
        "over positions in place of flattening",
    )
    last_hidden_norm: bool = Field(default=True, description="(normalised cnn) normalise the last hidden layer too")
    head: Literal["", "flatten", "average", "hopfield"] = Field(
        default="",
        description="how positions become one vector; empty is flatten for cnn, average where normalised or residual",
    )
    head_steps: PositiveInt = Field(default=1, description="(hopfield head) updates of the pooling queries")
    head_queries: PositiveInt = Field(default=1, description="(hopfield head) pooling queries")
    channels: Widths = Field(default=(32, 64, 128), description="channels of each convolution block or residual stage")
    kernels: Widths = Field(default=(3,), description="(cnn) kernel sizes, one for all blocks or one each")
    padding: Annotated[tuple[Padding, ...], Field(min_length=1, strict=False)] = Field(
        default=("same",), description="(cnn) padding, one for all blocks or one each"
    )
    block_dropout: Probability = Field(default=0.0, description="(cnn) dropout after each block's pooling")
    hidden: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = Field(
        default=(), description="(cnn) widths of the linear layers before the last"
    )
    hidden_dropout: Annotated[tuple[Probability, ...], Field(strict=False)] = Field(
        default=(), description="(cnn) dropout after each hidden layer, in order; empty = none"
    )
    blocks: Annotated[int, Field(ge=1, le=1000)] = Field(default=2, description="(residual) blocks in each stage")
    drop_path: Probability = Field(
        default=0.0, description="(residual) probability that training skips the last block; earlier blocks less"
    )
    squeeze: NonNegativeInt = Field(
        default=0,
        description="(residual) reduction factor of squeeze-and-excitation, which weighs channels; 0 = off",
    )
    dropout: Probability = Field(default=0.0, description="(residual) dropout before the last layer")

    @model_validator(mode="before")
    @classmethod
    def _older_settings(cls, values: Any) -> Any:
        return without_retired(values, {"output": ["log-probabilities", "logits"]})

    @model_validator(mode="after")
    def _settings_have_effect(self) -> Self:
        of_cnn = ("normalised", "last_hidden_norm", "kernels", "padding", "block_dropout", "hidden", "hidden_dropout")
        of_residual = ("blocks", "drop_path", "squeeze", "dropout")
        of_both = ("channels", "head", "head_steps", "head_queries")
        of_pretrained = ("weights",)
        idle = {"cnn": (*of_residual, *of_pretrained), "residual": (*of_cnn, *of_pretrained)}.get(
            self.name, (*of_cnn, *of_residual, *of_both, *(() if self.name in PRETRAINED else of_pretrained))
        )
        usual = {key: type(self).model_fields[key].default for key in idle}
        changed = [key for key in idle if getattr(self, key) != usual[key]]
        if changed:
            listed = ", ".join(f"{key} ({getattr(self, key)})" for key in changed)
            settings = " ".join(f"--set {_quoted(f'model.{key}={_toml(usual[key])}')}" for key in changed)
            raise ValueError(
                f"{listed} {'has' if len(changed) == 1 else 'have'} no effect with name {self.name!r}; expected the "
                f"defaults. Remove them from the recipe, or add: {settings}"
            )
        if self.head != "hopfield" and (self.head_steps != 1 or self.head_queries != 1):
            raise ValueError(
                f"head_steps is {self.head_steps} and head_queries is {self.head_queries} with head {self.head!r}; "
                "expected 1, since only head 'hopfield' has them"
            )
        if not self.last_hidden_norm and not (self.normalised and self.hidden):
            raise ValueError("last_hidden_norm is false; expected a normalised cnn with hidden layers")
        if self.name == "residual" and self.head == "flatten":
            raise ValueError("head is 'flatten' with name 'residual'; expected average or hopfield")
        return self

    @model_validator(mode="after")
    def _lists_agree(self) -> Self:
        for key in ("kernels", "padding"):
            count = len(getattr(self, key))
            if count not in (1, len(self.channels)):
                raise ValueError(
                    f"{key} has {count} entries and channels has {len(self.channels)}; expected one, or one for each"
                )
        if len(self.hidden_dropout) not in (0, len(self.hidden)):
            raise ValueError(
                f"hidden_dropout has {len(self.hidden_dropout)} entries and hidden has {len(self.hidden)}; "
                "expected none, or one for each"
            )
        return self


class SeeTraining(TrainingTable):
    """`[training]` of a see recipe."""

    epochs: NonNegativeInt = Field(default=20, description="0, with fit_last, trains nothing but the last layer")
    batch_size: PositiveInt = Field(default=64, description="items per update, over all devices together")
    fit_last: bool = Field(
        default=False,
        description="(efficientnet) before any epoch, fit the last layer to the features of the training images, once: "
        "logistic regression whose penalty is chosen on validation images, or by cross-validation where there are none",
    )
    monitor: Literal["valid_accuracy", "valid_loss"] = "valid_accuracy"
    label_smoothing: Probability = Field(
        default=0.0, description="share of the target probability that is spread over all classes"
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none",
        description="balanced gives all classes the same weight in the training loss, however many images they have",
    )

    @model_validator(mode="before")
    @classmethod
    def _older_settings(cls, values: Any) -> Any:
        best = "min" if isinstance(values, Mapping) and values.get("monitor") == "valid_loss" else "max"
        return without_retired(values, {"mode": [best], "channels_last": [True, False]})


class SeeDecoding(Table):
    """`[decoding]`: how classes are read off the network when testing and predicting."""

    views: Literal["one", "flips", "shifts", "shifts-and-flips"] = Field(
        default="one",
        description="average probabilities over the image alone, or its mirror image, small shifts, or both too",
    )
    top_k: PositiveInt = Field(
        default=3,
        description="classes listed by predict",
        json_schema_extra={"option": "n_best", "commands": ["predict"]},
    )
    temperature: PositiveFloat = Field(
        default=1.0,
        description="divides logits before probabilities are taken",
        json_schema_extra={"option": None},  # fitted by `triptych calibrate`
    )
    batch_size: PositiveInt = Field(
        default=32, description="images at a time; 32 fit a processor's cache, GPUs are faster with more"
    )


class SeeEvidence(Table):
    """Settings of `triptych explain` for an image."""

    layer: str | None = Field(
        default=None,
        description="convolution of the activation maps and of Grad-CAM, by name or number from 0; by default the "
        "activations are of the first and Grad-CAM is taken before the head",
    )
    of_class: str | None = Field(
        default=None,
        description="class whose evidence is drawn; the predicted one by default",
        json_schema_extra={"option": "class"},
    )


class SeeRecipe(Table):
    """A whole recipe of the panel `see`."""

    panel: Literal["see"]
    title: str = ""
    data: SeeData = SeeData()
    augmentation: SeeAugmentation = SeeAugmentation()
    model: SeeModel = SeeModel()
    optimizer: OptimizerTable = OptimizerTable()
    training: SeeTraining = SeeTraining()
    decoding: SeeDecoding = SeeDecoding()

    @model_validator(mode="after")
    def _fits_the_last_layer(self) -> Self:
        is_pretrained, named = self.model.name in PRETRAINED, f"with model.name {self.model.name!r}"
        if self.training.fit_last and not is_pretrained:
            raise ValueError(f"training.fit_last is true {named}; expected one of {', '.join(PRETRAINED)}")
        if self.training.epochs == 0 and not self.training.fit_last:
            raise ValueError("training.epochs is 0; expected an integer >= 1, or training.fit_last to be true")
        if self.training.epochs and self.data.valid_fraction == AUTO:
            raise ValueError(
                f"data.valid_fraction is auto with training.epochs {self.training.epochs}; expected a number, since "
                "epochs need validation images"
            )
        for key, value in (("data.height", self.data.height), ("data.pixels", self.data.pixels)):
            if value in (AUTO, "pretrained") and not is_pretrained:
                raise ValueError(f"{key} is {value} {named}; expected another value, or one of {', '.join(PRETRAINED)}")
        return self
