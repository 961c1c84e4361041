/* libFuzzer over frames between nodes. */
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    check_bytes(SAMPLE_PEER, data, bytes);
    return 0;
}
