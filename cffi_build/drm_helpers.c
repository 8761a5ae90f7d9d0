/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _FILE_OFFSET_BITS 64

#include "drm_helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xf86drm.h>
#include <xf86drmMode.h>

static int submit(const struct xdb_commit *commit)
{
	struct drm_mode_atomic request;

	memset(&request, 0, sizeof(request));
	request.flags = commit->flags;
	request.count_objs = commit->count_objects;
	request.objs_ptr = (uintptr_t)commit->objects;
	request.count_props_ptr = (uintptr_t)commit->property_counts;
	request.props_ptr = (uintptr_t)commit->properties;
	request.prop_values_ptr = (uintptr_t)commit->values;
	/* drmIoctl() repeats EINTR and EAGAIN. */
	return drmIoctl(commit->fd, DRM_IOCTL_MODE_ATOMIC, &request) == 0 ? 0 : -errno;
}

static uint32_t count_properties(const struct xdb_commit *commit)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < commit->count_objects; i++)
		count += commit->property_counts[i];
	return count;
}

int xdb_commit_submit(void *const *commits, unsigned count)
{
	uint32_t objects[XDB_COMMIT_OBJECTS], property_counts[XDB_COMMIT_OBJECTS];
	uint32_t properties[XDB_COMMIT_PROPERTIES], filled = 0;
	uint64_t values[XDB_COMMIT_PROPERTIES];
	const struct xdb_commit *first = commits[0];
	struct xdb_commit all = {
		.fd = first->fd, .flags = first->flags, .objects = objects,
		.property_counts = property_counts, .properties = properties, .values = values,
	};

	if (count == 1)
		return submit(first);
	for (unsigned i = 0; i < count; i++) {
		const struct xdb_commit *one = commits[i];
		const uint32_t more = count_properties(one);

		if (one->fd < 0)
			return -EBADF;
		if (all.count_objects + one->count_objects > XDB_COMMIT_OBJECTS ||
		    filled + more > XDB_COMMIT_PROPERTIES)
			return -E2BIG;
		memcpy(objects + all.count_objects, one->objects, one->count_objects * sizeof(*objects));
		memcpy(property_counts + all.count_objects, one->property_counts,
		       one->count_objects * sizeof(*property_counts));
		memcpy(properties + filled, one->properties, more * sizeof(*properties));
		memcpy(values + filled, one->values, more * sizeof(*values));
		all.count_objects += one->count_objects;
		filled += more;
	}
	return submit(&all);
}

int xdb_map(int fd, size_t size, uint64_t offset, uintptr_t *address)
{
	void *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	if (mapping == MAP_FAILED)
		return -errno;
	*address = (uintptr_t)mapping;
	return 0;
}

int xdb_unmap(uintptr_t address, size_t size)
{
	return munmap((void *)address, size) == 0 ? 0 : -errno;
}

int xdb_zero(uintptr_t address, size_t size)
{
	/*
	 * Not memset(): the page faults of an unplugged device's mapping raise SIGBUS, but the kernel's own
	 * stores into it only fail.
	 */
	int error = 0, fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (size > 0 && error == 0) {
		ssize_t done = read(fd, (void *)address, size);

		if (done > 0) {
			address += (size_t)done;
			size -= (size_t)done;
		} else if (done == 0 || errno != EINTR) {
			error = done == 0 ? -EIO : -errno;
		}
	}
	close(fd);
	return error;
}

int xdb_close_fb(int fd, uint32_t framebuffer)
{
#ifdef DRM_IOCTL_MODE_CLOSEFB
	/* Not drmModeCloseFB(): an extension that links it can't be loaded with Debian 12's libdrm. */
	struct drm_mode_closefb request = { .fb_id = framebuffer };

	return drmIoctl(fd, DRM_IOCTL_MODE_CLOSEFB, &request) == 0 ? 0 : -errno;
#else
	(void)fd;
	(void)framebuffer;
	return -ENOSYS;
#endif
}
