/* cli/main.c - the program `conclave`: its commands and what is common to them. */
#include "bench/bench.h"
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/heap.h"
#include "cli/output.h"
#include "cli/own_pid.h"
#include "conclave.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int bench_run(const struct args *args);
static int help_run(const struct args *args);

static const struct args_flag globals[] = {
    {"endpoints", 'e', "LIST", CONNECT_ENDPOINTS_DEFAULT, true,
     "client endpoints of the cluster, at least one"},
    {"timeout", 't', "DURATION", "5s", true, "how long to wait for an answer"},
    {"json", 'j', NULL, NULL, true, "print JSON, errors too"},
    {"yes", 'y', NULL, NULL, false, "do not ask"},
    {"help", 'h', NULL, NULL, false, "print this"},
    {"version", 0, NULL, NULL, false, "print the version"},
    {0}};

static const struct args_flag no_flags[] = {{0}};

static const struct args_command commands[] = {
    {"up", "", 0, 0, cmd_up_flags, "Run a whole cluster on this machine",
     "Makes the nodes' directories when they are missing, runs each node as a process of its own,\n"
     "restarts one that was killed, and says how to reach them. Ctrl-C stops all.",
     "  conclave up -n 3 --dir /tmp/cluster", false, cmd_up_run},
    {"init", "", 0, 0, cmd_init_flags, "Make the data directory of a node of a new cluster",
     "Run it once for every node, with the same members and token each time. Without --members it\n"
     "makes a cluster of one. A member's client endpoint is, if not given, 100 ports above its "
     "peer\n"
     "endpoint.",
     "  conclave init --data n1 --name n1 \\\n"
     "    --members n1=tcp://10.0.0.1:7401,n2=tcp://10.0.0.2:7401,n3=tcp://10.0.0.3:7401",
     false, cmd_init_run},
    {"join", "[SEED]", 0, 1, cmd_join_flags, "Add this node to a cluster that runs",
     "Asks the cluster behind SEED, the client endpoint of a node that runs, to add this node, "
     "and\n"
     "makes its data directory. The node is a learner until it has caught up, then it votes. With\n"
     "--members it makes the directory of one of the first members instead, as 'init' does.",
     "  conclave join --data n4 --name n4 --listen tcp://10.0.0.4:7401 tcp://10.0.0.1:7501", false,
     cmd_join_run},
    {"serve", "", 0, 0, cmd_serve_flags, "Run one node until it is told to stop",
     "Prints a line when it listens, with --json an object of node, cluster, client, peer, feed, "
     "pid,\n"
     "removed and state: ready, new (it has no log yet, and takes part once the others accept "
     "it),\n"
     "repair (once its log is mended), removed (it only waits to be stopped).\n"
     "SIGINT or SIGTERM stop it in order, a second one at once. Logs go to standard error.",
     "  conclave serve --data n1", false, cmd_serve_run},
    {"recover", "", 0, 0, cmd_recover_flags, "Go on with one node when a majority is lost for good",
     "Makes the node of this directory, which must not run, the only voter of its cluster. What is "
     "in\n"
     "its log is kept; what only others held is lost, even if it was acknowledged; all others are\n"
     "removed and must never run again. Asks on a terminal, else --yes is needed. Then 'serve' it, "
     "and\n"
     "'join' new nodes.",
     "  conclave recover --data n1", false, cmd_recover_run},
    {"inspect", "WHAT [N] DIR [DIR]", 2, 3, cmd_inspect_flags,
     "Look at a data directory, without changing it",
     "  meta DIR        whose it is, term and vote, the members, what log and snapshots hold\n"
     "  wal DIR         every entry of the log, a line each: index, term, kind, bytes, what it "
     "does\n"
     "  entry N DIR     one of them, whole\n"
     "  snapshot DIR    what each snapshot holds, read and checked as a whole\n"
     "  integrity DIR   reads all of it; says OK, or each damaged place\n"
     "  diff DIR DIR    where the logs of two nodes differ, and what only one of them has\n"
     "Files are opened for reading only, no lock is taken, and the node may run: then what is "
     "told\n"
     "may have changed meanwhile. Exits with 8 if anything is damaged; 'entry' with 1 if there is "
     "none, "
     "'diff'\n"
     "with 1 if an entry differs.",
     "  conclave inspect integrity n1\n  conclave inspect wal n1 --from 5200 --limit 20\n"
     "  conclave inspect diff n1 n2",
     false, cmd_inspect_run},
    {"put", "KEY VALUE|-|@FILE", 2, 2, cmd_put_flags, "Store a value",
     "- reads standard input, @FILE a file, any bytes. After -- a key or value may begin with a\n"
     "dash. A condition that does not hold changes nothing and exits with 1.",
     "  conclave put greeting hello\n  conclave put photo @cat.jpg --if-absent\n"
     "  conclave put session/7 open --ttl 30s",
     false, cmd_put_run},
    {"get", "KEY", 1, 1, cmd_get_flags, "Print a value",
     "The bytes as they are; a newline is added on a terminal only. A missing key exits with 1.",
     "  conclave get greeting\n  conclave get greeting --rev 17", false, cmd_get_run},
    {"ls", "[PREFIX]", 0, 1, cmd_ls_flags, "List keys",
     "In the order of their bytes. Control characters, backslashes and bytes that are not UTF-8\n"
     "are printed as \\xNN unless --null or --json is given. With --json each key is a line.",
     "  conclave ls user/ -l --limit 10", false, cmd_ls_run},
    {"del", "[KEY]", 0, 1, cmd_del_flags, "Delete a key, or all with a prefix",
     "A missing key exits with 1. With --prefix the number of deleted keys is printed.",
     "  conclave del greeting\n  conclave del --prefix user/ --yes", false, cmd_del_run},
    {"txn", "[-|@FILE]", 0, 1, cmd_txn_flags, "Compare and change, all at once or not at all",
     "If every --if holds the --then steps are carried out, else the --else steps: as one "
     "revision.\n"
     "  --if    rev(K)=N  create(K)=N  version(K)=N  lease(K)=N  value(K)=V, also != < >;\n"
     "          exists(K), absent(K); of topics seq(T)=N, its last sequence (0: none), "
     "topic(T)=N,\n"
     "          its id, topic(T), it exists, no-topic(T)\n"
     "  --then, --else\n"
     "          put K V [ttl=30s|lease=N], get K, del K, del-prefix P, ls P,\n"
     "          pub TOPIC MESSAGE [id=ID]\n"
     "Each may be given several times. A word with spaces stands in \"double quotes\", where \\\"\n"
     "and \\\\ are a quote and a backslash, and \\xNN any byte. What each step did is printed, a "
     "line\n"
     "each; exits with 1 if the --else steps were carried out.\n"
     "With - or @FILE, or without flags on a pipe, all of it is read as JSON:\n"
     "  {\"if\":[COMPARE, ...], \"then\":[STEP, ...], \"else\":[STEP, ...]}\n"
     "each a string as above, or an object: "
     "{\"compare\":\"rev\",\"key\":K,\"op\":\"=\",\"to\":N},\n"
     "{\"compare\":\"seq\",\"topic\":T,\"to\":N}, "
     "{\"do\":\"put\",\"key\":K,\"value\":V,\"ttl\":\"30s\"},\n"
     "{\"do\":\"get\",\"key\":K}, {\"do\":\"ls\",\"prefix\":P,\"limit\":N},\n"
     "{\"do\":\"pub\",\"topic\":T,\"data\":D,\"id\":I}. A string may be {\"b64\":\"...\"}, any "
     "bytes.",
     "  conclave txn --if 'absent(lock)' --then 'put lock me ttl=30s' --else 'get lock'\n"
     "  conclave txn --if 'rev(a)=7' --if 'seq(log)=4' --then 'put a x' --then 'pub log \"a x\"'\n"
     "  conclave txn --json < transaction.json",
     false, cmd_txn_run},
    {"store", "", 0, 0, cmd_store_flags, "Show how large the store is, set what it may be and keep",
     "With a --quota puts that would take more are refused with exit code 7, deletes are taken, "
     "and\n"
     "with room again so are puts. The history is what older revisions and watches are read from;\n"
     "what is too much of it goes by itself.",
     "  conclave store\n  conclave store --quota 1GiB --history 200000 --history-age 7d", false,
     cmd_store_run},
    {"lease", "grant DURATION|renew N|revoke N|ls [N]", 1, 2, no_flags,
     "Let keys live for a time that is renewed",
     "  grant DURATION   prints the number of a new lease: put K V --lease N\n"
     "  renew N          its time begins anew\n"
     "  revoke N         ends it now, with all keys that it holds\n"
     "  ls               every lease: number, time, what is left of it, keys\n"
     "  ls N             the keys that it holds\n"
     "No lease ends early; at a change of leader it lasts longer. One that is no more exits with "
     "1.",
     "  lease=$(conclave lease grant 30s)\n  conclave put worker/1 up --lease $lease\n"
     "  conclave lease renew $lease",
     false, cmd_lease_run},
    {"lock", "NAME -- CMD [ARG...]", 1, 1000, cmd_lock_flags, "Run a program while a lock is held",
     "Waits for its turn until --timeout, then exits with 1. CMD gets CONCLAVE_LOCK_TOKEN, a "
     "number\n"
     "that rises with every holder: whatever the lock guards should refuse a lower one than it "
     "saw,\n"
     "for no lock by itself keeps out a holder that slept. When nothing was heard of the cluster "
     "for\n"
     "--ttl less --grace CMD is told to end, and at the end of --ttl it is killed: before anybody "
     "else\n"
     "can hold the lock. The exit code is then 125; else it is CMD's own.",
     "  conclave lock backup --timeout 1m -- tar cf backup.tar data\n  conclave lock backup --list",
     false, cmd_lock_run},
    {"elect", "NAME [VALUE [-- CMD [ARG...]]]", 1, 1000, cmd_elect_flags,
     "Stand for election, or see who leads",
     "Prints the token when it leads and goes on until a signal, or runs CMD as 'lock' does. "
     "Others\n"
     "see VALUE with --observe: a line with token and value for each who leads, and for each new "
     "value.\n"
     "When the lead is lost the exit code is 125.",
     "  conclave elect primary host-7 -- ./serve-as-primary\n  conclave elect primary --observe",
     false, cmd_elect_run},
    {"presence", "join|ls|watch GROUP [NAME] [-- CMD [ARG...]]", 2, 1000, cmd_presence_flags,
     "Be in a group, or see who is",
     "  join GROUP [NAME]   until a signal, or while CMD runs as with 'lock'; prints the token.\n"
     "                      Without NAME it is the host's and the number of the process\n"
     "  ls GROUP            token, name and value of each who is there, in the order of joining\n"
     "  watch GROUP         a line for each who is there (join), and then for each who joins,\n"
     "                      leaves, changes, or was not heard of for its --ttl (expire)\n"
     "A group is a queue that everybody holds: it shares its name with no lock or election.",
     "  conclave presence join workers host-7 --value 10.0.0.7 -- ./work\n"
     "  conclave presence watch workers --json",
     false, cmd_presence_run},
    {"topic", "create|delete|trim|ls|info [NAME [N]]", 1, 3, cmd_topic_flags,
     "Make and show topics",
     "  create NAME    with what --retain and --dedup say; one that has the same settings is fine\n"
     "  delete NAME    with all its messages; asks on a terminal, else --yes is needed\n"
     "  trim NAME N    drops the messages before sequence N, and prints the first one that is "
     "left\n"
     "  ls             every topic\n"
     "  info NAME      one of them; a missing one exits with 1",
     "  conclave topic create jobs --retain 1GiB,7d,1000000 --dedup 2m\n"
     "  conclave topic trim jobs 1000",
     false, cmd_topic_run},
    {"group", "create|delete|info|ls|pending TOPIC [NAME]", 2, 3, cmd_group_flags,
     "Make and show work groups: members that share a topic",
     "  create TOPIC NAME    one that has the same settings is fine, and stays where it is\n"
     "  delete TOPIC NAME    asks on a terminal, else --yes is needed; the messages stay\n"
     "  info TOPIC NAME      one of them; a missing one exits with 1\n"
     "  ls TOPIC             all of a topic: how many messages wait for it, are held by members, "
     "come\n"
     "                       again, are done, were moved to --dead, and were dropped before that\n"
     "  pending TOPIC NAME   what is held: sequence, deliveries, time left, member\n"
     "'conclave sub TOPIC --group NAME --ack' is a member.",
     "  conclave group create jobs workers --from first --ack-time 1m\n"
     "  conclave group create jobs workers --deliveries 5 --dead jobs.dead",
     false, cmd_group_run},
    {"pub", "TOPIC DATA|-|@FILE", 2, 2, cmd_pub_flags, "Publish a message",
     "Prints its sequence once a majority has it on disk. With an --id that was published before\n"
     "it prints that one's and publishes nothing. With --lines every line is a message, in order,\n"
     "and the sequence of each is printed.",
     "  conclave pub jobs 'build 17' --id build-17\n  tail -f log | conclave pub logs - --lines",
     false, cmd_pub_run},
    {"sub", "TOPIC", 1, 1, cmd_sub_flags, "Print the messages of a topic and go on with new ones",
     "Each message's bytes and a newline, or a zero byte with --null. --exec runs a command for\n"
     "each, with the bytes on its standard input and CONCLAVE_SEQUENCE, _REVISION and _ID in its\n"
     "environment; one that fails ends it with its exit code. Messages that were dropped before\n"
     "they were read are reported.\n"
     "With --group each message goes to one member of a work group ('conclave group'). With --ack "
     "it\n"
     "is done when it was printed, or CMD exited with 0; else, and when the member is not heard "
     "of,\n"
     "it is handed out again: CMD has CONCLAVE_DELIVERIES. Without --ack it is done when it is\n"
     "handed out. A signal gives back what is not done. The exit code is that of the last CMD "
     "that\n"
     "failed.",
     "  conclave sub jobs --from first -n 10\n  conclave sub jobs --from -1h --exec 'wc -c'\n"
     "  conclave sub jobs --group workers --ack --exec ./work",
     false, cmd_sub_run},
    {"watch", "KEY", 1, 1, cmd_watch_flags, "Tell what happens to keys, as it happens",
     "A line of JSON for each event, in order and none left out, whichever node dies:\n"
     "  put, delete, expire   with key, value and revision; those of one command have one "
     "revision\n"
     "  progress              everything up to this revision has been told; every few seconds\n"
     "  resync                older changes than are kept were asked for: forget what was told;\n"
     "                        state, gone, synced tell what there is, as with --initial\n"
     "To go on later, give --from the last revision and one. Bytes that are not UTF-8 are\n"
     "{\"b64\":...}. CMD of --exec has CONCLAVE_EVENT and CONCLAVE_REVISION in its environment;\n"
     "one that fails ends the watch with its exit code. Without a node within --timeout at the\n"
     "beginning it exits with 3.",
     "  conclave watch greeting\n  conclave watch user/ --prefix --initial\n"
     "  conclave watch config/ --prefix --exec 'jq -r .key'",
     false, cmd_watch_run},
    {"status", "", 0, 0, cmd_status_flags, "Show the nodes of the cluster",
     "Exits with 0 if any node answered, 3 if none did.", "  conclave status --json", false,
     cmd_status_run},
    {"member", "ls|add|promote|remove|replace ...", 1, 3, cmd_member_flags,
     "Show or change who belongs to the cluster",
     "  ls                           every member\n"
     "  add NAME=PEER[+CLIENT]       a learner, whose directory 'join' makes afterwards\n"
     "  promote NAME                 a learner that has caught up votes from now on\n"
     "  remove NAME                  for good; a leader may be removed too\n"
     "  replace OLD NEW              the learner NEW votes and OLD is removed, both at once\n"
     "A change waits for one that is under way, and for a learner to catch up, until --timeout.",
     "  conclave member ls --json\n  conclave member remove n2", false, cmd_member_run},
    {"health", "", 0, 0, cmd_health_flags, "Tell whether the cluster serves",
     "Exits with 0 if there is a leader and a majority is healthy, 4 if not, 3 if no node answers.",
     "  conclave health --ready --timeout 1s", false, cmd_health_run},
    {"leader", "[transfer [NODE]]", 0, 2, cmd_leader_flags,
     "Show who leads, or give the lead to another node",
     "'leader transfer' alone picks the node whose log is the longest. Writes wait for some\n"
     "milliseconds meanwhile. Exits with 4 if there is no leader, or if it stays the same.",
     "  conclave leader\n  conclave leader transfer n2", false, cmd_leader_run},
    {"bench", "[WORKLOAD...]", 0, 64, no_flags, "Measure this machine, a cluster, or its peers",
     "'conclave bench --help' lists the workloads and their flags.",
     "  conclave bench\n  conclave bench put get --target self --target etcd --html report.html",
     true, bench_run},
    {"help", "[COMMAND]", 0, 1, no_flags, "Explain a command", NULL, "  conclave help put", false,
     help_run},
    {0}};

