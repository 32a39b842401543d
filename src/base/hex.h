/* hex.h - hexadecimal digits, as HTTP, URLs and JSON write them: either case is read. */
#ifndef BASE_HEX_H
#define BASE_HEX_H

/* 0 … 15, or -1: not a digit. */
static inline int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    char lower = (char)(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

#endif
