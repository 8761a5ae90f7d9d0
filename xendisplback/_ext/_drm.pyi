# SPDX-License-Identifier: GPL-2.0-or-later
# What cffi_build/drm_build.py compiles. A null pointer is false.

from collections.abc import Sequence
from typing import Literal, overload

class Numbers:
    """A pointer to, or an array of, integers."""

    def __getitem__(self, index: int) -> int: ...
    def __setitem__(self, index: int, value: int) -> None: ...

class Chars: ...
class Memory: ...

class drmVersion:
    name: Chars

class drmModeRes:
    count_fbs: int
    fbs: Numbers
    count_crtcs: int
    crtcs: Numbers
    count_connectors: int
    connectors: Numbers
    count_encoders: int
    encoders: Numbers

class drmModeModeInfo: ...

class drmModeConnector:
    connector_id: int
    connector_type: int
    connector_type_id: int
    connection: int
    count_modes: int
    modes: drmModeModeInfo
    count_props: int
    props: Numbers
    prop_values: Numbers
    count_encoders: int
    encoders: Numbers

class drmModeEncoder:
    encoder_type: int
    possible_crtcs: int

class drmModePlaneRes:
    count_planes: int
    planes: Numbers

class drmModePlane:
    count_formats: int
    formats: Numbers
    crtc_id: int
    possible_crtcs: int

class drm_mode_property_enum:
    value: int
    name: Chars

class PropertyEnums:
    def __getitem__(self, index: int) -> drm_mode_property_enum: ...

class drmModePropertyRes:
    flags: int
    name: Chars
    count_enums: int
    enums: PropertyEnums

class drmModeObjectProperties:
    count_props: int
    props: Numbers
    prop_values: Numbers

class drmModePropertyBlobRes:
    length: int
    data: Memory

class drmModeFB2:
    width: int
    height: int
    pixel_format: int
    handles: Numbers

class Commits:
    def __getitem__(self, index: int) -> xdb_commit: ...

class xdb_commit:
    fd: int
    flags: int
    count_objects: int
    objects: Numbers
    property_counts: Numbers
    properties: Numbers
    values: Numbers

class Buffer:
    def __getitem__(self, index: slice) -> bytes: ...

class FFI:
    errno: int
    @overload
    def new(self, ctype: Literal["struct xdb_commit *"]) -> xdb_commit: ...
    @overload
    def new(self, ctype: Literal["void *[]"], init: list[xdb_commit]) -> Commits: ...
    @overload
    def new(
        self,
        ctype: Literal[
            "int *",
            "uint32_t *",
            "uint64_t *",
            "uintptr_t *",
            "uint32_t[]",
            "uint64_t[]",
            "uint32_t[4]",
        ],
        init: Sequence[int] = ...,
    ) -> Numbers: ...
    def string(self, cdata: Chars) -> bytes: ...
    def unpack(self, cdata: Numbers, length: int) -> list[int]: ...
    def buffer(self, cdata: Memory | drmModeModeInfo, size: int) -> Buffer: ...
    def cast(self, ctype: Literal["uintptr_t"], value: object) -> int: ...
    def addressof(self, lib: Lib, name: str) -> object: ...
    def sizeof(self, ctype: str) -> int: ...