static int bench_run(const struct args *args)
{
    static char name[] = "bench", help[] = "--help";
    char **argv = calloc(args->operand_count + 3, sizeof *argv);
    if (!argv)
        return output_error(args_on(args, "json"), CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    int argc = 0;
    argv[argc++] = name;
    for (size_t i = 0; i < args->operand_count; i++)
        argv[argc++] = args->operands[i];
    if (args->help)
        argv[argc++] = help;
    else
        heap_serves(SIZE_MAX); /* nodes may run in the program, and its clients hurry no less */
    /* The environment names the cluster that one works with, which is not to be flooded by the way.
     */
    bool given = args_source(args, "endpoints") == ARGS_GIVEN;
    int exit_code =
        bench_command(argc, argv, args_value(args, "endpoints"), given, args_on(args, "json"));
    free(argv);
    return exit_code;
}

static int help_for(const struct args *args, const struct args_command *command)
{
    if (command && command->own_flags)
        return bench_run(args);
    if (command)
        args_help_command(stdout, command, globals);
    else
        args_help_all(stdout, commands, globals);
    return 0;
}

static int help_run(const struct args *args)
{
    if (args->operand_count == 0)
        return help_for(args, NULL);
    struct args_error error;
    const struct args_command *command = args_find_command(commands, args->operands[0], &error);
    if (!command)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, error.hint, "%s",
                            error.message);
    struct args asked = *args;
    asked.operand_count = 0;
    asked.help = true;
    return help_for(&asked, command);
}

