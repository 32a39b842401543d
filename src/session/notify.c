#include "session/notify.h"

#include <stdlib.h>

#include "base/must.h"
#include "session/link.h"

const char delivery_modes_are[] = "mode is push or notify";

bool delivery_mode_read(struct span text, enum delivery_mode *ret)
{
    if (text.len == 0)
        *ret = MODE_NOT_SAID;
    else if (span_eq(text, SPAN("push")))
        *ret = MODE_PUSH;
    else if (span_eq(text, SPAN("notify")))
        *ret = MODE_NOTIFY;
    else
        return false;
    return true;
}

void notify_set(struct link *link, struct reader_sub *sub, enum delivery_mode mode)
{
    bool is_kept = subscription_name(&sub->sub)->space->durability != NONE;

    if (mode == MODE_NOT_SAID)
        mode = link->is_notify ? MODE_NOTIFY : MODE_PUSH;
    sub->sub.is_notify  = mode == MODE_NOTIFY && is_kept;
    sub->sub.told_alias = 0;
}

void notify_told(struct link *link, struct reader_sub *sub, msec quiet_ms)
{
    reader_note_told(sub, &link->worker->readers, quiet_ms);
    counter_add(&link->worker->counters.notifies, 1);
}

void notify_hold_back(struct link *link)
{
    for (struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL; sub = reader_sub_next(sub))
        if (sub->sub.is_notify)
            reader_note_told(sub, &link->worker->readers, NOTIFY_QUIET_MS);
}

void notify_pulled(struct link *link, struct reader_sub *sub)
{
    if (!sub->sub.is_notify || sub->sub.told_alias == 0)
        return;
    reader_note_told(sub, &link->worker->readers, 0);
    if (subscription_is_behind(&sub->sub))
        link_look_again(link);
}

void notify_hold(struct reader *reader)
{
    struct link           *link   = reader_owner(reader);
    struct session_worker *worker = link->worker;

    if (link->held_at != 0)
        return;
    if (worker->held_count == worker->held_max) {
        worker->held_max = worker->held_max == 0 ? 64 : 2 * worker->held_max;
        worker->held     = reallocarray(worker->held, worker->held_max, sizeof worker->held[0]);
        must(worker->held != NULL);
    }
    worker->held[worker->held_count++] = link;
    link->held_at                    = worker->held_count;
}

void notify_forget(struct link *link)
{
    if (link->held_at != 0)
        link->worker->held[link->held_at - 1] = NULL;
    link->held_at = 0;
}

void notify_tick(struct session_worker *worker)
{
    for (uint32_t i = 0; i < worker->held_count; i++) {
        struct link *link = worker->held[i];
        if (link == NULL)
            continue;
        link->held_at = 0;
        link_look_again(link);
    }
    worker->held_count = 0;
}
