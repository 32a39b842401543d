/* sim - lives seeds of the simulated node (runner.h has the command line) and says which promise broke. */
#include "runner.h"

static const char *sim_plant_text(unsigned plant)
{
    return plant_text((enum plant)plant);
}

static bool sim_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256])
{
    return world_live(seed, (enum plant)plant, transcript, ret_promise);
}

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        .name = "sim", .plant_count = PLANT_COUNT, .plant_seeds_max = 500, .plant_text = sim_plant_text,
        .live = sim_live,
    };
    return sim_program_main(&program, argc, argv);
}
