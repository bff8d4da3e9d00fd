"""`triptych serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triptych.cli.options import Device

Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Names or paths of spell or see runs.")]
Memories = Annotated[
    list[Path] | None, typer.Option("--memory", metavar="STORE", help="Folder of a memory; may be repeated.")
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="TRIPTYCH_API_KEY",
        help="API key that requests must send; use the variable to hide it from `ps`.",
    ),
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow access from other machines without an API key.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="Host name that the server accepts; may be repeated."),
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="Other site whose pages may send requests, such as https://app.example.org; may be repeated; * is any.",
    ),
]
RootPath = Annotated[
    str, typer.Option(metavar="PATH", help="Path under which a proxy serves it, such as /models. Default: none.")
]
LimitsFile = Annotated[Path | None, typer.Option("--limits", metavar="FILE", help="Limits of requests, as TOML.")]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", metavar="NAME=VALUE", help="Change one limit; may be repeated. --show-limits lists their names."
    ),
]


def serve(
    runs: Runs = None,
    memory: Memories = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any free one.")] = 8000,
    api_key: ApiKey = None,
    insecure: Insecure = False,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    root_path: RootPath = "",
    allow_add: Annotated[bool, typer.Option("--allow-add", help="Accept new patterns for memories.")] = False,
    device: Device = "cpu",
    limits: LimitsFile = None,
    limit: Limit = None,
    show_limits: Annotated[bool, typer.Option("--show-limits", help="Print all limits as TOML and exit.")] = False,
) -> None:
    """Serve runs and memories over HTTP, with a web page.

    Examples:

        triptych serve first

        triptych serve words digits --memory store --port 8080 --limit timeout_s=60

        TRIPTYCH_API_KEY=... triptych serve first --host 0.0.0.0 --allow-host models.example.org
    """
    from triptych.api import describe_limits, load_limits
    from triptych.cli.output import say
    from triptych.serve import check_installed

    chosen = load_limits(limits, limit or ())
    if show_limits:
        print(describe_limits(chosen))
        return
    check_installed()
    from triptych.api.serving import fitted_limits, load_catalogue
    from triptych.serve.app import build_app
    from triptych.serve.server import Address, access_for, checked_root_path, run_server

    address, root = Address(host, port), checked_root_path(root_path)
    access = access_for(
        address,
        key=api_key,
        insecure=insecure,
        allowed_hosts=allow_host or (),
        allowed_origins=allow_origin or (),
    )
    catalogue = load_catalogue(runs or [], memory or [], device=device, limits=chosen)
    chosen = fitted_limits(chosen, catalogue, say)
    say(f"serving {', '.join([*catalogue.runs, *catalogue.memories])}")
    run_server(build_app(catalogue, chosen, access, may_add=allow_add, root_path=root), address, chosen)
