#include "bench/lockers.h"

#include "bench/workload.h"
#include "conclave_lock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

enum {
    TICK_NS = 10000000,
    SOCKETS_MAX = 16384,
    /* One attempt, as in bench/generator.c; a queue is waited in for longer. */
    ATTEMPT_MS = 2000
};

#define SECOND_NS UINT64_C(1000000000)
#define MS_NS UINT64_C(1000000)

struct locker;

/* What they share. */
struct room {
    const struct load *load;
    const char *endpoints;
    const struct measure_watch *watch;
    struct measure *measure;
    void *context;
    struct locker *lockers;
    uint32_t count;
    uint64_t measure_ns, end_ns;
    _Atomic uint64_t begun; /* by all, for --ops */
    _Atomic uint32_t running;
    _Atomic bool failed;

    /* Of the lock of lock-queue. */
    _Atomic uint32_t holders;
    _Atomic uint64_t token;       /* of the newest holder */
    _Atomic uint64_t released_ns; /* when its last holder began to give it back; 0: nobody did */

    pthread_mutex_t lock; /* of what follows */
    struct measure tally; /* its counts and its failure */
    struct histogram *second;
    struct clients served;
    uint64_t second_number, second_done, second_errors;
};

struct locker {
    struct room *room;
    uint32_t number;
    pthread_t thread;
    struct conclave_client *client;
    char name[CONCLAVE_KEY_BYTES_MAX + 1];
    size_t name_bytes;
    uint64_t last_ns, cpu_ns;
};

static bool shared(const struct room *room)
{
    return room->load->workload == BENCH_LOCK_QUEUE;
}

static void failed(struct locker *locker, int code)
{
    struct room *room = locker->room;
    pthread_mutex_lock(&room->lock);
    room->tally.errors++;
    room->second_errors++;
    measure_fail(&room->tally, code, "gave up: %s; %s", conclave_code_text(code),
                 locker->client ? conclave_client_describe(locker->client) : "");
    pthread_mutex_unlock(&room->lock);
    atomic_store(&room->failed, true);
}

/* --- Seconds -------------------------------------------------------------------------------------
 */

/* With the lock. */
static void hand_in(struct room *room)
{
    struct series *series = room->measure->series;
    uint64_t slowest_ns;
    bool good = clients_turn(&room->served, &slowest_ns);
    series_slowest(series, room->second_number, slowest_ns);
    if (room->second->count > 0 || room->second_errors > 0)
        good = series_add(series, room->second_number, room->second, room->second_done,
                          room->second_errors) &&
               good;
    if (!good)
        measure_fail(&room->tally, CONCLAVE_NO_MEMORY, "out of memory");
    histogram_reset(room->second);
    room->second_done = room->second_errors = 0;
}

/* One more is done. `latency_ns` 0: there is none to be counted. */
static void count(struct locker *locker, uint64_t latency_ns, uint64_t retried, uint64_t now_ns)
{
    struct room *room = locker->room;
    uint64_t second = (now_ns - room->measure_ns) / SECOND_NS;
    pthread_mutex_lock(&room->lock);
    if (second != room->second_number)
        hand_in(room);
    room->second_number = second;
    room->tally.retried += retried;
    room->tally.begun++;
    room->tally.done++;
    room->second_done++;
    if (latency_ns > 0) {
        histogram_record(room->second, latency_ns);
        if (!clients_record(&room->served, locker->number, latency_ns))
            measure_fail(&room->tally, CONCLAVE_NO_MEMORY, "out of memory");
    }
    pthread_mutex_unlock(&room->lock);
    series_progress(room->measure->series, now_ns);
    locker->last_ns = now_ns;
}

/* --- One client ----------------------------------------------------------------------------------
 */

static bool ends(const struct locker *locker, uint64_t now_ns)
{
    const struct room *room = locker->room;
    return now_ns >= room->end_ns || *room->watch->stop || atomic_load(&room->failed);
}

/* Takes the lock, again and again until its time is over. NULL: not taken; *ret_code is OK if the
 * run has ended meanwhile. */
