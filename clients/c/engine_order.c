/* engine_order.c - what the application asks for. */
#include "base/must.h"
#include "engine_priv.h"

static void order_publish(struct engine *engine, struct order *order)
{
    struct outgoing *outgoing = order->outgoing;

    order->outgoing = NULL;
    outgoing->ref   = engine_ref(engine, REF_PUBLISH);
    list_push(&engine->publishes, &outgoing->link);
}

static void order_mark(struct engine *engine, const struct order *order)
{
    struct followed *followed = followed_find(&engine->table, order_text(order));

    if (followed == NULL && order->kind == ORDER_ACK)
        followed = followed_find_gone(&engine->table, order_text(order));
    if (followed == NULL || !engine->options.has_session)
        return;
    if (order->kind == ORDER_ACK)
        followed_ack(&engine->table, followed, order->seq);
    else
        followed_read(&engine->table, followed, order->seq);
}

static void order_token(struct engine *engine, const struct order *order)
{
    engine_set_token(engine, order->text_len > 0 ? order->text : NULL);
    if (engine->state == ENGINE_UP)
        engine_put_token(engine);
    engine->has_fresh_token = engine->state == ENGINE_GREETING;
}

static void order_wake(struct engine *engine, msec now)
{
    if (engine->state == ENGINE_WAITING)
        engine->wait_until = now;
    if (engine->state != ENGINE_UP)
        return;
    engine_put_heartbeat(engine, now);
    engine->answer_until = now + ENGINE_WAKE_MS;
}

static void order_heartbeat(struct engine *engine, const struct order *order, msec now)
{
    engine->promise_ms      = (msec)order->seq * 1000;
    engine->has_new_promise = true;
    if (engine->state != ENGINE_UP)
        return;
    engine_put_heartbeat(engine, now);
    engine->answer_until = now + ENGINE_ANSWER_MS;
}

void engine_order(struct engine *engine, struct order *order, msec now)
{
    must(engine->state != ENGINE_ENDED);
    switch (order->kind) {
    case ORDER_SUBSCRIBE: engine_order_subscribe(engine, order); break;
    case ORDER_UNSUBSCRIBE: engine_order_unsubscribe(engine, order); break;
    case ORDER_SNAPSHOT_TAKEN: engine_order_snapshot_taken(engine, order); break;
    case ORDER_PUBLISH: order_publish(engine, order); break;
    case ORDER_REQUEST: engine_order_request(engine, order, now); break;
    case ORDER_CANCEL: engine_order_cancel(engine, order); break;
    case ORDER_ACK:
    case ORDER_READ: order_mark(engine, order); break;
    case ORDER_TOKEN: order_token(engine, order); break;
    case ORDER_WAKE: order_wake(engine, now); break;
    case ORDER_HEARTBEAT: order_heartbeat(engine, order, now); break;
    case ORDER_CLOSE:
        engine->wants_leave = true;
        engine->leave_until = now + ENGINE_LEAVE_MS;
        engine->ack_at      = now;
        break;
    }
    order_free(order);
}
