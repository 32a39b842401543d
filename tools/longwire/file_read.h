/* file_read.h - reads a file that a command was given, or standard input. */
#ifndef LONGWIRE_FILE_READ_H
#define LONGWIRE_FILE_READ_H

#include "base/buf.h"

enum { FILE_READ_BYTES = 256 * 1024 };

/* All of it into `into`, which may hold LINE_BYTES_MAX (lines.h) and two pieces more. "-" is standard input. False: it can't be
 * read, or is too long; the reason has been printed. */
bool file_read(const char *name, struct buf *into);

#endif
