/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dma-bufs as a guest's programs make them: of a memfd's pages (udmabuf) or from a dma-heap. Their first
 * sg entry starts at a page with each of these exporters, so xen_drm_front sends data_ofs = 0.
 */
#define _GNU_SOURCE
#include "draw.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAPS "/dev/dma_heap"
#define HEAPS_LIMIT 16
#define LIST_LIMIT 1024 /* udmabuf's own, by default */

static int make_memfd(uint64_t size)
{
    int fd = memfd_create("draw", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return fail_errno("memfd_create");
    if (ftruncate(fd, size) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0)
        return fd;
    fail_errno("memfd");
    close(fd);
    return -1;
}

static int udmabuf_in_order(int device, int memfd, uint64_t size)
{
    struct udmabuf_create create = {.memfd = memfd, .flags = UDMABUF_FLAGS_CLOEXEC, .size = size};
    int fd = control(device, UDMABUF_CREATE, &create);
    return fd < 0 ? fail_errno("UDMABUF_CREATE") : fd;
}

/* The memfd's pages from the last to the first, singly while the list can hold them, else in short runs:
 * neighbours in the buffer are never neighbours in memory by luck. */
static int udmabuf_scattered(int device, int memfd, uint64_t size)
{
    uint64_t page = sysconf(_SC_PAGESIZE), run = page;
    while ((size + run - 1) / run > LIST_LIMIT)
        run += page;
    uint32_t count = (size + run - 1) / run;
    struct udmabuf_create_list *list = calloc(1, sizeof *list + count * sizeof list->list[0]);
    if (!list)
        return fail_errno("calloc");
    list->flags = UDMABUF_FLAGS_CLOEXEC;
    list->count = count;
    for (uint32_t index = 0; index < count; index++) {
        uint64_t offset = (count - 1 - index) * run;
        list->list[index].memfd = memfd;
        list->list[index].offset = offset;
        list->list[index].size = size - offset < run ? size - offset : run;
    }
    int fd = control(device, UDMABUF_CREATE_LIST, list);
    free(list);
    return fd < 0 ? fail_errno("UDMABUF_CREATE_LIST") : fd;
}

static int make_udmabuf(int scattered, uint64_t size)
{
    int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
    if (device < 0)
        return fail_errno("/dev/udmabuf");
    int memfd = make_memfd(size), fd = -1;
    if (memfd >= 0) {
        fd = scattered ? udmabuf_scattered(device, memfd, size)
                       : udmabuf_in_order(device, memfd, size);
        close(memfd);
    }
    close(device);
    return fd;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(left, right);
}

static int list_heaps(char names[HEAPS_LIMIT][64])
{
    int count = 0;
    DIR *directory = opendir(HEAPS);
    struct dirent *entry;
    while (directory && count < HEAPS_LIMIT && (entry = readdir(directory)))
        if (entry->d_name[0] != '.')
            snprintf(names[count++], 64, "%.63s", entry->d_name);
    if (directory)
        closedir(directory);
    qsort(names, count, 64, by_name);
    return count;
}

/* "cma" is the contiguous heap, whatever this kernel calls it: "reserved", "linux,cma",
 * "default_cma_region". All others are called "system" and a suffix. */
static int find_heap(const char *wanted, char name[64])
{
    char names[HEAPS_LIMIT][64];
    int count = list_heaps(names);
    for (int index = 0; index < count; index++)
        if (!strcmp(names[index], wanted) ||
            (!strcmp(wanted, "cma") && strncmp(names[index], "system", 6))) {
            memcpy(name, names[index], 64);
            return 0;
        }
    return fail("no heap %s among %d", wanted, count);
}

static int allocate_from_heap(const char *wanted, uint64_t size)
{
    char name[64], path[96];
    if (find_heap(wanted, name) < 0)
        return -1;
    snprintf(path, sizeof path, HEAPS "/%s", name);
    int heap = open(path, O_RDWR | O_CLOEXEC);
    if (heap < 0)
        return fail_errno(path);
    struct dma_heap_allocation_data allocation = {.len = size, .fd_flags = O_RDWR | O_CLOEXEC};
    int result = control(heap, DMA_HEAP_IOCTL_ALLOC, &allocation);
    if (result < 0)
        fail_errno("DMA_HEAP_IOCTL_ALLOC");
    close(heap);
    return result < 0 ? -1 : (int)allocation.fd;
}

int make_dmabuf(const char *source, uint64_t size)
{
    if (!strcmp(source, "udmabuf"))
        return make_udmabuf(0, size);
    if (!strcmp(source, "udmabuf:scattered"))
        return make_udmabuf(1, size);
    if (!strncmp(source, "heap:", 5))
        return allocate_from_heap(source + 5, size);
    return fail("source %s is not known here", source);
}

int sync_dmabuf(int fd, int start)
{
    struct dma_buf_sync sync = {.flags = DMA_BUF_SYNC_RW |
                                         (start ? DMA_BUF_SYNC_START : DMA_BUF_SYNC_END)};
    if (control(fd, DMA_BUF_IOCTL_SYNC, &sync) < 0)
        return fail_errno("DMA_BUF_IOCTL_SYNC");
    return 0;
}

int list_sources(void)
{
    char names[HEAPS_LIMIT][64];
    int count = list_heaps(names);
    size_t used = snprintf(answer, sizeof answer, "dumb");
    if (access("/dev/udmabuf", R_OK | W_OK) == 0)
        used += snprintf(answer + used, sizeof answer - used, " udmabuf udmabuf:scattered");
    for (int index = 0; index < count && used < sizeof answer; index++)
        used += snprintf(answer + used, sizeof answer - used, " heap:%s", names[index]);
    return 0;
}
