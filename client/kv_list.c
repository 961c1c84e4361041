/* conclave_kv_list: page after page of a range. */
#include "codec/kv.h"
#include "conclave_kv.h"

#include <string.h>

enum { LIST_QUERY_BYTES = 2 * KV_BOUND_BYTES_MAX + CONCLAVE_KV_OVERHEAD };

void conclave_kv_list_options_init(struct conclave_kv_list_options *options)
{
    *options = (struct conclave_kv_list_options){.size = sizeof *options};
}

static int slice_compare(struct slice a, struct slice b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

struct list {
    int (*item)(void *arg, const struct conclave_kv_item *item);
    void *arg;
    bool stopped;
    struct conclave_kv_listed listed;
    uint8_t from[KV_BOUND_BYTES_MAX]; /* where the next page begins */
    size_t from_bytes;
    uint8_t prefix_end[CONCLAVE_KEY_BYTES_MAX];
    struct slice to;
    bool no_end;
};

/* The keys that are in [from, to) and begin with the prefix: the later start, the earlier end. */
static int list_begin(struct list *list, const struct conclave_kv_list_options *options)
{
    struct slice prefix = {options->prefix, options->prefix ? options->prefix_bytes : 0};
    struct slice from = {options->from, options->from ? options->from_bytes : 0};
    struct slice to = {options->to, options->to ? options->to_bytes : 0};
    if (prefix.bytes > CONCLAVE_KEY_BYTES_MAX || from.bytes > KV_BOUND_BYTES_MAX ||
        to.bytes > KV_BOUND_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    if (slice_compare(from, prefix) < 0)
        from = prefix;
    if (from.bytes)
        memcpy(list->from, from.data, from.bytes);
    list->from_bytes = from.bytes;

    list->no_end = !options->to;
    list->to = to;
    struct slice end = {list->prefix_end, kv_prefix_end(prefix, list->prefix_end)};
    if (end.bytes && (list->no_end || slice_compare(end, to) < 0)) {
        list->to = end;
        list->no_end = false;
    }
    return CONCLAVE_OK;
}

static int list_item(void *arg, const struct conclave_kv_item *item)
{
    struct list *list = arg;
    list->listed.count++;
    list->stopped = list->item(list->arg, item) != 0;
    return list->stopped;
}

/* Takes the answer in. *ret_more: another page is to be read. */
static int list_page(struct list *list, const struct conclave_op *op, uint64_t limit,
                     bool *ret_more)
{
    struct conclave_kv_page page;
    int code = conclave_kv_decode_range(op, list->item ? list_item : NULL, list, &page);
    if (code)
        return code;
    if (!list->item)
        list->listed.count += page.count;
    if (list->listed.first_revision == 0)
        list->listed.first_revision = page.revision;
    list->listed.last_revision = page.revision;
    *ret_more = page.next && !list->stopped && (limit == 0 || list->listed.count < limit);
    if (!*ret_more)
        return CONCLAVE_OK;

    /* An answer that does not lead on would be asked for again without end. */
    struct slice next = {page.next, page.next_bytes};
    struct slice from = {list->from, list->from_bytes};
    if (next.bytes > sizeof list->from || slice_compare(next, from) <= 0)
        return CONCLAVE_MALFORMED;
    memcpy(list->from, next.data, next.bytes);
    list->from_bytes = next.bytes;
    return CONCLAVE_OK;
}

static int list_run(struct list *list, struct conclave_client *client,
                    const struct conclave_kv_list_options *options)
{
    bool more = true;
    while (more) {
        struct kv_query query = {
            .opcode = KV_RANGE,
            .bounds = {{list->from, list->from_bytes}, list->to, list->no_end},
            .limit = options->limit ? options->limit - list->listed.count : 0,
            .bytes = options->page_bytes,
            .revision = options->revision,
            .what = !list->item          ? KV_RANGE_COUNT
                    : options->keys_only ? KV_RANGE_KEYS
                                         : KV_RANGE_ITEMS,
        };
        struct pack pack;
        pack_init(&pack, LIST_QUERY_BYTES);
        kv_query_pack(&pack, &query);
        struct conclave_op op = {.kind = CONCLAVE_OP_READ,
                                 .data = pack.buf->data,
                                 .bytes = pack.bytes,
                                 .timeout_ms = options->timeout_ms};
        int code = conclave_client_call(client, &op);
        if (!code)
            code = list_page(list, &op, options->limit, &more);
        conclave_op_release(&op);
        pack_deinit(&pack);
        if (code)
            return code;
    }
    return CONCLAVE_OK;
}

int conclave_kv_list(struct conclave_client *client, const struct conclave_kv_list_options *options,
                     int (*item)(void *arg, const struct conclave_kv_item *item), void *arg,
                     struct conclave_kv_listed *ret_listed)
{
    /* A caller built against an older header has a shorter struct: the rest is default. */
    struct conclave_kv_list_options known;
    conclave_kv_list_options_init(&known);
    memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);

    struct list list = {.item = item, .arg = arg};
    int code = list_begin(&list, &known);
    if (!code)
        code = list_run(&list, client, &known);
    if (ret_listed)
        *ret_listed = list.listed;
    return code;
}
