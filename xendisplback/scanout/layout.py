# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be shown where: outputs, their layers, and the guests' routes to them.

The same words in the configuration file, on the control socket and in the running state. Values only: no device is
asked, so a layout may name outputs that are not there (yet). A value that exists is a valid one; everything
that can't be is a :class:`LayoutError` that names the value and what would do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, cast, get_args

import msgspec

from xendisplback.errors import HostError
from xendisplback.kms.geometry import Rect
from xendisplback.scanout.fit import DEFAULT_REFRESH, Fit, ModeWish
from xendisplback.scanout.safe import Safe, parse_safe

MAIN: Final = "main"
"""The layer of an output without configured ones."""
MAX_SIZE: Final = 65535
"""Pixels: a mode's sizes are 16 bits wide (struct drm_mode_modeinfo)."""
MAX_REFRESH: Final = 1000
"""Hz."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_RESERVED = frozenset({"none", "default"})
"""What the route command says in a place's stead."""


class LayoutError(HostError, ValueError):
    """What was asked for can't be a layout; the one before stays."""


@dataclass(frozen=True, slots=True, order=True)
class GuestName:
    """One connector of one guest: ``DOMAIN/DEVICE/CONNECTOR``; ``domain`` is xl's name of it."""

    domain: str
    device: int = 0
    connector: int = 0

    @classmethod
    def parse(cls, text: str) -> GuestName:
        """``linux1``, ``linux1/0`` or ``linux1/0/1``: what is left out is 0. Raises LayoutError."""
        domain, *numbers = text.split("/")
        if (
            not domain
            or not domain.isprintable()
            or len(numbers) > 2
            or not all(_NUMBER.fullmatch(number) for number in numbers)
        ):
            raise LayoutError(
                f"{text!r} is no guest",
                hint="write DOMAIN, DOMAIN/DEVICE or DOMAIN/DEVICE/CONNECTOR (linux1/0/1;"
                " xl list has the domains)",
            )
        return cls(domain, *(int(number) for number in numbers))

    def __str__(self) -> str:
        return f"{self.domain}/{self.device}/{self.connector}"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """``HDMI-A-1`` (``layer`` None: its lowest layer) or ``HDMI-A-1/camera``."""

    output: str
    layer: str | None = None

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises LayoutError."""
        output, slash, layer = text.partition("/")
        if not is_name(output) or (slash and not is_name(layer)):
            raise LayoutError(
                f"{text!r} is no place",
                hint="write OUTPUT or OUTPUT/LAYER (HDMI-A-1/camera; ls /sys/class/drm has the"
                " outputs)",
            )
        return cls(output, layer or None)

    def __str__(self) -> str:
        return self.output if self.layer is None else f"{self.output}/{self.layer}"


Routes = Mapping[GuestName, tuple[Place, ...] | None]
"""None: what the guest's ``unique-id`` names."""


def pack_routes(routes: Routes) -> bytes:
    """For :func:`unpack_routes`; b"" for none."""
    words = {
        str(guest): None if places is None else [str(place) for place in places]
        for guest, places in routes.items()
    }
    return msgspec.json.encode(words) if words else b""


def unpack_routes(packed: bytes) -> dict[GuestName, tuple[Place, ...] | None]:
    """Raises LayoutError."""
    if not packed:
        return {}
    try:
        words = msgspec.json.decode(packed, type=dict[str, list[str] | None])
    except msgspec.DecodeError as error:
        raise LayoutError(f"an earlier process's routes: {error}") from error
    return {
        GuestName.parse(guest): None if places is None else tuple(map(Place.parse, places))
        for guest, places in words.items()
    }


def is_name(text: str) -> bool:
    """Whether an output or a layer can have this name."""
    return _NAME.fullmatch(text) is not None and text not in _RESERVED


def parse_fit(text: str) -> Fit:
    """Raises LayoutError."""
    words: tuple[str, ...] = get_args(Fit)
    if text not in words:
        raise LayoutError(f"unknown word {text!r}", hint=nearest(text, words))
    return cast("Fit", text)


def nearest(word: str, known: Collection[str]) -> str:
    """What to say about a word that is not one of ``known``."""
    import difflib  # Only a mistake needs it.

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]
    return f"the nearest known one is {near!r}; known are {', '.join(known)}"


