#include "bench/target.h"

#include "bench/process.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SERVES_SECONDS = 60, LOOK_NS = 20000000 };

static const struct target_ops *const kinds[] = {&target_self, &target_etcd, &target_nats};

void words_add(struct words *words, const char *format, ...)
{
    va_list arguments;
    char *word;
    va_start(arguments, format);
    int length = vasprintf(&word, format, arguments);
    va_end(arguments);
    if (length < 0 || words->count + 1 >= TARGET_ARGUMENTS_MAX) {
        fputs("conclave bench: out of memory\n", stderr);
        abort();
    }
    words->list[words->count++] = word;
    words->list[words->count] = NULL;
}

void words_free(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->list[i]);
    words->count = 0;
}

int target_open(struct target *target, const char *name, const struct bench_options *options,
                struct conclave_error *error)
{
    memset(target, 0, sizeof *target);
    target->name = name;
    target->options = options;
    target->ops = &target_tcp;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            target->ops = kinds[i];
    return target->ops->look(target, error);
}

static int name_nodes(struct target *target, struct conclave_error *error)
{
    unsigned ports[2 * BENCH_NODES_MAX], *port = ports;
    target->count = target->options->nodes;
    if (!process_ports(ports, (size_t)target->count * 2)) {
        snprintf(error->message, sizeof error->message, "no free ports on 127.0.0.1");
        return error->code = CONCLAVE_IO;
    }
    for (unsigned i = 0; i < target->count; i++) {
        struct target_node *node = &target->nodes[i];
        *node = (struct target_node){.client_port = port[0], .peer_port = port[1]};
        port += 2;
        snprintf(node->name, sizeof node->name, "n%u", i + 1);
        int n = snprintf(node->dir, sizeof node->dir, "%s/n%u", target->dir, i + 1);
        int m = snprintf(node->log, sizeof node->log, "%s/n%u.log", target->dir, i + 1);
        if (n < 0 || m < 0 || (size_t)m >= sizeof node->log) {
            snprintf(error->message, sizeof error->message, "--dir: too long");
            return error->code = CONCLAVE_INVALID;
        }
    }
    return CONCLAVE_OK;
}

int target_start_node(struct target *target, unsigned node, struct conclave_error *error)
{
    struct words words = {.count = 0};
    struct target_node *that = &target->nodes[node];
    target->ops->command(target, node, &words);
    int code = process_start(words.list, that->log, &that->pid, NULL, error);
    words_free(&words);
    return code;
}

void target_kill_node(struct target *target, unsigned node)
{
    process_kill(&target->nodes[node].pid);
}

static int wait_serves(struct target *target, const volatile sig_atomic_t *stop,
                       struct conclave_error *error)
{
    uint64_t until_ns = measure_now_ns() + SERVES_SECONDS * UINT64_C(1000000000);
    while (measure_now_ns() < until_ns && !*stop) {
        for (unsigned i = 0; i < target->count; i++) {
            int status;
            char tail[300];
            if (!process_ended(&target->nodes[i].pid, &status))
                continue;
            process_tail(target->nodes[i].log, tail, sizeof tail);
            snprintf(error->message, sizeof error->message, "node %u of %s ended at once: %s",
                     i + 1, target->name, *tail ? tail : "it said nothing");
            return error->code = CONCLAVE_UNREACHABLE;
        }
        if (target->ops->serves(target))
            return CONCLAVE_OK;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    snprintf(error->message, sizeof error->message, "the nodes of %s %s", target->name,
             *stop ? "were interrupted" : "do not serve after a minute");
    return error->code = CONCLAVE_UNREACHABLE;
}

int target_start(struct target *target, const volatile sig_atomic_t *stop,
                 struct conclave_error *error)
{
    if (!target->ops->starts)
        return CONCLAVE_OK;
    const char *parent = target->options->dir ? target->options->dir : "/var/tmp";
    int code = process_directory(parent, target->dir, sizeof target->dir, error);
    if (code == CONCLAVE_OK)
        code = name_nodes(target, error);
    else
        target->dir[0] = '\0';
    if (code == CONCLAVE_OK)
        code = target->ops->prepare(target, error);
    if (code == CONCLAVE_OK)
        code = target_ready(target, stop, error);
    if (code != CONCLAVE_OK)
        target_stop(target);
    return code;
}

int target_ready(struct target *target, const volatile sig_atomic_t *stop,
                 struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    if (!target->ops->starts)
        return code;
    for (unsigned i = 0; i < target->count && code == CONCLAVE_OK; i++)
        if (target->nodes[i].pid == 0)
            code = target_start_node(target, i, error);
    return code == CONCLAVE_OK ? wait_serves(target, stop, error) : code;
}

void target_stop(struct target *target)
{
    if (!target->ops->starts)
        return;
    /* All at once: a node that is told alone would hand over to one that ends next. */
    for (unsigned i = 0; i < target->count; i++)
        target_kill_node(target, i);
    process_remove(target->dir);
    target->dir[0] = '\0';
}
