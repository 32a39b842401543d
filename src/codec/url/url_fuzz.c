/* Any bytes as a target: every part lies within them, parts put together again give the whole, and decoding never
 * makes anything longer or lets a NUL through. */
#include "base/must.h"
#include "codec/url/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_decoding(struct span text, enum url_part part)
{
    struct buf  scratch;
    struct span plain;

    buf_init(&scratch, text.len);
    bool is_fine = url_decode(text, part, &scratch, &plain);
    must(!is_fine || (plain.len <= text.len && (plain.len == 0 || memchr(plain.at, '\0', plain.len) == NULL)));
    size_t len = is_fine ? plain.len : 0;
    buf_fini(&scratch);
    if (len == 0)
        return;
    buf_init(&scratch, len - 1);
    must(!url_decode(text, part, &scratch, &plain) || plain.at == text.at);  /* too little room, or none needed */
    buf_fini(&scratch);
}

static void check_path(struct span path)
{
    struct span rest = path, segment;
    size_t      len  = 0;

    while (url_segment_next(&rest, &segment)) {
        must(segment.len == 0 || memchr(segment.at, '/', segment.len) == NULL);
        must(segment.at == path.at + len + 1);
        len += 1 + segment.len;
        check_decoding(segment, URL_PATH);
    }
    must(rest.len == path.len - len && (len == 0 || rest.len == 0));
}

static void check_query(struct span query)
{
    struct span rest = query, name, value;

    while (url_query_next(&rest, &name, &value)) {
        must(name.at >= query.at && value.at + value.len <= query.at + query.len);
        must(name.len == 0 || memchr(name.at, '=', name.len) == NULL);
        check_decoding(name, URL_QUERY);
        check_decoding(value, URL_QUERY);
    }
    must(rest.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span path, query;

    url_split(span_of(bytes, len), &path, &query);
    must(path.len == 0 || memchr(path.at, '?', path.len) == NULL);
    check_path(path);
    check_query(query);
    return 0;
}
