/* text.h - whether a text from the application can be sent. Pure. */
#ifndef CLIENT_TEXT_H
#define CLIENT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum { CHANNEL_BYTES_MAX = 233 };  /* a namespace of 32, a colon, a name of 200 */

/* "namespace:name" of UTF-8 without control characters. Whether the namespace exists, the server knows. */
bool text_is_channel(const char *text);

/* NULL, or 1 to `bytes_max` bytes of UTF-8 without control characters. */
bool text_is_word(const char *text, size_t bytes_max);

#endif
