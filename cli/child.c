#include "cli/child.h"

#include "cli/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool same_name(const char *a, const char *b)
{
    size_t bytes = strcspn(a, "=");
    return bytes == strcspn(b, "=") && memcmp(a, b, bytes) == 0;
}

static bool is_given(char *const *extra, const char *variable)
{
    for (; *extra; extra++)
        if (same_name(*extra, variable))
            return true;
    return false;
}

/* The whole environment; the strings stay whose they are. NULL: out of memory. */
static char **environment_with(char *const *extra)
{
    size_t count = 0;
    for (char **variable = environ; *variable; variable++)
        count++;
    for (char *const *variable = extra; *variable; variable++)
        count++;
    char **all = calloc(count + 1, sizeof *all);
    if (!all)
        return NULL;
    size_t used = 0;
    for (char **variable = environ; *variable; variable++)
        if (!is_given(extra, *variable))
            all[used++] = *variable;
    for (char *const *variable = extra; *variable; variable++)
        all[used++] = *variable;
    return all;
}

/* Between fork and exec nothing may be called that takes a lock: the library has threads. */
pid_t child_start(char *const *argv, char *const *extra, int input)
{
    char **all = environment_with(extra);
    pid_t child = all ? fork() : -1;
    int failed = all ? errno : ENOMEM;
    if (child == 0) {
        signals_unblock();
        signal(SIGPIPE, SIG_DFL);
        if (input < 0 || dup2(input, STDIN_FILENO) >= 0)
            execvpe(argv[0], argv, all);
        _exit(errno == ENOENT ? 127 : 126);
    }
    if (input >= 0)
        close(input);
    free(all);
    errno = failed;
    return child;
}

int child_exit(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
