#include "cli/logsink.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_line(const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(STDERR_FILENO, text, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody reads standard error: there is nowhere left to say so */
        text += n;
        bytes -= (size_t)n;
    }
}

static char *format_line(const struct logsink *sink, enum conclave_log_level level,
                         const char *actor, const char *event, const char *fields,
                         size_t *ret_bytes)
{
    struct logfmt_record record = {
        .level = level, .node = sink->node, .actor = actor, .event = event, .fields = fields};
    clock_gettime(CLOCK_REALTIME, &record.time);
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_bytes);
    if (!out)
        return NULL;
    logfmt_write(out, sink->style, &record);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static void report_dropped(const struct logsink *sink, uint64_t dropped)
{
    char fields[64];
    size_t bytes;
    snprintf(fields, sizeof fields, "lines=%llu", (unsigned long long)dropped);
    char *text = format_line(sink, CONCLAVE_LOG_WARN, "log", "lines_dropped", fields, &bytes);
    if (text)
        write_line(text, bytes);
    free(text);
}

static void *run(void *arg)
{
    struct logsink *sink = arg;
    pthread_mutex_lock(&sink->lock);
    for (;;) {
        while (sink->count == 0 && !sink->closing)
            pthread_cond_wait(&sink->wake, &sink->lock);
        if (sink->count == 0)
            break;
        char *text = sink->lines[sink->first].text;
        size_t bytes = sink->lines[sink->first].bytes;
        sink->first = (sink->first + 1) % LOGSINK_LINES_MAX;
        sink->count--;
        uint64_t dropped = sink->count == 0 ? sink->dropped : 0;
        if (dropped > 0)
            sink->dropped = 0;
        pthread_mutex_unlock(&sink->lock);
        write_line(text, bytes);
        free(text);
        if (dropped > 0)
            report_dropped(sink, dropped);
        pthread_mutex_lock(&sink->lock);
    }
    pthread_mutex_unlock(&sink->lock);
    return NULL;
}

int logsink_open(struct logsink *sink, enum logfmt_style style, const char *node)
{
    memset(sink, 0, sizeof *sink);
    sink->style = style;
    snprintf(sink->node, sizeof sink->node, "%s", node);
    pthread_mutex_init(&sink->lock, NULL);
    pthread_cond_init(&sink->wake, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&sink->thread, NULL, run, sink);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result == 0)
        pthread_setname_np(sink->thread, "log");
    return result;
}

void logsink_log(void *arg, enum conclave_log_level level, const char *actor, const char *event,
                 const char *fields)
{
    struct logsink *sink = arg;
    size_t bytes = 0;
    char *text = format_line(sink, level, actor, event, fields, &bytes);
    pthread_mutex_lock(&sink->lock);
    if (!text || sink->count == LOGSINK_LINES_MAX) {
        sink->dropped++;
        free(text);
    } else {
        size_t at = (sink->first + sink->count) % LOGSINK_LINES_MAX;
        sink->lines[at].text = text;
        sink->lines[at].bytes = bytes;
        sink->count++;
        pthread_cond_signal(&sink->wake);
    }
    pthread_mutex_unlock(&sink->lock);
}

bool logsink_close(struct logsink *sink)
{
    pthread_mutex_lock(&sink->lock);
    sink->closing = true;
    pthread_cond_signal(&sink->wake);
    pthread_mutex_unlock(&sink->lock);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOGSINK_CLOSE_MS / 1000;
    if (pthread_timedjoin_np(sink->thread, NULL, &until) != 0)
        return false;
    pthread_cond_destroy(&sink->wake);
    pthread_mutex_destroy(&sink->lock);
    return true;
}
