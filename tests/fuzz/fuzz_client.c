/* libFuzzer over what clients and nodes say to each other; the first byte chooses what it is. */
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const enum sample_kind kinds[] = {SAMPLE_REQUEST, SAMPLE_REPLY, SAMPLE_REDIRECT,
                                             SAMPLE_STATUS};
    if (bytes > 0)
        check_bytes(kinds[data[0] % 4], data + 1, bytes - 1);
    return 0;
}
