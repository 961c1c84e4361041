/* cli/cmd_inspect_meta.c - inspect meta: what a data directory is, in short. */
#include "cli/inspect.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What was found; a part that cannot be read has its error. */
struct meta {
    struct conclave_inspect_vote vote;
    struct conclave_inspect_members members;
    struct conclave_inspect_log log;
    int vote_code, members_code, log_code, snapshots_code;
    struct conclave_error vote_error, members_error, log_error, snapshots_error;
    json_t *snapshots;
    bool json;
};

static bool ignore(void *arg, const struct conclave_inspect_item *item)
{
    (void)arg, (void)item;
    return true;
}

static void note_snapshot(void *arg, const struct conclave_inspect_snapshot *found)
{
    struct meta *meta = arg;
    const bool kept = found->state == CONCLAVE_INSPECT_UNREAD;
    json_array_append_new(meta->snapshots,
                          json_pack("{s:s, s:o, s:o, s:o}", "file", found->file, "bytes",
                                    output_uint(found->file_bytes), "index",
                                    kept ? output_uint(found->index) : json_null(), "term",
                                    kept ? output_uint(found->term) : json_null()));
}

static void read_meta(const struct inspect *inspect, struct meta *meta)
{
    const struct conclave_inspection *from = inspect->inspection;
    const struct conclave_inspect_options options = {.size = sizeof options,
                                                     .without_entries = true};
    meta->vote_code = conclave_inspect_vote(from, &meta->vote, &meta->vote_error);
    meta->members_code = conclave_inspect_members(from, &meta->members, &meta->members_error);
    meta->log_code =
        conclave_inspect_log(from, &options, ignore, NULL, &meta->log, &meta->log_error);
    meta->snapshots_code =
        conclave_inspect_snapshots(from, false, note_snapshot, meta, &meta->snapshots_error);
}

static const char *role(const struct conclave_inspect_member *member)
{
    return member->leaving ? "leaving" : member->voter ? "voter" : "learner";
}

static const char *name_of(const struct meta *meta, uint64_t id)
{
    for (size_t i = 0; i < meta->members.count; i++)
        if (meta->members.members[i].id == id)
            return meta->members.members[i].name;
    return "?";
}

/* --- As text ---------------------------------------------------------------------------------- */

static void print_vote(const struct meta *meta)
{
    const struct conclave_inspect_vote *vote = &meta->vote;
    if (meta->vote_code) {
        printf("vote       DAMAGED: %s\n", meta->vote_error.message);
        return;
    }
    printf("term       %" PRIu64 "\n", vote->term);
    if (vote->voted_for)
        printf("vote       for %s (id %" PRIu64 ")", name_of(meta, vote->voted_for),
               vote->voted_for);
    else
        printf("vote       for nobody in it");
    printf("%s\n", vote->damaged_slots ? "; one of its two copies is DAMAGED" : "");
}

static void print_members(const struct meta *meta)
{
    const struct conclave_inspect_members *members = &meta->members;
    if (meta->members_code) {
        printf("members    unknown: %s\n", meta->members_error.message);
        return;
    }
    if (strcmp(members->source, "joined") == 0)
        printf("members    as when it joined\n");
    else
        printf("members    by entry %" PRIu64 " (%s), committed or not%s\n", members->index,
               members->source, members->joint ? "; a change is under way" : "");
    for (size_t i = 0; i < members->count; i++)
        printf("  %-8s %-8s %s  %s\n", members->members[i].name, role(&members->members[i]),
               members->members[i].peer, members->members[i].client);
    if (members->removed)
        printf("  %zu removed for good\n", members->removed);
}

static void print_log(const struct meta *meta)
{
    const struct conclave_inspect_log *log = &meta->log;
    char size[32], payload[32];
    if (meta->log_code) {
        printf("log        DAMAGED: %s\n", meta->log_error.message);
        return;
    }
    if (log->first)
        printf("log        entries %" PRIu64 " to %" PRIu64 ", the last one of term %" PRIu64 "\n",
               log->first, log->last, log->last_term);
    else
        printf("log        no entry behind %" PRIu64 "\n", log->behind);
    printf("           %" PRIu64 " segment%s and %" PRIu64 " prepared, %s; payloads %s\n",
           log->segments, log->segments == 1 ? "" : "s", log->prepared,
           inspect_size(log->file_bytes, size), inspect_size(log->payload_bytes, payload));
    if (log->damaged)
        printf("           DAMAGED at %" PRIu64
               " place%s: 'conclave inspect integrity' lists them\n",
               log->damaged, log->damaged == 1 ? "" : "s");
    if (log->mending)
        printf("           a repair did not end: the next start goes on with it\n");
    if (log->torn_bytes)
        printf("           behind it %" PRIu64 " bytes of a write that was not finished: the next "
               "start cuts them\n",
               log->torn_bytes);
}

