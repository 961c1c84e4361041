#include "bench/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    /* Below the ephemeral ports, where a socket that reconnects could meet itself. */
    PORT_FIRST = 11000,
    PORT_COUNT = 9000,
    PORT_TRIES = 2000,
    EXIT_NO_PROGRAM = 127
};

__attribute__((format(printf, 2, 3))) static int io_error(struct conclave_error *error,
                                                          const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return error->code = CONCLAVE_IO;
}

/* --- Processes ----------------------------------------------------------------------------------
 */

/* In the child, between fork and exec: system calls alone. */
__attribute__((noreturn)) static void become(char *const *argv, const char *dir, int output,
                                             int errors)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(output, 1) < 0 || dup2(errors, 2) < 0 ||
        (dir && chdir(dir) < 0))
        _exit(EXIT_NO_PROGRAM);
    /* An interrupt of the terminal is for the harness, which ends them in order. */
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], argv);
    _exit(EXIT_NO_PROGRAM);
}

int process_start(char *const *argv, const char *log, pid_t *ret_pid, int *ret_output,
                  struct conclave_error *error)
{
    int file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), ends[2] = {-1, -1};
    if (file < 0)
        return io_error(error, "%s: %s", log, strerrordesc_np(errno));
    if (ret_output && pipe2(ends, O_CLOEXEC) < 0) {
        close(file);
        return io_error(error, "cannot make a pipe: %s", strerrordesc_np(errno));
    }
    pid_t pid = fork();
    if (pid == 0)
        become(argv, NULL, ret_output ? ends[1] : file, file);
    int reason = errno;
    close(file);
    if (ret_output)
        close(ends[1]);
    if (pid < 0) {
        if (ret_output)
            close(ends[0]);
        return io_error(error, "cannot start %s: %s", argv[0], strerrordesc_np(reason));
    }
    *ret_pid = pid;
    if (ret_output)
        *ret_output = ends[0];
    return CONCLAVE_OK;
}

void process_kill(pid_t *pid)
{
    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
        ;
    *pid = 0;
}

bool process_ended(pid_t *pid, int *ret_status)
{
    if (*pid <= 0)
        return true;
    if (waitpid(*pid, ret_status, WNOHANG) != *pid)
        return false;
    *pid = 0;
    return true;
}

bool process_output(char *const *argv, const char *dir, char *output, size_t size)
{
    int ends[2], status = -1;
    size_t used = 0;
    output[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    pid_t pid = fork();
    if (pid == 0)
        become(argv, dir, ends[1], ends[1]);
    close(ends[1]);
    char piece[4096];
    ssize_t got;
    while (pid > 0 &&
           ((got = read(ends[0], piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR))) {
        size_t keep = got > 0 ? (size_t)got : 0;
        if (keep > size - 1 - used)
            keep = size - 1 - used;
        memcpy(output + used, piece, keep);
        used += keep;
    }
    output[used] = '\0';
    close(ends[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool process_exists(const char *program)
{
    /* Nobody changes the environment. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    const char *path = getenv("PATH");
    while (path && *path) {
        char file[PATH_MAX];
        size_t bytes = strcspn(path, ":");
        snprintf(file, sizeof file, "%.*s/%s", (int)bytes, path, program);
        if (access(file, X_OK) == 0)
            return true;
        path += bytes + (path[bytes] == ':');
    }
    return false;
}

/* --- Ports --------------------------------------------------------------------------------------
 */

static bool port_free(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

bool process_ports(unsigned *ports, size_t count)
{
    size_t found = 0;
    for (int i = 0; i < PORT_TRIES && found < count; i++) {
        uint32_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return false;
        unsigned port = PORT_FIRST + random % PORT_COUNT;
        bool fresh = port_free(port);
        for (size_t j = 0; j < found; j++)
            fresh = fresh && ports[j] != port;
        if (fresh)
            ports[found++] = port;
    }
    return found == count;
}

/* --- Files --------------------------------------------------------------------------------------
 */

int process_directory(const char *parent, char *dir, size_t size, struct conclave_error *error)
{
    int length = snprintf(dir, size, "%s/conclave-bench-XXXXXX", parent);
    if (length < 0 || (size_t)length >= size)
        return io_error(error, "--dir %s: too long", parent);
    if (!mkdtemp(dir))
        return io_error(error, "cannot make a directory in %s: %s", parent, strerrordesc_np(errno));
    return CONCLAVE_OK;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

void process_remove(const char *dir)
{
    /* The main thread alone walks. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    if (*dir && nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        fprintf(stderr, "conclave bench: cannot remove %s: %s\n", dir, strerrordesc_np(errno));
}

int process_write(const char *dir, const char *name, const char *text, struct conclave_error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "we");
    bool good = file && fputs(text, file) >= 0;
    if (file && fclose(file) != 0)
        good = false;
    return good ? CONCLAVE_OK : io_error(error, "%s: %s", path, strerrordesc_np(errno));
}

void process_tail(const char *log, char *text, size_t size)
{
    FILE *file = fopen(log, "re");
    text[0] = '\0';
    if (!file)
        return;
    if (fseek(file, 0, SEEK_END) == 0) {
        long end = ftell(file), from = end > (long)size - 1 ? end - (long)size + 1 : 0;
        if (fseek(file, from, SEEK_SET) == 0)
            text[fread(text, 1, size - 1, file)] = '\0';
    }
    fclose(file);
    size_t bytes = strlen(text);
    while (bytes > 0 && text[bytes - 1] == '\n')
        text[--bytes] = '\0';
}
