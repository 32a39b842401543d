/* url.h - the target of a request: its path, its query, and the percent-encoding in both (RFC 3986).
 *
 * It cuts first and decodes afterwards, so that an encoded `/`, `&` or `=` is data and never a separator. It normalises
 * nothing: `..`, `.` and empty segments are names like any other, because no path leads to a file. It does not check
 * UTF-8; the caller that gives the bytes a meaning does. */
#ifndef CODEC_URL_URL_H
#define CODEC_URL_URL_H

#include "base/buf.h"

/* Origin-form and absolute-form alike (RFC 9112 3.2.1, 3.2.2), as h1 lets them through: "http://a?b" has the path "/".
 * The query is what follows the first `?`; empty if there is none. The path of "*" is "*". */
void url_split(struct span target, struct span *ret_path, struct span *ret_query);

/* Walks along a path; begin with *rest = path. Every `/` begins a segment, which may be empty: "/a//b/" has four, "/"
 * has one. False at the end, and for a path without a `/` at its beginning. Segments are still encoded. */
bool url_segment_next(struct span *rest, struct span *ret_segment);

/* Walks along a query's `name=value` pairs in their order; begin with *rest = query. Without `=` the value is empty;
 * an empty pair between two `&` is skipped. False at the end. Both are still encoded. */
bool url_query_next(struct span *rest, struct span *ret_name, struct span *ret_value);

/* Each byte that is not visible ASCII becomes %XX, and so does the percent sign: what a field of HTTP can have as its value. */
void url_put_encoded(struct buf *buf, struct span text);

enum url_part { URL_PATH, URL_QUERY };

/* *ret_plain: the bytes that `text` means. It is `text` itself if there is nothing to decode. Else the bytes are in
 * `scratch`, which is emptied first, and are valid until `scratch` is written to again. In a query, `+` is a space
 * (WHATWG URL 5.1). False, and *ret_plain is unchanged: a `%` without two hex digits, a NUL (encoded or not), or
 * `scratch` is too small. */
bool url_decode(struct span text, enum url_part part, struct buf *scratch, struct span *ret_plain);

#endif
