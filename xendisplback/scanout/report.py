# SPDX-License-Identifier: GPL-2.0-or-later
"""What is shown where, in the configuration's words: what the operator is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xendisplback.operator.words import layer_words, output_words
from xendisplback.scanout.layout import LayerLayout, Layout, Place
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
        **output_words(asked),
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
        **layer_words(layer),
        "guest": str(source) if source is not None else None,
        "state": "no guest" if source is None else _state_on(source, output),
        "how": source.how if source is not None else "",
    }


def _state_on(source: Source, output: Output | None) -> str:
    shown = output is not None and source.shown_on(output)
    return "shown" if shown else _state(source) if _state(source) != "shown" else "dark"
