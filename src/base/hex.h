/* hex.h - hexadecimal digits, as HTTP, URLs and JSON write them: either case is read, and small letters are written. */
#ifndef BASE_HEX_H
#define BASE_HEX_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* 0 … 15, or -1: not a digit. */
static inline int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    char lower = (char)(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Eight digits at once: each byte of a word becomes four bits of the number, then their digit. */
static inline void hex_put_u32(char digits[static 8], uint32_t number)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t       word = number;

    word = (word | word << 16) & 0x0000ffff0000ffffu;
    word = (word | word << 8) & 0x00ff00ff00ff00ffu;
    word = (word | word << 4) & 0x0f0f0f0f0f0f0f0fu;
    const uint64_t letters = (word + ones * 6) >> 4 & ones;
    word = htobe64(word + ones * '0' + letters * ('a' - '9' - 1));
    memcpy(digits, &word, sizeof word);
}

#endif