static struct conclave_lock *take(struct locker *locker, uint64_t due_ns, uint64_t *retried,
                                  int *ret_code)
{
    const struct bench_options *options = locker->room->load->options;
    struct conclave_lock_options wanted;
    struct conclave_lock *lock = NULL;
    conclave_lock_options_init(&wanted);
    for (;;) {
        *ret_code = conclave_lock_acquire(locker->client, locker->name, locker->name_bytes, &wanted,
                                          ATTEMPT_MS, &lock);
        uint64_t now_ns = measure_now_ns();
        if (*ret_code == CONCLAVE_OK)
            return lock;
        bool again = workload_repeats(*ret_code) || *ret_code == CONCLAVE_LEASE_EXPIRED;
        if (again && ends(locker, now_ns)) {
            *ret_code = CONCLAVE_OK;
            return NULL;
        }
        if (!again || now_ns - due_ns > options->timeout_ms * MS_NS)
            return NULL;
        (*retried)++;
    }
}

/* Whether it is the only holder, and a later one than all before it. */
static void check_holder(struct room *room, uint64_t token)
{
    bool alone = atomic_fetch_add(&room->holders, 1) == 0;
    bool later = atomic_exchange(&room->token, token) < token;
    if (alone && later)
        return;
    pthread_mutex_lock(&room->lock);
    room->tally.mismatches++;
    pthread_mutex_unlock(&room->lock);
}

/* False: it ends. */
static bool once(struct locker *locker)
{
    struct room *room = locker->room;
    uint64_t start_ns = measure_now_ns(), retried = 0, latency_ns = 0;
    int code;
    if (ends(locker, start_ns) || atomic_fetch_add(&room->begun, 1) >= room->load->options->ops)
        return false;
    struct conclave_lock *lock = take(locker, start_ns, &retried, &code);
    if (!lock) {
        if (code != CONCLAVE_OK)
            failed(locker, code);
        return false;
    }
    uint64_t held_ns = measure_now_ns();
    if (shared(room)) {
        uint64_t released_ns = atomic_load(&room->released_ns);
        check_holder(room, conclave_lock_token(lock));
        latency_ns = released_ns > room->measure_ns ? held_ns - released_ns : 0;
        atomic_fetch_sub(&room->holders, 1);
        atomic_store(&room->released_ns, measure_now_ns());
    }
    code = conclave_lock_release(lock, room->load->options->timeout_ms);
    uint64_t now_ns = measure_now_ns();
    if (code != CONCLAVE_OK && !workload_repeats(code)) { /* else it ends with its lease */
        failed(locker, code);
        return false;
    }
    if (!shared(room))
        latency_ns = now_ns - start_ns;
    if (start_ns >= room->measure_ns)
        count(locker, latency_ns, retried, now_ns);
    return true;
}

static void *locker_main(void *arg)
{
    struct locker *locker = arg;
    struct room *room = locker->room;
    struct conclave_client_options options;
    struct conclave_error error = {0};
    conclave_client_options_init(&options);
    options.endpoints = room->endpoints;
    options.zmq_context = room->context;
    options.timeout_ms =
        room->load->options->timeout_ms < ATTEMPT_MS ? room->load->options->timeout_ms : ATTEMPT_MS;
    options.sessions = room->load->options->sessions;
    int code = conclave_client_create(&options, &locker->client, &error);
    if (code != CONCLAVE_OK)
        failed(locker, code);
    while (code == CONCLAVE_OK && once(locker))
        continue;
    conclave_client_destroy(locker->client);
    locker->client = NULL;
    locker->cpu_ns = measure_thread_cpu_ns();
    atomic_fetch_sub(&room->running, 1);
    return NULL;
}

/* --- All of them ---------------------------------------------------------------------------------
 */

