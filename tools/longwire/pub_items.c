/* pub_items.c - sends the messages that wait, until each is acknowledged or refused.
 *
 * One request is under way at a time, so the order is kept; lines that come meanwhile go as a batch. Each message
 * has an idempotency key from its first try on, so that a repeated request never publishes twice, even if an answer
 * was lost. */
#include <stdio.h>

#include "base/base64.h"
#include "base/must.h"
#include "base/utf8.h"
#include "longwire/pub.h"

/* --- one answer ------------------------------------------------------------------------------------------------- */

/* `receipt`: the acknowledgement as it came. */
static void pub_print(struct pub *pub, struct span receipt, const struct field *seq, const struct field *id)
{
    struct buf line;
    if (pub->is_quiet || pub->is_count_only)
        return;
    if (pub->is_json) {
        printer_write(&pub->printer, span_trim(receipt));
        printer_write(&pub->printer, SPAN("\n"));
        return;
    }
    buf_init(&line, 4096);
    buf_put(&line, span_str(pub->channel));
    buf_putc(&line, ' ');
    put_visible(&line, seq->text);
    buf_putc(&line, ' ');
    put_visible(&line, id->text);
    buf_putc(&line, '\n');
    printer_write(&pub->printer, buf_span(&line));
    buf_fini(&line);
}

static void pub_refused(struct pub *pub, struct item *item, int status, struct span problem)
{
    char where[48] = "";
    if (!pub->is_single)
        snprintf(where, sizeof where, "line %llu: ", (unsigned long long)item->number);
    http_say_problem(where, status, problem);
    item->is_done   = true;
    pub->is_refused = true;
}

/* `json` is the 201's object for this item. False: it is none. */
static bool pub_acknowledged(struct pub *pub, struct item *item, struct span json)
{
    struct field fields[] = { { .name = "seq" }, { .name = "id" } };
    if (!fields_read(json, fields, 2, &pub->decoded) || !fields[0].is_there)
        return false;
    pub_print(pub, json, &fields[0], &fields[1]);
    item->is_done = true;
    pub->published++;
    backoff_reset(&pub->backoff);
    return true;
}

/* --- one message ------------------------------------------------------------------------------------------------ */

const char *pub_key(const struct pub *pub, const struct item *item, char *scratch, size_t size)
{
    if (pub->is_single)
        return pub->key != NULL ? pub->key : pub->random_key;
    snprintf(scratch, size, "%s-%llu", pub->key != NULL ? pub->key : pub->random_key, (unsigned long long)item->number);
    return scratch;
}

static void pub_send_one(struct pub *pub, struct item *item, struct http_answer *ret)
{
    char                key[KEY_BYTES_MAX + 32];
    struct http_request request = {
        .method          = "POST",
        .path            = pub->path.at,
        .media           = pub->media,
        .event           = pub->event != NULL ? pub->event_header.at : NULL,
        .collapse_key    = pub->collapse_key != NULL ? pub->collapse_header.at : NULL,
        .idempotency_key = pub_key(pub, item, key, sizeof key),
        .has_body        = true,
        .body            = item->data,
        .until           = pub->until,
    };
    http_ask(&pub->http, &request, ret);
}

/* --- a batch ---------------------------------------------------------------------------------------------------- */

/* As a string if that means the same bytes, else as base64. With a media type of its own a string could be
 * understood in different ways; base64 can't. */
static void pub_put_data(struct buf *body, const struct pub *pub, struct span data)
{
    if (pub->media == NULL && utf8_is_valid(data)) {
        buf_put_lit(body, "\"data\":");
        json_put_string(body, data);
        return;
    }
    buf_put_lit(body, "\"data_base64\":\"");
    base64_put(body, data);
    buf_putc(body, '"');
}

static void pub_put_item(struct buf *body, const struct pub *pub, const struct item *item)
{
    char key[KEY_BYTES_MAX + 32];
    buf_put_lit(body, "{\"channel\":");
    json_put_string(body, span_str(pub->channel));
    buf_putc(body, ',');
    pub_put_data(body, pub, item->data);
    if (pub->media != NULL) {
        buf_put_lit(body, ",\"media\":");
        json_put_string(body, span_str(pub->media));
    }
    if (pub->event != NULL) {
        buf_put_lit(body, ",\"event\":");
        json_put_string(body, span_str(pub->event));
    }
    if (pub->collapse_key != NULL) {
        buf_put_lit(body, ",\"collapse_key\":");
        json_put_string(body, span_str(pub->collapse_key));
    }
    if (pub->waits_for_beat)
        buf_put_lit(body, ",\"priority\":\"beat\"");
    if (pub->has_ttl)
        buf_putf(body, ",\"ttl\":%llu", (unsigned long long)pub->ttl_s);
    buf_put_lit(body, ",\"key\":");
    json_put_string(body, span_str(pub_key(pub, item, key, sizeof key)));
    buf_putc(body, '}');
}

static struct item *pub_next_waiting(struct pub *pub, size_t from)
{
    for (size_t i = from; i < pub->item_count; i++)
        if (!pub->items[i].is_done)
            return &pub->items[i];
    return NULL;
}

static size_t index_after(const struct pub *pub, const struct item *item)
{
    return (size_t)(item - pub->items) + 1;
}

