#include "bench/topic.h"

#include "conclave.h"
#include "conclave_topic.h"

#include <stdio.h>

int topic_prepare(const char *endpoints, uint32_t timeout_ms, uint64_t *ret_count,
                  struct conclave_error *error)
{
    /* So many are kept that a long run does not fill the disk. */
    const struct conclave_topic_settings settings = {.count_max = 1000000};
    struct conclave_client_options options;
    struct conclave_client *client;
    struct conclave_topic_info info;
    conclave_client_options_init(&options);
    options.endpoints = endpoints;
    int code = conclave_client_create(&options, &client, error);
    if (code != CONCLAVE_OK)
        return code;
    code = conclave_topic_create(client, TOPIC_NAME, TOPIC_NAME_BYTES, &settings, timeout_ms, NULL);
    if (code == CONCLAVE_OK)
        code = conclave_topic_info(client, TOPIC_NAME, TOPIC_NAME_BYTES, timeout_ms, &info);
    if (code == CONCLAVE_OK)
        *ret_count = info.end;
    else
        snprintf(error->message, sizeof error->message, "topic '%s': %s; %s", TOPIC_NAME,
                 conclave_code_text(code), conclave_client_describe(client));
    conclave_client_destroy(client);
    return code;
}
