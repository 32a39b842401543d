/* hpack_tables.c - the static table and Huffman's code (RFC 7541, appendixes A and B). */
#include "codec/h2/hpack_priv.h"

const struct hpack_row hpack_static[HPACK_STATIC_COUNT] = {
    { SPAN(":authority"), SPAN("") },
    { SPAN(":method"), SPAN("GET") },
    { SPAN(":method"), SPAN("POST") },
    { SPAN(":path"), SPAN("/") },
    { SPAN(":path"), SPAN("/index.html") },
    { SPAN(":scheme"), SPAN("http") },
    { SPAN(":scheme"), SPAN("https") },
    { SPAN(":status"), SPAN("200") },
    { SPAN(":status"), SPAN("204") },
    { SPAN(":status"), SPAN("206") },
    { SPAN(":status"), SPAN("304") },
    { SPAN(":status"), SPAN("400") },
    { SPAN(":status"), SPAN("404") },
    { SPAN(":status"), SPAN("500") },
    { SPAN("accept-charset"), SPAN("") },
    { SPAN("accept-encoding"), SPAN("gzip, deflate") },
    { SPAN("accept-language"), SPAN("") },
    { SPAN("accept-ranges"), SPAN("") },
    { SPAN("accept"), SPAN("") },
    { SPAN("access-control-allow-origin"), SPAN("") },
    { SPAN("age"), SPAN("") },
    { SPAN("allow"), SPAN("") },
    { SPAN("authorization"), SPAN("") },
    { SPAN("cache-control"), SPAN("") },
    { SPAN("content-disposition"), SPAN("") },
    { SPAN("content-encoding"), SPAN("") },
    { SPAN("content-language"), SPAN("") },
    { SPAN("content-length"), SPAN("") },
    { SPAN("content-location"), SPAN("") },
    { SPAN("content-range"), SPAN("") },
    { SPAN("content-type"), SPAN("") },
    { SPAN("cookie"), SPAN("") },
    { SPAN("date"), SPAN("") },
    { SPAN("etag"), SPAN("") },
    { SPAN("expect"), SPAN("") },
    { SPAN("expires"), SPAN("") },
    { SPAN("from"), SPAN("") },
    { SPAN("host"), SPAN("") },
    { SPAN("if-match"), SPAN("") },
    { SPAN("if-modified-since"), SPAN("") },
    { SPAN("if-none-match"), SPAN("") },
    { SPAN("if-range"), SPAN("") },
    { SPAN("if-unmodified-since"), SPAN("") },
    { SPAN("last-modified"), SPAN("") },
    { SPAN("link"), SPAN("") },
    { SPAN("location"), SPAN("") },
    { SPAN("max-forwards"), SPAN("") },
    { SPAN("proxy-authenticate"), SPAN("") },
    { SPAN("proxy-authorization"), SPAN("") },
    { SPAN("range"), SPAN("") },
    { SPAN("referer"), SPAN("") },
    { SPAN("refresh"), SPAN("") },
    { SPAN("retry-after"), SPAN("") },
    { SPAN("server"), SPAN("") },
    { SPAN("set-cookie"), SPAN("") },
    { SPAN("strict-transport-security"), SPAN("") },
    { SPAN("transfer-encoding"), SPAN("") },
    { SPAN("user-agent"), SPAN("") },
    { SPAN("vary"), SPAN("") },
    { SPAN("via"), SPAN("") },
    { SPAN("www-authenticate"), SPAN("") },
};

/* The code is canonical: codes of a length follow each other, and those of the next length follow them. So a row for each
 * length says all, and the symbols stand in the order of their codes. */
struct huffman_row {
    uint32_t limit;    /* all codes of this length, at the top of 32 bits, are below it … */
    uint32_t first;    /* … and from here on */
    uint8_t  bits;
    uint8_t  at;       /* of the first one's symbol */
};

static const struct huffman_row huffman_rows[] = {
    { 0x50000000, 0x00000000,  5,   0 },
    { 0xb8000000, 0x50000000,  6,  10 },
    { 0xf8000000, 0xb8000000,  7,  36 },
    { 0xfe000000, 0xf8000000,  8,  68 },
    { 0xff400000, 0xfe000000, 10,  74 },
    { 0xffa00000, 0xff400000, 11,  79 },
    { 0xffc00000, 0xffa00000, 12,  82 },
    { 0xfff00000, 0xffc00000, 13,  84 },
    { 0xfff80000, 0xfff00000, 14,  90 },
    { 0xfffe0000, 0xfff80000, 15,  92 },
    { 0xfffe6000, 0xfffe0000, 19,  95 },
    { 0xfffee000, 0xfffe6000, 20,  98 },
    { 0xffff4800, 0xfffee000, 21, 106 },
    { 0xffffb000, 0xffff4800, 22, 119 },
    { 0xffffea00, 0xffffb000, 23, 145 },
    { 0xfffff600, 0xffffea00, 24, 174 },
    { 0xfffff800, 0xfffff600, 25, 186 },
    { 0xfffffbc0, 0xfffff800, 26, 190 },
    { 0xfffffe20, 0xfffffbc0, 27, 205 },
    { 0xfffffff0, 0xfffffe20, 28, 224 },
    { 0xfffffffc, 0xfffffff0, 30, 253 },
};

static const uint8_t huffman_symbols[256] = {
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61, 65, 95, 98, 100,
    102, 103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81,
    82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118, 119, 120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63,
    39, 43, 124, 35, 62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130, 131, 162, 184, 194,
    224, 226, 153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156,
    160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1, 135, 137, 138, 139,
    140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231,
    239, 9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205,
    210, 213, 218, 219, 238, 240, 242, 243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248,
    250, 251, 252, 253, 254, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29,
    30, 31, 127, 220, 249, 10, 13, 22,
};

enum { HUFFMAN_ROWS = sizeof huffman_rows / sizeof huffman_rows[0], HUFFMAN_BITS_MAX = 30, HUFFMAN_PADDING_MAX = 7 };

/* NULL: no symbol begins so; it is padding, or the end of string, which never stands in a string. */
static const struct huffman_row *huffman_find(uint32_t window)
{
    for (unsigned i = 0; i < HUFFMAN_ROWS; i++)
        if (window < huffman_rows[i].limit)
            return &huffman_rows[i];
    return NULL;
}

bool hpack_put_decoded(struct buf *text, struct span code)
{
    const uint8_t *at    = (const uint8_t *)code.at;
    const uint8_t *end   = at + code.len;
    uint64_t       bits  = 0;  /* the lowest `count` of them are to be read */
    unsigned       count = 0;

    for (;;) {
        while (count < HUFFMAN_BITS_MAX && at < end) {
            bits = bits << 8 | *at++;
            count += 8;
        }
        /* What is missing behind the end counts as ones, which is what padding is made of. */
        uint32_t window = count >= 32 ? (uint32_t)(bits >> (count - 32))
                                      : (uint32_t)(bits << (32 - count)) | (uint32_t)(UINT64_C(0xffffffff) >> count);
        const struct huffman_row *row = huffman_find(window);
        if (row == NULL || row->bits > count)
            return at == end && count <= HUFFMAN_PADDING_MAX && window == UINT32_MAX;
        buf_putc(text, (char)huffman_symbols[row->at + ((window - row->first) >> (32 - row->bits))]);
        count -= row->bits;
    }
}
