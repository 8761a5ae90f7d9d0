# SPDX-License-Identifier: GPL-2.0-or-later
"""Several layers of an output, each on a plane of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing

from xendisplback.host import Card, Plane, PreparedCommit
from xendisplback.kms.geometry import Rect
from xendisplback.scanout.flips import CardFlips, Scanout
from xendisplback.scanout.frame import Crop
from xendisplback.scanout.layout import LayerLayout
from xendisplback.scanout.mix import Mix, MixPicture
from xendisplback.scanout.pipe import Picture
from xendisplback.scanout.plane_format import XRGB8888
from xendisplback.scanout.screen import Screen
from xendisplback.scanout.view import PlaneView, View


class PlanePicture(MixPicture):
    """A commit for one plane, by way of the mix."""

    def __init__(self, mix: Mix, layer: int, place: Rect, commit: PreparedCommit) -> None:
        super().__init__(mix, layer, place, commit)
        self._commit = commit

    def close(self) -> None:
        self._commit.close()


class OwnPlane:
    """One layer's. Fulfils ``Stage``."""

    def __init__(self, screen: Screen, mix: Mix, layer: int, plane: Plane) -> None:
        self._screen = screen
        self._mix = mix
        self._layer = layer
        self.card: Card = screen.pipe.card
        self.plane = plane

    def copies(self, place: Rect) -> Rect:
        return self._screen.area if self.plane is self._screen.pipe.primary else place

    def prepare(self, picture: Picture, *, alike: bool) -> PreparedCommit:
        commit = self._screen.pipe.prepare_flip(self.plane, picture, alike=alike)
        return PlanePicture(self._mix, self._layer, picture.area, commit)

    def show(self, picture: Picture, commit: PreparedCommit) -> None:
        assert isinstance(commit, PlanePicture)
        with self._mix.still():
            self._screen.show(self.plane, picture)
            self._mix.shown(commit)


class OwnPlanes:
    """Fulfils ``Arrangement``. The screen is lit by then, with its background on the primary plane."""

    how = "on a plane of its own"

    def __init__(
        self,
        screen: Screen,
        layers: Sequence[LayerLayout],
        planes: Sequence[Plane],
        flips: CardFlips,
    ) -> None:
        """``planes``: one for each of ``layers``."""
        self.screen = screen
        self._flips = flips
        self._planes = dict(zip((layer.name for layer in layers), planes, strict=True))
        self._numbers = {layer.name: number for number, layer in enumerate(layers)}
        background = screen.background()
        with closing(screen.pipe.prepare_flip(planes[0], background, alike=True)) as commit:
            self._mix = Mix(commit.function, len(layers), screen.refresh_rate)
        try:
            flips.tell_mix(screen.pipe.crtc.id, self._mix)
        except BaseException:
            self._mix.close()
            raise

    def view(self, layer: str, crop: Crop, place: Rect) -> View:
        plane = self._planes[layer]
        return PlaneView(OwnPlane(self.screen, self._mix, self._numbers[layer], plane), crop, place)

    def tell(self, layer: str, scanout: Scanout, part: int) -> None:
        self._mix.tell(self._numbers[layer], scanout, part)

    def show_nothing(self) -> None:
        """It is lit already."""

    def clear(self, layer: str) -> None:
        number, plane = self._numbers[layer], self._planes[layer]
        self._mix.tell(number, None)
        self._mix.remove(number)
        if plane is self.screen.pipe.primary:
            self.screen.show_background()
        else:
            self.screen.pipe.hide(plane)

    async def failed(self) -> int:
        return await self._mix.refused()

    def close(self) -> None:
        self._flips.tell_mix(self.screen.pipe.crtc.id, None)
        self._mix.close()


def planes_for(screen: Screen, layers: Sequence[LayerLayout]) -> Sequence[Plane] | None:
    """One for each layer, if there are as many and the driver would show them all. Blocking. Raises HostError."""
    areas = [layer.area or screen.area for layer in layers]
    planes = list(screen.pipe.planes)
    if areas[0] != screen.area:
        # The background stays on the primary plane.
        areas.insert(0, screen.area)
    if len(planes) < len(areas):
        return None
    with ExitStack() as stack:
        pictures: list[Picture] = [screen.background()]
        for area in areas[1:]:
            test = screen.pipe.card.dumb_framebuffer(area.width, area.height, XRGB8888)
            stack.callback(test.close)
            pictures.append(Picture(test, area))
        if not screen.takes(planes[: len(areas)], pictures):
            return None
    return planes[len(areas) - len(layers) : len(areas)]
