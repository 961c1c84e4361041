/* cli/cmd_inspect.c - inspect: looking at data directories. Which form is asked for, and the
 * directories that it names. */
#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/output.h"
#include "cli/text.h"

#include <inttypes.h>
#include <string.h>

const struct args_flag cmd_inspect_flags[] = {
    {"from", 0, "N", NULL, false, "of 'wal': entries from this index on"},
    {"to", 0, "N", NULL, false, "of 'wal': up to this one"},
    {"limit", 0, "N", NULL, false, "of 'wal': so many at most"},
    {0}};

int inspect_error(const struct inspect *inspect, int code, const struct conclave_error *error)
{
    if (code == CONCLAVE_NOT_FOUND) /* of a path, which is wrong usage, not of a key */
        code = CONCLAVE_INVALID;
    return output_error(inspect->json, code, NULL, NULL, "%s", error->message);
}

const char *inspect_segment(uint64_t segment, char name[32])
{
    snprintf(name, 32, "wal/%016" PRIx64 ".wal", segment);
    return name;
}

const char *inspect_size(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double size = (double)bytes;
    size_t unit = 0;
    for (; size >= 1024 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        size /= 1024;
    snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.1f %s", size, units[unit]);
    return text;
}

json_t *inspect_text(const char *text)
{
    return output_bytes(text, strlen(text));
}

/* --- The forms -------------------------------------------------------------------------------- */

enum form { META, WAL, ENTRY, SNAPSHOT, INTEGRITY, DIFF, FORMS };

static const struct {
    const char *name, *operands;
    size_t operand_count; /* its name included */
} forms[FORMS] = {
    [META] = {"meta", "DIR", 2},           [WAL] = {"wal", "DIR", 2},
    [ENTRY] = {"entry", "N DIR", 3},       [SNAPSHOT] = {"snapshot", "DIR", 2},
    [INTEGRITY] = {"integrity", "DIR", 2}, [DIFF] = {"diff", "DIR DIR", 3},
};

static bool open_one(struct inspect *inspect, int *ret_exit_code)
{
    struct conclave_error error = {0};
    const int code = conclave_inspect_open(inspect->dir, &inspect->inspection, &error);
    if (code) {
        *ret_exit_code = inspect_error(inspect, code, &error);
        return false;
    }
    conclave_inspect_identity(inspect->inspection, &inspect->identity);
    if (inspect->identity.pid && !inspect->json)
        fprintf(stderr, "conclave: process %ld uses %s: what is told here may change meanwhile\n",
                inspect->identity.pid, inspect->dir);
    return true;
}

static int run(enum form form, struct inspect *inspect, struct inspect *other, uint64_t index)
{
    int exit_code = 0;
    if (!open_one(inspect, &exit_code))
        return exit_code;
    switch (form) {
    case META:
        exit_code = inspect_meta(inspect);
        break;
    case WAL:
        exit_code = inspect_wal(inspect);
        break;
    case ENTRY:
        exit_code = inspect_entry(inspect, index);
        break;
    case SNAPSHOT:
        exit_code = inspect_snapshots(inspect);
        break;
    case INTEGRITY:
        exit_code = inspect_integrity(inspect);
        break;
    case DIFF:
        if (open_one(other, &exit_code))
            exit_code = inspect_diff(inspect, other);
        conclave_inspect_close(other->inspection);
        break;
    case FORMS:
        break;
    }
    conclave_inspect_close(inspect->inspection);
    return exit_code;
}

int cmd_inspect_run(const struct args *args)
{
    const bool json = args_on(args, "json");
    enum form form = META;
    while (form < FORMS && strcmp(args->operands[0], forms[form].name) != 0)
        form++;
    if (form == FORMS)
        return output_error(json, CONCLAVE_INVALID, NULL, "'conclave inspect --help' has them all",
                            "'inspect' has no form '%s'", args->operands[0]);
    if (args->operand_count != forms[form].operand_count)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "it is: conclave inspect %s %s",
                            forms[form].name, forms[form].operands);
    for (const struct args_flag *flag = cmd_inspect_flags; flag->name && form != WAL; flag++)
        if (args_value(args, flag->name))
            return output_error(json, CONCLAVE_INVALID, NULL, NULL, "--%s is of 'inspect wal'",
                                flag->name);
    uint64_t index = 0;
    if (form == ENTRY && (!text_uint_parse(args->operands[1], UINT64_MAX, &index) || index == 0))
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "'%s' is no index of an entry",
                            args->operands[1]);
    struct inspect inspect = {
        .args = args, .json = json, .dir = args->operands[form == ENTRY ? 2 : 1]};
    struct inspect other = {
        .args = args, .json = json, .dir = args->operands[args->operand_count - 1]};
    return run(form, &inspect, &other, index);
}
