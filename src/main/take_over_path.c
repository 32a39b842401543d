#include "main/take_over_path.h"

#include <sys/stat.h>

bool take_over_path(const struct settings *settings, struct buf *ret)
{
    buf_clear(ret);
    if (settings->take_over_socket[0] != '\0')
        buf_put(ret, span_str(settings->take_over_socket));
    else if (settings->store_kind == STORE_ROCKS)
        buf_putf(ret, "%s/take-over", settings->data);
    if (ret->len == 0)
        return false;
    buf_putc(ret, '\0');
    return true;
}

void take_over_data(const struct settings *settings, struct buf *ret)
{
    struct stat stat_;

    buf_clear(ret);
    if (settings->store_kind == STORE_MEMORY)
        buf_put_lit(ret, "memory");
    else if (settings->store_kind == STORE_POSTGRES)
        buf_put(ret, span_str(settings->store));
    else if (stat(settings->data, &stat_) == 0)
        buf_putf(ret, "directory %llu:%llu", (unsigned long long)stat_.st_dev, (unsigned long long)stat_.st_ino);
}
