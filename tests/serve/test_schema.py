"""Requests made up from the OpenAPI document find no fault of the server's."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.serve.running import running
from triptych.api.serving import Catalogue, ServedMemory
from triptych.config.serve import ServeLimits
from triptych.serve.app import build_app

schemathesis: Any = pytest.importorskip("schemathesis")
hypothesis: Any = pytest.importorskip("hypothesis")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_request_of_the_documents_kind_or_near_it_makes_an_error(
    catalogue: Catalogue, store: Path, tmp_path: Path
) -> None:
    shutil.copytree(store, tmp_path / "store")
    memories = {"store": ServedMemory(tmp_path / "store")}
    served = Catalogue(catalogue.spellers, catalogue.classifiers, memories)
    asked: Counter[tuple[str, int]] = Counter()
    with running(build_app(served, ServeLimits(max_stored=1000), may_add=True)) as url:
        document = schemathesis.openapi.from_url(f"{url}/openapi.json")
        settings = hypothesis.settings(
            max_examples=80, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        kinds = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
        for found, kind in itertools.product(document.get_all_operations(), kinds):
            operation = found.ok()
            if kind is schemathesis.GenerationMode.NEGATIVE and not (operation.body or len(operation.query)):
                continue  # nothing about it could be wrong

            @settings
            @hypothesis.given(case=operation.as_strategy(generation_mode=kind))
            def ask(case: Any) -> None:
                answer = case.call(base_url=url)
                asked[case.path, answer.status_code] += 1
                assert answer.status_code < 500, (case.as_curl_command(), answer.text)

            ask()
        paths = requests.get(f"{url}/openapi.json", timeout=30).json()["paths"]
    assert {path for path, _ in asked} == {*paths}
    assert asked["/v1/spell/{run}/predict", 200] >= 5
    assert asked["/v1/spell/{run}/predict", 422] >= 5
