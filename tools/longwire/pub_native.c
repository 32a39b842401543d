/* pub_native.c - `longwire pub` over the native protocol, with the client library. The library keeps the order, and sends
 * again what has no answer; here its answers become lines. */
#include <errno.h>
#include <longwire.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "longwire/native_wait.h"
#include "longwire/pub.h"
#include "message/epoch.h"

enum { LEAVE_MS = 5000 };

struct pub_native {
    struct pub *pub;
    struct lw  *lw;
    int         exit;           /* why no more is published; EXIT_FINE: it goes on */
    bool        was_connected;
    bool        has_left;       /* LW_ENDED */
    size_t      waiting;        /* publishes without an answer */
};

/* --- answers -------------------------------------------------------------------------------------------------------- */

static void put_receipt(struct buf *line, const struct lw_published *published)
{
    buf_put_lit(line, "{\"channel\":");
    json_put_string(line, span_str(published->channel));
    buf_put_lit(line, ",\"epoch\":\"");
    epoch_put(line, published->epoch);
    buf_putf(line, "\",\"seq\":%llu,\"id\":%llu,\"time\":%lld}\n", (unsigned long long)published->seq,
             (unsigned long long)published->id, (long long)published->time_ms);
}

static void print_receipt(struct pub *pub, const struct lw_published *published)
{
    struct buf line;

    if (pub->is_quiet || pub->is_count_only)
        return;
    buf_init(&line, 4096);
    if (pub->is_json)
        put_receipt(&line, published);
    else
        buf_putf(&line, "%s %llu %llu\n", published->channel, (unsigned long long)published->seq,
                 (unsigned long long)published->id);
    printer_write(&pub->printer, buf_span(&line));
    buf_fini(&line);
}

/* The one that is answered: its item stands behind the client. */
struct pub_answer {
    struct pub_native *native;
    struct item       *item;
};

static void on_published(void *arg, const struct lw_published *published)
{
    struct pub_answer *answer = arg;
    struct pub        *pub    = answer->native->pub;

    answer->native->waiting--;
    answer->item->is_done = true;
    if (published->code == 0) {
        pub->published++;
        print_receipt(pub, published);
        return;
    }
    if (pub->is_single)
        say("the server refuses: %s (%u)", published->reason, published->code);
    else
        say("line %llu: the server refuses: %s (%u)", (unsigned long long)answer->item->number, published->reason,
            published->code);
    pub->is_refused = true;
}

/* --- the link --------------------------------------------------------------------------------------------------------- */

static void on_state(void *arg, const struct lw_status *status)
{
    struct pub_native *native   = arg;
    bool               may_wait = native->was_connected || native_is_put_off(status) || native->pub->has_patience;

    native->was_connected |= status->state == LW_CONNECTED;
    native->has_left |= status->state == LW_ENDED;
    if (native->exit != EXIT_FINE || native->waiting == 0)
        return;
    if (status->state == LW_WAITING && !native->was_connected && status->wait_ms == 0)
        return;  /* another server is tried at once */
    if (status->state == LW_ENDED) {
        say("the server has ended it: %s (%u)", status->reason, status->code);
        native->exit = EXIT_REFUSED;
    } else if (status->state == LW_WAITING && !may_wait) {
        say("can't reach the server: %s", status->reason);
        native->exit = EXIT_UNREACHED;
    } else if (status->state == LW_WAITING && !native->pub->is_quiet) {
        native_say_waiting(status, native->was_connected);
    }
}

/* One turn, until `until` at most; 0: no limit. */
static void turn(struct pub_native *native, msec until)
{
    struct pollfd fds     = { .fd = lw_fd(native->lw), .events = POLLIN };
    int           timeout = lw_timeout(native->lw);
    msec          left    = until - msec_now();

    if (until != 0 && (timeout < 0 || timeout > left))
        timeout = left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
    must(poll(&fds, 1, timeout) >= 0 || errno == EINTR);
    (void)lw_process(native->lw);
}

bool pub_native_open(struct pub *pub, const struct target *target)
{
    struct pub_native *native  = calloc(1, sizeof *native);
    const char        *fault   = NULL;
    struct lw_options  options = {
        .servers = target->server, .token = target->key, .on = { .state = on_state }, .arg = native,
        .publish_count_max = BATCH_COUNT_MAX, .publish_bytes_max = SIZE_MAX / 2,
    };

    must(native != NULL);
    native->pub = pub;
    native->lw  = lw_new(&options, &fault);
    pub->native = native;
    if (native->lw == NULL)
        say("%s", fault);
    return native->lw != NULL;
}

void pub_native_close(struct pub_native *native)
{
    msec give_up = msec_now() + LEAVE_MS;

    if (native == NULL)
        return;
    if (native->lw != NULL && lw_close(native->lw) == LW_OK)
        while (!native->has_left && msec_now() < give_up)
            turn(native, give_up);
    lw_free(native->lw);
    free(native);
}

/* --- publishing ------------------------------------------------------------------------------------------------------------ */

/* False: it can't be published; the reason has been printed. */
static bool put_item(struct pub_native *native, struct item *item, struct pub_answer *answer)
{
    struct pub *pub = native->pub;
    char        key[KEY_BYTES_MAX + 32];

    *answer               = (struct pub_answer){ native, item };
    enum lw_result result = lw_publish(native->lw, &(struct lw_publish){
        .channel = pub->channel, .data = item->data.at, .data_len = item->data.len, .media = pub->media,
        .event = pub->event, .key = pub_key(pub, item, key, sizeof key), .ttl_s = pub->ttl_s,
        .collapse_key = pub->collapse_key, .priority = pub->waits_for_beat ? LW_BEAT : LW_NOW,
    }, on_published, answer);
    native->waiting += result == LW_OK;
    if (result == LW_OK)
        return true;
    say("the message can't be published: %s", lw_result_text(result));
    native->exit = EXIT_REFUSED;
    return false;
}

int pub_items_native(struct pub *pub)
{
    struct pub_native *native = pub->native;
    struct pub_answer  answers[BATCH_COUNT_MAX];
    size_t             count = 0;

    while (count < pub->item_count && put_item(native, &pub->items[count], &answers[count]))
        count++;
    while (native->waiting > 0 && native->exit == EXIT_FINE && !pub->is_refused) {
        turn(native, pub->until);
        if (pub->until == 0 || msec_now() < pub->until || native->waiting == 0)
            continue;
        say("gave up after --timeout.");
        native->exit = EXIT_TIMEOUT;
    }
    if (native->waiting > 0) {
        lw_free(native->lw);  /* its answers would come to what stands here no more */
        native->lw      = NULL;
        native->waiting = 0;
    }
    return native->exit;
}
