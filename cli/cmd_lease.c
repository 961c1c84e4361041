/* cli/cmd_lease.c - lease: grant, renew, revoke, ls. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/text.h"
#include "conclave_lease.h"

#include <string.h>
#include <unistd.h>

static int gone(const struct args *args, uint64_t lease)
{
    return output_error(args_on(args, "json"), CONCLAVE_LEASE_EXPIRED, NULL, NULL,
                        "no lease %llu: it expired or was revoked", (unsigned long long)lease);
}

static int lease_error(const struct args *args, struct conclave_client *client, int code,
                       uint64_t lease)
{
    return code == CONCLAVE_LEASE_EXPIRED ? gone(args, lease) : connect_error(args, client, code);
}

static int grant(const struct args *args, struct conclave_client *client, uint64_t ttl_ms)
{
    uint64_t lease = 0;
    int code = conclave_lease_grant(client, ttl_ms, 0, &lease);
    if (code != CONCLAVE_OK)
        return connect_error(args, client, code);
    if (args_on(args, "json"))
        return output_line(
            json_pack("{s:o, s:o}", "lease", output_uint(lease), "ttl_ms", output_uint(ttl_ms)));
    printf("%llu\n", (unsigned long long)lease);
    return 0;
}

static int renew(const struct args *args, struct conclave_client *client, uint64_t lease)
{
    uint64_t ttl_ms = 0;
    int code = conclave_lease_renew(client, lease, 0, &ttl_ms);
    if (code != CONCLAVE_OK)
        return lease_error(args, client, code, lease);
    if (!args_on(args, "json"))
        return 0;
    return output_line(
        json_pack("{s:o, s:o}", "lease", output_uint(lease), "ttl_ms", output_uint(ttl_ms)));
}

static int end(const struct args *args, struct conclave_client *client, uint64_t lease)
{
    uint64_t deleted = 0;
    int code = conclave_lease_revoke(client, lease, 0, &deleted);
    if (code != CONCLAVE_OK)
        return lease_error(args, client, code, lease);
    if (args_on(args, "json"))
        return output_line(
            json_pack("{s:o, s:o}", "lease", output_uint(lease), "deleted", output_uint(deleted)));
    printf("%llu\n", (unsigned long long)deleted);
    return 0;
}

/* --- Lists -------------------------------------------------------------------------------------
 */

struct listing {
    bool json;
    int exit_code;
};

static int print_lease(void *arg, const struct conclave_lease_info *info)
{
    struct listing *listing = arg;
    if (listing->json)
        listing->exit_code =
            output_line(json_pack("{s:o, s:o, s:o, s:o}", "lease", output_uint(info->lease),
                                  "ttl_ms", output_uint(info->ttl_ms), "left_ms",
                                  output_uint(info->left_ms), "keys", output_uint(info->keys)));
    else
        printf("%10llu %12llu %12llu %10llu\n", (unsigned long long)info->lease,
               (unsigned long long)info->ttl_ms, (unsigned long long)info->left_ms,
               (unsigned long long)info->keys);
    return listing->exit_code || output_failed();
}

static int print_key(void *arg, const void *key, size_t key_bytes)
{
    struct listing *listing = arg;
    if (listing->json) {
        listing->exit_code = output_line(json_pack("{s:o}", "key", output_bytes(key, key_bytes)));
    } else {
        text_escape(stdout, key, key_bytes);
        putchar('\n');
    }
    return listing->exit_code || output_failed();
}

static int list(const struct args *args, struct conclave_client *client)
{
    struct listing listing = {args_on(args, "json"), 0};
    if (!listing.json && isatty(STDOUT_FILENO))
        printf("%10s %12s %12s %10s\n", "lease", "ttl ms", "left ms", "keys");
    int code = conclave_lease_list(client, 0, print_lease, &listing);
    return code == CONCLAVE_OK ? listing.exit_code : connect_read_error(args, client, code);
}

static int list_keys(const struct args *args, struct conclave_client *client, uint64_t lease)
{
    struct listing listing = {args_on(args, "json"), 0};
    int code = conclave_lease_info(client, lease, 0, print_key, &listing, NULL);
    return code == CONCLAVE_OK ? listing.exit_code : lease_error(args, client, code, lease);
}

/* --- The command -------------------------------------------------------------------------------
 */

static int read_number(const struct args *args, const char *text, bool duration, uint64_t *ret)
{
    bool read = text && (duration ? text_long_duration_parse(text, ret)
                                  : text_uint_parse(text, INT64_MAX, ret));
    const char *fault = read && duration ? text_ttl_fault(*ret) : NULL;
    if (fault)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL, "lease grant: %s",
                            fault);
    if (read && *ret > 0)
        return 0;
    return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL,
                        duration ? "for example: conclave lease grant 30s"
                                 : "'conclave lease ls' lists them",
                        "lease %s: '%.40s' is not a %s", args->operands[0], text ? text : "",
                        duration ? "duration" : "lease");
}

int cmd_lease_run(const struct args *args)
{
    static const struct {
        const char *name;
        int (*run)(const struct args *, struct conclave_client *, uint64_t);
    } actions[] = {{"grant", grant}, {"renew", renew}, {"revoke", end}, {"ls", list_keys}};
    enum { ACTIONS = sizeof actions / sizeof *actions, LIST = ACTIONS - 1 };
    const char *operand = args->operand_count > 1 ? args->operands[1] : NULL;
    struct conclave_client *client = NULL;
    uint64_t number = 0;
    size_t at = 0;
    while (at < ACTIONS && strcmp(args->operands[0], actions[at].name) != 0)
        at++;
    if (at == ACTIONS)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL,
                            "conclave lease grant DURATION, renew N, revoke N, ls [N]",
                            "'lease %.40s' is none of them", args->operands[0]);
    bool all = at == LIST && !operand;
    int exit_code = all ? 0 : read_number(args, operand, at == 0, &number);
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0)
        exit_code = all ? list(args, client) : actions[at].run(args, client, number);
    conclave_client_destroy(client);
    return exit_code;
}
