#include "client/name_list.h"

#include <string.h>

_Static_assert((int)CONCLAVE_TOPIC_BYTES_MAX <= (int)CONCLAVE_GROUP_BYTES_MAX, "names fit");

int name_list_go_on(struct name_list *list, int got, struct slice next)
{
    list->more = !list->stopped && next.bytes > 0;
    if (got < 0 || next.bytes > sizeof list->from)
        return CONCLAVE_MALFORMED;
    /* An answer that does not lead on would be asked for again without end. */
    if (list->more && list->from_bytes == next.bytes &&
        memcmp(list->from, next.data, next.bytes) == 0)
        return CONCLAVE_MALFORMED;
    if (next.bytes)
        memcpy(list->from, next.data, next.bytes);
    list->from_bytes = next.bytes;
    return CONCLAVE_OK;
}
