/* Presence in groups, as it is told by a node that says what the test tells it to. */
#include "conclave_presence.h"
#include "stage.h"

#include "codec/coord.h"
#include "codec/watch.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SLOTS_MARK = 2 }; /* bytes in front of a stored value */

struct scene {
    struct stage stage;
    struct conclave_presence_watch *watch;
    struct conclave_presence_event event; /* the last one */
    char name[16], value[16];
    unsigned told;
    int code;
    struct stage_op op; /* of the watch */
};

static void copy(char *to, const void *data, size_t bytes)
{
    memset(to, 0, 16);
    cr_assert_lt(bytes, 16);
    if (bytes)
        memcpy(to, data, bytes);
}

static void look(void *arg)
{
    struct scene *scene = arg;
    scene->code = conclave_presence_watch_next(scene->watch, 0, &scene->event);
    if (scene->code != CONCLAVE_OK)
        return;
    scene->told++;
    copy(scene->name, scene->event.member.name, scene->event.member.name_bytes);
    copy(scene->value, scene->event.member.value, scene->event.member.value_bytes);
}

static void scene_open(struct scene *scene)
{
    struct watch_spec spec;
    memset(scene, 0, sizeof *scene);
    stage_open(&scene->stage, 20000);
    cr_assert_eq(conclave_presence_watch_create(scene->stage.client, "g", 1, &scene->watch),
                 CONCLAVE_OK);
    scene->stage.turn = look;
    scene->stage.arg = scene;
    scene->op = stage_hear(&scene->stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(watch_spec_decode(stage_subscribe(&scene->op).spec, &spec), CONCLAVE_OK);
    cr_assert_eq(spec.what, WATCH_INITIAL);
    cr_assert(spec.bounds.from.bytes == 2 && memcmp(spec.bounds.from.data, "g\0", 2) == 0);
    cr_assert(spec.bounds.to.bytes == 2 && memcmp(spec.bounds.to.data, "g\1", 2) == 0);
    stage_begun(&scene->stage, &scene->op);
}

static void scene_close(struct scene *scene)
{
    conclave_presence_watch_destroy(scene->watch);
    stage_close(&scene->stage);
}

static struct slice key_of(uint64_t token)
{
    static uint8_t key[COORD_KEY_BYTES_MAX];
    return coord_key(stage_text("g"), token, key);
}

/* A member as it is stored, which has zero bytes in it. */
static struct slice stored(const char *name, const char *value)
{
    static uint8_t bytes[64];
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes + SLOTS_MARK, name, strlen(name));
    memcpy(bytes + SLOTS_MARK + strlen(name) + 1, value, strlen(value));
    return (struct slice){bytes, SLOTS_MARK + strlen(name) + 1 + strlen(value)};
}

