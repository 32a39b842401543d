/* base64.h - RFC 4648: standard with padding (clause 4), URL-safe without (clause 5). */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

void base64_put(struct buf *buf, struct span bytes);
void base64url_put(struct buf *buf, struct span bytes);

/* Strict: no spaces; the padding is right (standard) or there is none (URL-safe); unused bits are zero. False: the text
 * is not base64, or its bytes do not fit into *ret. Then *ret holds what it held before. */
bool base64_get(struct span text, struct buf *ret);
bool base64url_get(struct span text, struct buf *ret);

#endif
