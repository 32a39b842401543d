/* sim - lives seeds of the simulated node (runner.h has the command line) and says which promise broke. */
#include "runner.h"

static const char *sim_plant_text(unsigned plant)
{
    return plant_text((enum plant)plant);
}

/* Two of them need what is rarely drawn together: a loop that rests while a head comes, and an append of the other node
 * between a question and its answer. */
static unsigned sim_plant_seeds_max(unsigned plant)
{
    return plant == PLANT_OVERTAKE ? 5000 : plant == PLANT_ASK_FIRST ? 500 : 100;
}

static bool sim_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256])
{
    return world_live(seed, (enum plant)plant, transcript, ret_promise);
}

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        .name = "sim", .plant_count = PLANT_COUNT, .plant_seeds_max = sim_plant_seeds_max,
        .plant_text = sim_plant_text, .live = sim_live,
    };
    return sim_program_main(&program, argc, argv);
}
