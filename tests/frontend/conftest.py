# SPDX-License-Identifier: GPL-2.0-or-later
"""The real daemon on the simulated host, and the promise that it leaves nothing behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from xendisplback.config import Config
from xendisplback.daemon.service import Service
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest import Guest
from xendisplback.sim.host import SimHost

TEST_SECONDS = 20.0


@dataclass
class Machine:
    """A simulated host with our daemon on it."""

    host: SimHost
    service: Service

    async def guest(self, *connectors: tuple[str, str], name: str = "guest") -> Guest:
        """A started domain's frontend, connected."""
        return (await self.domain(*connectors, name=name)).guest

    async def domain(self, *connectors: tuple[str, str], name: str = "guest") -> Domain:
        wanted = list(connectors) or [("HDMI-A-1", "800x600")]
        domain = await self.host.toolstack.create(wanted, name=name)
        await domain.guest.connected()
        return domain

    async def released(self, domid: int) -> None:
        """Until nothing of the domain is mapped or bound any more."""
        while self.host.memory.mapped(domid) or self.host.event_channels_open(domid):
            await trio.sleep(0.01)


Machines = Callable[..., AbstractAsyncContextManager[Machine]]


@pytest.fixture
def machine() -> Machines:
    """``async with machine(devices=[…], config=Config(…)) as m``; checks at the end that all is released."""

    @asynccontextmanager
    async def run(
        devices: list[DisplayDevice] | None = None, config: Config | None = None
    ) -> AsyncGenerator[Machine, None]:
        with trio.fail_after(TEST_SECONDS):
            async with SimHost(devices) as host, trio.open_nursery() as nursery:
                service = Service(config or Config(), host)
                await nursery.start(service.run)
                yield Machine(host, service)
                service.stop()
                while nursery.child_tasks:
                    await trio.sleep(0.01)
                assert host.memory.mapped() == 0
                assert all(device.framebuffers == 0 for device in host.devices)

    return run
