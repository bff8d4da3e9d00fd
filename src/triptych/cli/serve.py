"""`triptych serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triptych.cli.options import Device

Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Names or paths of runs of spell or see.")]
Memories = Annotated[
    list[Path] | None, typer.Option("--memory", metavar="STORE", help="Folder of a memory; may be repeated.")
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="TRIPTYCH_API_KEY", help="Key that requests must carry. Better in the variable."),
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Let others reach the server without a key.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="Name the server answers to; may be repeated."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    runs: Runs = None,
    memory: Memories = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any free one.")] = 8000,
    api_key: ApiKey = None,
    insecure: Insecure = False,
    allow_host: AllowHost = None,
    allow_add: Annotated[bool, typer.Option("--allow-add", help="Let requests add patterns to memories.")] = False,
    device: Device = "cpu",
    max_body_bytes: Annotated[int, typer.Option(help="Bytes of one request.")] = 8_000_000,
    max_sources: Annotated[int, typer.Option(help="Texts to spell in one request.")] = 64,
    max_source_symbols: Annotated[int, typer.Option(help="Symbols of one text.")] = 128,
    max_n_best: Annotated[int, typer.Option(help="Candidates of one text, and width of the beam.")] = 16,
    max_samples: Annotated[int, typer.Option(help="Samples drawn for one text.")] = 16,
    max_image_pixels: Annotated[int, typer.Option(help="Width times height of one image.")] = 16_000_000,
    max_cues: Annotated[int, typer.Option(help="Cues, or patterns to add, in one request.")] = 64,
    max_steps: Annotated[int, typer.Option(help="Updates of one recall.")] = 100,
    max_trace_numbers: Annotated[int, typer.Option(help="Patterns times width of a memory traced.")] = 20_000_000,
    max_stored: Annotated[int, typer.Option(help="Patterns in one memory that may be added to.")] = 1_000_000,
    timeout_s: Annotated[float, typer.Option(help="Seconds for one request.")] = 30.0,
    queue_size: Annotated[int, typer.Option(help="Requests at once; beyond, 503 with Retry-After.")] = 256,
    max_batch: Annotated[int, typer.Option(help="Items computed together.")] = 64,
    batch_wait_ms: Annotated[float, typer.Option(help="Milliseconds a request waits for others.")] = 2.0,
) -> None:
    """Answer over HTTP what runs and memories predict and recall, with a page for people at the same address.

    Examples:

        triptych serve first

        triptych serve words digits --memory store --port 8080

        TRIPTYCH_API_KEY=... triptych serve first --host 0.0.0.0 --allow-host models.example.org
    """
    from triptych.cli.output import say
    from triptych.serve import need_server

    need_server()
    from triptych.serve.app import build_app
    from triptych.serve.catalogue import load_catalogue
    from triptych.serve.limits import Limits
    from triptych.serve.server import Address, access_for, run_server, tune_threads

    limits = Limits(
        max_body_bytes, max_sources, max_source_symbols, max_n_best, max_samples, max_image_pixels, max_cues,
        max_steps, max_trace_numbers, max_stored, timeout_s, queue_size, max_batch, batch_wait_ms,
    )  # fmt: skip
    address = Address(host, port)
    access = access_for(address, key=api_key, insecure=insecure, allowed_hosts=tuple(allow_host or ()))
    catalogue = load_catalogue(runs or [], memory or [], device=device, max_image_pixels=max_image_pixels)
    names = [*catalogue.cards, *catalogue.memories]
    say(f"serving {', '.join(names)}")
    tune_threads()
    run_server(build_app(catalogue, limits, access, may_add=allow_add), address, grace_s=timeout_s)
