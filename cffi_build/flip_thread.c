/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting the hot path's threads, and what they and Python tell each other by. */
#include "flip.h"

#include <signal.h>
#include <unistd.h>

int xdb_start_thread(pthread_t *thread, void *(*work)(void *), void *argument)
{
	sigset_t all, old;
	int error;

	/* The process's signals are the main thread's; faults stay with the thread that caused them. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(thread, NULL, work, argument);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

void xdb_raise(int event_fd)
{
	const uint64_t one = 1;
	/* It can only fail when 2^64 - 1 are unread. */
	ssize_t ignored = write(event_fd, &one, sizeof(one));

	(void)ignored;
}
