#include "cli/value.h"

#include "cli/output.h"
#include "conclave.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int value_read(bool json, const char *path, size_t bytes_max, struct value *ret)
{
    bool from_stdin = strcmp(path, "-") == 0;
    const char *name = from_stdin ? "standard input" : path;
    int fd = from_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "cannot open %s: %s", name,
                            strerrordesc_np(errno));
    size_t size = bytes_max + 1, used = 0;
    ssize_t n = 0;
    char *data = malloc(size);
    if (data) {
        do {
            n = read(fd, data + used, size - used);
            used += n > 0 ? (size_t)n : 0;
        } while ((n > 0 && used < size) || (n < 0 && errno == EINTR));
    }
    int failed = n < 0 ? errno : 0;
    if (!from_stdin)
        close(fd);
    if (!data)
        return output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    ret->owned = data;
    ret->data = data;
    ret->bytes = used;
    if (failed)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "cannot read %s: %s", name,
                            strerrordesc_np(failed));
    return 0;
}

int value_take(const struct args *args, const char *text, struct value *ret)
{
    bool json = args_on(args, "json");
    bool literal = args_on(args, "literal");
    int exit_code = 0;
    *ret = (struct value){text, strlen(text), NULL};
    if (!literal && strcmp(text, "-") == 0)
        exit_code = value_read(json, "-", CONCLAVE_VALUE_BYTES_MAX, ret);
    else if (!literal && text[0] == '@')
        exit_code = value_read(json, text + 1, CONCLAVE_VALUE_BYTES_MAX, ret);
    if (exit_code == 0 && ret->bytes > CONCLAVE_VALUE_BYTES_MAX)
        exit_code = output_error(json, CONCLAVE_TOO_LARGE, NULL, NULL,
                                 "the value is larger than the limit of %d bytes",
                                 CONCLAVE_VALUE_BYTES_MAX);
    return exit_code;
}

int value_check_name(bool json, const char *what, const char *name, int limit)
{
    size_t bytes = strlen(name);
    if (bytes == 0)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "a %s cannot be empty", what);
    if (bytes > (size_t)limit)
        return output_error(json, CONCLAVE_TOO_LARGE, NULL, NULL,
                            "the %s has %zu bytes; the limit is %d", what, bytes, limit);
    return 0;
}
