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
from xendisplback.sim.kernel import SimKernel

TEST_SECONDS = 20.0


@dataclass
class Machine:
    """A simulated host with our daemon on it."""

    host: SimHost
    service: Service

    async def guest(self, *connectors: tuple[str, str], name: str = "guest") -> Guest:
        """A started domain's frontend, connected."""
        return (await self.domain(*connectors, name=name)).guest

    async def domain(
        self, *connectors: tuple[str, str], name: str = "guest", be_alloc: bool = False
    ) -> Domain:
        wanted = list(connectors) or [("HDMI-A-1", "800x600")]
        domain = await self.host.toolstack.create(wanted, name=name, be_alloc=be_alloc)
        await domain.guest.connected()
        return domain

    async def released(self, domid: int) -> None:
        """Until nothing of the domain is mapped or bound any more."""
        while self.host.memory.mapped(domid) or self.host.event_channels_open(domid):
            await trio.sleep(0.01)


@asynccontextmanager
async def run_machine(
    devices: list[DisplayDevice] | None = None,
    config: Config | None = None,
    kernel: SimKernel | None = None,
    *,
    seconds: float = TEST_SECONDS,
) -> AsyncGenerator[Machine, None]:
    """What the fixture ``machine`` calls; fails after ``seconds``."""
    with trio.fail_after(seconds):
        async with SimHost(devices, kernel) as host, trio.open_nursery() as nursery:
            service = Service(config or Config(), host)
            await nursery.start(service.run)
            yield Machine(host, service)
            service.stop()
            while nursery.child_tasks:
                await trio.sleep(0.01)
            assert host.memory.mapped() == 0
            assert all(device.framebuffers == 0 for device in host.devices)
            # What living guests with be-alloc=1 may still have mapped.
            host.fds.close()
            assert host.memory.backend.granted() == 0
            assert len(host.memory.dmabufs) == 0


def is_dark(host: SimHost, name: str = "HDMI-A-1") -> bool:
    """Nothing but black, whether the monitor is switched off yet or not."""
    screen = host.device.screen(name)
    return screen is None or not any(screen.pixels)


def guests_framebuffers(host: SimHost) -> int:
    """Without the backgrounds of outputs that are lit for nobody."""
    names = [connector.name for connector in host.device.objects.connectors.values()]
    lit = [name for name in names if host.device.screen(name) is not None]
    return host.device.framebuffers - len([name for name in lit if is_dark(host, name)])


Machines = Callable[..., AbstractAsyncContextManager[Machine]]


@pytest.fixture
def machine() -> Machines:
    """``async with machine(devices=[…], config=Config(…), kernel=SimKernel(…)) as m``.

    Checks at the end that all is released.
    """
    return run_machine
