#include "text.h"

#include "base/utf8.h"

bool text_is_word(const char *text, size_t bytes_max)
{
    if (text == NULL)
        return true;
    size_t len = strnlen(text, bytes_max + 1);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return len > 0 && len <= bytes_max && utf8_is_valid(span_of(text, len));
}

bool text_is_channel(const char *text)
{
    return text != NULL && text_is_word(text, CHANNEL_BYTES_MAX) && strchr(text, ':') != NULL;
}
