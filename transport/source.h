/* transport/source.h - a ZeroMQ socket that a thread reads, and a wait for several of them.
 *
 * libzmq's own wait asks every socket three times whether something has come, each time with a
 * system call. Here a socket is not asked again while nothing can have come: it is quiet from a
 * receive that found nothing until its file descriptor says that there is news for it. Sending over
 * the socket takes such news in without a word, so whoever sends calls source_touch. Owned by the
 * reading thread. */
#ifndef TRANSPORT_SOURCE_H
#define TRANSPORT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

enum { SOURCES_MAX = 64 };

struct source {
    void *socket; /* NULL: there is none */
    bool quiet;   /* nothing to receive, unless the file descriptor says so */
    bool asked;   /* for it: */
    int fd;       /* which a socket keeps as long as it lives */
};

/* A receive without waiting found nothing. Call it before anything else changes errno. */
void source_found_nothing(struct source *source);

/* Something other than a receive was done with the socket. */
static inline void source_touch(struct source *source)
{
    source->quiet = false;
}

/* Which of those that are quiet have news, by their file descriptors: one system call, or none if
 * no one is quiet. At most SOURCES_MAX. */
void sources_look(struct source *const sources[], size_t count);

/* Waits up to timeout_ms (-1: for ever) until one of them is not quiet; a signal may end it early.
 * At most SOURCES_MAX. */
void sources_wait(struct source *const sources[], size_t count, long timeout_ms);

#endif
