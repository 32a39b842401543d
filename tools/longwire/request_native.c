/* request_native.c - `longwire request` over the native protocol. The client library sends the request again with its id where
 * the link was lost. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "base/must.h"
#include "longwire/asker.h"
#include "longwire/native_wait.h"

enum { LEAVE_MS = 5000 };

struct native_ask {
    struct asker *asker;
    struct lw    *lw;
    bool          was_connected, has_left, is_done;
    int           exit;
};

static void on_response(void *arg, const struct lw_response *response)
{
    struct native_ask *ask = arg;

    ask->is_done = true;
    if (response->status != 0) {
        ask->exit = asker_print(ask->asker, response);
    } else if (response->code != 0) {
        say("the server refuses: %s (%u)", response->reason, response->code);
        ask->exit = EXIT_REFUSED;
    } else if (ask->asker->until != 0 && msec_now() >= ask->asker->until) {
        ask->exit = asker_give_up(ask->asker);
    } else {
        say("%s", response->reason);
        ask->exit = EXIT_UNREACHED;
    }
}

static void on_state(void *arg, const struct lw_status *status)
{
    struct native_ask *ask      = arg;
    bool               may_wait = ask->was_connected || native_is_put_off(status) || ask->asker->has_patience;

    ask->was_connected |= status->state == LW_CONNECTED;
    ask->has_left |= status->state == LW_ENDED;
    if (ask->is_done || (status->state == LW_WAITING && !ask->was_connected && status->wait_ms == 0))
        return;  /* another server is tried at once */
    if (status->state == LW_ENDED) {
        say("the server has ended it: %s (%u)", status->reason, status->code);
        ask->exit    = EXIT_REFUSED;
        ask->is_done = true;
    } else if (status->state == LW_WAITING && !may_wait) {
        say("can't reach the server: %s", status->reason);
        ask->exit    = EXIT_UNREACHED;
        ask->is_done = true;
    } else if (status->state == LW_WAITING) {
        native_say_waiting(status, ask->was_connected);
    }
}

static void turn(struct native_ask *ask, msec until)
{
    struct pollfd fds     = { .fd = lw_fd(ask->lw), .events = POLLIN };
    int           timeout = lw_timeout(ask->lw);
    msec          left    = until - msec_now();

    if (until != 0 && (timeout < 0 || timeout > left))
        timeout = left < 0 ? 0 : (int)(left < INT32_MAX ? left : INT32_MAX);
    must(poll(&fds, 1, timeout) >= 0 || errno == EINTR);
    (void)lw_process(ask->lw);
}

static void run(struct native_ask *ask)
{
    struct asker  *asker = ask->asker;
    enum lw_result result = lw_request(ask->lw, &(struct lw_request){
        .path = asker->path, .method = asker->method, .headers = asker->headers, .header_count = asker->header_count,
        .body = asker->body.at, .body_len = asker->body.len, .id = asker->id, .timeout_ms = asker->timeout_ms,
    }, on_response, ask);

    ask->exit = EXIT_USAGE;
    if (result != LW_OK)
        say("the request can't be sent: %s", lw_result_text(result));
    else
        while (!ask->is_done)
            turn(ask, 0);
}

static void leave(struct native_ask *ask)
{
    msec give_up = msec_now() + LEAVE_MS;

    if (lw_close(ask->lw) == LW_OK)
        while (!ask->has_left && msec_now() < give_up)
            turn(ask, give_up);
}

int asker_run_native(struct asker *asker, const struct target *target)
{
    const char       *fault   = NULL;
    struct native_ask ask     = { .asker = asker };
    struct lw_options options = {
        .servers = target->server, .token = target->key, .user = asker->user, .device = asker->device, .on = { .state = on_state },
        .arg = &ask, .publish_bytes_max = SIZE_MAX / 2,
    };

    ask.lw = lw_new(&options, &fault);
    if (ask.lw == NULL) {
        say("%s", fault);
        return EXIT_USAGE;
    }
    run(&ask);
    leave(&ask);
    lw_free(ask.lw);
    return ask.exit;
}
