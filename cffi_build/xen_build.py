# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds ``xendisplback._ext._xen``: libxengnttab and libxenevtchn, and gntalloc's structures."""

from __future__ import annotations

from cffi import FFI

ffibuilder = FFI()

# xentoollog.h. Without a logger the libraries write each failed call to stderr; we report what matters ourselves,
# and a guest can make calls fail at will.
ffibuilder.cdef("""
struct xentoollog_logger;
struct xentoollog_logger *xdb_silent_logger(void);
""")

# xengnttab.h
ffibuilder.cdef("""
typedef struct xengntdev_handle xengnttab_handle;
#define GNTDEV_DMA_FLAG_WC ...
#define GNTDEV_DMA_FLAG_COHERENT ...
xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags);
int xengnttab_fd(xengnttab_handle *xgt);
int xengnttab_close(xengnttab_handle *xgt);
void *xengnttab_map_domain_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t domid,
                                      uint32_t *refs, int prot);
void *xengnttab_map_grant_ref_notify(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot,
                                     uint32_t notify_offset, uint32_t notify_port);
int xengnttab_unmap(xengnttab_handle *xgt, void *start_address, uint32_t count);
int xengnttab_dmabuf_exp_from_refs(xengnttab_handle *xgt, uint32_t domid, uint32_t flags,
                                   uint32_t count, const uint32_t *refs, uint32_t *fd);
int xengnttab_dmabuf_exp_wait_released(xengnttab_handle *xgt, uint32_t fd, uint32_t wait_to_ms);
int xengnttab_dmabuf_imp_to_refs(xengnttab_handle *xgt, uint32_t domid, uint32_t fd,
                                 uint32_t count, uint32_t *refs);
int xengnttab_dmabuf_imp_release(xengnttab_handle *xgt, uint32_t fd);
""")

# xen/sys/gntalloc.h
ffibuilder.cdef("""
struct ioctl_gntalloc_alloc_gref {
    uint16_t domid;
    uint16_t flags;
    uint32_t count;
    uint64_t index;
    uint32_t gref_ids[...];
};
#define GNTALLOC_FLAG_WRITABLE ...
#define IOCTL_GNTALLOC_ALLOC_GREF ...
""")

# xenevtchn.h. The last three are called from C (flip_channel.c), by their addresses.
ffibuilder.cdef("""
typedef struct xenevtchn_handle xenevtchn_handle;
typedef uint32_t evtchn_port_t;
xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags);
int xenevtchn_close(xenevtchn_handle *xce);
int xenevtchn_fd(xenevtchn_handle *xce);
int xenevtchn_restrict(xenevtchn_handle *xce, uint16_t domid);
int xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid, evtchn_port_t remote_port);
int xenevtchn_pending(xenevtchn_handle *xce);
int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port);
int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port);
""")

ffibuilder.set_source_pkgconfig(
    "xendisplback._ext._xen",
    ["xengnttab", "xenevtchn", "xentoollog"],
    """
    #include <stdint.h>
    #include <stdio.h>
    #include <sys/ioctl.h>
    #include <xengnttab.h>
    #include <xenevtchn.h>
    #include <xentoollog.h>
    #include <xen/sys/gntalloc.h>

    static struct xentoollog_logger *xdb_silent_logger(void)
    {
        return (struct xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_CRITICAL, 0);
    }
    """,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
