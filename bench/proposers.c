#include "bench/proposers.h"

#include "bench/embedded.h"
#include "conclave_propose.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum {
    TICK_NS = 10000000,
    PAUSE_NS = 1000000, /* where all are refused, before they are proposed again */
    POLL_MS = 100,
    OUTCOMES = 1024 /* of one poll */
};

#define SECOND_NS UINT64_C(1000000000)
#define MS_NS UINT64_C(1000000)

/* One that is under way. */
struct proposal {
    uint64_t number;
    uint64_t begun_ns;
};

struct proposing {
    const struct load *load;
    const struct measure_watch *watch;
    struct measure *measure;
    struct embedded *embedded;
    unsigned count; /* of nodes */
    struct conclave_proposer *proposers[BENCH_NODES_MAX];
    unsigned waiting[BENCH_NODES_MAX]; /* proposals that each of them has under way */
    unsigned leader;                   /* the node that is proposed to */

    struct proposal *proposals;
    struct proposal **free, **again; /* stacks: free ones, and those that were refused */
    uint32_t free_count, again_count, proposal_count;
    uint8_t *data; /* of a command */
    struct conclave_outcome outcomes[OUTCOMES];

    uint64_t measure_ns, end_ns;
    uint64_t next;                  /* number */
    struct embedded_count expected; /* what is acknowledged */
    struct histogram *second;
    uint64_t second_number, second_done;
    uint64_t last_ns, cpu_ns;
    _Atomic bool running;
    pthread_t thread;
    struct measure tally; /* its counts and its failure */
};

const char *proposers_refuse(const struct load *load, bool inside)
{
    if (load->workload != BENCH_PROPOSE)
        return NULL;
    if (!inside)
        return "proposals are made within the program that runs the nodes: --target self alone";
    if (load->rate > 0)
        return "proposals are measured in a closed loop";
    if (load->options->faults.count > 0)
        return "nodes within this program cannot be killed";
    if (load->options->value_bytes < EMBEDDED_COMMAND_BYTES_MIN)
        return "a proposal has 8 bytes at least: its number";
    return NULL;
}

static void failed(struct proposing *proposing, int code, const char *what)
{
    proposing->tally.errors++;
    measure_fail(&proposing->tally, code, "%s: %s", what, conclave_code_text(code));
}

/* --- Seconds -------------------------------------------------------------------------------------
 */

static void hand_in(struct proposing *proposing)
{
    if (proposing->second->count > 0 &&
        !series_add(proposing->measure->series, proposing->second_number, proposing->second,
                    proposing->second_done, 0))
        failed(proposing, CONCLAVE_NO_MEMORY, "the series");
    histogram_reset(proposing->second);
    proposing->second_done = 0;
}

static void turn(struct proposing *proposing, uint64_t now_ns)
{
    if (now_ns < proposing->measure_ns)
        return;
    uint64_t number = (now_ns - proposing->measure_ns) / SECOND_NS;
    if (number != proposing->second_number)
        hand_in(proposing);
    proposing->second_number = number;
}

/* --- Proposals -----------------------------------------------------------------------------------
 */

/* False: no more may be under way. */
static bool propose(struct proposing *proposing, struct proposal *proposal)
{
    memcpy(proposing->data, &proposal->number, sizeof proposal->number);
    int code = conclave_propose(proposing->proposers[proposing->leader], proposing->data,
                                proposing->load->options->value_bytes, proposal);
    if (code == CONCLAVE_OK)
        proposing->waiting[proposing->leader]++;
    else if (code != CONCLAVE_BUSY)
        failed(proposing, code, "proposing");
    return code == CONCLAVE_OK;
}

/* Proposes what was refused, and as much as may be under way, until the load ends. */
static void begin(struct proposing *proposing, uint64_t now_ns)
{
    while (proposing->again_count > 0 &&
           propose(proposing, proposing->again[proposing->again_count - 1]))
        proposing->again_count--;
    bool ends = now_ns >= proposing->end_ns || *proposing->watch->stop;
    while (!ends && proposing->again_count == 0 && proposing->free_count > 0 &&
           proposing->next < proposing->load->options->ops) {
        struct proposal *proposal = proposing->free[proposing->free_count - 1];
        *proposal = (struct proposal){.number = proposing->next, .begun_ns = now_ns};
        if (!propose(proposing, proposal))
            return;
        proposing->free_count--;
        proposing->next++;
        if (now_ns >= proposing->measure_ns)
            proposing->tally.begun++;
    }
}

