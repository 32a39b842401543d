/* uplink_sim - lives seeds of nodes whose devices send requests to a back end (runner.h has the command line) and says which promise
 * broke. */
#include "runner.h"
#include "uplink_world.h"

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        .name = "uplink_sim", .plant_count = UPLINK_PLANT_COUNT, .plant_seeds_max = uplink_plant_seeds_max,
        .plant_text = uplink_plant_text, .live = uplink_live,
    };
    return sim_program_main(&program, argc, argv);
}
