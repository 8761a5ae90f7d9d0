# SPDX-License-Identifier: GPL-2.0-or-later
"""How one connector's frames get on one output: the way of each, made when it is shown for the first time."""

from __future__ import annotations

from typing import Protocol

from xendisplback.errors import HostError
from xendisplback.kms.geometry import Rect
from xendisplback.scanout.copy_job import can_convert
from xendisplback.scanout.copy_path import CopyBuffers, CopyPath
from xendisplback.scanout.direct_path import DirectPath
from xendisplback.scanout.flips import FlipPart
from xendisplback.scanout.frame import Crop, Frame, Lease
from xendisplback.scanout.ladder import COMMIT, NOT_REFUSED, SCALED_COMMIT, Way
from xendisplback.scanout.plane_format import XRGB8888, choose_format
from xendisplback.scanout.stage import Stage


class View(Protocol):
    """All methods but :meth:`way`: blocking, one at a time, while nothing of the connector is on its way."""

    @property
    def crop(self) -> Crop:
        """The part of each frame that is shown."""
        ...

    @property
    def place(self) -> Rect:
        """Where on the screen it is."""
        ...

    @property
    def refusal(self) -> str | None:
        """Why every frame is copied here."""
        ...

    def way(self, frame: Frame) -> Way | None:
        """None: it has not been shown yet."""
        ...

    def part(self, frame: Frame) -> FlipPart:
        """How C shows ``frame``, which has a way."""
        ...

    def show_directly(self, frame: Frame, lease: Lease, way: Way, side: int) -> int:
        """Owns ``lease``, unless it raises HostError: what was refused, by its call. As :meth:`show_again`."""
        ...

    def show_by_copy(self, frame: Frame, address: int, way: Way, side: int) -> int:
        """As :meth:`show_again`. Raises RequestError EINVAL where the plane takes no format that we convert to."""
        ...

    def show_again(self, frame: Frame, side: int) -> int:
        """``frame`` has a way; copies go into buffer ``side``. The digest of its picture. Raises HostError."""
        ...

    def forget(self, frame: Frame) -> None:
        """Its memory goes away; it is not on screen. Raises HostError."""
        ...

    def close(self) -> None:
        """Nothing of it is on screen. Raises HostError, with everything closed."""
        ...


class PlaneView:
    """Fulfils :class:`View` on a plane of the connector's own."""

    refusal: str | None = None

    def __init__(self, stage: Stage, crop: Crop, place: Rect) -> None:
        self.crop = crop
        self.place = place
        self._stage = stage
        self._area = stage.copies(place)
        self._alike = crop.size == place.size and place == self._area
        self._paths: dict[Frame, DirectPath | CopyPath] = {}
        self._copy_buffers: CopyBuffers | None = None

    def way(self, frame: Frame) -> Way | None:
        path = self._paths.get(frame)
        return path.way if path is not None else None

    def part(self, frame: Frame) -> FlipPart:
        return self._paths[frame].part

    def show_directly(self, frame: Frame, lease: Lease, way: Way, side: int) -> int:
        path = DirectPath(self._stage, self.crop, self.place, frame, lease, way, alike=self._alike)
        try:
            path.show(side)
        except HostError as error:
            path.close()
            scaled = self.crop.size != self.place.size
            if scaled and error.call == COMMIT and error.errno not in NOT_REFUSED:
                raise HostError(error.message, call=SCALED_COMMIT, errno=error.errno) from error
            raise
        except BaseException:
            path.close()
            raise
        self._enter(frame, path)
        return path.digest

    def show_by_copy(self, frame: Frame, address: int, way: Way, side: int) -> int:
        formats = self._stage.plane.formats
        scaled = self.crop.size != self.place.size
        fourcc = choose_format(frame.layout.format, formats, can_scale if scaled else can_convert)
        buffers = self._copy_buffers
        if buffers is None or buffers.fourcc != fourcc:
            buffers = CopyBuffers(self._stage, self._area, alike=self._alike, fourcc=fourcc)
        path = CopyPath(buffers, self.crop, self.place, frame, address, way)
        try:
            path.show(side)
        except BaseException:
            if buffers is not self._copy_buffers:
                buffers.close()
            raise
        # Only now: RmFB of what is on screen switches it off.
        self._replace_copy_buffers(buffers)
        self._enter(frame, path)
        return path.digest

    def _enter(self, frame: Frame, path: DirectPath | CopyPath) -> None:
        """``path`` is on screen; the one that it replaces is not any more."""
        self.forget(frame)
        self._paths[frame] = path

    def show_again(self, frame: Frame, side: int) -> int:
        path = self._paths[frame]
        path.show(side)
        return path.digest

    def _replace_copy_buffers(self, buffers: CopyBuffers) -> None:
        old, self._copy_buffers = self._copy_buffers, buffers
        if old is not None and old is not buffers:
            copying = [f for f, path in self._paths.items() if isinstance(path, CopyPath)]
            for frame in copying:
                self.forget(frame)
            old.close()

    def forget(self, frame: Frame) -> None:
        path = self._paths.pop(frame, None)
        if path is not None:
            path.close()

    def close(self) -> None:
        errors: list[HostError] = []
        closables = [*self._paths.values()]
        self._paths = {}
        buffers, self._copy_buffers = self._copy_buffers, None
        for each in (*closables, *([buffers] if buffers is not None else [])):
            try:
                each.close()
            except HostError as error:
                errors.append(error)
        if errors:
            raise errors[0]


def can_scale(source: int, destination: int) -> bool:
    """Copies scale to XRGB8888 alone."""
    return destination == XRGB8888 and can_convert(source, destination)