static void acknowledged(struct proposing *proposing, struct proposal *proposal, uint64_t now_ns)
{
    proposing->expected.commands++;
    proposing->expected.digest += embedded_digest(proposal->number);
    if (proposal->begun_ns >= proposing->measure_ns) {
        proposing->tally.done++;
        proposing->second_done++;
        histogram_record(proposing->second, now_ns - proposal->begun_ns);
    }
    proposing->free[proposing->free_count++] = proposal;
}

/* True if the code says that the proposal was surely not applied, and may be tried again. */
static bool may_be_repeated(int code)
{
    return code == CONCLAVE_NOT_LEADER || code == CONCLAVE_NO_LEADER || code == CONCLAVE_BUSY ||
           code == CONCLAVE_HANDOVER;
}

/* Returns whether it was acknowledged. */
static bool take(struct proposing *proposing, const struct conclave_outcome *outcome,
                 uint64_t now_ns)
{
    struct proposal *proposal = outcome->user;
    if (outcome->applied && outcome->code == CONCLAVE_OK) {
        acknowledged(proposing, proposal, now_ns);
        return true;
    }
    bool late = now_ns - proposal->begun_ns > proposing->load->options->timeout_ms * MS_NS;
    if (outcome->applied || late || !may_be_repeated(outcome->code)) {
        failed(proposing, outcome->code, "gave up");
        return false;
    }
    proposing->tally.retried++;
    proposing->again[proposing->again_count++] = proposal;
    return false;
}

