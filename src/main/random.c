#include "main/random.h"

#include <sys/random.h>

#include "base/must.h"

uint64_t random_u64(void)
{
    uint64_t value = 0;

    while (value == 0)
        must(getrandom(&value, sizeof value, 0) == sizeof value);
    return value;
}
