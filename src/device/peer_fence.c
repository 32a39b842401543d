/* peer_fence.c - the bodies of questions and answers. All numbers are big-endian.
 *
 *     question  version 1 | generation 8 | since 8 | length 1 | user | length 1 | device
 *     answer    version 1 | places: epoch 8 | seq 8 | length 1 | channel */
#include "device/peer_fence.h"

#include "base/must.h"
#include "device/row_priv.h"

enum { PEER_FENCE_VERSION = 1 };

static void fence_name_put(struct buf *buf, struct span text)
{
    must(text.len > 0 && text.len <= UINT8_MAX);
    buf_putc(buf, (char)text.len);
    buf_put(buf, text);
}

static bool fence_name_take(struct span *rest, struct span *ret)
{
    size_t len = rest->len == 0 ? 0 : (unsigned char)rest->at[0];

    if (len == 0 || len > rest->len - 1)
        return false;
    *ret  = span_head(span_skip(*rest, 1), len);
    *rest = span_skip(*rest, 1 + len);
    return true;
}

static bool numbers_take(struct span *rest, uint64_t *ret_first, uint64_t *ret_second)
{
    if (rest->len < 2 * ROW_NUMBER_BYTES)
        return false;
    *ret_first  = row_get_number(rest->at);
    *ret_second = row_get_number(rest->at + ROW_NUMBER_BYTES);
    *rest       = span_skip(*rest, 2 * ROW_NUMBER_BYTES);
    return true;
}

static bool version_take(struct span *rest)
{
    if (rest->len == 0 || rest->at[0] != PEER_FENCE_VERSION)
        return false;
    *rest = span_skip(*rest, 1);
    return true;
}

void peer_fence_put(struct buf *buf, const struct peer_fence *fence)
{
    buf_putc(buf, PEER_FENCE_VERSION);
    row_put_number(buf, fence->generation);
    row_put_number(buf, (uint64_t)fence->since);
    fence_name_put(buf, fence->user);
    fence_name_put(buf, fence->device);
}

bool peer_fence_get(struct span body, struct peer_fence *ret)
{
    uint64_t since;

    if (!version_take(&body) || !numbers_take(&body, &ret->generation, &since))
        return false;
    ret->since = (msec)since;
    return fence_name_take(&body, &ret->user) && fence_name_take(&body, &ret->device);
}

void peer_fence_answer_begin(struct buf *buf)
{
    buf_putc(buf, PEER_FENCE_VERSION);
}

void peer_fence_place_put(struct buf *buf, const struct peer_fence_place *place)
{
    row_put_number(buf, place->epoch);
    row_put_number(buf, place->seq);
    fence_name_put(buf, place->channel);
}

bool peer_fence_place_next(struct span *answer, bool *is_begun, struct peer_fence_place *ret)
{
    if (!*is_begun && !version_take(answer))
        return false;
    *is_begun = true;
    return numbers_take(answer, &ret->epoch, &ret->seq) && fence_name_take(answer, &ret->channel);
}
