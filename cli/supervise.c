#include "cli/supervise.h"

#include "cli/logfmt.h"
#include "cli/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SUPERVISE_TICK_MS = 200 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- Lines ------------------------------------------------------------------------------------ */

static void print_prefix(const struct supervisor *supervisor, const char *name, size_t index)
{
    static const int colours[] = {36, 33, 35, 32, 34, 31, 96, 93, 95};

    if (!supervisor->prefix)
        return;
    if (supervisor->colour)
        fprintf(stderr, "\033[%dm%-3s|\033[0m ", colours[index % 9], name);
    else
        fprintf(stderr, "%-3s| ", name);
}

void supervise_say(const struct supervisor *supervisor, enum conclave_log_level level,
                   const char *event, const char *fields)
{
    struct logfmt_record record = {
        .level = level, .node = "up", .actor = "up", .event = event, .fields = fields};
    clock_gettime(CLOCK_REALTIME, &record.time);
    flockfile(stderr);
    print_prefix(supervisor, "up", SUPERVISE_CHILDREN_MAX);
    logfmt_write(stderr, supervisor->json ? LOGFMT_JSON : LOGFMT_TEXT, &record);
    funlockfile(stderr);
}

static void print_line(const struct supervisor *supervisor, struct supervise_child *child,
                       const char *line, size_t bytes)
{
    print_prefix(supervisor, child->name, (size_t)(child - supervisor->children));
    fwrite(line, 1, bytes, stderr);
    fputc('\n', stderr);
    bool log_line = bytes > 3 && (memcmp(line, "ts=", 3) == 0 || memcmp(line, "{\"t", 3) == 0);
    bool hint = bytes > 6 && memcmp(line, "hint: ", 6) == 0;
    if (log_line || hint)
        return;
    static const char own[] = "conclave: ";
    if (bytes > sizeof own && memcmp(line, own, sizeof own - 1) == 0) {
        line += sizeof own - 1;
        bytes -= sizeof own - 1;
    }
    snprintf(child->reason, sizeof child->reason, "%.*s", (int)bytes, line);
}

static void print_whole_lines(const struct supervisor *supervisor, struct supervise_child *child)
{
    char *at = child->line, *end = child->line + child->line_bytes;
    for (char *newline; (newline = memchr(at, '\n', (size_t)(end - at)));) {
        print_line(supervisor, child, at, (size_t)(newline - at));
        at = newline + 1;
    }
    child->line_bytes = (size_t)(end - at);
    memmove(child->line, at, child->line_bytes);
    if (child->line_bytes == sizeof child->line) {
        print_line(supervisor, child, child->line, child->line_bytes);
        child->line_bytes = 0;
    }
}

/* Reads what is there; at the end of the pipe closes it. */
static void read_pipe(const struct supervisor *supervisor, struct supervise_child *child)
{
    while (child->pipe >= 0) {
        ssize_t n = read(child->pipe, child->line + child->line_bytes,
                         sizeof child->line - child->line_bytes);
        if (n > 0) {
            child->line_bytes += (size_t)n;
            print_whole_lines(supervisor, child);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (child->line_bytes > 0)
            print_line(supervisor, child, child->line, child->line_bytes);
        child->line_bytes = 0;
        close(child->pipe);
        child->pipe = -1;
    }
}

/* --- Children --------------------------------------------------------------------------------- */

_Noreturn static void become_child(const struct supervise_child *child, pid_t parent, int write_end)
{
    /* SIGKILL, because a stopped or stuck child would not obey anything milder; what a node has
     * acknowledged survives it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    /* A group of its own: Ctrl-C reaches this program alone, which then stops the children. */
    setpgid(0, 0);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0 ||
        dup2(write_end, STDERR_FILENO) < 0)
        _exit(1);
    /* One address for all nodes of a machine can only be a mistake. */
    unsetenv("CONCLAVE_LISTEN");        /* NOLINT(concurrency-mt-unsafe): one thread after fork */
    unsetenv("CONCLAVE_LISTEN_CLIENT"); /* NOLINT(concurrency-mt-unsafe) */
    unsetenv("CONCLAVE_FEED");          /* NOLINT(concurrency-mt-unsafe) */
    signals_unblock();
    /* By its path, so that the process has the program's name; if the file has been replaced, by
     * the link to what runs here. */
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length > 0) {
        path[length] = '\0';
        execv(path, child->argv);
    }
    execv("/proc/self/exe", child->argv);
    fprintf(stderr, "cannot execute /proc/self/exe: %s\n", strerrordesc_np(errno));
    _exit(127);
}