/* Whether errors are to be JSON when the command line itself is wrong. */
static bool wants_json(const struct args *args, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0)
            return true;
    return args_on(args, "json");
}

static int run(const struct args *args)
{
    if (args->version) {
        if (args_on(args, "json"))
            return output_line(json_pack("{s:s}", "version", conclave_version()));
        printf("conclave %s\n", conclave_version());
        return 0;
    }
    if (args->help)
        return help_for(args, args->command);
    return args->command->run(args);
}

/* A standard stream that is closed would give its number to the next file that is opened, and
 * output would end up in there. Standard output is then opened for reading, so that writes fail and
 * are reported. */
static void hold_standard_streams(void)
{
    static const int modes[] = {O_RDONLY, O_RDONLY, O_WRONLY};

    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            _exit(2);
}

int main(int argc, char **argv)
{
    struct args args;
    struct args_error error;
    heap_init();
    own_pid_init();
    /* A reader that went away is an error to report, not a reason to vanish. */
    signal(SIGPIPE, SIG_IGN);
    hold_standard_streams();
    bool ok = args_parse(&args, commands, globals, argc, argv, &error);
    bool json = ok ? args_on(&args, "json") : wants_json(&args, argc, argv);
    int exit_code =
        ok ? run(&args)
           : output_error(json, CONCLAVE_INVALID, NULL, error.hint, "%s", error.message);
    exit_code = output_finish(json, exit_code);
    args_deinit(&args);
    return exit_code;
}
