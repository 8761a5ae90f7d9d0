// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * LD_PRELOAD for Debian's unmodified C xenstored 4.17 or 4.20: a Xen of files, in the directory $FAKEXEN.
 *
 *   dom<N>.ring   the XenStore ring page of domain N (xen/io/xs_wire.h); the domain lives while it exists
 *   dom<N>.event  FIFO: a byte for each notification that xenstored sends to domain N
 *   event         FIFO: one 32-bit port for each event that xenstored is to see
 *   xsd_port      "1", in place of /proc/xen/xsd_port; dom0.ring stands for /proc/xen/xsd_kva
 *
 * xenstored's own port towards domain N is N + 1000; port 1 is VIRQ_DOM_EXC ("look which domains still live").
 * Declared here as far as xenstored uses it, so that no Xen header is needed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, FIRST_PORT = 1000, VIRQ_PORT = 1, DOMINFO_HEAD = 16 };

static int event_fd = -1;

static const char *file_of(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", getenv("FAKEXEN"), name);
	return path;
}

static const char *domain_file(unsigned domid, const char *suffix)
{
	char name[64];

	snprintf(name, sizeof(name), "dom%u.%s", domid, suffix);
	return file_of(name);
}

int open(const char *path, int flags, ...)
{
	int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	if (!strcmp(path, "/proc/xen/xsd_kva"))
		path = domain_file(0, "ring");
	else if (!strcmp(path, "/proc/xen/xsd_port"))
		path = file_of("xsd_port");
	return next(path, flags, mode);
}

/* libxenctrl */

void *xc_interface_open(void *logger, void *dombuild_logger, unsigned flags)
{
	return &event_fd;
}

int xc_interface_close(void *handle)
{
	return 0;
}

/* The result begins with domid, ssidref and the bits dying, crashed, shutdown: clear in a domain that lives. */
int xc_domain_getinfo(void *handle, uint32_t first_domid, unsigned max, void *info)
{
	if (access(domain_file(first_domid, "ring"), F_OK))
		return 0;
	memset(info, 0, DOMINFO_HEAD);
	memcpy(info, &first_domid, sizeof(first_domid));
	return 1;
}

/* From 4.18 on. The result begins with domid, padding and the flags dying, shutdown, ...: none here. */
int xc_domain_getinfo_single(void *handle, uint32_t domid, void *info)
{
	uint16_t id = domid;

	if (access(domain_file(domid, "ring"), F_OK)) {
		errno = ESRCH;
		return -1;
	}
	if (info) {
		memset(info, 0, 2 * sizeof(uint32_t));
		memcpy(info, &id, sizeof(id));
	}
	return 0;
}

/* libxenevtchn */

void *xenevtchn_open(void *logger, unsigned flags)
{
	event_fd = open(file_of("event"), O_RDWR | O_CLOEXEC);
	return event_fd < 0 ? NULL : &event_fd;
}

void *xenevtchn_fdopen(void *logger, int fd, unsigned flags)
{
	errno = ENOSYS; /* live update only */
	return NULL;
}

int xenevtchn_fd(void *handle)
{
	return event_fd;
}

int xenevtchn_bind_virq(void *handle, unsigned virq)
{
	return VIRQ_PORT;
}

int xenevtchn_bind_interdomain(void *handle, uint32_t domid, uint32_t remote_port)
{
	return FIRST_PORT + domid;
}

int xenevtchn_unbind(void *handle, uint32_t port)
{
	return 0;
}

int xenevtchn_unmask(void *handle, uint32_t port)
{
	return 0;
}

int xenevtchn_pending(void *handle)
{
	uint32_t port;

	return read(event_fd, &port, sizeof(port)) == sizeof(port) ? (int)port : -1;
}

/* A domain that does not listen, or listens late, misses nothing: the FIFO is full or absent only then. */
int xenevtchn_notify(void *handle, uint32_t port)
{
	int fd = open(domain_file(port - FIRST_PORT, "event"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, "", 1) < 0 && errno != EAGAIN)
			perror("fakexen: notify");
		close(fd);
	}
	return 0;
}

/* libxengnttab: the one grant that xenstored maps is a ring page. */

void *xengnttab_open(void *logger, unsigned flags)
{
	return &event_fd;
}

int xengnttab_close(void *handle)
{
	return 0;
}

int xengnttab_set_max_grants(void *handle, uint32_t count)
{
	return 0;
}

void *xengnttab_map_grant_ref(void *handle, uint32_t domid, uint32_t ref, int protection)
{
	int fd = open(domain_file(domid, "ring"), O_RDWR | O_CLOEXEC);
	void *page;

	if (fd < 0)
		return NULL;
	page = mmap(NULL, PAGE, protection, MAP_SHARED, fd, 0);
	close(fd);
	return page == MAP_FAILED ? NULL : page;
}

int xengnttab_unmap(void *handle, void *page, uint32_t count)
{
	return munmap(page, (size_t)count * PAGE);
}
