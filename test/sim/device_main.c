/* device_sim - lives seeds of a node whose users have devices with sessions (runner.h has the command line) and says which
 * promise broke. device_world.h says what must hold. */
#include "device_plant.h"
#include "device_world.h"
#include "runner.h"

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        .name = "device_sim", .plant_count = DEVICE_PLANT_COUNT, .plant_seeds_max = device_plant_seeds_max,
        .plant_seed_first = device_plant_seed_first,
        .plant_text = device_plant_text, .live = device_live,
    };
    return sim_program_main(&program, argc, argv);
}
