/* redact.h - takes secrets out of text before it is printed. */
#ifndef LONGWIRE_REDACT_H
#define LONGWIRE_REDACT_H

#include "base/buf.h"

/* Puts `text` with "***" in place of: what stands before the @ in the address of a URL; the value of access_token=;
 * the credentials behind Bearer and Basic; and `secret` wherever it stands (empty: there is none). */
void redact_put(struct buf *buf, struct span text, struct span secret);

#endif
