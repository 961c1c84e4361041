/* libFuzzer over what clients and nodes say to each other; the first byte chooses what it is. */
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes > 0)
        check_bytes(SAMPLE_REQUEST + data[0] % (SAMPLE_KINDS - SAMPLE_REQUEST), data + 1,
                    bytes - 1);
    return 0;
}
