# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration file: TOML, every key optional, unknown keys refused by name.

``conf/xendisplback.toml`` documents the keys; tests hold it against :class:`Config`. What only a file, or only a
mistake in it, needs is imported then: most daemons run without one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast

import msgspec

from xendisplback.errors import HostError
from xendisplback.host import Card
from xendisplback.kms.geometry import Rect
from xendisplback.kms.selector import parse_selector
from xendisplback.operator import SOCKET
from xendisplback.scanout.fit import DEFAULT_REFRESH, Fit, parse_mode
from xendisplback.scanout.layout import (
    GuestName,
    LayerLayout,
    Layout,
    LayoutError,
    OutputLayout,
    Place,
    nearest,
    parse_fit,
)
from xendisplback.scanout.safe import parse_safe

_T = TypeVar("_T")

DEFAULT_PATH = Path("/etc/xendisplback/xendisplback.toml")


class ConfigError(HostError):
    """The configuration can't be used; the daemon exits with 78 (EX_CONFIG)."""


class CardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """``[card."SELECTOR"]``."""

    zero_copy: Literal["auto", "never", "require"] = "auto"
    iommu: bool = False
    """An IOMMU maps our domain's physical addresses for this card; not to be seen from inside a Xen domain."""


class BackendAllocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """``[be-alloc]``: buffers that guests with be-alloc=1 let us allocate."""

    per_domain: Annotated[int, msgspec.Meta(ge=0)] = 0
    """MiB; 0: refused."""
    total: Annotated[int, msgspec.Meta(ge=0)] = 128
    """MiB."""


class AllowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """``[allow.DOMAIN]``; see :mod:`xendisplback.frontend.policy`."""

    outputs: list[str] | None = None
    """None: all."""
    zero_copy: bool = True
    """False: its pictures are copied."""
    be_alloc: bool = True


class BudgetSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """``[budget]``; what each counts is told at :class:`~xendisplback.frontend.budget.Kind`."""

    grants_per_domain: Annotated[int, msgspec.Meta(ge=0)] = 65536
    """Two 4K screens with three buffers each, 8100 pages, are 48600."""
    grants_total: Annotated[int, msgspec.Meta(ge=0)] = 196608
    """Of the 262144 of Xen's map-track table that a domain has by default: the rest is for disks and network."""
    memory_per_domain: Annotated[int, msgspec.Meta(ge=0)] = 256
    """MiB."""
    memory_total: Annotated[int, msgspec.Meta(ge=0)] = 512
    """MiB."""
    buffers_per_domain: Annotated[int, msgspec.Meta(ge=0)] = 256
    buffers_total: Annotated[int, msgspec.Meta(ge=0)] = 4096
    framebuffers_per_domain: Annotated[int, msgspec.Meta(ge=0)] = 1024
    framebuffers_total: Annotated[int, msgspec.Meta(ge=0)] = 16384
    connectors_per_domain: Annotated[int, msgspec.Meta(ge=0)] = 16
    connectors_total: Annotated[int, msgspec.Meta(ge=0)] = 128
    """Each has a thread and some descriptors here."""
    requests_per_second: Annotated[float, msgspec.Meta(ge=1)] = 1000.0
    """Of a domain, but for flips."""
    store_events_per_second: Annotated[float, msgspec.Meta(ge=1)] = 50.0
    """Of a domain."""


class LayerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """``[[output.NAME.layer]]``."""

    name: str
    zpos: int = 0
    x: int | None = None
    y: int | None = None
    width: int | None = None
    height: int | None = None
    """Without the four: the whole mode."""
    fit: str | None = None
    """None: as the output's."""

    def layout(self, output_fit: Fit) -> LayerLayout:
        """Raises LayoutError."""
        return LayerLayout(
            self.name,
            self.zpos,
            self._area(),
            output_fit if self.fit is None else _parsed("fit", parse_fit, self.fit),
        )

    def _area(self) -> Rect | None:
        if self.width is not None and self.height is not None:
            return Rect(self.x or 0, self.y or 0, self.width, self.height)
        if (self.x, self.y, self.width, self.height) != (None, None, None, None):
            raise LayoutError(
                f"layer {self.name!r}: width and height belong together, and to x and y",
                hint="give both, or none of the four for the whole mode",
            )
        return None


class OutputSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """``[output.NAME]``; the words are explained at :class:`~xendisplback.scanout.layout.OutputLayout`."""

    mode: str | None = None
    refresh: float = DEFAULT_REFRESH
    fit: str = "center"
    safe: str | None = None
    stalled_after: float = 0.0
    edid: str = "monitor"
    layer: list[LayerSettings] = []

    def layout(self, name: str) -> OutputLayout:
        """Raises LayoutError."""
        fit = _parsed("fit", parse_fit, self.fit)
        return OutputLayout(
            name,
            None if self.mode is None else _parsed("mode", parse_mode, self.mode),
            self.refresh,
            fit,
            _parsed("safe", parse_safe, "blank" if self.safe is None else self.safe),
            self.safe is not None,
            self.stalled_after,
            self.edid,
            tuple(layer.layout(fit) for layer in self.layer),
            bool(self.layer),
        )


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    log_level: Literal["error", "warning", "info", "debug"] = "info"
    cards: list[str] = []
    """Which cards to use: a path, ``driver:NAME``, ``connector:NAME``; empty: every card with KMS."""
    refresh_rate: Annotated[float, msgspec.Meta(ge=0, le=240)] = 30.0
    """Hz at which a picture is copied again, if it has changed, while its guest does not flip; 0: never."""
    card: dict[str, CardSettings] = {}
    """By selector. A card takes the first one that names it."""
    be_alloc: BackendAllocation = BackendAllocation()
    budget: BudgetSettings = BudgetSettings()
    allow: dict[str, AllowSettings] | None = None
    """By domain; None: no policy."""
    control_socket: str = SOCKET
    output: dict[str, OutputSettings] = {}
    route: dict[str, list[str]] = {}
    """A guest's places: of :class:`GuestName` to those of :class:`Place`."""

    @property
    def layout(self) -> Layout:
        """Raises ConfigError; :func:`load_config` has tried."""
        outputs: dict[str, OutputLayout] = {}
        for name, settings in self.output.items():
            try:
                outputs[name] = settings.layout(name)
            except LayoutError as error:
                raise ConfigError(f"[output.{name}]: {error.message}", hint=error.hint) from error
        try:
            return Layout(outputs, _routes(self.route))
        except LayoutError as error:
            raise ConfigError(f"[route]: {error.message}", hint=error.hint) from error

    def card_settings(self, card: Card) -> CardSettings:
        for selector, settings in self.card.items():
            if card.matches(selector):
                return settings
        return CardSettings()


def load_config(path: Path | None) -> Config:
    """Read ``path``; None: the default file, or the defaults where there is none. Raises ConfigError."""
    if path is None:
        if not DEFAULT_PATH.exists():
            return Config()
        path = DEFAULT_PATH
    import tomllib

    try:
        untyped = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            "the configuration can't be read", call="open", path=str(path), errno=error.errno
        ) from error
    except ValueError as error:
        raise ConfigError(f"not TOML: {error}", path=str(path)) from error
    _check_tables(untyped, path)
    try:
        config = msgspec.convert(untyped, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error).replace("`$.", "`"), path=str(path)) from error
    try:
        _ = config.layout
    except ConfigError as error:
        raise ConfigError(error.message, path=str(path), hint=error.hint) from error
    return config


def _routes(written: dict[str, list[str]]) -> dict[GuestName, tuple[Place, ...]]:
    routes: dict[GuestName, tuple[Place, ...]] = {}
    for name, places in written.items():
        guest = GuestName.parse(name)
        if guest in routes:
            raise LayoutError(f"guest {guest} has two routes", hint="write one")
        routes[guest] = tuple(Place.parse(place) for place in places)
    return routes


def _parsed(key: str, parse: Callable[[str], _T], text: str) -> _T:
    """Raises LayoutError."""
    try:
        return parse(text)
    except ValueError as error:
        message, hint = str(error), None
        if isinstance(error, HostError):
            message, hint = error.message, error.hint
        raise LayoutError(f"`{key}`: {message}", hint=hint) from error


def _check_tables(untyped: dict[str, object], path: Path) -> None:
    _check_keys(Config, untyped, "", path)
    _check_keys(BackendAllocation, untyped.get("be-alloc"), " in [be-alloc]", path)
    _check_keys(BudgetSettings, untyped.get("budget"), " in [budget]", path)
    cards = untyped.get("card")
    if isinstance(cards, dict):
        for selector, settings in cast("dict[str, object]", cards).items():
            try:
                parse_selector(selector)
            except HostError as error:
                raise ConfigError(error.message, path=str(path), hint=error.hint) from None
            _check_keys(CardSettings, settings, f' in [card."{selector}"]', path)
    allowed = untyped.get("allow")
    if isinstance(allowed, dict):
        for domain, settings in cast("dict[str, object]", allowed).items():
            _check_keys(AllowSettings, settings, f' in [allow."{domain}"]', path)
    outputs = untyped.get("output")
    if isinstance(outputs, dict):
        for name, output in cast("dict[str, object]", outputs).items():
            _check_output(name, output, path)


def _check_output(name: str, untyped: object, path: Path) -> None:
    """By itself, because msgspec does not tell which of the tables it means."""
    _check_keys(OutputSettings, untyped, f" in [output.{name}]", path)
    layers = cast("dict[str, object]", untyped).get("layer") if isinstance(untyped, dict) else None
    for layer in cast("list[object]", layers) if isinstance(layers, list) else ():
        _check_keys(LayerSettings, layer, f" in [[output.{name}.layer]]", path)
    try:
        msgspec.convert(untyped, OutputSettings)
    except msgspec.ValidationError as error:
        text = str(error).replace("`$.", "`").removesuffix(" - at `$`")
        raise ConfigError(f"[output.{name}]: {text}", path=str(path)) from error


def _check_keys(table: type[msgspec.Struct], untyped: object, where: str, path: Path) -> None:
    """What is no table at all is left to msgspec."""
    known = [field.encode_name for field in msgspec.structs.fields(table)]
    for key in cast("dict[str, object]", untyped) if isinstance(untyped, dict) else ():
        if key not in known:
            raise ConfigError(
                f"unknown key {key!r}{where}", path=str(path), hint=nearest(key, known)
            )
