# SPDX-License-Identifier: GPL-2.0-or-later
"""What a connected frontend has and wants, for the operator; JSON-able.

Where its connectors are shown, and how, the layout says, by their names (:mod:`xendisplback.scanout.report`).
"""

from __future__ import annotations

from collections.abc import Iterable

from xendisplback.frontend.buffers import Buffer
from xendisplback.frontend.channel import Channel


def describe_connector(channel: Channel) -> dict[str, object]:
    """Pixels and bytes; null where the guest wants nothing shown."""
    frame, crop = channel.source.wanted
    layout = frame.layout if frame is not None else None
    return {
        "index": channel.nodes.index,
        "guest": str(channel.source),
        "unique-id": channel.nodes.output,
        "width": crop.width if layout is not None and crop is not None else None,
        "height": crop.height if layout is not None and crop is not None else None,
        "format": layout.format.name if layout is not None else None,
        "pitch": layout.pitch if layout is not None else None,
        "flip-events": channel.flip_events,
        "copies": channel.source.scanout.copies,
    }


def describe_buffers(buffers: Iterable[Buffer]) -> list[dict[str, object]]:
    return [
        {
            "cookie": f"{buffer.create.dbuf_cookie:#x}",
            "width": buffer.create.width,
            "height": buffer.create.height,
            "bpp": buffer.create.bpp,
            "pages": buffer.memory.pages,
            "memory": buffer.memory.owner,
            "framebuffers": len(buffer.frames),
        }
        for buffer in buffers
    ]
