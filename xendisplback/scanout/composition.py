# SPDX-License-Identifier: GPL-2.0-or-later
"""Several layers of an output, composed by copy into two framebuffers that are shown in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xendisplback.host import DumbFramebuffer, PreparedCommit
from xendisplback.kms.geometry import Rect
from xendisplback.scanout.copy_job import CopyJob
from xendisplback.scanout.copy_path import copy_job
from xendisplback.scanout.flips import CardFlips, FlipPart, Scanout
from xendisplback.scanout.frame import Crop, Frame, Lease
from xendisplback.scanout.ladder import Way
from xendisplback.scanout.layout import LayerLayout
from xendisplback.scanout.mix import Mix, MixPicture
from xendisplback.scanout.pipe import Picture
from xendisplback.scanout.plane_format import XRGB8888
from xendisplback.scanout.screen import Screen
from xendisplback.scanout.view import View


class Composition:
    """Fulfils ``Arrangement``. The screen is lit by then; its background is the lowest layer."""

    def __init__(
        self, screen: Screen, layers: Sequence[LayerLayout], flips: CardFlips, why: str
    ) -> None:
        """``why``: why the layers have no planes of their own. Raises HostError."""
        self.screen = screen
        self.how = f"composed by copy: {why}"
        self._flips = flips
        self._numbers = {layer.name: number for number, layer in enumerate(layers, 1)}
        self._backs: list[DumbFramebuffer] = []
        self._commits: list[PreparedCommit] = []
        try:
            for _ in range(2):
                self._add_back()
            submit = self._commits[0].function
            self._mix = Mix(submit, 1 + len(layers), screen.refresh_rate, self._commits)
        except BaseException:
            self._close_backs()
            raise
        try:
            jobs = self._copies_of_background()
            self._background = MixPicture(self._mix, 0, screen.area, jobs=jobs)
            flips.tell_mix(screen.pipe.crtc.id, self._mix)
            self.show(self._background)
        except BaseException:
            self.close()
            raise

    def _add_back(self) -> None:
        pipe, area = self.screen.pipe, self.screen.area
        back = pipe.card.dumb_framebuffer(area.width, area.height, XRGB8888)
        self._backs.append(back)
        self._commits.append(pipe.prepare_flip(pipe.primary, Picture(back, area), alike=True))

    def _copies_of_background(self) -> list[CopyJob]:
        background, area = self.screen.background().framebuffer, self.screen.area
        return [
            CopyJob(
                *(background.address, background.pitch, back.address, back.pitch),
                *(area.width, area.height, XRGB8888, XRGB8888),
            )
            for back in self._backs
        ]

    def view(self, layer: str, crop: Crop, place: Rect) -> View:
        return ComposedView(self, self._numbers[layer], crop, place)

    def picture(
        self, number: int, frame: Frame, address: int, crop: Crop, place: Rect
    ) -> tuple[MixPicture, CopyJob]:
        """How layer ``number`` gets ``crop`` of ``frame`` to ``place``, and what is read of it."""
        area = self.screen.area
        jobs = [copy_job(frame, address, crop, back, area, place) for back in self._backs]
        return MixPicture(self._mix, number, place, jobs=jobs), jobs[0]

    def show(self, picture: MixPicture | None) -> None:
        """Now, with what the other layers show; None: only that. Raises HostError."""
        with self._mix.still():
            back = self._backs[self._mix.compose(picture)]
            self.screen.show(self.screen.pipe.primary, Picture(back, self.screen.area))
            self._mix.shown(picture)

    def tell(self, layer: str, scanout: Scanout, part: int) -> None:
        self._mix.tell(self._numbers[layer], scanout, part)

    def show_nothing(self) -> None:
        """It is lit already."""

    def clear(self, layer: str) -> None:
        self._mix.tell(self._numbers[layer], None)
        self._mix.remove(self._numbers[layer])
        self.show(None)

    async def failed(self) -> int:
        return await self._mix.refused()

    def close(self) -> None:
        self._flips.tell_mix(self.screen.pipe.crtc.id, None)
        self._mix.close()
        self._close_backs()

    def _close_backs(self) -> None:
        for commit in self._commits:
            commit.close()
        for back in self._backs:
            back.close()


@dataclass(frozen=True, slots=True)
class _Composed:
    way: Way
    picture: MixPicture
    read: CopyJob


class ComposedView:
    """Fulfils ``View``."""

    def __init__(self, composition: Composition, number: int, crop: Crop, place: Rect) -> None:
        self.crop = crop
        self.place = place
        self.refusal: str | None = composition.how
        self._composition = composition
        self._number = number
        self._frames: dict[Frame, _Composed] = {}

    def way(self, frame: Frame) -> Way | None:
        composed = self._frames.get(frame)
        return composed.way if composed is not None else None

    def part(self, frame: Frame) -> FlipPart:
        composed = self._frames[frame]
        return FlipPart([], [composed.picture], composed.read, refresh=True)

    def show_directly(self, frame: Frame, lease: Lease, way: Way, side: int) -> int:
        raise AssertionError("every frame is copied here")

    def show_by_copy(self, frame: Frame, address: int, way: Way, side: int) -> int:
        picture, read = self._composition.picture(
            self._number, frame, address, self.crop, self.place
        )
        self._composition.show(picture)
        self._frames[frame] = _Composed(way, picture, read)
        return read.digest()

    def show_again(self, frame: Frame, side: int) -> int:
        composed = self._frames[frame]
        self._composition.show(composed.picture)
        return composed.read.digest()

    def forget(self, frame: Frame) -> None:
        self._frames.pop(frame, None)

    def close(self) -> None:
        self._frames.clear()
