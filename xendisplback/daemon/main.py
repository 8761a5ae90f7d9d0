# SPDX-License-Identifier: GPL-2.0-or-later
"""``xendisplback run``: signals and exit codes around :class:`~xendisplback.daemon.service.Service`.

SIGUSR1 ends the process at once, with all guests left as they are for the next one: a restart, which only systemd
can tell from a stop (the unit's ExecStop=).

Exit codes: 0 after SIGTERM or SIGINT and an orderly end, or SIGUSR1; 1 where the host can't do it or a second
SIGTERM cut the end short; 78 (EX_CONFIG) for a configuration that can't be used.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
from pathlib import Path

import trio

from xendisplback.config import ConfigError, load_config
from xendisplback.daemon.logs import set_level, start_logging
from xendisplback.daemon.service import Service
from xendisplback.errors import HostError, leaves
from xendisplback.host import Host
from xendisplback.operator.control import serve_control

logger = logging.getLogger(__name__)

EX_CONFIG = 78


def run(config_path: Path | None, host: Host) -> int:
    """Run the daemon on ``host`` until a signal ends it; returns the exit code."""
    try:
        config = load_config(config_path)
    except ConfigError as error:
        print(f"xendisplback: {error}", file=sys.stderr)
        return EX_CONFIG
    start_logging(config.log_level)
    code = 0
    try:
        trio.run(run_service, Service(config, host), config_path)
    except* HostError as group:
        code = 1
        for line in dict.fromkeys(str(error) for error in leaves(group)):
            logger.error("%s", line)
    return code


def _settle() -> None:
    """Once after the start: what exists now lives as long as the daemon."""
    gc.collect()
    # The collector need not walk it at every pass.
    gc.freeze()
    # What loading took and freed goes back to the system, 0.7 MiB; glibc alone has this.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def run_service(service: Service, config_path: Path | None) -> None:
    async with trio.open_nursery() as signals:
        signals.start_soon(_obey_signals, service, config_path)
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            signals.start_soon(_serve_operator, service)
            _settle()
        signals.cancel_scope.cancel()


async def _serve_operator(service: Service) -> None:
    """Task. Guests are served without a control socket too."""
    try:
        await serve_control(service.control_socket, service.outputs, service.frontends)
    except HostError as error:
        logger.error("no control socket: %s", error)


async def _obey_signals(service: Service, config_path: Path | None) -> None:
    """SIGTERM, SIGINT: end in an orderly way; a second one: at once. SIGHUP: read the file anew."""
    stopping = False
    reloading = trio.Lock()
    awaited = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    with trio.open_signal_receiver(*awaited) as signals:
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if number == signal.SIGHUP:
                    # As a task: outputs that change take seconds, and SIGTERM is not to wait for them.
                    nursery.start_soon(_reload, service, config_path, reloading)
                elif number == signal.SIGUSR1 and service.can_be_taken_over and not stopping:
                    logger.info("SIGUSR1: the next process takes over")
                    # The kernel closes what systemd does not hold. It is the same as SIGKILL, which comes at any
                    # moment: nothing has to be prepared.
                    os._exit(0)
                elif stopping:
                    logger.error("ended at once by a second %s", signal.Signals(number).name)
                    os._exit(1)
                else:
                    stopping = True
                    logger.info("%s: closing all frontends", signal.Signals(number).name)
                    service.stop()


async def _reload(service: Service, config_path: Path | None, reloading: trio.Lock) -> None:
    async with reloading:
        try:
            config = load_config(config_path)
            await service.reload(config)
        except HostError as error:
            logger.error("SIGHUP: nothing changed: %s", error)
            return
    set_level(config.log_level)
    logger.info(
        "SIGHUP: log level is %s, and outputs and routes are the configuration's;"
        " other keys take effect at the next start",
        config.log_level,
    )
