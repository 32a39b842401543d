/* The simulated engine passes the battery of all engines, when it is told of no faults. */
#include "base/must.h"
#include "cluster/engine_battery.h"
#include "cluster/sim_engine.h"

enum { STEP_MS = 5 };

static struct sim_server *server;
static msec               now = 1000;

static struct engine *open_sim(const struct node_id *self, const struct engine_events *events, void *ctx)
{
    return sim_engine_open(server, self, events, ctx);
}

static void empty_sim(void)
{
    sim_server_empty(server);
}

static void cut_sim(void)
{
    sim_server_stop(server);
}

static void heal_sim(void)
{
    sim_server_start(server, false);
}

static void step_sim(void)
{
    now += STEP_MS;
    sim_server_step(server, now);
}

int main(void)
{
    static const struct engine_maker maker = {
        .name = "sim", .open = open_sim, .empty = empty_sim, .cut = cut_sim, .heal = heal_sim, .step = step_sim,
    };
    const struct sim_server_options options = {
        .chance = { 1 }, .answer_ms_max = 4, .late_ms_max = 10, .timeout_ms = 500, .reconnect_ms = 50, .clock_permille = 1000,
        .sweeps = true, .frame_bytes_max = 1 << 20,
    };

    server = sim_server_new(&options);
    int failures = engine_battery_run(&maker);
    sim_server_free(server);
    return failures;
}