static void print_snapshots(const struct meta *meta)
{
    size_t i;
    json_t *found;
    char size[32];
    if (meta->snapshots_code)
        printf("snapshots  unknown: %s\n", meta->snapshots_error.message);
    else
        printf("snapshots  %zu\n", json_array_size(meta->snapshots));
    json_array_foreach(meta->snapshots, i, found)
    {
        printf("  %s  %s", json_string_value(json_object_get(found, "file")),
               inspect_size((uint64_t)json_integer_value(json_object_get(found, "bytes")), size));
        if (json_is_integer(json_object_get(found, "index")))
            printf(", up to entry %" JSON_INTEGER_FORMAT "",
                   json_integer_value(json_object_get(found, "index")));
        printf("\n");
    }
}

static void print_text(const struct inspect *inspect, const struct meta *meta)
{
    const struct conclave_inspect_identity *identity = &inspect->identity;
    printf("node       %s (id %" PRIu64 ")\n", identity->name, identity->id);
    printf("cluster    %s\n", identity->cluster);
    printf("directory  format %" PRIu32 ", incarnation %" PRIu64 "\n", identity->format_version,
           identity->incarnation);
    if (identity->pid)
        printf("in use     by process %ld\n", identity->pid);
    else
        printf("in use     no\n");
    print_vote(meta);
    print_members(meta);
    print_log(meta);
    print_snapshots(meta);
}

/* --- As JSON ---------------------------------------------------------------------------------- */

static json_t *failed(const struct conclave_error *error)
{
    return json_pack("{s:o}", "error", inspect_text(error->message));
}

static json_t *vote_json(const struct meta *meta)
{
    const struct conclave_inspect_vote *vote = &meta->vote;
    if (meta->vote_code)
        return failed(&meta->vote_error);
    return json_pack("{s:o, s:o, s:o, s:i}", "term", output_uint(vote->term), "voted_for",
                     vote->voted_for ? output_uint(vote->voted_for) : json_null(), "writes",
                     output_uint(vote->writes), "damaged_slots", (int)vote->damaged_slots);
}

static json_t *members_json(const struct meta *meta)
{
    const struct conclave_inspect_members *members = &meta->members;
    if (meta->members_code)
        return failed(&meta->members_error);
    json_t *list = json_array();
    for (size_t i = 0; i < members->count; i++)
        json_array_append_new(
            list,
            json_pack("{s:s, s:o, s:s, s:s, s:s}", "name", members->members[i].name, "id",
                      output_uint(members->members[i].id), "role", role(&members->members[i]),
                      "peer", members->members[i].peer, "client", members->members[i].client));
    return json_pack("{s:s, s:o, s:b, s:o, s:o}", "source", members->source, "index",
                     output_uint(members->index), "change_under_way", members->joint, "removed",
                     output_uint(members->removed), "members", list);
}

static json_t *log_json(const struct meta *meta)
{
    const struct conclave_inspect_log *log = &meta->log;
    if (meta->log_code)
        return failed(&meta->log_error);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "first",
                     log->first ? output_uint(log->first) : json_null(), "last",
                     output_uint(log->last), "last_term", output_uint(log->last_term), "behind",
                     output_uint(log->behind), "segments", output_uint(log->segments), "prepared",
                     output_uint(log->prepared), "bytes", output_uint(log->file_bytes),
                     "payload_bytes", output_uint(log->payload_bytes), "replaced",
                     output_uint(log->replaced), "damaged", output_uint(log->damaged), "torn_bytes",
                     output_uint(log->torn_bytes), "mending", log->mending);
}

static int print_json(const struct inspect *inspect, const struct meta *meta)
{
    const struct conclave_inspect_identity *identity = &inspect->identity;
    return output_line(json_pack(
        "{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:O}", "name", identity->name, "id",
        output_uint(identity->id), "cluster", identity->cluster, "incarnation",
        output_uint(identity->incarnation), "format", output_uint(identity->format_version), "pid",
        identity->pid ? json_integer(identity->pid) : json_null(), "vote", vote_json(meta),
        "configuration", members_json(meta), "log", log_json(meta), "snapshots", meta->snapshots));
}

int inspect_meta(struct inspect *inspect)
{
    struct meta *meta = calloc(1, sizeof *meta);
    if (!meta)
        return output_error(inspect->json, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    meta->snapshots = json_array();
    read_meta(inspect, meta);
    int exit_code = 0;
    if (inspect->json)
        exit_code = print_json(inspect, meta);
    else
        print_text(inspect, meta);
    const bool bad = meta->vote_code || meta->log_code || meta->log.damaged ||
                     meta->vote.damaged_slots || meta->snapshots_code;
    if (bad && !exit_code)
        exit_code = output_error(inspect->json, CONCLAVE_CORRUPT, NULL,
                                 "'conclave inspect integrity' lists what is damaged",
                                 "%s is damaged", inspect->dir);
    json_decref(meta->snapshots);
    free(meta);
    return exit_code;
}
