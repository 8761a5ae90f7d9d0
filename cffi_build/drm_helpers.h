/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libdrm lacks or does in too many calls: an atomic commit laid out once and submitted by one call from
 * any thread, dumb buffers mapped and zeroed without a SIGBUS, and CLOSEFB where libdrm's headers know it.
 */
#ifndef XDB_DRM_HELPERS_H
#define XDB_DRM_HELPERS_H

#include <stddef.h>
#include <stdint.h>

/* struct drm_mode_atomic (drm_mode.h) with typed pointers; the arrays belong to whoever made it. */
struct xdb_commit {
	int fd;
	uint32_t flags;			/* DRM_MODE_ATOMIC_*, DRM_MODE_PAGE_FLIP_EVENT */
	uint32_t count_objects;
	uint32_t *objects;		/* object ids */
	uint32_t *property_counts;	/* of each object */
	uint32_t *properties;		/* property ids, object by object */
	uint64_t *values;
};

/* How many objects and properties commits that are submitted together may have. */
enum { XDB_COMMIT_OBJECTS = 64, XDB_COMMIT_PROPERTIES = 640 };

/*
 * DRM_IOCTL_MODE_ATOMIC: `count` struct xdb_commit of one card, of other objects each, as one commit. 0, or a negative
 * errno; -E2BIG for more than the above in several. Interrupted calls are repeated. Any thread.
 */
int xdb_commit_submit(void *const *commits, unsigned count);

/* mmap(2) of a dumb buffer. 0 and *address, or a negative errno. */
int xdb_map(int fd, size_t size, uint64_t offset, uintptr_t *address);
int xdb_unmap(uintptr_t address, size_t size);

/* Fill with zeroes. 0, or a negative errno: -EFAULT when the device behind the mapping is gone. */
int xdb_zero(uintptr_t address, size_t size);

/* DRM_IOCTL_MODE_CLOSEFB: 0, or a negative errno; -ENOSYS where libdrm's headers (before 2.4.124) lacked it
 * at build time, -EINVAL or -ENOTTY where the kernel (before 6.8) lacks it. */
int xdb_close_fb(int fd, uint32_t framebuffer);

#endif
