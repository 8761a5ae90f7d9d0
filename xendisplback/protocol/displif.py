# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests, responses and events of displif (xen/io/displif.h), versions 1 and 2.

The C structs are the layout; the header's ASCII drawings are wrong for GET_EDID and SET_CONFIG.bpp. Tests hold
every offset here against the structs as a C compiler lays them out. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.status import Status

SLOT_SIZE: Final = 64
REQ_ALLOC: Final = 1 << 0
"""DBUF_CREATE: the backend allocates the buffer (``XENDISPL_DBUF_FLG_REQ_ALLOC``)."""
EVENT_PG_FLIP: Final = 0x00
EDID_MIN_BUFFER: Final = 32768
"""The smallest buffer a frontend may offer to GET_EDID, bytes."""


class Operation(IntEnum):
    """``XENDISPL_OP_*``."""

    DBUF_CREATE = 0x10
    DBUF_DESTROY = 0x11
    FB_ATTACH = 0x12
    FB_DETACH = 0x13
    SET_CONFIG = 0x14
    PG_FLIP = 0x15
    GET_EDID = 0x16


_HEADER = struct.Struct("<HB")
_COOKIE = struct.Struct("<Q")
_CREATE = struct.Struct("<QIIIIIII")
_ATTACH = struct.Struct("<QQIII")
_CONFIG = struct.Struct("<QIIIII")
_EDID = struct.Struct("<II")
_RESPONSE = struct.Struct("<HBxiI52x")
_EVENT = struct.Struct("<HB5xQ48x")
_PAYLOAD: Final = 8
"""Where a request's payload begins."""
_PG_FLIP: Final = int(Operation.PG_FLIP)