@dataclass(frozen=True, slots=True)
class LayerLayout:
    """A part of an output for one guest's picture; a higher ``zpos`` is in front."""

    name: str
    zpos: int = 0
    area: Rect | None = None
    """None: the whole mode."""
    fit: Fit = "center"

    def __post_init__(self) -> None:
        where = f"layer {self.name!r}"
        if not is_name(self.name):
            raise LayoutError(
                f"{where}: no name for a layer", hint="write letters, digits, '.', '_' or '-'"
            )
        if self.zpos < 0:
            raise LayoutError(f"{where}: zpos is {self.zpos}", hint="write 0 or more")
        if (area := self.area) is None:
            return
        if area.width < 1 or area.height < 1:
            raise LayoutError(
                f"{where}: {area.width}x{area.height} holds no picture", hint="write 1 or more"
            )
        if not Rect(0, 0, MAX_SIZE, MAX_SIZE).covers(area):
            raise LayoutError(
                f"{where}: {_describe(area)} is on no screen",
                hint=f"positions count from 0, from the top left corner, to {MAX_SIZE}",
            )


@dataclass(frozen=True, slots=True)
class OutputLayout:
    """How one output is used, whoever is shown there."""

    name: str
    mode: ModeWish | None = None
    """None: chosen for the guest by ``fit``; with configured layers the monitor's preferred one."""
    refresh: float = DEFAULT_REFRESH
    """Hz, where several modes have the size."""
    fit: Fit = "center"
    safe: Safe = field(default_factory=lambda: parse_safe("blank"))
    configured_safe: bool = False
    """``safe`` was asked for: the output is lit from the start, not only when a guest wants it."""
    stalled_after: float = 0.0
    """Seconds; 0: never."""
    edid: str = "monitor"
    """``monitor``, ``made``, or a file's absolute path."""
    layers: tuple[LayerLayout, ...] = ()
    """Ascending ``zpos``, never empty: ``main`` covers the output where none is configured."""
    configured_layers: bool = False

    def __post_init__(self) -> None:
        """Raises LayoutError."""
        if not is_name(self.name):
            raise LayoutError(
                f"{self.name!r} is no name of an output", hint="ls /sys/class/drm has them"
            )
        if not 0 < self.refresh <= MAX_REFRESH:
            raise LayoutError(f"refresh is {self.refresh:g}", hint=f"write 1 to {MAX_REFRESH} Hz")
        if not (self.stalled_after >= 0 and math.isfinite(self.stalled_after)):
            raise LayoutError(
                f"stalled-after is {self.stalled_after:g}", hint="write seconds, or 0"
            )
        if self.edid not in ("monitor", "made") and not self.edid.startswith("/"):
            raise LayoutError(
                f"edid is {self.edid!r}",
                hint='write "monitor", "made" or a file\'s absolute path',
            )
        if not self.configured_layers:
            object.__setattr__(self, "layers", (LayerLayout(MAIN, fit=self.fit),))
        elif not self.layers:
            raise LayoutError("an output without a layer")
        object.__setattr__(self, "layers", tuple(sorted(self.layers, key=lambda one: one.zpos)))
        self._check_layers()
        if self.mode is not None:
            self.check_size(self.mode.width, self.mode.height)

    def _check_layers(self) -> None:
        names: set[str] = set()
        by_zpos: dict[int, LayerLayout] = {}
        for layer in self.layers:
            if layer.name in names:
                raise LayoutError(
                    f"two layers are named {layer.name!r}",
                    hint="give one of them another name",
                )
            if (other := by_zpos.get(layer.zpos)) is not None:
                raise LayoutError(
                    f"the layers {other.name!r} and {layer.name!r} both have zpos {layer.zpos}",
                    hint="which is in front? Give it the higher one",
                )
            names.add(layer.name)
            by_zpos[layer.zpos] = layer

    def check_size(self, width: int, height: int) -> None:
        """Whether a mode of this size holds every layer. Raises LayoutError."""
        for layer in self.layers:
            if layer.area is not None and not Rect(0, 0, width, height).covers(layer.area):
                raise LayoutError(
                    f"layer {layer.name!r} of output {self.name} ({_describe(layer.area)}) does not"
                    f" fit into the mode, {width}x{height}",
                    hint="make the layer smaller or move it, or configure a larger mode",
                )

    def layer(self, name: str | None) -> LayerLayout:
        """None: the lowest. Raises LayoutError."""
        if name is None:
            return self.layers[0]
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(repr(layer.name) for layer in self.layers)
        raise LayoutError(
            f"output {self.name} has no layer {name!r}",
            hint=f"it has {known}; [[output.{self.name}.layer]] in the configuration makes others",
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """All of it. Equal layouts show the same pictures at the same places."""

    outputs: Mapping[str, OutputLayout] = field(default_factory=dict[str, OutputLayout])
    routes: Mapping[GuestName, tuple[Place, ...]] = field(
        default_factory=dict[GuestName, tuple[Place, ...]]
    )
    """As they were written. A guest without one is shown at the place its ``unique-id`` names."""

    def __post_init__(self) -> None:
        """Raises LayoutError."""
        self._check_places(self.routes, {})

    def output(self, name: str) -> OutputLayout:
        """The defaults for one that is not configured. Raises LayoutError for what is no name."""
        return self.outputs.get(name) or OutputLayout(name)

    def layer(self, place: Place) -> LayerLayout:
        """Raises LayoutError."""
        return self.output(place.output).layer(place.layer)

    def places(self, guest: GuestName, unique_id: str) -> tuple[Place, ...]:
        """Where the guest is to be shown, each with its layer's name.

        Raises LayoutError where its ``unique-id`` counts and names no place of this layout.
        """
        return self._named(self._written(guest, unique_id))

    def routed(
        self,
        changes: Mapping[GuestName, tuple[Place, ...] | None],
        unique_ids: Mapping[GuestName, str] | None = None,
    ) -> Layout:
        """This layout with other routes; None: back to what the guest's ``unique-id`` names.

        ``unique_ids`` has the guests that are there: those without a route hold places as well.
        Raises LayoutError for an unknown layer, a place for two guests, two layers of an output for one.
        """
        routes = dict(self.routes)
        for guest, places in changes.items():
            if places is None:
                routes.pop(guest, None)
            else:
                routes[guest] = places
        layout = Layout(self.outputs, routes)
        layout._check_places(changes, unique_ids or {})
        return layout

    def _written(self, guest: GuestName, unique_id: str) -> tuple[Place, ...]:
        if (places := self.routes.get(guest)) is not None:
            return places
        try:
            return (Place.parse(unique_id),)
        except LayoutError as error:
            raise LayoutError(
                f"guest {guest}: its unique-id {error.message}", hint=error.hint
            ) from error

    def _named(self, places: tuple[Place, ...]) -> tuple[Place, ...]:
        return tuple(Place(place.output, self.layer(place).name) for place in places)

    def _check_places(
        self, guests: Collection[GuestName], unique_ids: Mapping[GuestName, str]
    ) -> None:
        """Whether these guests' places are theirs alone; how the others stand to each other is not asked."""
        holders = self._holders({*self.routes, *unique_ids}.difference(guests), unique_ids)
        for guest in guests:
            outputs: dict[str, Place] = {}
            if guest not in self.routes and guest not in unique_ids:
                continue
            for place in self.places(guest, unique_ids.get(guest, "")):
                if (before := outputs.get(place.output)) is not None:
                    raise LayoutError(
                        f"guest {guest} can't be twice on one output, at {before} and at {place}",
                        hint="route it to one of them",
                    )
                outputs[place.output] = place
                other = holders.setdefault(place, guest)
                if other != guest:
                    raise LayoutError(
                        f"place {place} can't show two guests, {other} and {guest}",
                        hint=f"route {other} elsewhere, or to none, in the same command",
                    )

    def _holders(
        self, guests: Collection[GuestName], unique_ids: Mapping[GuestName, str]
    ) -> dict[Place, GuestName]:
        holders: dict[Place, GuestName] = {}
        for guest in guests:
            try:
                places = self.places(guest, unique_ids.get(guest, ""))
            except LayoutError:  # Its unique-id names nothing: it holds nothing.
                continue
            holders.update(dict.fromkeys(places, guest))
        return holders


def _describe(area: Rect) -> str:
    return f"{area.width}x{area.height} at {area.x},{area.y}"