/* Fills the body with what waits: at least 1 message, and as many as go into one batch. */
static void pub_put_batch(struct pub *pub)
{
    size_t       count = 0;
    struct item *item  = pub_next_waiting(pub, 0);

    buf_clear(&pub->body);
    buf_put_lit(&pub->body, "{\"messages\":[");
    for (; item != NULL && count < pub->batch_count_max; item = pub_next_waiting(pub, index_after(pub, item))) {
        size_t before = pub->body.len;
        if (count > 0)
            buf_putc(&pub->body, ',');
        pub_put_item(&pub->body, pub, item);
        if (count > 0 && pub->body.len > BATCH_BYTES_MAX) {
            pub->body.len = before;
            break;
        }
        count++;
    }
    buf_put_lit(&pub->body, "]}");
    must(!buf_is_over(&pub->body));
    pub->batch_count = count;
}

/* One of "results"; its item is the next that waits. */
static bool pub_on_result(void *arg, struct span result)
{
    struct pub       *pub      = arg;
    struct field fields[] = { { .name = "status" } };
    uint64_t          status   = 0;
    struct item      *item     = pub_next_waiting(pub, pub->result_at);

    if (item == NULL || !fields_read(result, fields, 1, &pub->decoded) || !field_u64(&fields[0], &status))
        return false;
    pub->result_at = index_after(pub, item);
    if (status / 100 == 2)
        return pub_acknowledged(pub, item, result);
    if (http_is_later((int)(status % 1000)))
        pub->is_put_off = true;
    else
        pub_refused(pub, item, (int)(status % 1000), result);
    return true;
}

static bool pub_take_results(struct pub *pub, struct span body)
{
    pub->result_at  = 0;
    pub->is_put_off = false;
    return elements_each(body, "results", pub_on_result, pub) && pub->result_at > 0;
}

static void pub_send_batch(struct pub *pub, struct http_answer *ret)
{
    struct http_request request = {
        .method   = "POST",
        .path     = "/v1/messages",
        .media    = "application/json",
        .has_body = true,
        .body     = buf_span(&pub->body),
        .until    = pub->until,
    };
    http_ask(&pub->http, &request, ret);
}

/* --- until it's done -------------------------------------------------------------------------------------------- */

static void pub_say_left(const struct pub *pub, const struct item *item)
{
    if (!pub->is_single)
        say("%llu lines were acknowledged; line %llu was not.", (unsigned long long)pub->published,
            (unsigned long long)item->number);
}

/* Waits before `item` is tried again. EXIT_FINE: now. */
static int pub_pause(struct pub *pub, const char *why, msec retry_after_ms, const struct item *item)
{
    msec wait_ms = retry_after_ms >= 0 ? retry_after_ms : backoff_next(&pub->backoff);
    if (!pub->is_quiet)
        say("%s; next try in %.1f s", why, (double)wait_ms / 1000);

    (void)http_sleep(&pub->http, wait_ms, pub->until);  /* nothing interrupts it: there is no stop_fd */
    if (pub->until == 0 || msec_now() < pub->until)
        return EXIT_FINE;
    say("gave up after --timeout.");
    pub_say_left(pub, item);
    return EXIT_TIMEOUT;
}

/* No answer came. EXIT_FINE: try again. */
static int pub_lost(struct pub *pub, const struct http_answer *answer, const struct item *item)
{
    if (pub->has_patience && answer->end != HTTP_TIMEOUT)
        return pub_pause(pub, answer->why, -1, item);
    int exit_code = http_complain(&pub->http, answer);
    pub_say_left(pub, item);
    return exit_code;
}

/* What the answer to one message or to a batch means. EXIT_FINE: go on with what still waits. */
static int pub_judge(struct pub *pub, const struct http_answer *answer, struct item *first, bool is_batch)
{
    struct span body = buf_span(&answer->body);
    char        why[64];

    if (answer->end != HTTP_DONE)
        return pub_lost(pub, answer, first);
    if (http_is_later(answer->status)) {
        snprintf(why, sizeof why, "the server asks to wait (HTTP %d)", answer->status);
        return pub_pause(pub, why, answer->retry_after_ms, first);
    }
    if (answer->status == 413 && is_batch) {
        pub->batch_count_max = pub->batch_count / 2;  /* one alone is no batch, so this stays above 0 */
        return EXIT_FINE;
    }
    if (!http_is_2xx(answer)) {
        pub_refused(pub, first, answer->status, body);
        return EXIT_FINE;
    }
    if (!(is_batch ? pub_take_results(pub, body) : pub_acknowledged(pub, first, body)))
        return http_complain(&pub->http, answer);
    if (!is_batch || !pub->is_put_off || pub->is_refused)
        return EXIT_FINE;
    return pub_pause(pub, "the server put off a part of the lines", answer->retry_after_ms, pub_next_waiting(pub, 0));
}

static int pub_round(struct pub *pub, struct item *first)
{
    struct http_answer answer;

    pub_put_batch(pub);
    bool is_batch = pub->batch_count > 1;
    if (is_batch)
        pub_send_batch(pub, &answer);
    else
        pub_send_one(pub, first, &answer);
    int exit_code = pub_judge(pub, &answer, first, is_batch);
    http_answer_fini(&answer);
    return exit_code;
}

int pub_items(struct pub *pub)
{
    int          exit_code = EXIT_FINE;
    struct item *first;

    if (pub->native != NULL)
        exit_code = pub_items_native(pub);
    while (pub->native == NULL && exit_code == EXIT_FINE && !pub->is_refused && (first = pub_next_waiting(pub, 0)) != NULL)
        exit_code = pub_round(pub, first);
    if (printer_flush(&pub->printer) != PRINTED && exit_code == EXIT_FINE)
        exit_code = EXIT_REFUSED;
    return pub->is_refused ? EXIT_REFUSED : exit_code;
}
