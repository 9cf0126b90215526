"""What a host has to itself: a registered key, a SuperNode at work, the recordings of its views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import httpx

from fedkd.build import build
from fedkd.config import load
from fedkd.errors import UserError
from simulations.fleet.checks.finding import Finding
from simulations.fleet.keys import read_key
from simulations.fleet.kit import Kit
from simulations.fleet.link import is_admitted


def admission(kit: Kit, settings: Mapping[str, str]) -> Iterator[Finding]:
    """Is the key registered, and does a SuperNode run here?"""
    port = settings.get("FEDKD_PORT")
    runs = port is not None and _answers(f"http://127.0.0.1:{port}/health")
    try:
        admitted = is_admitted(kit, read_key(kit.folder / "key"))
    except httpx.HTTPStatusError as error:
        says = f"the server refuses what it signs ({error.response.status_code}); is the clock right?"
        yield Finding("key", False, says)
        return
    except (OSError, ValueError, httpx.HTTPError) as error:
        yield Finding("key", False, f"cannot be used: {error}")
        return
    if admitted:
        yield Finding("key", True, "is registered")
        yield Finding("SuperNode", False, "is not connected; start supernode.sh")
    elif runs:
        yield Finding("key", True, "is registered: the SuperNode of this host is in")
        yield Finding("SuperNode", True, "runs; for a message there and back: fedkd fleet check FOLDER/server, there")
    else:
        yield Finding(
            "key", False, "is not registered (server/register.sh), or in use until a lost SuperNode's minute ends"
        )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def recordings(kit: Kit, settings: Mapping[str, str], overrides: Sequence[str]) -> Iterator[Finding]:
    """Those of each of the host's views, in the data that the overrides name."""
    if not overrides:
        yield Finding("data", None, "name the data set to look for its recordings: fedkd fleet check FOLDER data=NAME")
        return
    cfg = load([*_places(settings, overrides), *overrides])
    data = build(cfg.data)
    for view in kit.hosts[0].views:
        try:
            if view not in data.view_names():
                raise UserError(f"{data.name} has no such view, it has {', '.join(data.view_names())}")
            recorded = data.view(view, cfg.seed)
        except (UserError, OSError) as error:
            yield Finding(f"data {view}", False, str(error))
        else:
            yield Finding(
                f"data {view}", True, f"{len(recorded.train)} clips to train on, {len(recorded.test)} to test"
            )


def _places(settings: Mapping[str, str], overrides: Sequence[str]) -> list[str]:
    """Where the SuperNode will look for recordings, and for prepared clips where the data has some."""
    where = [f"data_dir='{settings['FEDKD_DATA']}'"] if "FEDKD_DATA" in settings else []
    if "FEDKD_PREPARED" in settings and "prepared_dir" in load([*where, *overrides]).data:
        where.append(f"data.prepared_dir='{settings['FEDKD_PREPARED']}'")
    return where
