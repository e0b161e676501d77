"""`ui`: a page on this machine that shows how everything stands, and on which a person acts."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import click

from reconciler import wiring
from reconciler.cli.output import Output, common, here
from reconciler.cli.ui import scraping
from reconciler.model.errors import UsageError
from reconciler.system.late import late

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("ui")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="A port of this machine (default: a free one)")
@click.option("--socket", "path", type=click.Path(path_type=Path), default=None, help="A unix socket instead of a port")
@click.option("--listen", metavar="HOST:PORT", default=None, help="Elsewhere than on this machine; needs --tls-*")
@click.option("--tls-cert", type=_FILE, default=None, help="With --listen: the certificate, as PEM")
@click.option("--tls-key", type=_FILE, default=None, help="With --listen: its key, as PEM")
@click.option("--all", "every", is_flag=True, help="Every repository of yours in which something is applied")
@click.option(
    "--metrics-token",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Serve /metrics to who sends the token in this file as a bearer; made where there is none",
)
@click.option("--read-only", is_flag=True, help="Show everything, and act on nothing")
@common
def ui_command(
    port: int,
    path: Path | None,
    listen: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    every: bool,
    metrics_token: Path | None,
    read_only: bool,
    out: Output,
) -> int:
    """Serve a page on this machine: who works, what waits and why, what it costs; approve, retry, stop by a click.

    It prints an address that is good once. Beside a 'reconcile watch' it shows what the watch sees, and asks nobody else;
    without one it looks itself. What is clicked runs the command of the same name. Elsewhere than on this machine
    (--listen) the page only shows: who asks can't be known there. Ctrl-C ends the page and nothing else.
    """
    wiring.refuse_agents(wiring.environ(), "ui")
    server = late("reconciler.cli.ui.server")
    if sum(map(bool, (port, path, listen))) > 1:
        raise UsageError("--port, --socket and --listen are three places; name one")
    tls = (tls_cert, tls_key) if tls_cert and tls_key else None
    place = server.Where(port=port, path=path)
    if listen:
        host, at = _host_and_port(listen)
        if host in ("0.0.0.0", "::", "*"):
            raise UsageError(f"{host} is every address", hint="name the one that it is opened by")
        if tls is None and not _of_this_machine(host):
            hint = "name them with --tls-cert and --tls-key, or reach this machine by 'ssh -L'"
            raise UsageError(f"{host} can be reached by others: the page needs a certificate and its key", hint=hint)
        place = server.Where(host=host, port=at, tls=tls)
        read_only = read_only or not _of_this_machine(host)  # who asks can't be known there
    elif tls_cert or tls_key:
        raise UsageError("--tls-cert and --tls-key are for --listen")
    scraper = scraping.token_of(metrics_token) if metrics_token else ""
    code: int = server.serve(None if every else here(), place, out, read_only=read_only, scraper=scraper)
    return code


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 65536):
        raise UsageError(f"{text} is no HOST:PORT")
    return host.strip("[]"), int(port)


def _of_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
