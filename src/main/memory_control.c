#include "main/memory_control.h"

#include "main/limits.h"
#include "main/server.h"
#include "reactor/log.h"

enum { CALM_GIVE_BACK_MS = 60 * 1000, LEAN_GIVE_BACK_MS = MEMORY_ORDER_MS };
enum { WORTH_BYTES = 64 * 1024 * 1024, LEAN_WORTH_PART = 32 };

void memory_control_open(struct memory_control *control)
{
    *control = (struct memory_control){ .gave_back_at = clock_now() };
    memory_watch_open(&control->watch);
    heap_begin();
}

void memory_control_close(struct memory_control *control)
{
    memory_watch_close(&control->watch);
}

static void tell(const struct memory_watch *watch, enum memory_step before, uint64_t most)
{
    const enum memory_step step = memory_watch_step(watch);

    LOG(LOG_WARN, "memory_step", log_str("step", memory_step_text(step)),
        log_str("before", memory_step_text(before)), log_u64("held", counter_get(&watch->held)), log_u64("memory_bytes_max", most));
}

/* Once a minute, or, while memory is short, before each order. */
static void memory_give_back(struct memory_control *control, uint64_t most, msec now)
{
    const bool   is_calm = memory_watch_step(&control->watch) == MEMORY_CALM;
    const size_t worth   = is_calm || most / LEAN_WORTH_PART > WORTH_BYTES ? WORTH_BYTES : (size_t)most / LEAN_WORTH_PART;

    if (now < control->gave_back_at + (is_calm ? CALM_GIVE_BACK_MS : LEAN_GIVE_BACK_MS))
        return;
    control->gave_back_at = now;
    heap_give_back(&control->heap, worth);
}

msec memory_control_look(struct memory_control *control, struct server *server)
{
    const uint64_t         most   = memory_allowed(server_settings(server), server->memory_cgroup);
    const enum memory_step before = memory_watch_step(&control->watch);
    const msec             now    = clock_now();

    counter_set(&server->memory_most, most);
    memory_give_back(control, most, now);
    if (memory_watch_look(&control->watch, most, now))
        tell(&control->watch, before, most);
    counter_set(&server->writer.wants_lean, memory_watch_step(&control->watch) >= MEMORY_LEAN);
    if (memory_watch_step(&control->watch) >= MEMORY_SHEDS_STRANGERS)
        server_order_shed(server, ++control->orders, memory_watch_step(&control->watch) >= MEMORY_SHEDS);
    return most != 0 ? MEMORY_ORDER_MS : CALM_GIVE_BACK_MS;
}
