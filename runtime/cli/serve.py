"""`python -m runtime serve`: serve a gallery and its model over HTTP, with a page to find a person."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from runtime.cli.arguments import ModelOptions, add_opening_options, model_options
from runtime.options.argument_types import count

HELP = "serve a gallery over HTTP, with a page to find a person"


@dataclass(frozen=True)
class ServeOptions:
    """The folder or the server `store` of the gallery, the `model`, and where and for whom the service listens.

    `token_file` holds the token that each request has to bring along (None: nothing). `images` is the folder whose pictures may be
    shown (None: stored thumbnails only), and `allow_host` are further names of the service.
    """

    store: str
    model: ModelOptions
    host: str
    port: int
    token_file: str | None
    images: str | None
    allow_host: tuple[str, ...]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `serve` to `parser`."""
    parser.add_argument(
        "--store",
        required=True,
        metavar="DIR",
        help="the gallery: a folder, or postgresql://...; made if it is missing",
    )
    parser.add_argument(
        "--model", required=True, metavar="M", help="the model that made the features of the gallery"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=count,
        default=8000,
        metavar="N",
        help="the port; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--token-file",
        metavar="F",
        help="a file with a token that every request must bring along; needed if other machines can reach the address",
    )
    parser.add_argument(
        "--images",
        metavar="ROOT",
        help="show the pictures of stored rows that lie below this folder (default: thumbnails)",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name of this service; may be repeated",
    )
    add_opening_options(parser)


def command(args: Namespace) -> None:
    """Run the command `serve` with the parsed arguments `args`."""
    options = ServeOptions(
        store=args.store,
        model=model_options(args),
        host=args.host,
        port=args.port,
        token_file=args.token_file,
        images=args.images,
        allow_host=tuple(args.allow_host),
    )
    run(options)


def run(options: ServeOptions) -> None:
    """Serve until a signal comes. Prints the address on stdout."""
    from runtime import ConfigError, open_model
    from runtime.service.guards import is_loopback, known_hosts
    from runtime.service.server import Address, read_token, serve
    from runtime.service.settings import Settings

    token = None if options.token_file is None else read_token(options.token_file)
    if token is None and not is_loopback(options.host):
        raise ConfigError(
            f"--host {options.host}: other machines can reach this address, so give a token: --token-file F"
        )
    model = open_model(
        options.model.path,
        device=options.model.device,
        backend=options.model.backend,
        threads=options.model.threads,
        allow_ungated=options.model.allow_ungated,
    )
    settings = Settings(options.store, options.images, known_hosts(options.host, options.allow_host), token)
    serve(model, settings, Address(options.host, options.port), started=lambda url: print(url, flush=True))
