# SPDX-License-Identifier: GPL-2.0-or-later
"""XenStore's wire format (xen/io/xs_wire.h, docs/misc/xenstore.txt), sans-IO, on pyxs.

The only file that imports pyxs. Taken from it: operation numbers, packets, the checks of paths and
permissions, the numbers of errors. Put right here, each where it is used: pyxs lacks
XS_DIRECTORY_PART, takes a trailing newline or NUL for part of a path, and makes 0 of an error name
that errno lacks. Its counter of request ids, which outgrows the wire's 32 bits, and its client's
check of values (neither empty nor beyond ASCII, both of which XenStore allows) are not used.
"""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from pyxs.client import Op
from pyxs.client import Packet as Packet
from pyxs.exceptions import InvalidPath, InvalidPermission
from pyxs.helpers import check_path, check_perms, check_watch_path, error

_HEADER = struct.Struct("=IIII")
"""``struct xsd_sockmsg``: type, req_id, tx_id, len; native byte order."""

MAX_PAYLOAD = 4096
"""``XENSTORE_PAYLOAD_MAX``; a longer one is a broken stream."""

MAX_REQUEST_PAYLOAD = MAX_PAYLOAD - _HEADER.size
"""What fits through /dev/xen/xenbus, whose buffer holds the header too (xenbus_dev_frontend.c)."""


class Operation(IntEnum):
    """``enum xsd_sockmsg_type``, as far as a backend needs it."""

    DIRECTORY = Op.DIRECTORY
    READ = Op.READ
    GET_PERMS = Op.GET_PERMS
    WATCH = Op.WATCH
    UNWATCH = Op.UNWATCH
    TRANSACTION_START = Op.TRANSACTION_START
    TRANSACTION_END = Op.TRANSACTION_END
    GET_DOMAIN_PATH = Op.GET_DOMAIN_PATH
    WRITE = Op.WRITE
    MKDIR = Op.MKDIR
    RM = Op.RM
    SET_PERMS = Op.SET_PERMS
    WATCH_EVENT = Op.WATCH_EVENT
    ERROR = Op.ERROR
    IS_DOMAIN_INTRODUCED = Op.IS_DOMAIN_INTRODUCED
    DIRECTORY_PART = 22


class WireError(Exception):
    """What came from the store is not XenStore's protocol: nothing behind it can be trusted."""


class InvalidRequest(Exception):
    """A request that the store would refuse; ``errno`` is the answer it would give."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.errno = number


@dataclass(frozen=True, slots=True)
class Permission:
    """One entry of a node's list. The first names the owner, and its access is everyone else's."""

    domid: int
    access: str
    """``n`` none, ``r`` read, ``w`` write, ``b`` both."""


def encode_packet(operation: Operation, req_id: int, tx_id: int, parts: Sequence[bytes]) -> bytes:
    """One request. Raises InvalidRequest (E2BIG) if its parts exceed 4080 bytes together."""
    payload = b"".join(parts)
    if len(payload) > MAX_REQUEST_PAYLOAD:
        raise InvalidRequest(
            f"{len(payload)} bytes, XenStore takes {MAX_REQUEST_PAYLOAD}", errno.E2BIG
        )
    # _make: Packet's constructor refuses the operations that pyxs does not know.
    packet = Packet._make((int(operation), req_id, tx_id, len(payload), payload))
    return _HEADER.pack(packet.op, packet.rq_id, packet.tx_id, packet.size) + payload


class Decoder:
    """Cuts a byte stream into packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that ``data`` completes. Raises WireError on a length over 4096."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            op, req_id, tx_id, size = _HEADER.unpack_from(self._buffer)
            if size > MAX_PAYLOAD:
                raise WireError(f"a packet of {size} bytes, XenStore's limit is {MAX_PAYLOAD}")
            end = _HEADER.size + size
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield Packet._make((op, req_id, tx_id, size, payload))


PathCheck = Callable[[bytes], bytes]

_UNSEEN_BY_PYXS = re.compile(r"[\x00\n]")


def encode_path(path: str) -> bytes:
    """``path`` with its NUL. Raises InvalidRequest (EINVAL)."""
    return _checked(path, check_path)


def encode_watch_path(path: str) -> bytes:
    """As :func:`encode_path`; ``@introduceDomain`` and ``@releaseDomain`` are paths too."""
    return _checked(path, check_watch_path)


def _checked(path: str, check: PathCheck) -> bytes:
    try:
        if _UNSEEN_BY_PYXS.search(path):
            raise InvalidPath(path.encode())
        return check(path.encode("ascii")) + b"\0"
    except (InvalidPath, UnicodeEncodeError):
        raise InvalidRequest(f"{path!r} is not a XenStore path", errno.EINVAL) from None


def encode_permissions(permissions: Sequence[Permission]) -> bytes:
    """Raises InvalidRequest (EINVAL) for an access that is not n, r, w or b, or an empty list."""
    entries = [f"{entry.access}{entry.domid}".encode() for entry in permissions]
    try:
        if not entries or any(entry.endswith(b"\n") for entry in entries):
            raise InvalidPermission(entries)
        check_perms(entries)
    except InvalidPermission:
        raise InvalidRequest(f"{permissions!r} are no permissions", errno.EINVAL) from None
    return b"".join(entry + b"\0" for entry in entries)


def decode_permissions(payload: bytes) -> list[Permission]:
    """Raises WireError."""
    entries = decode_strings(payload)
    try:
        check_perms([entry.encode() for entry in entries])
    except InvalidPermission:
        raise WireError(f"{entries!r} are no permissions") from None
    return [Permission(int(entry[1:]), entry[0]) for entry in entries]


def decode_strings(payload: bytes) -> list[str]:
    """NUL-terminated strings; bytes that are not UTF-8 become backslash escapes."""
    return [decode_text(part) for part in payload.split(b"\0")[:-1]]


def decode_text(value: bytes) -> str:
    """``value`` for people and parsers: never fails, and keeps what it cannot decode visible."""
    return value.decode("utf-8", "backslashreplace")


def decode_error(payload: bytes) -> int:
    """Linux's number of an XS_ERROR; EIO for a name that has none."""
    try:
        number = int(error(payload.rstrip(b"\0")).args[0])
    except UnicodeDecodeError:
        number = 0
    return number or errno.EIO


def decode_number(payload: bytes) -> int:
    """A transaction's id. Raises WireError."""
    text = payload.rstrip(b"\0")
    if not text.isdigit():
        raise WireError(f"{text!r} is not a number")
    return int(text)
