"""The commands `predict` and `explain` for runs of the panel `see`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triptych.images.walking import Remarks
    from triptych.runs.run import Run


def predict_images(
    run: Run,
    source: str,
    *,
    top_k: int | None,
    views: str | None,
    skip_bad_files: bool,
    line_buffered: bool,
    device: str,
) -> None:
    """Print the classes of a file, of all images below a folder, or of the files that standard input names.

    TSV: path, class, probability, then further classes in pairs of columns. With `line_buffered`, each is answered
    before the next is read.
    """
    from triptych import api
    from triptych.cli.output import warn
    from triptych.config import with_changes
    from triptych.files import tsv_row
    from triptych.images.bad_files import Skipped
    from triptych.images.walking import Remarks

    changes: dict[str, object] = {} if views is None else {"decoding.views": views}
    if line_buffered:
        changes["decoding.batch_size"] = 1
    classifier = api.load(run.path, device=device)
    skipped = Skipped()
    remarks = Remarks(skip_bad=skip_bad_files)
    for classified in classifier.stream(
        _paths(source, remarks),
        top_k=top_k,
        decoding=with_changes(run.recipe_in_use(), changes).decoding,
        on_bad=skipped.add if skip_bad_files else None,
        workers=1 if line_buffered else None,
    ):
        cells = [classified.name]
        for name, probability in zip(classified.classes, classified.probabilities, strict=True):
            cells += [name, f"{probability:.4f}"]
        print(tsv_row(cells), flush=line_buffered)
    sys.stdout.flush()
    for folder in remarks.bad:
        skipped.add(folder)
    warn([*skipped.sentences(), *remarks.sentences()])


def explain_images(
    run: Run,
    images: list[str],
    *,
    layer: str | None,
    of_class: str | None,
    out: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Draw what a network saw in images, and list its classes."""
    from triptych import api
    from triptych.cli.output import print_json, print_table

    explained = [
        api.explain_image(run, Path(image), layer=layer, of_class=of_class, out=out, device=device) for image in images
    ]
    if as_json:
        print_json({"images": [explanation.to_dict() for explanation in explained]})
        return
    for explanation in explained:
        rows = [
            [name, f"{probability:.4f}"]
            for name, probability in zip(
                explanation.classified.classes, explanation.classified.probabilities, strict=True
            )
        ]
        print_table(["class", "probability"], rows, title=explanation.classified.name)
        print(f"activation maps of {explanation.layer}  {explanation.maps}")
        print(f"saliency for {explanation.explained_class}  {explanation.saliency}\n")


def _paths(source: str, remarks: Remarks) -> Iterator[Path]:
    """The file itself, the images below a folder, or the paths that standard input lists, one per line."""
    from triptych.errors import DataError
    from triptych.images.walking import image_files

    if source == "-":
        for line in sys.stdin.buffer:
            path = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            if path:
                yield Path(path)
        return
    path = Path(source)
    if not path.exists():
        raise DataError("no such file or folder; expected an image, a folder of images, or - for a list.", path=path)
    if not path.is_dir():
        yield path
        return
    found = False
    for image in image_files(path, remarks):
        found = True
        yield image
    if not found:
        hint = " ".join(remarks.sentences())
        raise DataError("the folder has no image; expected at least one.", hint=hint, path=path)
