#include "message/user_name.h"

#include "base/utf8.h"

static bool user_part_is_valid(struct span name, size_t bytes_max)
{
    return name.len > 0 && name.len <= bytes_max && memchr(name.at, '/', name.len) == NULL && utf8_is_valid(name) &&
           !utf8_has_control(name);
}

bool user_name_is_valid(struct span name)
{
    return user_part_is_valid(name, USER_NAME_BYTES_MAX);
}

bool device_name_is_valid(struct span name)
{
    return user_part_is_valid(name, DEVICE_NAME_BYTES_MAX);
}
