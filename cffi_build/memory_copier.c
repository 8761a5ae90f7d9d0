/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copier's thread: copies outside of the event loop and without the GIL, and submits the commit itself,
 * which saves a trip back through the event loop for every flip.
 */
#include "memory.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct xdb_copier {
	pthread_t thread;
	sem_t wake;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool busy;	/* under lock, as result; what follows belongs to the thread while busy */
	int result;
	const struct xdb_job *job;
	int (*submit)(void *);
	void *argument;
	bool stop;
	int done_fd;
};

static void finish(struct xdb_copier *copier, int result, bool announce)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&copier->lock);
	copier->busy = false;
	copier->result = result;
	pthread_cond_broadcast(&copier->ended);
	pthread_mutex_unlock(&copier->lock);
	if (announce) {
		/* It can only fail when 2^64 - 1 results wait unread. */
		ssize_t ignored = write(copier->done_fd, &one, sizeof(one));
		(void)ignored;
	}
}

static void *work(void *argument)
{
	struct xdb_copier *copier = argument;

	for (;;) {
		int result;
		bool announce;

		while (sem_wait(&copier->wake) != 0)
			continue;
		if (copier->stop)
			return NULL;
		announce = !copier->submit;
		result = xdb_run(copier->job, NULL);
		if (result == 0 && copier->submit)
			result = copier->submit(copier->argument);
		finish(copier, result, announce || result != 0);
	}
}

struct xdb_copier *xdb_copier_new(int done_fd)
{
	struct xdb_copier *copier = calloc(1, sizeof(*copier));
	sigset_t all, old;
	int error;

	if (!copier)
		return NULL;
	copier->done_fd = done_fd;
	sem_init(&copier->wake, 0, 0);
	pthread_mutex_init(&copier->lock, NULL);
	pthread_cond_init(&copier->ended, NULL);
	/* The process's signals are the main thread's; faults stay with the thread that caused them. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&copier->thread, NULL, work, copier);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error) {
		free(copier);
		errno = error;
		return NULL;
	}
	return copier;
}

int xdb_copier_wait(struct xdb_copier *copier)
{
	int result;

	pthread_mutex_lock(&copier->lock);
	while (copier->busy)
		pthread_cond_wait(&copier->ended, &copier->lock);
	result = copier->result;
	pthread_mutex_unlock(&copier->lock);
	return result;
}

void xdb_copier_start(struct xdb_copier *copier, const struct xdb_job *job, uintptr_t submit,
		      uintptr_t argument)
{
	pthread_mutex_lock(&copier->lock);
	while (copier->busy)
		pthread_cond_wait(&copier->ended, &copier->lock);
	copier->job = job;
	copier->submit = (int (*)(void *))submit;
	copier->argument = (void *)argument;
	copier->busy = true;
	pthread_mutex_unlock(&copier->lock);
	sem_post(&copier->wake);
}

void xdb_copier_free(struct xdb_copier *copier)
{
	xdb_copier_wait(copier);
	copier->stop = true;
	sem_post(&copier->wake);
	pthread_join(copier->thread, NULL);
	sem_destroy(&copier->wake);
	pthread_cond_destroy(&copier->ended);
	pthread_mutex_destroy(&copier->lock);
	free(copier);
}