static void say_state(struct scene *scene, uint64_t token, const char *name, uint64_t position,
                      bool more)
{
    struct pack items;
    pack_init(&items, 0);
    if (name)
        kv_item_pack(&items, &(struct kv_item){.key = key_of(token),
                                               .value = stored(name, "v"),
                                               .create_revision = token,
                                               .mod_revision = token,
                                               .version = 1});
    stage_frame(&scene->stage, &scene->op,
                (struct stream_frame){.type = STREAM_STATE,
                                      .position = position,
                                      .more = more,
                                      .count = name != NULL,
                                      .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
}

static void say_put(struct scene *scene, uint64_t token, const char *name, const char *value,
                    uint64_t revision)
{
    struct pack items;
    pack_init(&items, 0);
    watch_event_pack(&items, &(struct watch_event){.kind = WATCH_PUT,
                                                   .key = key_of(token),
                                                   .value = stored(name, value),
                                                   .revision = revision,
                                                   .create_revision = token,
                                                   .version = 1});
    stage_frame(&scene->stage, &scene->op,
                (struct stream_frame){.type = STREAM_EVENTS,
                                      .position = revision + 1,
                                      .count = 1,
                                      .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
}

static void expect(struct scene *scene, enum conclave_presence_kind kind, uint64_t token,
                   const char *name)
{
    unsigned before = scene->told;
    STAGE_UNTIL(&scene->stage, scene->told > before);
    cr_assert_eq(scene->event.kind, kind, "%d, not %d", scene->event.kind, kind);
    cr_assert_eq(scene->event.member.token, token);
    cr_assert_str_eq(scene->name, name);
}

Test(presence, tells_who_is_there_and_then_who_comes_and_goes)
{
    struct scene scene;
    scene_open(&scene);
    say_state(&scene, 5, "ann", 20, true);
    say_state(&scene, 7, "bob", 21, false);
    expect(&scene, CONCLAVE_PRESENCE_JOIN, 5, "ann");
    cr_assert_str_eq(scene.value, "v");
    expect(&scene, CONCLAVE_PRESENCE_JOIN, 7, "bob");
    expect(&scene, CONCLAVE_PRESENCE_SYNCED, 0, "");
    cr_assert_eq(scene.event.revision, 20);
    say_put(&scene, 22, "eve", "x", 22);
    expect(&scene, CONCLAVE_PRESENCE_JOIN, 22, "eve");
    say_put(&scene, 7, "bob", "anew", 23);
    expect(&scene, CONCLAVE_PRESENCE_CHANGE, 7, "bob");
    cr_assert_str_eq(scene.value, "anew");
    stage_event(&scene.stage, &scene.op, WATCH_DELETE, key_of(5), NULL, 24);
    expect(&scene, CONCLAVE_PRESENCE_LEAVE, 5, "ann");
    cr_assert_not(scene.event.expired);
    stage_event(&scene.stage, &scene.op, WATCH_EXPIRE, key_of(7), NULL, 25);
    expect(&scene, CONCLAVE_PRESENCE_LEAVE, 7, "bob");
    cr_assert(scene.event.expired);
    scene_close(&scene);
}

Test(presence, after_a_gap_it_tells_what_differs)
{
    struct scene scene;
    scene_open(&scene);
    say_state(&scene, 5, "ann", 20, true);
    say_state(&scene, 7, "bob", 21, false);
    expect(&scene, CONCLAVE_PRESENCE_JOIN, 5, "ann");
    expect(&scene, CONCLAVE_PRESENCE_JOIN, 7, "bob");
    expect(&scene, CONCLAVE_PRESENCE_SYNCED, 0, "");
    stage_frame(&scene.stage, &scene.op,
                (struct stream_frame){.type = STREAM_RESYNC, .position = 21, .oldest = 900});
    say_state(&scene, 7, "bob", 950, true);
    say_state(&scene, 940, "eve", 950, false);
    expect(&scene, CONCLAVE_PRESENCE_JOIN, 940, "eve");
    expect(&scene, CONCLAVE_PRESENCE_LEAVE, 5, "ann");
    unsigned told = scene.told;
    stage_turn(&scene.stage);
    cr_assert_eq(scene.told, told, "bob stayed, and synced is said once");
    scene_close(&scene);
}

Test(presence, a_state_that_breaks_off_loses_nobody)
{
    struct scene scene;
    scene_open(&scene);
    say_state(&scene, 5, "ann", 20, true);
    expect(&scene, CONCLAVE_PRESENCE_JOIN, 5, "ann");
    stage_reply(&scene.stage, &scene.op, CONCLAVE_STOPPING, "", 0);
    scene.op = stage_hear(&scene.stage, CLIENT_OP_SUBSCRIBE);
    stage_begun(&scene.stage, &scene.op);
    say_state(&scene, 0, NULL, 30, false);
    expect(&scene, CONCLAVE_PRESENCE_LEAVE, 5, "ann");
    expect(&scene, CONCLAVE_PRESENCE_SYNCED, 0, "");
    scene_close(&scene);
}

Test(presence, keys_of_another_kind_end_it)
{
    struct scene scene;
    scene_open(&scene);
    stage_event(&scene.stage, &scene.op, WATCH_PUT, stage_text("h"), "value", 30);
    STAGE_UNTIL(&scene.stage, scene.code != CONCLAVE_TIMEOUT);
    cr_assert_eq(scene.code, CONCLAVE_MALFORMED);
    scene_close(&scene);
}

static void idle(void *arg)
{
    (void)arg;
}

Test(presence, a_member_is_an_entry_that_everybody_holds)
{
    struct stage stage;
    struct conclave_presence_options options;
    struct conclave_lock *member = NULL;
    stage_open(&stage, 20000);
    conclave_presence_options_init(&options);
    cr_assert_eq(conclave_presence_join(stage.client, "g", 1, &options, &member), CONCLAVE_INVALID,
                 "it has no name");
    options.name = "a\0b";
    options.name_bytes = 3;
    cr_assert_eq(conclave_presence_join(stage.client, "g", 1, &options, &member), CONCLAVE_INVALID);
    options.name_bytes = CONCLAVE_MEMBER_NAME_BYTES_MAX + 1;
    char name[CONCLAVE_MEMBER_NAME_BYTES_MAX + 1];
    memset(name, 'n', sizeof name);
    options.name = name;
    cr_assert_eq(conclave_presence_join(stage.client, "g", 1, &options, &member),
                 CONCLAVE_TOO_LARGE);
    options.name_bytes--;
    cr_assert_eq(conclave_presence_join(stage.client, "g", 1, &options, &member), CONCLAVE_OK);
    cr_assert_eq(conclave_lock_poll(member), CONCLAVE_TIMEOUT);
    cr_assert_eq(conclave_presence_set(member, "a", 1, "v", 1, 0), CONCLAVE_LEASE_EXPIRED,
                 "it is not there yet");
    cr_assert_eq(conclave_lock_release(member, 0), CONCLAVE_OK);
    stage.turn = idle;
    stage_close(&stage);
}