@dataclass(frozen=True, slots=True)
class DbufCreate:
    """Make a display buffer of ``buffer_sz`` bytes; ``data_ofs`` (version 2) is where the picture begins."""

    OPERATION: ClassVar = Operation.DBUF_CREATE
    request_id: int
    dbuf_cookie: int
    width: int
    height: int
    bpp: int
    buffer_sz: int
    flags: int
    gref_directory: int
    data_ofs: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Equal for buffers whose pages are laid out alike."""
        return self.width, self.height, self.bpp, self.buffer_sz, self.data_ofs


@dataclass(frozen=True, slots=True)
class DbufDestroy:
    OPERATION: ClassVar = Operation.DBUF_DESTROY
    request_id: int
    dbuf_cookie: int


@dataclass(frozen=True, slots=True)
class FbAttach:
    OPERATION: ClassVar = Operation.FB_ATTACH
    request_id: int
    dbuf_cookie: int
    fb_cookie: int
    width: int
    height: int
    pixel_format: int


@dataclass(frozen=True, slots=True)
class FbDetach:
    OPERATION: ClassVar = Operation.FB_DETACH
    request_id: int
    fb_cookie: int


@dataclass(frozen=True, slots=True)
class SetConfig:
    """Show ``width`` x ``height`` pixels at ``x``, ``y`` of a framebuffer, or (all zero) nothing."""

    OPERATION: ClassVar = Operation.SET_CONFIG
    request_id: int
    fb_cookie: int
    x: int
    y: int
    width: int
    height: int
    bpp: int

    @property
    def disables(self) -> bool:
        return not (self.fb_cookie or self.x or self.y or self.width or self.height or self.bpp)


@dataclass(frozen=True, slots=True)
class PgFlip:
    OPERATION: ClassVar = Operation.PG_FLIP
    request_id: int
    fb_cookie: int


@dataclass(frozen=True, slots=True)
class GetEdid:
    OPERATION: ClassVar = Operation.GET_EDID
    request_id: int
    buffer_sz: int
    gref_directory: int


Request = DbufCreate | DbufDestroy | FbAttach | FbDetach | SetConfig | PgFlip | GetEdid


def request_header(slot: bytes) -> tuple[int, int]:
    """Id and operation of a request, known or not: what its response must repeat."""
    request_id, operation = _HEADER.unpack_from(slot)
    return request_id, operation


def parse_request(slot: bytes, version: int) -> Request:
    """The request in the 64 bytes of ``slot``, of a frontend that speaks ``version``.

    Raises RequestError: EOPNOTSUPP for an operation that the version lacks, EINVAL for cookie 0, unknown flags,
    an EDID buffer below 32768 bytes. Reserved bytes are ignored, as Linux frontends leave them unset.
    """
    request_id, operation = request_header(slot)
    if operation == _PG_FLIP:
        (fb_cookie,) = _COOKIE.unpack_from(slot, _PAYLOAD)
        return PgFlip(request_id, _valid(fb_cookie, "PG_FLIP: fb_cookie"))
    match operation:
        case Operation.DBUF_CREATE:
            return _parse_create(slot, request_id)
        case Operation.DBUF_DESTROY:
            (cookie,) = _COOKIE.unpack_from(slot, _PAYLOAD)
            return DbufDestroy(request_id, _valid(cookie, "DBUF_DESTROY: dbuf_cookie"))
        case Operation.FB_ATTACH:
            dbuf_cookie, fb_cookie, width, height, fourcc = _ATTACH.unpack_from(slot, _PAYLOAD)
            _valid(dbuf_cookie, "FB_ATTACH: dbuf_cookie")
            _valid(fb_cookie, "FB_ATTACH: fb_cookie")
            return FbAttach(request_id, dbuf_cookie, fb_cookie, width, height, fourcc)
        case Operation.FB_DETACH:
            (cookie,) = _COOKIE.unpack_from(slot, _PAYLOAD)
            return FbDetach(request_id, _valid(cookie, "FB_DETACH: fb_cookie"))
        case Operation.SET_CONFIG:
            config = SetConfig(request_id, *_CONFIG.unpack_from(slot, _PAYLOAD))
            if not config.disables:
                _valid(config.fb_cookie, "SET_CONFIG: fb_cookie")
            return config
        case Operation.GET_EDID if version >= 2:
            buffer_sz, gref_directory = _EDID.unpack_from(slot, _PAYLOAD)
            if buffer_sz < EDID_MIN_BUFFER:
                raise RequestError(
                    Status.EINVAL,
                    f"GET_EDID: buffer_sz {buffer_sz}, at least {EDID_MIN_BUFFER} are needed",
                )
            return GetEdid(request_id, buffer_sz, gref_directory)
        case _:
            raise RequestError(
                Status.EOPNOTSUPP, f"operation {operation:#x} is unknown in version {version}"
            )


def _parse_create(slot: bytes, request_id: int) -> DbufCreate:
    cookie, width, height, bpp, buffer_sz, flags, directory, data_ofs = _CREATE.unpack_from(
        slot, _PAYLOAD
    )
    _valid(cookie, "DBUF_CREATE: dbuf_cookie")
    if flags & ~REQ_ALLOC:
        raise RequestError(Status.EINVAL, f"DBUF_CREATE: unknown flags {flags:#x}")
    # Linux says no version, hence 1, and sets data_ofs for imported buffers all the same.
    return DbufCreate(request_id, cookie, width, height, bpp, buffer_sz, flags, directory, data_ofs)


def _valid(cookie: int, name: str) -> int:
    if cookie == 0:
        raise RequestError(Status.EINVAL, f"{name} is 0")
    return cookie


def encode_request(request: Request) -> bytes:
    """The 64 bytes of ``request``, as a frontend writes them."""
    match request:
        case DbufCreate():
            payload = _CREATE.pack(
                request.dbuf_cookie,
                request.width,
                request.height,
                request.bpp,
                request.buffer_sz,
                request.flags,
                request.gref_directory,
                request.data_ofs,
            )
        case DbufDestroy():
            payload = _COOKIE.pack(request.dbuf_cookie)
        case FbAttach():
            payload = _ATTACH.pack(
                request.dbuf_cookie,
                request.fb_cookie,
                request.width,
                request.height,
                request.pixel_format,
            )
        case FbDetach() | PgFlip():
            payload = _COOKIE.pack(request.fb_cookie)
        case SetConfig():
            payload = _CONFIG.pack(
                request.fb_cookie,
                request.x,
                request.y,
                request.width,
                request.height,
                request.bpp,
            )
        case GetEdid():
            payload = _EDID.pack(request.buffer_sz, request.gref_directory)
    header = _HEADER.pack(request.request_id, request.OPERATION)
    return (header.ljust(_PAYLOAD, b"\0") + payload).ljust(SLOT_SIZE, b"\0")


@dataclass(frozen=True, slots=True)
class Response:
    request_id: int
    operation: int
    status: int
    """0 or a negative XEN_E* number."""
    edid_sz: int
    """Bytes; only in an answer to GET_EDID."""


def encode_response(request_id: int, operation: int, status: int = 0, edid_sz: int = 0) -> bytes:
    """The 64 bytes of a response."""
    return _RESPONSE.pack(request_id, operation, status, edid_sz)


def parse_response(slot: bytes) -> Response:
    return Response(*_RESPONSE.unpack(slot))


@dataclass(frozen=True, slots=True)
class PgFlipEvent:
    event_id: int
    fb_cookie: int


def encode_pg_flip_event(event_id: int, fb_cookie: int) -> bytes:
    """The 64 bytes of the event that gives the previous framebuffer back to the guest."""
    return _EVENT.pack(event_id, EVENT_PG_FLIP, fb_cookie)


def parse_event(slot: bytes) -> PgFlipEvent:
    """Raises ValueError for a type that is not PG_FLIP."""
    event_id, kind, fb_cookie = _EVENT.unpack(slot)
    if kind != EVENT_PG_FLIP:
        raise ValueError(f"event type {kind:#x}")
    return PgFlipEvent(event_id, fb_cookie)
