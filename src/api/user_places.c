/* user_places.c - GET /v1/users/{user}/places and …/marks: up to where a user's devices have acknowledged their channels, and up
 * to where the user has read. A page begins behind `next` of the one before, which is DEVICE/CHANNEL, or CHANNEL. */
#include "api/call.h"
#include "base/must.h"
#include "codec/url/url.h"
#include "device/place_listing.h"
#include "message/epoch.h"

static void put_listed_place(struct buf *buf, const struct place_listing *listing, const struct listed_place *place)
{
    buf_putc(buf, '{');
    if (!listing->is_of_marks) {
        buf_put_lit(buf, "\"device\":");
        json_put_string(buf, span_str(place->device));
        buf_putc(buf, ',');
    }
    buf_put_lit(buf, "\"channel\":");
    json_put_string(buf, channel_name_span(place->name));
    buf_put_lit(buf, ",\"epoch\":\"");
    epoch_put(buf, place->epoch);
    buf_put_lit(buf, "\",\"seq\":");
    buf_put_u64(buf, place->seq);
    buf_put_lit(buf, ",\"head\":");
    if (place->head_epoch == place->epoch)
        buf_put_u64(buf, place->head);
    else
        buf_put_lit(buf, "null");
    if (place->is_left) {
        buf_put_lit(buf, ",\"left\":");
        buf_put_u64(buf, place->last);
    }
    if (!listing->is_of_marks)
        buf_putf(buf, ",\"kept\":%s", place->is_kept ? "true" : "false");
    buf_putf(buf, ",\"time\":%lld}", (long long)place->wall);
}

static void put_place_listing(struct buf *buf, const struct place_listing *listing)
{
    buf_clear(buf);
    buf_put_lit(buf, "{\"user\":");
    json_put_string(buf, listing->user);
    buf_putf(buf, ",\"%s\":[", listing->is_of_marks ? "marks" : "places");
    for (size_t i = 0; i < listing->count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        put_listed_place(buf, listing, &listing->at[i]);
    }
    buf_putc(buf, ']');
    if (listing->next.len > 0) {
        buf_put_lit(buf, ",\"next\":");
        json_put_string(buf, listing->next);
    }
    buf_putc(buf, '}');
}

static void swap_byte(char *at, size_t len, char from, char to)
{
    char *found = memchr(at, from, len);

    if (found != NULL)
        *found = to;
}

static void places_answered(struct place_listing *listing)
{
    struct http_exchange *exchange = listing->owner;
    struct api           *api      = exchange->owner;

    if (listing->is_away) {
        http_problem(api->server, exchange, 503, NULL,
                     shard_engine_text(api->shard, NULL, "places can't be read just now; come again later"),
                     retry_after(503));
    } else {
        swap_byte(listing->more, listing->next.len, '\0', '/');
        put_place_listing(&api->scratch, listing);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    }
    command_free(&listing->command);
}

static const struct span place_parameters[] = { SPAN("after"), SPAN("limit") };

static bool places_after(const struct call *call, struct buf *scratch, struct span *ret)
{
    struct span encoded;

    *ret = SPAN("");
    if (!call_parameter(call, SPAN("after"), &encoded) ||
        (url_decode(encoded, URL_QUERY, scratch, ret) && ret->len <= LEDGER_KEY_BYTES_MAX / 2))
        return true;
    call_refuse(call, 400, "after= is the next of the page before");
    return false;
}

static void list_places(struct call *call, struct span user, bool is_of_marks)
{
    uint64_t    limit = PLACE_LISTING_MAX;
    bool        has_limit;
    struct buf  scratch;
    struct span after;

    buf_init(&scratch, LEDGER_KEY_BYTES_MAX);
    if (call_knows_query(call, KNOWN_WORDS(place_parameters)) && call_u64(call, SPAN("limit"), &has_limit, &limit) &&
        places_after(call, &scratch, &after)) {
        if (limit == 0) {
            call_refuse(call, 400, "limit= is 1 or more");
        } else {
            limit = limit < PLACE_LISTING_MAX ? limit : PLACE_LISTING_MAX;
            struct place_listing *listing = place_listing_new(call->api->devices, user, is_of_marks, after, (uint32_t)limit);
            if (!is_of_marks)
                swap_byte(listing->words + user.len, after.len, '/', '\0');
            listing->owner    = call->exchange;
            listing->answered = places_answered;
            shard_send_own(call->api->shard, &listing->command);
        }
    }
    buf_fini(&scratch);
}

static void serve_places_of(struct call *call, bool is_of_marks)
{
    struct channel_name *user = call_user(call, 2);

    if (user == NULL)
        return;
    if (call_passes(call, may(call->identity, user, ACTION_USER)))
        list_places(call, channel_own_name(user), is_of_marks);
    channel_name_unref(user);
}

void serve_user_places(struct call *call)
{
    serve_places_of(call, false);
}

void serve_user_marks(struct call *call)
{
    serve_places_of(call, true);
}