static bool room_init(struct room *room)
{
    const struct load *load = room->load;
    uint64_t now_ns = measure_now_ns();
    room->count = load->clients * load->options->inflight;
    room->lockers = calloc(room->count, sizeof *room->lockers);
    room->second = histogram_create();
    room->context = zmq_ctx_new();
    room->measure_ns = now_ns + load->warmup_ms * MS_NS;
    room->end_ns = load->duration_ms ? room->measure_ns + load->duration_ms * MS_NS : UINT64_MAX;
    if (!room->lockers || !room->second || !room->context ||
        !clients_init(&room->served, room->count))
        return false;
    zmq_ctx_set(room->context, ZMQ_BLOCKY, 0);
    zmq_ctx_set(room->context, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
    room->measure->start_ns = room->measure_ns;
    atomic_store(&room->measure->series->last_ns, room->measure_ns);
    return pthread_mutex_init(&room->lock, NULL) == 0;
}

static void start(struct room *room)
{
    for (uint32_t i = 0; i < room->count; i++) {
        struct locker *locker = &room->lockers[i];
        *locker = (struct locker){.room = room, .number = i};
        locker->name_bytes = keys_format(room->load->options->prefix, shared(room) ? 0 : i,
                                         locker->name, sizeof locker->name);
        atomic_fetch_add(&room->running, 1);
        if (pthread_create(&locker->thread, NULL, locker_main, locker) == 0)
            continue;
        atomic_fetch_sub(&room->running, 1);
        atomic_store(&room->failed, true);
        pthread_mutex_lock(&room->lock);
        measure_fail(&room->tally, CONCLAVE_NO_MEMORY, "cannot make a thread");
        pthread_mutex_unlock(&room->lock);
        room->count = i;
    }
}

static void finish(struct room *room)
{
    struct measure *measure = room->measure;
    const struct clients *served = &room->served;
    uint64_t last_ns = 0;
    for (uint32_t i = 0; i < room->count; i++) {
        pthread_join(room->lockers[i].thread, NULL);
        if (room->lockers[i].last_ns > last_ns)
            last_ns = room->lockers[i].last_ns;
    }
    hand_in(room);
    if (!clients_summarize(&served, 1, &measure->served))
        measure_fail(measure, CONCLAVE_NO_MEMORY, "out of memory");
    measure->begun += room->tally.begun;
    measure->done += room->tally.done;
    measure->retried += room->tally.retried;
    measure->errors += room->tally.errors;
    measure->mismatches += room->tally.mismatches;
    if (room->tally.code != CONCLAVE_OK)
        measure_fail(measure, room->tally.code, "%s", room->tally.message);
    measure->elapsed_ns = last_ns > room->measure_ns ? last_ns - room->measure_ns : 0;
    measure->validated = room->load->options->validate && shared(room);
    measure->read = measure->validated ? measure->done : 0;
    measure->stopped |= *room->watch->stop != 0;
    for (uint32_t i = 0; i < room->count; i++) {
        double share = (double)room->lockers[i].cpu_ns / (double)(measure->elapsed_ns + 1);
        if (share > measure->health.cpu_share)
            measure->health.cpu_share = share;
    }
}

static void room_deinit(struct room *room)
{
    if (room->context)
        while (zmq_ctx_term(room->context) && zmq_errno() == EINTR)
            continue;
    clients_deinit(&room->served);
    histogram_destroy(room->second);
    free(room->lockers);
}

const char *lockers_refuse(const struct load *load)
{
    if (load->workload != BENCH_LOCK && load->workload != BENCH_LOCK_QUEUE)
        return NULL;
    if (load->rate > 0)
        return "locks are measured in a closed loop";
    if ((uint64_t)load->clients * load->options->inflight > LOCKERS_MAX)
        return "of locks no more than 128 clients are measured: each is a thread";
    return NULL;
}

void lockers_run(const struct load *load, const char *endpoints, const struct measure_watch *watch,
                 struct measure *measure)
{
    struct room room = {.load = load, .endpoints = endpoints, .watch = watch, .measure = measure};
    if (!room_init(&room)) {
        measure_fail(measure, CONCLAVE_NO_MEMORY, "out of memory");
        room_deinit(&room);
        return;
    }
    start(&room);
    while (atomic_load(&room.running) > 0) {
        uint64_t now_ns = measure_now_ns();
        if (watch->tick && now_ns >= room.measure_ns)
            watch->tick(watch->arg, measure, now_ns - room.measure_ns);
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
    }
    finish(&room);
    pthread_mutex_destroy(&room.lock);
    room_deinit(&room);
}
