/* url.h - the target of a request: its path, its query, and the percent-encoding in both (RFC 3986).
 *
 * Cuts first and decodes afterwards, so that an encoded `/`, `&` or `=` is data and never a mark. Nothing is
 * normalised: `..`, `.` and empty segments are names like any other; a path here leads to no file. Says nothing about
 * UTF-8; who gives the bytes a meaning checks that. */
#ifndef CODEC_URL_URL_H
#define CODEC_URL_URL_H

#include "base/buf.h"

/* Origin-form and absolute-form alike (RFC 9112 3.2.1, 3.2.2), as h1 lets them through: "http://a?b" has the path "/".
 * The query is what stands behind the first `?`; empty if there is none. "*" is its own path. */
void url_split(struct span target, struct span *ret_path, struct span *ret_query);

/* Walks along a path; begin with *rest = path. Every `/` begins a segment, which may be empty: "/a//b/" has four, "/"
 * has one. False at the end, and for a path without a `/` at its beginning. Segments are still encoded. */
bool url_segment_next(struct span *rest, struct span *ret_segment);

/* Walks along a query's `name=value` pairs in their order; begin with *rest = query. Without `=` the value is empty;
 * nothing between two `&` is passed over. False at the end. Both are still encoded. */
bool url_query_next(struct span *rest, struct span *ret_name, struct span *ret_value);

enum url_part { URL_PATH, URL_QUERY };

/* *ret_plain: the bytes meant by `text`. It is `text` itself where there is nothing to decode; else the bytes are in
 * `scratch`, which is emptied first, and stay until that is next written to. In a query a `+` is a space (WHATWG URL 5.1).
 * False, with *ret_plain as it was: a `%` without two hex digits, a NUL, encoded or plain, or no room. */
bool url_decode(struct span text, enum url_part part, struct buf *scratch, struct span *ret_plain);

#endif
