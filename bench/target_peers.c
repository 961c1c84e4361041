/* The targets etcd and nats: Debian's servers with the settings they come with. */
#include "bench/loader.h"
#include "bench/lockers.h"
#include "bench/process.h"
#include "bench/proposers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* bench/peers/, put into the program by the build. */
extern const char loader_etcd_go[], loader_nats_go[];

#define LIBRARIES "/usr/share/gocode/src/"
#define NATS_SERVER "/usr/sbin/nats-server" /* not in the PATH of everybody */

static int missing(struct conclave_error *error, const char *name, const char *packages)
{
    snprintf(error->message, sizeof error->message,
             "the target %s needs Debian's packages: sudo apt-get install %s", name, packages);
    return error->code = CONCLAVE_UNREACHABLE;
}

/* The first line of what `PROGRAM --version` prints. */
static void ask_version(char *program, struct target *target)
{
    char flag[] = "--version", output[256];
    char *argv[] = {program, flag, NULL};
    if (!process_output(argv, NULL, output, sizeof output))
        snprintf(output, sizeof output, "version not known");
    output[strcspn(output, "\n")] = '\0';
    snprintf(target->version, sizeof target->version, "%.63s", output);
}

static void list_endpoints(struct target *target, const char *scheme)
{
    size_t used = 0;
    for (unsigned i = 0; i < target->count; i++)
        used += (size_t)snprintf(target->endpoints + used, sizeof target->endpoints - used,
                                 "%s%s127.0.0.1:%u", i ? "," : "", scheme,
                                 target->nodes[i].client_port);
}

static bool serves(struct target *target)
{
    char answer[512];
    return loader_ask(target, "ready", answer, sizeof answer);
}

static unsigned leader(struct target *target)
{
    static const char word[] = "leader ";
    char answer[512], *end;
    if (!loader_ask(target, "leader", answer, sizeof answer) ||
        strncmp(answer, word, sizeof word - 1) != 0)
        return TARGET_NODE_NONE;
    unsigned long node = strtoul(answer + sizeof word - 1, &end, 10);
    bool good = end > answer + sizeof word - 1 && *end == '\0' && node < target->count;
    return good ? (unsigned)node : TARGET_NODE_NONE;
}

static const char *refuses(const struct load *load)
{
    if (load->workload == BENCH_RECOVER)
        return "recover is measured for conclave alone";
    if (load->options->read_level == BENCH_READ_LEASE && load_reads(load))
        return "it has no reads by lease";
    const char *why = proposers_refuse(load, false);
    return why ? why : lockers_refuse(load);
}

/* --- etcd ----------------------------------------------------------------------------------------
 */

static int etcd_look(struct target *target, struct conclave_error *error)
{
    char program[] = "etcd";
    if (!process_exists("etcd") || !process_exists("go") ||
        access(LIBRARIES "go.etcd.io/etcd/clientv3", R_OK) != 0)
        return missing(error, "etcd", "etcd-server golang-go golang-etcd-server-dev");
    ask_version(program, target);
    return CONCLAVE_OK;
}

static int etcd_prepare(struct target *target, struct conclave_error *error)
{
    list_endpoints(target, "");
    return loader_build(target, "etcd", loader_etcd_go, error);
}

static void etcd_command(const struct target *target, unsigned node, struct words *words)
{
    const struct target_node *that = &target->nodes[node];
    char members[1024];
    size_t used = 0;
    for (unsigned i = 0; i < target->count; i++)
        used += (size_t)snprintf(members + used, sizeof members - used, "%s%s=http://127.0.0.1:%u",
                                 i ? "," : "", target->nodes[i].name, target->nodes[i].peer_port);
    words_add(words, "etcd");
    words_add(words, "--name=%s", that->name);
    words_add(words, "--data-dir=%s", that->dir);
    words_add(words, "--listen-client-urls=http://127.0.0.1:%u", that->client_port);
    words_add(words, "--advertise-client-urls=http://127.0.0.1:%u", that->client_port);
    words_add(words, "--listen-peer-urls=http://127.0.0.1:%u", that->peer_port);
    words_add(words, "--initial-advertise-peer-urls=http://127.0.0.1:%u", that->peer_port);
    words_add(words, "--initial-cluster=%s", members);
    words_add(words, "--initial-cluster-token=bench");
    words_add(words, "--initial-cluster-state=new");
}

