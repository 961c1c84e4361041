#include "bench/stages.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const names[STAGE_COUNT] = {"queue", "wal", "replicate", "apply", "reply"};

const char *stage_name(enum stage stage)
{
    return names[stage];
}

static bool prepare(struct stages *stages)
{
    for (int i = 0; i < STAGE_COUNT; i++)
        if (!stages->of[i] && !(stages->of[i] = histogram_create()))
            return false;
    return true;
}

/* ARRIVAL QUEUE WAL REPLICATE APPLY REPLY */
static bool take_line(struct stages *stages, const char *line, uint64_t from_ns)
{
    uint64_t fields[1 + STAGE_COUNT];
    const char *at = line;
    for (int i = 0; i < 1 + STAGE_COUNT; i++) {
        char *end;
        fields[i] = strtoull(at, &end, 10);
        if (end == at)
            return false;
        at = end;
    }
    if (*at != '\n')
        return false;
    for (int i = 0; i < STAGE_COUNT && fields[0] >= from_ns; i++)
        if (i != STAGE_WAL || fields[1 + i] > 0) /* 0: not on its disk yet when it was answered */
            histogram_record(stages->of[i], fields[1 + i]);
    return true;
}

bool stages_read(struct stages *stages, const char *path, uint64_t from_ns)
{
    char line[256];
    bool good = prepare(stages);
    FILE *file = fopen(path, "re");
    if (!file)
        return good;
    while (good && fgets(line, sizeof line, file))
        good = take_line(stages, line, from_ns);
    fclose(file);
    return good;
}

bool stages_merge(struct stages *into, const struct stages *from)
{
    if (!from->of[0])
        return true;
    if (!prepare(into))
        return false;
    for (int i = 0; i < STAGE_COUNT; i++)
        histogram_merge(into->of[i], from->of[i]);
    return true;
}

void stages_deinit(struct stages *stages)
{
    for (int i = 0; i < STAGE_COUNT; i++) {
        histogram_destroy(stages->of[i]);
        stages->of[i] = NULL;
    }
}