class Lib:
    DRM_CAP_DUMB_BUFFER: int
    DRM_CAP_PRIME: int
    DRM_PRIME_CAP_IMPORT: int
    DRM_CLIENT_CAP_UNIVERSAL_PLANES: int
    DRM_CLIENT_CAP_ATOMIC: int
    DRM_EVENT_FLIP_COMPLETE: int
    DRM_MODE_CONNECTED: int
    DRM_MODE_DISCONNECTED: int
    DRM_MODE_OBJECT_ANY: int
    DRM_MODE_PROP_IMMUTABLE: int
    DRM_MODE_PAGE_FLIP_EVENT: int
    DRM_MODE_ATOMIC_TEST_ONLY: int
    DRM_MODE_ATOMIC_NONBLOCK: int
    DRM_MODE_ATOMIC_ALLOW_MODESET: int

    def drmGetVersion(self, fd: int) -> drmVersion: ...
    def drmFreeVersion(self, version: drmVersion) -> None: ...
    def drmAuthMagic(self, fd: int, magic: int) -> int: ...
    def drmSetMaster(self, fd: int) -> int: ...
    def drmDropMaster(self, fd: int) -> int: ...
    def drmGetCap(self, fd: int, capability: int, value: Numbers) -> int: ...
    def drmSetClientCap(self, fd: int, capability: int, value: int) -> int: ...
    DRM_CLOEXEC: int
    DRM_RDWR: int
    def drmPrimeHandleToFD(self, fd: int, handle: int, flags: int, prime_fd: Numbers) -> int: ...
    def drmPrimeFDToHandle(self, fd: int, prime_fd: int, handle: Numbers) -> int: ...
    def drmCloseBufferHandle(self, fd: int, handle: int) -> int: ...
    def drmModeGetResources(self, fd: int) -> drmModeRes: ...
    def drmModeFreeResources(self, resources: drmModeRes) -> None: ...
    def drmModeGetConnector(self, fd: int, object_id: int) -> drmModeConnector: ...
    def drmModeFreeConnector(self, connector: drmModeConnector) -> None: ...
    def drmModeGetConnectorTypeName(self, connector_type: int) -> Chars: ...
    def drmModeGetEncoder(self, fd: int, object_id: int) -> drmModeEncoder: ...
    def drmModeFreeEncoder(self, encoder: drmModeEncoder) -> None: ...
    def drmModeGetPlaneResources(self, fd: int) -> drmModePlaneRes: ...
    def drmModeFreePlaneResources(self, resources: drmModePlaneRes) -> None: ...
    def drmModeGetPlane(self, fd: int, object_id: int) -> drmModePlane: ...
    def drmModeFreePlane(self, plane: drmModePlane) -> None: ...
    def drmModeGetProperty(self, fd: int, object_id: int) -> drmModePropertyRes: ...
    def drmModeFreeProperty(self, found: drmModePropertyRes) -> None: ...
    def drmModeObjectGetProperties(
        self, fd: int, object_id: int, object_type: int
    ) -> drmModeObjectProperties: ...
    def drmModeFreeObjectProperties(self, properties: drmModeObjectProperties) -> None: ...
    def drmModeGetPropertyBlob(self, fd: int, object_id: int) -> drmModePropertyBlobRes: ...
    def drmModeFreePropertyBlob(self, blob: drmModePropertyBlobRes) -> None: ...
    def drmModeCreatePropertyBlob(
        self, fd: int, data: bytes, size: int, object_id: Numbers
    ) -> int: ...
    def drmModeDestroyPropertyBlob(self, fd: int, object_id: int) -> int: ...
    def drmModeGetFB2(self, fd: int, object_id: int) -> drmModeFB2: ...
    def drmModeFreeFB2(self, framebuffer: drmModeFB2) -> None: ...
    def drmModeAddFB2(
        self,
        fd: int,
        width: int,
        height: int,
        pixel_format: int,
        handles: Numbers,
        pitches: Numbers,
        offsets: Numbers,
        object_id: Numbers,
        flags: int,
    ) -> int: ...
    def drmModeRmFB(self, fd: int, object_id: int) -> int: ...
    def drmModeCreateDumbBuffer(
        self,
        fd: int,
        width: int,
        height: int,
        bpp: int,
        flags: int,
        handle: Numbers,
        pitch: Numbers,
        size: Numbers,
    ) -> int: ...
    def drmModeMapDumbBuffer(self, fd: int, handle: int, offset: Numbers) -> int: ...
    def drmModeDestroyDumbBuffer(self, fd: int, handle: int) -> int: ...
    def xdb_commit_submit(self, commits: Commits, count: int) -> int: ...
    def xdb_map(self, fd: int, size: int, offset: int, address: Numbers) -> int: ...
    def xdb_unmap(self, address: int, size: int) -> int: ...
    def xdb_zero(self, address: int, size: int) -> int: ...
    def xdb_close_fb(self, fd: int, framebuffer: int) -> int: ...

ffi: FFI
lib: Lib