static const char *etcd_refuses(const struct load *load)
{
    bool topics = load->workload == BENCH_PUB || load->workload == BENCH_SUB;
    return topics ? "it has no topics" : refuses(load);
}

const struct target_ops target_etcd = {
    .name = "etcd",
    .starts = true,
    .fsync = "yes",
    .reads = "linear: a majority confirms the leader; stale: any node, however old",
    .fsync_why = "its log is synced before it acknowledges, as it comes",
    .look = etcd_look,
    .prepare = etcd_prepare,
    .command = etcd_command,
    .serves = serves,
    .leader = leader,
    .fill = loader_fill,
    .run = loader_run,
    .refuses = etcd_refuses,
};

/* --- NATS ----------------------------------------------------------------------------------------
 */

static const char *nats_program(void)
{
    return process_exists("nats-server") ? "nats-server" : NATS_SERVER;
}

static int nats_look(struct target *target, struct conclave_error *error)
{
    char program[64];
    snprintf(program, sizeof program, "%s", nats_program());
    if ((!process_exists("nats-server") && access(NATS_SERVER, X_OK) != 0) ||
        !process_exists("go") || access(LIBRARIES "github.com/nats-io/nats.go", R_OK) != 0)
        return missing(error, "nats", "nats-server golang-go golang-github-nats-io-go-nats-dev");
    ask_version(program, target);
    return CONCLAVE_OK;
}

static int nats_prepare(struct target *target, struct conclave_error *error)
{
    char routes[1024];
    size_t used = 0;
    list_endpoints(target, "nats://");
    for (unsigned i = 0; i < target->count; i++)
        used += (size_t)snprintf(routes + used, sizeof routes - used, "%snats://127.0.0.1:%u",
                                 i ? ", " : "", target->nodes[i].peer_port);
    int code = CONCLAVE_OK;
    for (unsigned i = 0; i < target->count && code == CONCLAVE_OK; i++) {
        const struct target_node *node = &target->nodes[i];
        char name[32], text[8192], cluster[2048] = "";
        snprintf(name, sizeof name, "%s.conf", node->name);
        if (target->count > 1)
            snprintf(cluster, sizeof cluster,
                     "cluster { name: bench, listen: \"127.0.0.1:%u\", routes: [%s] }\n",
                     node->peer_port, routes);
        snprintf(text, sizeof text,
                 "server_name: %s\nlisten: \"127.0.0.1:%u\"\njetstream { store_dir: \"%s\" }\n%s",
                 node->name, node->client_port, node->dir, cluster);
        code = process_write(target->dir, name, text, error);
    }
    return code == CONCLAVE_OK ? loader_build(target, "nats", loader_nats_go, error) : code;
}

static void nats_command(const struct target *target, unsigned node, struct words *words)
{
    words_add(words, "%s", nats_program());
    words_add(words, "-c");
    words_add(words, "%s/%s.conf", target->dir, target->nodes[node].name);
}

static const char *nats_refuses(const struct load *load)
{
    switch (load->workload) {
    case BENCH_TXN:
        return "it has no transactions";
    case BENCH_WATCH:
        return "its bucket is a stream: that is measured by sub";
    case BENCH_LOCK:
    case BENCH_LOCK_QUEUE:
        return "it has no locks";
    default:
        return refuses(load);
    }
}

const struct target_ops target_nats = {
    .name = "nats",
    .starts = true,
    .fsync = "no",
    .reads = "of whoever leads the stream, or believes so: not linearizable",
    .fsync_why = "as it comes it syncs every two minutes; what it acknowledged can be lost",
    .look = nats_look,
    .prepare = nats_prepare,
    .command = nats_command,
    .serves = serves,
    .leader = leader,
    .fill = loader_fill,
    .run = loader_run,
    .refuses = nats_refuses,
};
