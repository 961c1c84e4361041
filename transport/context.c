#include "transport/context.h"

#include "base/fatal.h"

#include <errno.h>
#include <zmq.h>

/* libzmq's ZMQ_ZERO_COPY_RECV; its header hides it behind the draft interface. */
enum { CONTEXT_OPTION_ZERO_COPY_RECV = 10 };

void *context_create(void)
{
    void *context = zmq_ctx_new();
    ASSERT(context);
    zmq_ctx_set(context, ZMQ_IO_THREADS, 1);
    zmq_ctx_set(context, ZMQ_BLOCKY, 0);
    zmq_ctx_set(context, CONTEXT_OPTION_ZERO_COPY_RECV, 0);
    return context;
}

void context_destroy(void *context)
{
    if (!context)
        return;
    while (zmq_ctx_term(context) != 0)
        ASSERT(errno == EINTR);
}

void socket_set_int(void *socket, int option, int value)
{
    int failed = zmq_setsockopt(socket, option, &value, sizeof value);
    ASSERT(!failed);
}

void socket_set_receiving(void *socket)
{
    socket_set_int(socket, ZMQ_TCP_KEEPALIVE, 1);
    socket_set_int(socket, ZMQ_TCP_KEEPALIVE_IDLE, 10);
    socket_set_int(socket, ZMQ_TCP_KEEPALIVE_INTVL, 5);
    socket_set_int(socket, ZMQ_TCP_KEEPALIVE_CNT, 2);
    socket_set_int(socket, ZMQ_TCP_MAXRT, 20000); /* likewise while something is on its way */
}

void socket_set_int64(void *socket, int option, int64_t value)
{
    int failed = zmq_setsockopt(socket, option, &value, sizeof value);
    ASSERT(!failed);
}