/* Takes in what became of those that a node has. Returns how many were acknowledged. */
static size_t poll_node(struct proposing *proposing, unsigned node, uint32_t timeout_ms)
{
    struct conclave_outcome *outcomes = proposing->outcomes;
    size_t count =
        conclave_proposer_poll(proposing->proposers[node], timeout_ms, outcomes, OUTCOMES);
    uint64_t now_ns = measure_now_ns();
    size_t good = 0;
    turn(proposing, now_ns);
    for (size_t i = 0; i < count; i++)
        good += take(proposing, &outcomes[i], now_ns);
    proposing->waiting[node] -= (unsigned)count;
    if (good > 0) {
        series_progress(proposing->measure->series, now_ns);
        proposing->last_ns = now_ns;
    }
    /* Another one leads, perhaps. */
    if (count > 0 && good == 0 && node == proposing->leader && proposing->again_count > 0) {
        proposing->leader = (node + 1) % proposing->count;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    return good;
}

static bool under_way(const struct proposing *proposing)
{
    for (unsigned i = 0; i < proposing->count; i++)
        if (proposing->waiting[i] > 0)
            return true;
    return proposing->again_count > 0;
}

static void *proposing_main(void *arg)
{
    struct proposing *proposing = arg;
    uint64_t heard_ns = measure_now_ns(), timeout_ns = proposing->load->options->timeout_ms * MS_NS;
    prctl(PR_SET_NAME, "proposer");
    for (;;) {
        uint64_t now_ns = measure_now_ns();
        if (proposing->tally.code != CONCLAVE_OK || *proposing->watch->stop)
            break;
        begin(proposing, now_ns);
        if (!under_way(proposing))
            break;
        size_t good = 0;
        for (unsigned i = 0; i < proposing->count; i++)
            if (i != proposing->leader && proposing->waiting[i] > 0)
                good += poll_node(proposing, i, 0);
        good += poll_node(proposing, proposing->leader, POLL_MS);
        if (good > 0)
            heard_ns = measure_now_ns();
        else if (measure_now_ns() - heard_ns > timeout_ns)
            failed(proposing, CONCLAVE_TIMEOUT, "nothing was acknowledged any more");
    }
    hand_in(proposing);
    proposing->tally.stopped = *proposing->watch->stop != 0;
    proposing->cpu_ns = measure_thread_cpu_ns();
    atomic_store(&proposing->running, false);
    return NULL;
}

/* --- All of it -----------------------------------------------------------------------------------
 */

static bool make(struct proposing *proposing)
{
    const struct bench_options *options = proposing->load->options;
    uint32_t count = proposing->load->clients * options->inflight;
    proposing->proposal_count = count;
    proposing->proposals = calloc(count, sizeof *proposing->proposals);
    proposing->free = calloc(count, sizeof *proposing->free);
    proposing->again = calloc(count, sizeof *proposing->again);
    proposing->data = malloc(options->value_bytes);
    proposing->second = histogram_create();
    if (!proposing->proposals || !proposing->free || !proposing->again || !proposing->data ||
        !proposing->second)
        return false;
    memset(proposing->data, 'p', options->value_bytes);
    for (uint32_t i = 0; i < count; i++)
        proposing->free[proposing->free_count++] = &proposing->proposals[i];
    return true;
}

static void start_clock(struct proposing *proposing)
{
    const struct load *load = proposing->load;
    proposing->measure_ns = measure_now_ns() + load->warmup_ms * MS_NS;
    proposing->end_ns =
        load->duration_ms ? proposing->measure_ns + load->duration_ms * MS_NS : UINT64_MAX;
    proposing->measure->start_ns = proposing->measure_ns;
    atomic_store(&proposing->measure->series->last_ns, proposing->measure_ns);
}

static void collect(struct proposing *proposing)
{
    struct measure *measure = proposing->measure;
    const struct measure *tally = &proposing->tally;
    measure->begun += tally->begun;
    measure->done += tally->done;
    measure->retried += tally->retried;
    measure->errors += tally->errors;
    measure->stopped |= tally->stopped;
    if (tally->code != CONCLAVE_OK)
        measure_fail(measure, tally->code, "%s", tally->message);
    if (proposing->last_ns > proposing->measure_ns)
        measure->elapsed_ns = proposing->last_ns - proposing->measure_ns;
    measure->health.cpu_share = (double)proposing->cpu_ns / (double)(measure->elapsed_ns + 1);
}

/* Followers apply what is committed a moment later. */
static void validate(struct proposing *proposing)
{
    struct measure *measure = proposing->measure;
    const struct embedded_count *expected = &proposing->expected;
    uint64_t until_ns = measure_now_ns() + proposing->load->options->timeout_ms * MS_NS;
    for (unsigned i = 0; i < proposing->count; i++) {
        struct embedded_count applied;
        while (applied = embedded_applied(proposing->embedded, i),
               applied.commands < expected->commands && measure_now_ns() < until_ns)
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        if (applied.commands != expected->commands || applied.digest != expected->digest)
            measure->mismatches++;
    }
    measure->validated = true;
    measure->read = expected->commands;
}

static void run(struct proposing *proposing)
{
    const struct measure_watch *watch = proposing->watch;
    start_clock(proposing);
    atomic_store(&proposing->running, true);
    if (pthread_create(&proposing->thread, NULL, proposing_main, proposing) != 0) {
        measure_fail(proposing->measure, CONCLAVE_NO_MEMORY, "cannot make a thread");
        return;
    }
    while (atomic_load(&proposing->running)) {
        uint64_t now_ns = measure_now_ns();
        if (watch->tick && now_ns >= proposing->measure_ns)
            watch->tick(watch->arg, proposing->measure, now_ns - proposing->measure_ns);
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
    }
    pthread_join(proposing->thread, NULL);
    collect(proposing);
    if (proposing->measure->code == CONCLAVE_OK && !proposing->measure->stopped)
        validate(proposing);
}

void proposers_run(const struct load *load, const struct measure_watch *watch,
                   struct measure *measure)
{
    const struct bench_options *options = load->options;
    struct conclave_error error = {0};
    struct proposing *proposing = calloc(1, sizeof *proposing);
    if (!proposing) {
        measure_fail(measure, CONCLAVE_NO_MEMORY, "out of memory");
        return;
    }
    proposing->load = load;
    proposing->watch = watch;
    proposing->measure = measure;
    int code = make(proposing) ? CONCLAVE_OK : CONCLAVE_NO_MEMORY;
    if (code == CONCLAVE_OK)
        code = embedded_start(options, &proposing->embedded, &error);
    if (code == CONCLAVE_OK)
        proposing->count = options->nodes;
    for (unsigned i = 0; i < proposing->count && code == CONCLAVE_OK; i++)
        code = conclave_proposer_create(embedded_node(proposing->embedded, i),
                                        &proposing->proposers[i], &error);
    if (code == CONCLAVE_OK)
        run(proposing);
    else
        measure_fail(measure, code, "%s", *error.message ? error.message : "out of memory");
    for (unsigned i = 0; i < proposing->count; i++)
        conclave_proposer_destroy(proposing->proposers[i]);
    embedded_stop(proposing->embedded);
    histogram_destroy(proposing->second);
    free(proposing->proposals);
    free((void *)proposing->free);
    free((void *)proposing->again);
    free(proposing->data);
    free(proposing);
}
