# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds ``xendisplback._ext._drm``: libdrm's mode setting, and the helpers in ``drm_helpers.c``.

Structs are declared as far as they are used; the compiler fills in the rest (``...``).
"""

from __future__ import annotations

from cffi import FFI

ffibuilder = FFI()

# xf86drm.h
ffibuilder.cdef("""
#define DRM_CAP_DUMB_BUFFER ...
#define DRM_CAP_PRIME ...
#define DRM_PRIME_CAP_IMPORT ...
#define DRM_CLIENT_CAP_UNIVERSAL_PLANES ...
#define DRM_CLIENT_CAP_ATOMIC ...
#define DRM_EVENT_FLIP_COMPLETE ...

typedef struct { int name_len; char *name; ...; } drmVersion;
drmVersion *drmGetVersion(int fd);
void drmFreeVersion(drmVersion *version);

int drmAuthMagic(int fd, unsigned int magic);
int drmSetMaster(int fd);
int drmDropMaster(int fd);
int drmGetCap(int fd, uint64_t capability, uint64_t *value);
int drmSetClientCap(int fd, uint64_t capability, uint64_t value);
#define DRM_CLOEXEC ...
#define DRM_RDWR ...
int drmPrimeHandleToFD(int fd, uint32_t handle, uint32_t flags, int *prime_fd);
int drmPrimeFDToHandle(int fd, int prime_fd, uint32_t *handle);
int drmCloseBufferHandle(int fd, uint32_t handle);
""")

# xf86drmMode.h: what the device has
ffibuilder.cdef("""
typedef struct {
    int count_fbs; uint32_t *fbs;
    int count_crtcs; uint32_t *crtcs;
    int count_connectors; uint32_t *connectors;
    int count_encoders; uint32_t *encoders;
    ...;
} drmModeRes;
drmModeRes *drmModeGetResources(int fd);
void drmModeFreeResources(drmModeRes *resources);

typedef struct { ...; } drmModeModeInfo;
typedef enum { DRM_MODE_CONNECTED, DRM_MODE_DISCONNECTED, ... } drmModeConnection;
typedef struct {
    uint32_t connector_id;
    uint32_t connector_type;
    uint32_t connector_type_id;
    drmModeConnection connection;
    int count_modes; drmModeModeInfo *modes;
    int count_props; uint32_t *props; uint64_t *prop_values;
    int count_encoders; uint32_t *encoders;
    ...;
} drmModeConnector;
drmModeConnector *drmModeGetConnector(int fd, uint32_t id);
void drmModeFreeConnector(drmModeConnector *connector);
const char *drmModeGetConnectorTypeName(uint32_t connector_type);

typedef struct { uint32_t encoder_type; uint32_t possible_crtcs; ...; } drmModeEncoder;
drmModeEncoder *drmModeGetEncoder(int fd, uint32_t id);
void drmModeFreeEncoder(drmModeEncoder *encoder);

typedef struct { uint32_t count_planes; uint32_t *planes; ...; } drmModePlaneRes;
drmModePlaneRes *drmModeGetPlaneResources(int fd);
void drmModeFreePlaneResources(drmModePlaneRes *resources);

typedef struct {
    uint32_t count_formats; uint32_t *formats;
    uint32_t crtc_id;
    uint32_t possible_crtcs;
    ...;
} drmModePlane;
drmModePlane *drmModeGetPlane(int fd, uint32_t id);
void drmModeFreePlane(drmModePlane *plane);
""")

# xf86drmMode.h: properties and blobs
ffibuilder.cdef("""
#define DRM_MODE_OBJECT_ANY ...
#define DRM_MODE_PROP_IMMUTABLE ...

struct drm_mode_property_enum { uint64_t value; char name[32]; ...; };
typedef struct {
    uint32_t flags;
    char name[32];
    int count_enums; struct drm_mode_property_enum *enums;
    ...;
} drmModePropertyRes;
drmModePropertyRes *drmModeGetProperty(int fd, uint32_t id);
void drmModeFreeProperty(drmModePropertyRes *property);

typedef struct {
    uint32_t count_props; uint32_t *props; uint64_t *prop_values;
    ...;
} drmModeObjectProperties;
drmModeObjectProperties *drmModeObjectGetProperties(int fd, uint32_t id, uint32_t type);
void drmModeFreeObjectProperties(drmModeObjectProperties *properties);

typedef struct { uint32_t length; void *data; ...; } drmModePropertyBlobRes;
drmModePropertyBlobRes *drmModeGetPropertyBlob(int fd, uint32_t id);
void drmModeFreePropertyBlob(drmModePropertyBlobRes *blob);
int drmModeCreatePropertyBlob(int fd, const void *data, size_t size, uint32_t *id);
int drmModeDestroyPropertyBlob(int fd, uint32_t id);
""")

# xf86drmMode.h: framebuffers
ffibuilder.cdef("""
typedef struct {
    uint32_t width, height;
    uint32_t pixel_format;
    uint32_t handles[4];
    ...;
} drmModeFB2;
drmModeFB2 *drmModeGetFB2(int fd, uint32_t id);
void drmModeFreeFB2(drmModeFB2 *framebuffer);
int drmModeAddFB2(int fd, uint32_t width, uint32_t height, uint32_t pixel_format,
                  const uint32_t handles[4], const uint32_t pitches[4], const uint32_t offsets[4],
                  uint32_t *id, uint32_t flags);
int drmModeRmFB(int fd, uint32_t id);
int drmModeCreateDumbBuffer(int fd, uint32_t width, uint32_t height, uint32_t bpp, uint32_t flags,
                            uint32_t *handle, uint32_t *pitch, uint64_t *size);
int drmModeMapDumbBuffer(int fd, uint32_t handle, uint64_t *offset);
int drmModeDestroyDumbBuffer(int fd, uint32_t handle);
""")

# drm_helpers.h
ffibuilder.cdef("""
#define DRM_MODE_PAGE_FLIP_EVENT ...
#define DRM_MODE_ATOMIC_TEST_ONLY ...
#define DRM_MODE_ATOMIC_NONBLOCK ...
#define DRM_MODE_ATOMIC_ALLOW_MODESET ...

struct xdb_commit {
    int fd;
    uint32_t flags;
    uint32_t count_objects;
    uint32_t *objects;
    uint32_t *property_counts;
    uint32_t *properties;
    uint64_t *values;
};
int xdb_commit_submit(void *const *commits, unsigned count);
int xdb_map(int fd, size_t size, uint64_t offset, uintptr_t *address);
int xdb_unmap(uintptr_t address, size_t size);
int xdb_zero(uintptr_t address, size_t size);
int xdb_close_fb(int fd, uint32_t framebuffer);
""")

ffibuilder.set_source_pkgconfig(
    "xendisplback._ext._drm",
    ["libdrm"],
    """
    #include <fcntl.h>
    #include <xf86drm.h>
    #include <xf86drmMode.h>
    #include "drm_helpers.h"
    """,
    sources=["cffi_build/drm_helpers.c"],
    include_dirs=["cffi_build"],
    depends=["cffi_build/drm_helpers.h"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
