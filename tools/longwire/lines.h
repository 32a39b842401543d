/* lines.h - standard input as lines: any bytes, NUL too, up to a maximum a line; the last one needs no newline.
 *
 * It takes what can be read and does not wait for more. So lines that come one by one leave one by one, and lines
 * that have accumulated leave together. */
#ifndef LONGWIRE_LINES_H
#define LONGWIRE_LINES_H

#include "base/buf.h"

enum {
    LINE_BYTES_MAX  = 16 * 1024 * 1024,  /* more than a server takes, so that the server refuses, with a reason */
    LINES_BYTES     = 256 * 1024,        /* no more is read ahead than this, once there is a whole line */
};

struct lines {
    int         fd;
    bool        is_ended;
    size_t      at;     /* of input: up to here it has been taken */
    struct buf  input;
};

enum lines_end {
    LINES_SOME,    /* lines_take() will give at least one */
    LINES_NONE,    /* the end */
    LINES_LONG,    /* a line is longer than LINE_BYTES_MAX */
    LINES_FAILED,  /* errno says why */
};

void lines_init(struct lines *lines, int fd);
void lines_fini(struct lines *lines);

/* Waits until there is a line. Lines taken before become invalid. */
enum lines_end lines_wait(struct lines *lines);

/* The next line, without its newline, valid until lines_wait(). False: there is no whole one. */
bool lines_take(struct lines *lines, struct span *ret_line);

#endif
