/* loop.c - a turn: the part that is the same for all makers of loops. */
#include "reactor/loop.h"

#include <stdlib.h>

#include "base/must.h"

void loop_begin(struct loop *loop, const struct loop_hooks *hooks, void *ctx, msec now, msec wall)
{
    *loop = (struct loop){ .epoll = -1, .hooks = hooks, .ctx = ctx, .now = now, .wall = wall };
    wheel_init(&loop->wheel, now);
}

void loop_end(struct loop *loop)
{
    must(!loop->is_running);
    loop_bury_all(loop);
    named_peers_fini(&loop->named_peers);
    stream_paces_fini(&loop->paces);
    free(loop->input);
    loop->input = NULL;
}

void loop_turn_begin(struct loop *loop, msec now, msec wall)
{
    must(loop_is_here(loop));
    loop->now  = now;
    loop->wall = wall;
    counter_add(&loop->turn_count, 1);
    if (loop->hooks->turn_begin != NULL)
        loop->hooks->turn_begin(loop->ctx);
}

void loop_hold(struct loop *loop)
{
    must(loop_is_here(loop));
    loop->is_held = true;
}

void loop_release(struct loop *loop)
{
    must(loop_is_here(loop));
    loop->is_held = false;  /* those that were not read meanwhile are in loop->again: the next turn does not wait */
}

void loop_read_mail(struct loop *loop)
{
    struct mail *mail = mailbox_take(&loop->mailbox);

    while (mail != NULL) {
        struct mail *next = mail->next;
        loop->hooks->mail(loop->ctx, mail);
        mail = next;
    }
}

void loop_turn_end(struct loop *loop, bool fires_timers)
{
    loop_read_again(loop);
    loop_read_mail(loop);
    if (fires_timers)
        wheel_turn(&loop->wheel, loop->now);
    if (loop->hooks->turn_end != NULL)
        loop->hooks->turn_end(loop->ctx);
    loop_bury(loop);
}
