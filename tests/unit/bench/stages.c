#include "bench/stages.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct stages stages;

static void end(void)
{
    stages_deinit(&stages);
}

TestSuite(stages, .fini = end);

static bool read_text(const char *text, uint64_t from_ns)
{
    char path[] = "/tmp/conclave-stages-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    FILE *file = fdopen(fd, "w");
    fputs(text, file);
    fclose(file);
    bool good = stages_read(&stages, path, from_ns);
    unlink(path);
    return good;
}

Test(stages, are_read_from_the_beginning_of_the_measurement_on)
{
    cr_assert(read_text("90 1 2 3 4 5\n100 10 20 30 40 50\n110 10 0 30 40 50\n", 100));
    cr_assert_eq(stages.of[STAGE_QUEUE]->count, 2);
    cr_assert_eq(stages.of[STAGE_WAL]->count, 1, "0 says that it was not there yet");
    cr_assert_eq(stages.of[STAGE_WAL]->max, 20);
    cr_assert_eq(stages.of[STAGE_REPLY]->max, 50);
}

Test(stages, of_a_file_that_is_not_there_are_none)
{
    cr_assert(stages_read(&stages, "/no/such/file", 0));
    cr_assert_eq(stages.of[STAGE_QUEUE]->count, 0);
}

Test(stages, lines_of_another_form_are_refused)
{
    cr_assert_not(read_text("100 1 2 3 4\n", 0));
    cr_assert_not(read_text("100 1 2 3 4 5 6\n", 0));
    cr_assert_not(read_text("100 1 2 3 4 5", 0), "cut off");
}

Test(stages, of_several_runs_are_added_up)
{
    struct stages all = {0};
    cr_assert(stages_merge(&all, &stages), "nothing yet");
    cr_assert(read_text("100 10 20 30 40 50\n", 0));
    cr_assert(stages_merge(&all, &stages));
    cr_assert(stages_merge(&all, &stages));
    cr_assert_eq(all.of[STAGE_APPLY]->count, 2);
    stages_deinit(&all);
}
