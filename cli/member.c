#include "cli/member.h"

#include <stdio.h>
#include <string.h>

static int refuse(struct conclave_error *error, const char *text, size_t length, const char *why)
{
    error->code = CONCLAVE_INVALID;
    snprintf(error->message, sizeof error->message,
             "member '%.*s' %s; a member is NAME=PEER[+CLIENT], as in "
             "n1=tcp://127.0.0.1:7401+tcp://127.0.0.1:7501",
             length > 200 ? 200 : (int)length, text, why);
    return CONCLAVE_INVALID;
}

/* Copies [from, to) if it fits and is not empty. */
static bool copy(char *ret, size_t size, const char *from, const char *to)
{
    size_t length = (size_t)(to - from);
    if (length == 0 || length >= size)
        return false;
    memcpy(ret, from, length);
    ret[length] = '\0';
    return true;
}

/* The plus between the two endpoints: the first one that an endpoint follows (a path may hold
 * others). */
static const char *find_plus(const char *from, const char *to)
{
    for (const char *at = from; at < to; at++) {
        if (*at != '+')
            continue;
        size_t left = (size_t)(to - at - 1);
        const char *rest = at + 1;
        if (left == 0 || (left >= 6 && (memcmp(rest, "tcp://", 6) == 0 || //
                                        memcmp(rest, "ipc://", 6) == 0)))
            return at;
    }
    return NULL;
}

static int parse_one(const char *text, const char *end, struct member *ret,
                     struct conclave_error *error)
{
    size_t length = (size_t)(end - text);
    const char *equals = memchr(text, '=', length);
    if (!equals)
        return refuse(error, text, length, "has no '='");
    if (!copy(ret->name, sizeof ret->name, text, equals))
        return refuse(error, text, length, "needs a name of at most 32 bytes");
    const char *plus = find_plus(equals + 1, end);
    if (!copy(ret->peer, sizeof ret->peer, equals + 1, plus ? plus : end))
        return refuse(error, text, length, "needs an endpoint of at most 255 bytes after '='");
    if (!strstr(ret->peer, "://"))
        return refuse(error, text, length, "has no endpoint like tcp://HOST:PORT after '='");
    ret->client[0] = '\0';
    if (plus && !copy(ret->client, sizeof ret->client, plus + 1, end))
        return refuse(error, text, length, "needs an endpoint of at most 255 bytes after '+'");
    return CONCLAVE_OK;
}

int member_list_parse(const char *text, struct member *ret, size_t *ret_count,
                      struct conclave_error *error)
{
    size_t count = 0;
    for (const char *at = text;; at++) {
        const char *end = at + strcspn(at, ",");
        if (count == CONCLAVE_VOTERS_MAX) {
            error->code = CONCLAVE_INVALID;
            snprintf(error->message, sizeof error->message, "a cluster has at most %d members",
                     CONCLAVE_VOTERS_MAX);
            return CONCLAVE_INVALID;
        }
        int code = parse_one(at, end, &ret[count], error);
        if (code != CONCLAVE_OK)
            return code;
        count++;
        at = end;
        if (*at == '\0')
            break;
    }
    *ret_count = count;
    return CONCLAVE_OK;
}

void member_list_view(const struct member *members, size_t count, struct conclave_member *ret)
{
    for (size_t i = 0; i < count; i++) {
        ret[i].name = members[i].name;
        ret[i].peer = members[i].peer;
        ret[i].client = members[i].client[0] ? members[i].client : NULL;
    }
}
