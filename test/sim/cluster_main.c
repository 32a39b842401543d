/* cluster_sim - lives seeds of a cluster of nodes (runner.h has the command line) and says which promise broke. */
#include "cluster_world.h"
#include "runner.h"

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        .name = "cluster_sim", .plant_count = CLUSTER_PLANT_COUNT, .plant_seeds_max = cluster_plant_seeds_max,
        .plant_seed_first = cluster_plant_seed_first,
        .plant_text = cluster_plant_text, .live = cluster_live,
    };
    return sim_program_main(&program, argc, argv);
}
