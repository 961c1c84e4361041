/* cli/cmd_recover.c - recover: going on with one node after a majority was lost for good. */
#include "cli/commands.h"
#include "cli/output.h"
#include "conclave.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* So many revisions are left out: what the lost nodes may have given out that this one never heard
 * of. At 100,000 writes a second, almost three hours of them. */
#define REVISIONS_LEFT_OUT UINT64_C(1000000000)

const struct args_flag cmd_recover_flags[] = {
    {"data", 'd', "DIR", NULL, true, "the data directory of the node that goes on alone"}, {0}};

static void print_plan(const struct conclave_recovery *plan)
{
    fprintf(stderr,
            "This makes %s the only voter of cluster %s, without asking anybody.\n\n"
            "  kept     everything in its log: up to entry %" PRIu64 " of term %" PRIu64
            ", whether it was committed or not\n"
            "  lost     everything that only other nodes hold, even if it was acknowledged\n"
            "  goes on  with entry %" PRIu64 " of term %" PRIu64 "\n",
            plan->name, plan->cluster, plan->last_index, plan->last_term, plan->last_index + 1,
            plan->term);
    for (size_t i = 0; i < plan->removed_count; i++)
        fprintf(stderr, "  removed  %s at %s, a %s: must never run again\n", plan->removed[i].name,
                plan->removed[i].peer, plan->removed[i].voter ? "voter" : "learner");
    if (plan->was_learner)
        fputs("\n  It is a LEARNER: it may lack more than a voter would. If a voter's directory is "
              "left, recover that.\n",
              stderr);
    fputs(
        "\nDo this only if a majority of the voters is lost for good. If lost nodes can be started "
        "again,\nstart them instead. If several directories are left, recover the one whose log "
        "is longest.\n\n",
        stderr);
}

struct question {
    bool json, yes;
    bool asked;
};

static bool confirm(void *arg, const struct conclave_recovery *plan)
{
    struct question *question = arg;
    if (!question->json)
        print_plan(plan);
    if (question->yes)
        return true;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return false;
    question->asked = true;
    fprintf(stderr, "Type the node's name to go on: ");
    char answer[CONCLAVE_NAME_BYTES_MAX + 8] = "";
    if (!fgets(answer, sizeof answer, stdin))
        return false;
    answer[strcspn(answer, "\n")] = '\0';
    return strcmp(answer, plan->name) == 0;
}

static int report(bool json, const char *dir, const struct conclave_recovery *done)
{
    if (!json) {
        printf("%s is the only voter of cluster %s; start it with: conclave serve --data %s\n",
               done->name, done->cluster, dir);
        return 0;
    }
    json_t *removed = json_array();
    for (size_t i = 0; i < done->removed_count; i++)
        json_array_append_new(removed,
                              json_pack("{s:s, s:o, s:s, s:b}", "name", done->removed[i].name, "id",
                                        output_uint(done->removed[i].id), "peer",
                                        done->removed[i].peer, "voter", done->removed[i].voter));
    return output_line(json_pack(
        "{s:s, s:s, s:o, s:b, s:o, s:o, s:o, s:o}", "cluster", done->cluster, "name", done->name,
        "id", output_uint(done->id), "was_learner", done->was_learner, "last_index",
        output_uint(done->last_index), "last_term", output_uint(done->last_term), "term",
        output_uint(done->term), "removed", removed));
}

int cmd_recover_run(const struct args *args)
{
    bool json = args_on(args, "json");
    const char *dir = args_value(args, "data");
    if (!dir)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "'recover' needs --data DIR");
    struct question question = {.json = json, .yes = args_on(args, "yes")};
    const struct conclave_recover_options options = {.size = sizeof options,
                                                     .confirm = confirm,
                                                     .confirm_arg = &question,
                                                     .revisions = REVISIONS_LEFT_OUT};
    struct conclave_recovery *done = calloc(1, sizeof *done);
    if (!done)
        return output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    struct conclave_error error = {0};
    int code = conclave_recover(dir, &options, done, &error);
    const char *hint = NULL;
    if (code == CONCLAVE_IN_USE)
        hint = "stop the node first; while it runs it may still find a majority";
    else if (code == CONCLAVE_INVALID && !question.yes && !question.asked)
        hint = "add --yes if that is what you want";
    if (code == CONCLAVE_NOT_FOUND) /* of a path, which is wrong usage, not of a key */
        code = CONCLAVE_INVALID;
    int exit_code =
        code ? output_error(json, code, NULL, hint, "%s", error.message) : report(json, dir, done);
    free(done);
    return exit_code;
}
