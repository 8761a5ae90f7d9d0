# SPDX-License-Identifier: GPL-2.0-or-later
"""What the toolstack and the guest wrote about a device's connectors, read in one transaction."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xendisplback.frontend.device import Device
from xendisplback.frontend.policy import Identity
from xendisplback.protocol.nodes import (
    NodeError,
    is_domain_name,
    parse_number,
    parse_resolution,
    parse_unique_id,
    parse_version,
)
from xendisplback.xen.store import Transaction, XenStore

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
MAX_CONNECTORS = 4
"""``XEN_DRM_FRONT_MAX_CRTCS`` of linux/drivers/gpu/drm/xen/xen_drm_front_cfg.h."""


@dataclass(frozen=True, slots=True)
class ConnectorNodes:
    index: int
    output: str
    """``unique-id``: the output's name."""
    width: int
    height: int
    request_ring_ref: int
    request_channel: int
    event_ring_ref: int
    event_channel: int


@dataclass(frozen=True, slots=True)
class FrontendNodes:
    version: int
    connectors: tuple[ConnectorNodes, ...]


async def read_nodes(store: XenStore, device: Device) -> FrontendNodes:
    """All connectors of ``device``.

    One transaction, so that a guest can't swap a node between the check of its owner and its use.
    Raises NodeError, naming the node and what is expected.
    """

    async def body(tx: Transaction) -> FrontendNodes:
        path = device.frontend_path
        untrusted_version = await tx.get(f"{path}/version")
        version = parse_version(f"{path}/version", untrusted_version)
        connectors: list[ConnectorNodes] = []
        for index in range(MAX_CONNECTORS):
            if await tx.get(f"{path}/{index}/resolution") is None:
                break
            connectors.append(await _read_connector(tx, device, index))
        if not connectors:
            raise NodeError(f"{path}/0/resolution", None, "a connector, as in vdispl's connectors=")
        return FrontendNodes(version, tuple(connectors))

    return await store.transact(body)


async def read_identity(store: XenStore, device: Device) -> Identity:
    """What the toolstack calls the domain; None for what it did not write."""
    path = f"/local/domain/{device.domid}"

    async def body(tx: Transaction) -> Identity:
        untrusted_name = await _toolstack_s(tx, device, f"{path}/name")
        untrusted_vm = await _toolstack_s(tx, device, f"{path}/vm")
        name = untrusted_name if untrusted_name and is_domain_name(untrusted_name) else None
        uuid = (untrusted_vm or "").removeprefix("/vm/")
        return Identity(device.domid, name, uuid if _UUID.fullmatch(uuid) else None)

    return await store.transact(body)


async def _toolstack_s(tx: Transaction, device: Device, path: str) -> str | None:
    value = await tx.get(path)
    if value is None or (await tx.permissions(path))[0].domid not in (0, device.backend_domid):
        return None
    return value


async def _read_connector(tx: Transaction, device: Device, index: int) -> ConnectorNodes:
    path = f"{device.frontend_path}/{index}"
    for leaf in ("resolution", "unique-id"):
        await _check_owner(tx, device, f"{path}/{leaf}")
    width, height = parse_resolution(f"{path}/resolution", await tx.get(f"{path}/resolution"))
    numbers = [
        parse_number(f"{path}/{leaf}", await tx.get(f"{path}/{leaf}"))
        for leaf in ("req-ring-ref", "req-event-channel", "evt-ring-ref", "evt-event-channel")
    ]
    return ConnectorNodes(
        index,
        parse_unique_id(f"{path}/unique-id", await tx.get(f"{path}/unique-id")),
        width,
        height,
        *numbers,
    )


async def _check_owner(tx: Transaction, device: Device, path: str) -> None:
    """Only the toolstack's domain (0) or ours may own it.

    A guest owns the directory, so it can delete a leaf and make its own, or let another guest make it: what an
    unprivileged domain creates is its own, wherever that is.
    """
    if await tx.get(path) is None:
        raise NodeError(path, None, "the toolstack's node")
    owner = (await tx.permissions(path))[0].domid
    if owner not in (0, device.backend_domid):
        raise NodeError(
            path, f"owned by domain {owner}", "the toolstack's node, not one that the guest made"
        )
