#include "message/user_name.h"

#include "base/utf8.h"

static bool user_part_is_valid(struct span name, size_t bytes_max)
{
    if (name.len == 0 || name.len > bytes_max || !utf8_is_valid(name))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.at[i];
        bool is_c1 = c == 0xc2 && i + 1 < name.len && (unsigned char)name.at[i + 1] < 0xa0;
        if (c < 0x20 || c == 0x7f || c == '/' || is_c1)
            return false;
    }
    return true;
}

bool user_name_is_valid(struct span name)
{
    return user_part_is_valid(name, USER_NAME_BYTES_MAX);
}

bool device_name_is_valid(struct span name)
{
    return user_part_is_valid(name, DEVICE_NAME_BYTES_MAX);
}
