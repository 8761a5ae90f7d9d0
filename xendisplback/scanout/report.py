# SPDX-License-Identifier: GPL-2.0-or-later
"""What is shown where, in the configuration's words: what the operator is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xendisplback.scanout.layout import LayerLayout, Layout, OutputLayout, Place
from xendisplback.scanout.output import Output
from xendisplback.scanout.source import Source

Places = Callable[[Source], tuple[Place, ...]]


def describe(
    layout: Layout, outputs: Mapping[str, Output], sources: Sequence[Source], places: Places
) -> dict[str, object]:
    """JSON-able; ``outputs``: those that are there."""
    names = sorted({*layout.outputs, *outputs})
    claimed = {place: source for source in sources if source.claimed for place in places(source)}
    return {
        "output": {name: _output(layout, name, outputs.get(name), claimed) for name in names},
        "route": {
            str(guest): [str(place) for place in routed] for guest, routed in layout.routes.items()
        },
        "guest": {
            str(source): {
                "places": [str(place) for place in places(source)],
                "state": _state(source),
                "how": source.how,
                "flips": source.scanout.flips,
                "stalls": source.stalls,
            }
            for source in sources
        },
    }


def _state(source: Source) -> str:
    if not source.active:
        return "off"
    if source.stalled:
        return "stalled"
    return "shown" if source.shown else "dark"


def _output(
    layout: Layout, name: str, output: Output | None, claimed: Mapping[Place, Source]
) -> dict[str, object]:
    asked = layout.output(name)
    return {
        **_output_words(asked),
        "connected": output is not None and output.connector.connected,
        "card": output.card.path if output is not None else None,
        "showing": str(output.mode) if output is not None and output.mode is not None else None,
        "dark": output.unusable if output is not None else "no card has it",
        "layers-are": output.how if output is not None else "",
        "layer": [
            _layer(layer, output, claimed.get(Place(name, layer.name))) for layer in asked.layers
        ],
    }


def _layer(layer: LayerLayout, output: Output | None, source: Source | None) -> dict[str, object]:
    return {
        **_layer_words(layer),
        "guest": str(source) if source is not None else None,
        "state": "no guest" if source is None else _state_on(source, output),
        "how": source.how if source is not None else "",
    }


def _state_on(source: Source, output: Output | None) -> str:
    shown = output is not None and source.shown_on(output)
    return "shown" if shown else _state(source) if _state(source) != "shown" else "dark"


def _output_words(output: OutputLayout) -> dict[str, object]:
    return {
        "mode": output.mode and str(output.mode),
        "refresh": output.refresh,
        "fit": output.fit,
        "safe": str(output.safe) if output.configured_safe else None,
        "stalled-after": output.stalled_after,
        "edid": output.edid,
        "layers-configured": output.configured_layers,
        "layer": [_layer_words(layer) for layer in output.layers],
    }


def _layer_words(layer: LayerLayout) -> dict[str, object]:
    area = layer.area
    return {
        "name": layer.name,
        "zpos": layer.zpos,
        "x": area and area.x,
        "y": area and area.y,
        "width": area and area.width,
        "height": area and area.height,
        "fit": layer.fit,
    }
