/* forward_sim - lives seeds of nodes that carry messages to a back end and events to a webhook (runner.h has the command line) and says
 * which promise broke. */
#include "forward_world.h"
#include "runner.h"

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        .name = "forward_sim", .plant_count = FORWARD_PLANT_COUNT, .plant_seeds_max = forward_plant_seeds_max,
        .plant_text = forward_plant_text, .live = forward_live,
    };
    return sim_program_main(&program, argc, argv);
}