static void end_child(struct supervise_child *child, int exit_code)
{
    child->state = SUPERVISE_ENDED;
    child->exit_code = exit_code;
}

static void spawn(const struct supervisor *supervisor, struct supervise_child *child)
{
    char fields[256];
    int ends[2];
    pid_t parent = getpid(), pid = -1;
    child->reason[0] = '\0';
    child->pid = 0;
    bool piped = pipe2(ends, O_CLOEXEC) == 0;
    if (piped)
        pid = fork();
    if (pid == 0)
        become_child(child, parent, ends[1]);
    if (pid < 0) {
        snprintf(fields, sizeof fields, "name=%s reason=\"%s\"", child->name,
                 strerrordesc_np(errno));
        supervise_say(supervisor, CONCLAVE_LOG_ERROR, "node_not_started", fields);
        end_child(child, 2);
    }
    if (piped)
        close(ends[1]);
    if (piped && pid < 0)
        close(ends[0]);
    if (pid < 0)
        return;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    child->pipe = ends[0];
    child->pid = pid;
    child->state = SUPERVISE_RUNNING;
}

/* A child's end: what happened, and what follows from it. */
static void on_end(const struct supervisor *supervisor, struct supervise_child *child, int status)
{
    read_pipe(supervisor, child);
    if (child->pipe >= 0) {
        close(child->pipe);
        child->pipe = -1;
    }
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    bool again = number && supervisor->restart && !supervisor->stopping;
    int exit_code = number ? 128 + number : WEXITSTATUS(status);
    char fields[1024];
    if (number)
        snprintf(fields, sizeof fields, "name=%s pid=%d signal=%s restart=%s", child->name,
                 (int)child->pid, sigabbrev_np(number) ? sigabbrev_np(number) : "?",
                 again ? "1s" : "no");
    else
        snprintf(fields, sizeof fields, "name=%s pid=%d exit_code=%d", child->name, (int)child->pid,
                 exit_code);
    if (!number && exit_code != 0 && child->reason[0]) {
        /* Quotes would end the field early. */
        for (char *at = child->reason; *at; at++)
            *at = *at == '"' || *at == '\\' ? '\'' : *at;
        size_t used = strlen(fields);
        snprintf(fields + used, sizeof fields - used, " reason=\"%s\"", child->reason);
    }
    if (number)
        supervise_say(supervisor, CONCLAVE_LOG_WARN, "node_killed", fields);
    else if (!supervisor->stopping || exit_code != 0)
        supervise_say(supervisor, exit_code ? CONCLAVE_LOG_ERROR : CONCLAVE_LOG_WARN, "node_ended",
                      fields);
    child->pid = 0;
    if (again) {
        child->state = SUPERVISE_WAITING;
        child->restart_at_ms = now_ms() + SUPERVISE_RESTART_MS;
    } else {
        end_child(child, exit_code);
    }
}

static void reap(struct supervisor *supervisor)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < supervisor->count; i++)
            if (supervisor->children[i].pid == pid)
                on_end(supervisor, &supervisor->children[i], status);
}

static void signal_all(const struct supervisor *supervisor, int number)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].pid > 0)
            kill(supervisor->children[i].pid, number);
}

/* --- The loop --------------------------------------------------------------------------------- */

