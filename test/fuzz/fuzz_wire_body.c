/* One payload body: the first octet is the payload type, the rest its body. What a decoder accepts,
 * the builder can write, and reading that again gives the same. */
#include "../unit/wire/roundtrip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0)
        (void)roundtrip(data[0], (struct bytes){data + 1, size - 1});
    return 0;
}
