#include "cli/logsink.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINES = 3000 };

struct reader {
    int fd;
    unsigned lines, reported;
};

/* Reads to the end of the pipe; counts the node's lines and what the sink says it dropped. */
static void *read_all(void *arg)
{
    struct reader *reader = arg;
    FILE *in = fdopen(reader->fd, "r");
    char line[2048];
    while (fgets(line, sizeof line, in)) {
        const char *dropped = strstr(line, "event=lines_dropped lines=");
        if (dropped)
            reader->reported += (unsigned)strtoul(strrchr(dropped, '=') + 1, NULL, 10);
        else
            reader->lines += strstr(line, " event=many text=") != NULL;
    }
    fclose(in);
    return NULL;
}

Test(logsink, drops_and_counts_lines_when_nobody_reads_and_never_blocks)
{
    int ends[2], before = dup(STDERR_FILENO);
    cr_assert_eq(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    struct logsink *sink = calloc(1, sizeof *sink);
    cr_assert_eq(logsink_open(sink, LOGFMT_TEXT, "n1"), 0);

    char fields[512] = "text=";
    memset(fields + 5, 'x', sizeof fields - 6);
    for (int i = 0; i < LINES; i++)
        logsink_log(sink, CONCLAVE_LOG_INFO, "raft", "many", fields);

    struct reader reader = {.fd = ends[0]};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, read_all, &reader), 0);
    cr_expect(logsink_close(sink));
    dup2(before, STDERR_FILENO); /* the pipe's last write end */
    pthread_join(thread, NULL);
    cr_expect_gt(reader.reported, 0);
    cr_expect_eq(reader.lines + reader.reported, LINES);
    close(before);
    free(sink);
}

Test(logsink, reports_a_reader_that_stays_stuck)
{
    int ends[2], before = dup(STDERR_FILENO);
    cr_assert_eq(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    struct logsink *sink = calloc(1, sizeof *sink);
    cr_assert_eq(logsink_open(sink, LOGFMT_JSON, "n1"), 0);
    char fields[512] = "text=";
    memset(fields + 5, 'x', sizeof fields - 6);
    for (int i = 0; i < LINES; i++)
        logsink_log(sink, CONCLAVE_LOG_INFO, "raft", "many", fields);
    cr_expect_not(logsink_close(sink));

    /* Let the thread go, so that the sink can be freed. */
    struct reader reader = {.fd = ends[0]};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, read_all, &reader), 0);
    pthread_join(sink->thread, NULL);
    dup2(before, STDERR_FILENO);
    close(ends[1]);
    pthread_join(thread, NULL);
    close(before);
    free(sink);
}
