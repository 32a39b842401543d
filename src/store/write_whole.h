/* write_whole.h - writes to files that are carried to their end: an interrupted call is made again, and of a short one what is left.
 * With false errno says why; a part may have been written. */
#ifndef STORE_WRITE_WHOLE_H
#define STORE_WRITE_WHOLE_H

#include <stdbool.h>

#include "base/span.h"

/* Where the file stands, or at its end if it was opened with O_APPEND. */
bool write_whole(int fd, struct span bytes);
/* At the file's beginning. */
bool write_whole_at_start(int fd, struct span bytes);

#endif
