#include "cli/layout.h"

#include "cli/member.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse(struct conclave_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct conclave_error *error, int code, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    error->code = code;
    vsnprintf(error->message, sizeof error->message, format, list);
    va_end(list);
    return code;
}

void layout_node_dir(const struct layout *layout, unsigned index, char *path, size_t size)
{
    snprintf(path, size, "%s/n%u", layout->dir, index + 1);
}

/* True if the directory is there and is a node's. */
static bool is_node(const struct layout *layout, unsigned index)
{
    char path[PATH_MAX];
    struct conclave_directory info;
    struct conclave_error error;
    layout_node_dir(layout, index, path, sizeof path);
    return conclave_directory_info(path, &info, &error) == CONCLAVE_OK;
}

static bool write_all(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        left -= (size_t)n;
    }
    return fsync(fd) == 0;
}

/* Replaces up.json atomically and durably. */
static int write_file(const struct layout *layout, bool complete, struct conclave_error *error)
{
    char path[PATH_MAX], temporary[PATH_MAX], text[256];
    snprintf(path, sizeof path, "%s/up.json", layout->dir);
    snprintf(temporary, sizeof temporary, "%s/up.json.new", layout->dir);
    snprintf(
        text, sizeof text,
        "{\"nodes\":%u,\"peer_port\":%u,\"client_port\":%u,\"token\":\"%s\",\"complete\":%s}\n",
        layout->nodes, layout->peer_port, layout->client_port, layout->token,
        complete ? "true" : "false");
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write_all(fd, text);
    int failed = errno;
    if (fd >= 0)
        close(fd);
    if (ok) {
        ok = rename(temporary, path) == 0;
        int dir = ok ? open(layout->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        ok = dir >= 0 && fsync(dir) == 0;
        failed = errno;
        if (dir >= 0)
            close(dir);
    }
    if (ok)
        return CONCLAVE_OK;
    return refuse(error, CONCLAVE_IO, "cannot write %s: %s", path, strerrordesc_np(failed));
}

/* Compares with what DIR was made for. NOT_FOUND: for nothing yet. */
static int read_file(struct layout *layout, bool *ret_complete, struct conclave_error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/up.json", layout->dir);
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return CONCLAVE_NOT_FOUND;
    json_error_t why;
    json_t *file = json_load_file(path, 0, &why);
    int nodes, peer_port, client_port, complete;
    const char *token;
    if (!file || json_unpack_ex(file, &why, 0, "{s:i, s:i, s:i, s:s, s:b}", "nodes", &nodes,
                                "peer_port", &peer_port, "client_port", &client_port, "token",
                                &token, "complete", &complete) != 0) {
        json_decref(file);
        return refuse(error, CONCLAVE_CORRUPT, "%s cannot be read: %s", path, why.text);
    }
    snprintf(layout->token, sizeof layout->token, "%s", token);
    json_decref(file);
    *ret_complete = complete;
    if (nodes == (int)layout->nodes && peer_port == (int)layout->peer_port &&
        client_port == (int)layout->client_port)
        return CONCLAVE_OK;
    return refuse(error, CONCLAVE_IDENTITY,
                  "%s was made for -n %d --peer-port %d --client-port %d; run 'up' with these, or "
                  "with another --dir",
                  layout->dir, nodes, peer_port, client_port);
}

static int make_node(const struct layout *layout, unsigned index, struct conclave_error *error)
{
    struct member members[CONCLAVE_VOTERS_MAX] = {0};
    struct conclave_member view[CONCLAVE_VOTERS_MAX];
    char path[PATH_MAX];
    for (unsigned i = 0; i < layout->nodes; i++) {
        struct member *member = &members[i];
        snprintf(member->name, sizeof member->name, "n%u", i + 1);
        snprintf(member->peer, sizeof member->peer, "tcp://127.0.0.1:%u", layout->peer_port + i);
        snprintf(member->client, sizeof member->client, "tcp://127.0.0.1:%u",
                 layout->client_port + i);
    }
    member_list_view(members, layout->nodes, view);
    layout_node_dir(layout, index, path, sizeof path);
    return conclave_bootstrap(path, members[index].name, layout->token, view, layout->nodes, error);
}

/* Begins a layout in a directory that has none. */
static int begin(struct layout *layout, struct conclave_error *error)
{
    for (unsigned i = 0; i < CONCLAVE_VOTERS_MAX; i++)
        if (is_node(layout, i))
            return refuse(error, CONCLAVE_IDENTITY,
                          "%s/n%u is the directory of a node that 'up' did not make; start it with "
                          "'conclave serve', or run 'up' with another --dir",
                          layout->dir, i + 1);
    if (mkdir(layout->dir, 0700) != 0 && errno != EEXIST)
        return refuse(error, CONCLAVE_INVALID, "cannot make %s: %s", layout->dir,
                      strerrordesc_np(errno));
    unsigned long long random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return refuse(error, CONCLAVE_IO, "no random numbers: %s", strerrordesc_np(errno));
    snprintf(layout->token, sizeof layout->token, "%016llx", random);
    return write_file(layout, false, error);
}

int layout_make(struct layout *layout, struct conclave_error *error)
{
    bool complete = false;
    if (strlen(layout->dir) + 32 > PATH_MAX)
        return refuse(error, CONCLAVE_INVALID, "the name of the directory is too long");
    int code = read_file(layout, &complete, error);
    if (code == CONCLAVE_NOT_FOUND)
        code = begin(layout, error);
    for (unsigned i = 0; code == CONCLAVE_OK && i < layout->nodes; i++) {
        if (is_node(layout, i))
            continue;
        if (complete)
            return refuse(error, CONCLAVE_IDENTITY,
                          "%s/n%u is gone or not readable; a node that has lost what it had "
                          "acknowledged must not take part again. Put it back, or begin anew with "
                          "another --dir",
                          layout->dir, i + 1);
        code = make_node(layout, i, error);
    }
    if (code == CONCLAVE_OK && !complete)
        code = write_file(layout, true, error);
    return code;
}
