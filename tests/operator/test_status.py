# SPDX-License-Identifier: GPL-2.0-or-later
"""status and list: what guests have and how it is shown, asked of a daemon that serves."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from tests.frontend.conftest import Machine, run_machine
from xendisplback import __version__
from xendisplback.cli import main
from xendisplback.config import Config
from xendisplback.operator.client import ask
from xendisplback.operator.control import serve_control
from xendisplback.operator.tables import list_lines, status_lines
from xendisplback.protocol.displif import SetConfig


class Asked:
    def __init__(self, machine: Machine, socket: Path) -> None:
        self.machine = machine
        self.socket = str(socket)

    async def status(self) -> dict[str, Any]:
        answer = await trio.to_thread.run_sync(partial(ask, self.socket, "status"))
        status = answer["status"]
        assert isinstance(status, dict)
        return cast("dict[str, Any]", status)

    async def command(self, *arguments: str) -> int:
        return await trio.to_thread.run_sync(main, [*arguments, "--socket", self.socket])


@asynccontextmanager
async def asked(tmp_path: Path, config: Config | None = None) -> AsyncGenerator[Asked]:
    socket = tmp_path / "control"
    async with run_machine(config=config) as m, trio.open_nursery() as nursery:
        service = m.service
        await nursery.start(serve_control, socket, service.outputs, service.frontends)
        yield Asked(m, socket)
        nursery.cancel_scope.cancel()


async def test_all_that_a_guest_has_is_told(tmp_path: Path) -> None:
    async with asked(tmp_path) as daemon:
        guest = await daemon.machine.guest(("HDMI-A-1", "800x600"), name="linux1")
        frame = await guest.create_framebuffer(800, 600)
        await guest.displays[0].enable(frame)
        for _ in range(3):
            await guest.displays[0].flip(frame)
        status = await daemon.status()
        assert status["version"] == __version__
        (frontend,) = status["frontend"]
        assert frontend["domain"] == "linux1"
        assert (frontend["domid"], frontend["device"]) == (1, 0)
        assert frontend["backend-state"] == frontend["frontend-state"] == "Connected"
        assert frontend["version"] in (1, 2)
        assert frontend["faults"] == 0
        (connector,) = frontend["connector"]
        assert (connector["width"], connector["height"]) == (800, 600)
        assert (connector["format"], connector["pitch"]) == ("XR24", 3200)
        assert connector["flip-events"] == 3
        (buffer,) = frontend["buffer"]
        assert (buffer["width"], buffer["height"], buffer["bpp"]) == (800, 600, 32)
        assert (buffer["pages"], buffer["memory"], buffer["framebuffers"]) == (469, "guest", 1)
        assert frontend["budget"]["buffers"] == {"used": 1, "limit": 256}
        assert frontend["budget"]["grants"]["used"] >= 469
        shown = status["guest"][connector["guest"]]
        assert (shown["state"], shown["places"]) == ("shown", ["HDMI-A-1/main"])
        assert "by copy" in shown["how"]


async def test_a_device_that_is_not_served_is_told_too(tmp_path: Path) -> None:
    async with asked(tmp_path) as daemon:
        await daemon.machine.host.toolstack.create([("HDMI-A-1", "0x0")], name="odd")
        with trio.fail_after(5):
            while (await daemon.status())["frontend"][0]["phase"] != "refused":
                await trio.sleep(0.05)
        (frontend,) = (await daemon.status())["frontend"]
        assert frontend["backend-state"] == "InitWait"
        assert frontend["faults"] >= 1
        assert "connector" not in frontend


async def test_a_guest_that_misbehaves_stands_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with asked(tmp_path) as daemon:
        good = await daemon.machine.guest(name="good")
        bad = await daemon.machine.guest(("HDMI-A-2", "800x600"), name="bad")
        await good.create_framebuffer(800, 600)
        for _ in range(30):
            await bad.request(0, SetConfig(0, 0xBAD, 0, 0, 1, 1, 32))
        assert await daemon.command("status") == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("! bad (dom 2 vdispl 0)") for line in lines)
        assert any(line.startswith("good (dom 1 vdispl 0)") for line in lines)


async def test_a_line_for_each_connector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with asked(tmp_path) as daemon:
        one = await daemon.machine.guest(("HDMI-A-1", "800x600"), name="linux1")
        await one.displays[0].enable(await one.create_framebuffer(800, 600))
        await daemon.machine.guest(("HDMI-A-2", "800x600"), ("Nowhere-1", "640x480"), name="linux2")
        assert await daemon.command("list") == 0
        header, *lines = capsys.readouterr().out.splitlines()
        assert header.split() == ["GUEST", "PLACES", "STATE", "PICTURE", "HOW"]
        assert [line.split()[:3] for line in lines] == [
            ["linux1/0/0", "HDMI-A-1/main", "shown"],
            ["linux2/0/0", "HDMI-A-2/main", "off"],
            ["linux2/0/1", "Nowhere-1/main", "off"],
        ]
        assert "800x600 XR24" in lines[0]
        assert "by copy" in lines[0]


async def test_programs_get_what_the_daemon_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with asked(tmp_path) as daemon:
        await daemon.machine.guest(name="linux1")
        for command in ("status", "list"):
            assert await daemon.command(command, "--json") == 0
            printed = json.loads(capsys.readouterr().out)
            assert printed.keys() == (await daemon.status()).keys()
            assert printed["frontend"][0]["domain"] == "linux1"


async def test_asking_does_not_disturb_flips(tmp_path: Path) -> None:
    """No flip is handed to Python meanwhile, as a pause would have it."""
    async with asked(tmp_path) as daemon:
        guest = await daemon.machine.guest(name="linux1")
        display = guest.displays[0]
        frame = await guest.create_framebuffer(800, 600)
        await display.enable(frame)
        await display.flip(frame)
        flips = 0

        async def flip_on() -> None:
            nonlocal flips
            while True:
                await display.flip(frame)
                flips += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flip_on)
            asked_for = 0
            while flips < 20:
                await daemon.status()
                asked_for += 1
            nursery.cancel_scope.cancel()
        assert asked_for > 20
        assert display.frame_done_timeouts == display.skipped_events == 0


def test_no_device_and_no_output_is_said() -> None:
    (line,) = status_lines({"version": "0", "frontend": [], "output": {}})
    assert line.startswith("no vdispl device")


def test_what_a_domain_is_called_can_not_play_with_the_terminal() -> None:
    evil = "\x1b[2Jowned"
    frontend = {"domain": evil, "connector": [{"guest": evil}], "faults": 1, "buffer": []}
    status = {"frontend": [frontend], "guest": {evil: {"places": [evil], "how": evil}}}
    for text in (*status_lines(status), *list_lines(status)):
        assert "\x1b" not in text


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "3601", "soon"])
def test_watching_wants_seconds(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["status", "--watch", seconds])
    assert caught.value.code == 2
    assert seconds in capsys.readouterr().err