static void begin_stop(struct supervisor *supervisor)
{
    supervisor->stopping = true;
    supervisor->stopped_by_signal = true;
    supervisor->kill_at_ms = now_ms() + SUPERVISE_STOP_MS;
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].state == SUPERVISE_WAITING)
            end_child(&supervisor->children[i], 0);
    supervise_say(supervisor, CONCLAVE_LOG_INFO, "stopping", "");
    signal_all(supervisor, SIGTERM);
}

/* Returns true when a second signal asks to end at once. */
static bool read_signals(struct supervisor *supervisor)
{
    for (int number; (number = signals_read(supervisor->signal_fd)) != 0;) {
        if (number == SIGCHLD)
            reap(supervisor);
        else if (!supervisor->stopping)
            begin_stop(supervisor);
        else
            return true;
    }
    return false;
}

/* Does what is due and returns how long nothing else will be: -1 for ever. */
static int64_t do_due(struct supervisor *supervisor)
{
    int64_t now = now_ms(), next = INT64_MAX;
    for (size_t i = 0; i < supervisor->count; i++) {
        struct supervise_child *child = &supervisor->children[i];
        if (child->state == SUPERVISE_WAITING && child->restart_at_ms <= now)
            spawn(supervisor, child);
        if (child->state == SUPERVISE_WAITING && child->restart_at_ms < next)
            next = child->restart_at_ms;
    }
    if (supervisor->stopping && supervisor->kill_at_ms <= now) {
        supervise_say(supervisor, CONCLAVE_LOG_ERROR, "stop_timeout", "");
        signal_all(supervisor, SIGKILL);
        supervisor->kill_at_ms = INT64_MAX;
    }
    if (supervisor->stopping && supervisor->kill_at_ms < next)
        next = supervisor->kill_at_ms;
    return next == INT64_MAX ? -1 : next - now;
}

static bool all_ended(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].state != SUPERVISE_ENDED)
            return false;
    return true;
}

static void wait_for_something(struct supervisor *supervisor, int64_t wait_ms)
{
    struct pollfd fds[SUPERVISE_CHILDREN_MAX + 1];
    fds[0] = (struct pollfd){supervisor->signal_fd, POLLIN, 0};
    for (size_t i = 0; i < supervisor->count; i++) /* poll skips a descriptor of -1 */
        fds[i + 1] = (struct pollfd){supervisor->children[i].pipe, POLLIN, 0};
    if (poll(fds, (nfds_t)supervisor->count + 1, (int)wait_ms) <= 0)
        return;
    for (size_t i = 0; i < supervisor->count; i++)
        if (fds[i + 1].revents)
            read_pipe(supervisor, &supervisor->children[i]);
}

static int worst_exit_code(const struct supervisor *supervisor)
{
    int worst = 0;
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].exit_code > worst)
            worst = supervisor->children[i].exit_code;
    return worst;
}

int supervise_run(struct supervisor *supervisor, bool (*tick)(void *arg), void *arg)
{
    int64_t tick_at = now_ms() + SUPERVISE_TICK_MS;
    for (size_t i = 0; i < supervisor->count; i++) {
        supervisor->children[i].pipe = -1;
        spawn(supervisor, &supervisor->children[i]);
    }
    while (!all_ended(supervisor)) {
        int64_t wait = do_due(supervisor);
        int64_t to_tick = tick_at - now_ms();
        if (tick && !supervisor->stopping && (wait < 0 || to_tick < wait))
            wait = to_tick > 0 ? to_tick : 0;
        wait_for_something(supervisor, wait);
        if (read_signals(supervisor)) {
            signal_all(supervisor, SIGKILL);
            return 130;
        }
        if (tick && !supervisor->stopping && now_ms() >= tick_at) {
            if (tick(arg))
                tick = NULL;
            tick_at = now_ms() + SUPERVISE_TICK_MS;
        }
    }
    return supervisor->stopped_by_signal ? 0 : worst_exit_code(supervisor);
}
