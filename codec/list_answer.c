#include "codec/list_answer.h"

#include "codec/fields.h"

void list_answer_pack(struct pack *pack, const struct list_answer *answer, struct slice infos)
{
    pack_array(pack, 4);
    pack_uint(pack, answer->revision);
    pack_uint(pack, answer->clock_ms);
    pack_array(pack, answer->count);
    pack_raw(pack, infos.data, infos.bytes);
    if (answer->next.bytes)
        pack_bin(pack, answer->next.data, answer->next.bytes);
    else
        pack_nil(pack);
}

int list_answer_begin(const void *data, size_t bytes, struct list_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct list_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    answer.clock_ms = cursor_uint(fields_next(&fields));
    answer.infos = fields_elements(&fields, &answer.count);
    if (fields_given(&fields))
        answer.next = cursor_bin(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}
